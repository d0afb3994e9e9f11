// QuickFIX as a client of Doorward: a stock engine, with one hook that fills in and signs what our Logon needs.
//
//     initiator SETTINGS          a QuickFIX settings file with one session; run.py writes it
//
// Beside QuickFIX's own keys the session has `Scheme` (`CME-1-SHA-256` or `password`), `OperatorID`, `TargetSubID`,
// `SenderLocationID` and `AccessKeyID`. The Secret Key or the password is in DOORWARD_SECRET.
//
// Commands are lines on standard input, events are lines of JSON on standard output:
//
//     logon               connect and log on; until `logout`, or until the connection ends
//     logout              log out and stay away
//     drop                close the connection without a word
//     order ID SIDE QTY PRICE     a limit order
//     orders PREFIX FIRST LAST    many of them: PREFIX1, PREFIX2, …
//     test ID             a Test Request
//     reset               the in-session Logon: both sides start again at 1
//     numbers [OUT IN]    show, or set, the next MsgSeqNum of either side
//     clock SECONDS       how far the server's clock is ahead of ours
//     code CODE           one-time password of the next Logon
//     new-password        the next Logon sends DOORWARD_NEW_PASSWORD as 925
//     quit                end in order

#include <quickfix/FileStore.h>
#include <quickfix/Session.h>
#include <quickfix/SessionSettings.h>
#include <quickfix/SocketInitiator.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>

#include "../cpp/signature.hpp"

namespace {

// Tags that QuickFIX's FIX 4.2 has no class for.
enum Tag { PASSWORD = 554, NEW_PASSWORD = 925, METHOD = 1400, ENCRYPTED_LEN = 1401, ENCRYPTED = 1402, SOFTWARE = 1603,
           SOFTWARE_VERSION = 1604, SOFTWARE_VENDOR = 1605, ONE_TIME_PASSWORD = 20030 };

std::string quoted(const std::string& text) {
    std::string json = "\"";
    for (unsigned char one : text) {
        char escape[8];
        if (one == '"' || one == '\\') json += {'\\', static_cast<char>(one)};
        else if (one >= 0x20) json += static_cast<char>(one);
        else json.append(escape, static_cast<size_t>(snprintf(escape, sizeof escape, "\\u%04x", one)));
    }
    return json + '"';
}

// One event on a line of its own, whichever thread it comes from.
void tell(const std::string& event, const std::string& key = "", const std::string& value = "") {
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> held(one_at_a_time);
    std::cout << "{\"event\":" << quoted(event);
    if (!key.empty()) std::cout << ',' << quoted(key) << ':' << value;
    std::cout << '}' << std::endl;
}

// Everything on the wire is an event, but for credentials.
class WireLog : public FIX::Log {
  public:
    void clear() override {}
    void backup() override {}
    void onIncoming(const std::string& message) override { tell("in", "message", quoted(message)); }
    void onOutgoing(const std::string& message) override { tell("out", "message", quoted(masked(message))); }
    void onEvent(const std::string& text) override {
        // QuickFIX says this when it has closed the connection, whoever began.
        if (text == "Disconnecting") tell("closed");
        else tell("note", "text", quoted(text));
    }

  private:
    static std::string masked(std::string message) {
        for (const char* tag : {"\001554=", "\00196=", "\001925=", "\00120030="}) {
            size_t at = message.find(tag);
            if (at == std::string::npos) continue;
            at = message.find('=', at) + 1;
            message.replace(at, message.find('\001', at) - at, "***");
        }
        return message;
    }
};

class WireLogFactory : public FIX::LogFactory {
  public:
    FIX::Log* create() override { return new WireLog; }
    FIX::Log* create(const FIX::SessionID&) override { return new WireLog; }
    void destroy(FIX::Log* log) override { delete log; }
};

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

class Client : public FIX::Application {
  public:
    explicit Client(const FIX::SessionSettings& settings)
        : id_(*settings.getSessions().begin()), own_(settings.get(id_)) {
        signed_ = own_.getString("Scheme") == doorward::SCHEME;
    }

    const FIX::SessionID& id() const { return id_; }
    void clock_ahead(int seconds) { ahead_s_ = seconds; }
    void code(const std::string& code) { code_ = code; }
    void send_new_password() { new_password_ = true; }

    void onCreate(const FIX::SessionID&) override {}
    void onLogon(const FIX::SessionID&) override { tell("logon"); }
    // What was refused once is not tried again by itself: five refusals close the port.
    void onLogout(const FIX::SessionID& id) override {
        FIX::Session::lookupSession(id)->logout();
        tell("logout");
    }
    void toAdmin(FIX::Message& message, const FIX::SessionID&) override {
        address(message);
        FIX::MsgType type;
        message.getHeader().getField(type);
        if (type != FIX::MsgType_Logon) return;
        if (signed_) sign(message);
        else present(message);
    }
    void toApp(FIX::Message& message, const FIX::SessionID&) throw(FIX::DoNotSend) override { address(message); }
    void fromAdmin(const FIX::Message&, const FIX::SessionID&)
        throw(FIX::FieldNotFound, FIX::IncorrectDataFormat, FIX::IncorrectTagValue, FIX::RejectLogon) override {}
    // In order, each once: what was missed and came again, too.
    void fromApp(const FIX::Message& message, const FIX::SessionID&)
        throw(FIX::FieldNotFound, FIX::IncorrectDataFormat, FIX::IncorrectTagValue, FIX::UnsupportedMessageType)
            override {
        tell("app", "message", quoted(message.toString()));
    }

  private:
    // 50, 57 and 142 on every message; SendingTime by the server's clock.
    void address(FIX::Message& message) const {
        FIX::Header& header = message.getHeader();
        if (signed_) {
            header.setField(FIX::SenderSubID(own_.getString("OperatorID")));
            header.setField(FIX::TargetSubID(own_.getString("TargetSubID")));
            header.setField(FIX::SenderLocationID(own_.getString("SenderLocationID")));
        }
        if (ahead_s_ != 0) {
            FIX::UtcTimeStamp time;
            time += ahead_s_;
            header.setField(FIX::SendingTime(time, 3));
        }
    }

    void sign(FIX::Message& logon) const {
        // QuickFIX puts 98 into every Logon; this venue does not use it.
        logon.removeField(FIX::FIELD::EncryptMethod);
        logon.setField(SOFTWARE, "QuickFIX");
        logon.setField(SOFTWARE_VERSION, "1.15");
        logon.setField(SOFTWARE_VENDOR, "quickfixengine.org");
        // A Logon that resets gets its MsgSeqNum of 1 only after this hook.
        if (logon.isSetField(FIX::FIELD::ResetSeqNumFlag)) logon.getHeader().setField(FIX::MsgSeqNum(1));
        std::string text = doorward::signature(doorward::canonical([&](int tag) {
            if (logon.getHeader().isSetField(tag)) return logon.getHeader().getField(tag);
            return logon.isSetField(tag) ? logon.getField(tag) : std::string();
        }), environment("DOORWARD_SECRET"));
        std::string access_key_id = own_.getString("AccessKeyID");
        logon.setField(FIX::EncodedTextLen(static_cast<int>(access_key_id.size())));
        logon.setField(FIX::EncodedText(access_key_id));
        logon.setField(METHOD, doorward::SCHEME);
        logon.setField(ENCRYPTED_LEN, std::to_string(text.size()));
        logon.setField(ENCRYPTED, text);
    }

    // User name is the SenderCompID; the password goes into 554, or into 96 where the settings say so.
    void present(FIX::Message& logon) {
        std::string password = environment("DOORWARD_SECRET");
        if (own_.has("PasswordTag") && own_.getString("PasswordTag") == "96") {
            logon.setField(FIX::RawDataLength(static_cast<int>(password.size())));
            logon.setField(FIX::RawData(password));
        } else {
            logon.setField(PASSWORD, password);
        }
        if (new_password_) logon.setField(NEW_PASSWORD, environment("DOORWARD_NEW_PASSWORD"));
        if (!code_.empty()) logon.setField(ONE_TIME_PASSWORD, code_);
        new_password_ = false;
        code_.clear();
    }

    FIX::SessionID id_;
    FIX::Dictionary own_;
    bool signed_ = false;
    bool new_password_ = false;
    int ahead_s_ = 0;
    std::string code_;
};

void send_order(const FIX::SessionID& session, const std::string& id, const std::string& side,
                const std::string& quantity, const std::string& price) {
    FIX::Message order;
    order.getHeader().setField(FIX::MsgType(FIX::MsgType_NewOrderSingle));
    order.setField(FIX::ClOrdID(id));
    order.setField(FIX::HandlInst('1'));
    order.setField(FIX::Symbol("GEZ6"));
    order.setField(FIX::FIELD::Side, side);
    order.setField(FIX::FIELD::OrderQty, quantity);
    order.setField(FIX::OrdType(FIX::OrdType_LIMIT));
    order.setField(FIX::FIELD::Price, price);
    order.setField(FIX::TimeInForce(FIX::TimeInForce_DAY));
    order.setField(FIX::TransactTime(FIX::UtcTimeStamp(), 3));
    FIX::Session::sendToTarget(order, session);
}

// One line of standard input; false for `quit`.
bool obey(const std::string& line, Client& client, FIX::SocketInitiator& initiator, bool& started) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    FIX::Session* session = FIX::Session::lookupSession(client.id());
    if (command == "logon") {
        session->logon();
        if (!started) initiator.start();
        started = true;
    } else if (command == "logout") {
        session->logout();
    } else if (command == "drop") {
        session->disconnect();
    } else if (command == "order") {
        std::string id, side, quantity, price;
        words >> id >> side >> quantity >> price;
        send_order(client.id(), id, side, quantity, price);
    } else if (command == "orders") {
        std::string prefix;
        long first = 0, last = -1;
        words >> prefix >> first >> last;
        for (long at = first; at <= last; ++at)
            send_order(client.id(), prefix + std::to_string(at), "1", "1", "101.25");
    } else if (command == "test") {
        FIX::Message request;
        std::string id;
        words >> id;
        request.getHeader().setField(FIX::MsgType(FIX::MsgType_TestRequest));
        request.setField(FIX::TestReqID(id));
        session->send(request);
    } else if (command == "reset") {
        FIX::Message logon;
        logon.getHeader().setField(FIX::MsgType(FIX::MsgType_Logon));
        logon.setField(FIX::HeartBtInt(30));
        logon.setField(FIX::ResetSeqNumFlag(true));
        session->send(logon);
    } else if (command == "numbers") {
        int out = 0, in = 0;
        if (words >> out >> in) {
            session->setNextSenderMsgSeqNum(out);
            session->setNextTargetMsgSeqNum(in);
        }
        tell("numbers", "next", "[" + std::to_string(session->getExpectedSenderNum()) + "," +
                                    std::to_string(session->getExpectedTargetNum()) + "]");
    } else if (command == "clock") {
        int seconds = 0;
        words >> seconds;
        client.clock_ahead(seconds);
    } else if (command == "code") {
        std::string code;
        words >> code;
        client.code(code);
    } else if (command == "new-password") {
        client.send_new_password();
    } else if (command != "quit") {
        tell("misuse", "line", quoted(line));
    }
    return command != "quit";
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::cerr << "usage: initiator SETTINGS" << std::endl;
        return 2;
    }
    try {
        FIX::SessionSettings settings(argv[1]);
        Client client(settings);
        FIX::FileStoreFactory store(settings);
        WireLogFactory log;
        FIX::SocketInitiator initiator(client, store, settings, log);
        FIX::Session::lookupSession(client.id())->logout();
        bool started = false;
        tell("ready");
        for (std::string line; std::getline(std::cin, line) && obey(line, client, initiator, started);) {
        }
        if (started) initiator.stop();
    } catch (const std::exception& fault) {
        std::cerr << fault.what() << std::endl;
        return 1;
    }
    return 0;
}
