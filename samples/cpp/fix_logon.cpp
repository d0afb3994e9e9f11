// Logs on over FIX with a signed Logon, sends an order and logs out; prints each message that arrives.
//
// Needs Crypto++ (Debian: libcrypto++-dev). The Secret Key comes from an environment variable, so that no list of
// processes shows it:
//
//     g++ -std=c++17 -O2 -o fix_logon fix_logon.cpp -lcryptopp
//     DOORWARD_SECRET_KEY=... ./fix_logon logon 127.0.0.1:9001 ABCFIRN OPERATOR ACCESSKEYID --seq 1
//     DOORWARD_SECRET_KEY=... ./fix_logon sign <a-logon.txt       # fields with | or SOH between them
//
// Exit status: 0 logged on and the order answered, 1 refused or no connection.

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "signature.hpp"

namespace {

constexpr char SOH = '\x01';
constexpr int WAIT_S = 30;
constexpr size_t MESSAGE_LEN_MAX = 1 << 20;

using Fields = std::map<int, std::string>;

// The server said no; its answer has been printed.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Fields by their tags. Enough for messages without repeating groups and data fields.
Fields parse(const std::string& text, char separator) {
    Fields fields;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find(separator, at), text.size());
        size_t equals = text.find('=', at);
        if (equals < end) fields[std::atoi(text.c_str() + at)] = text.substr(equals + 1, end - equals - 1);
        at = end + 1;
    }
    return fields;
}

std::string value_or(const Fields& fields, int tag, const std::string& otherwise) {
    auto found = fields.find(tag);
    return found == fields.end() ? otherwise : found->second;
}

std::string sign(const Fields& fields, const std::string& secret_key) {
    return doorward::signature(doorward::canonical([&](int tag) { return value_or(fields, tag, ""); }), secret_key);
}

// SendingTime: UTC with milliseconds.
std::string utc_now() {
    timeval now{};
    gettimeofday(&now, nullptr);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char text[32], whole[40];
    strftime(text, sizeof text, "%Y%m%d-%H:%M:%S", &parts);
    snprintf(whole, sizeof whole, "%s.%03d", text, static_cast<int>(now.tv_usec / 1000));
    return whole;
}

std::string check_sum(const std::string& bytes) {
    unsigned sum = 0;
    for (unsigned char byte : bytes) sum += byte;
    char text[4];
    snprintf(text, sizeof text, "%03u", sum % 256);
    return text;
}

// One connection and the numbers of its messages.
class Session {
  public:
    Session(const std::string& address, Fields identity, int next_out)
        : identity_(std::move(identity)), next_out_(next_out) {
        size_t colon = address.rfind(':');
        addrinfo* found = nullptr;
        addrinfo hints{};
        hints.ai_socktype = SOCK_STREAM;
        if (colon == std::string::npos ||
            getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(), &hints, &found) != 0)
            throw std::runtime_error("no such address: " + address);
        socket_ = socket(found->ai_family, SOCK_STREAM, 0);
        bool connected = socket_ >= 0 && connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
        freeaddrinfo(found);
        if (!connected) throw std::runtime_error("cannot connect to " + address);
        timeval wait{WAIT_S, 0};
        setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        int on = 1;
        setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() { close(socket_); }

    int next_out() const { return next_out_; }

    // One message; the header is the same for all of them. A Secret Key makes it a signed Logon.
    void send(const std::string& msg_type, const Fields& body, const std::string& access_key_id = "",
              const std::string& secret_key = "") {
        Fields fields = identity_;
        fields.insert(body.begin(), body.end());
        fields[34] = std::to_string(next_out_++);
        fields[52] = utc_now();
        if (!secret_key.empty()) {
            std::string signed_with = sign(fields, secret_key);
            fields[354] = std::to_string(access_key_id.size());
            fields[355] = access_key_id;
            fields[1400] = doorward::SCHEME;
            fields[1401] = std::to_string(signed_with.size());
            fields[1402] = signed_with;
        }
        // The header first: MsgType, then its other fields; the map keeps the body in the order of tags.
        static const std::vector<int> header = {34, 49, 50, 52, 56, 57, 142};
        std::string inner = "35=" + msg_type + SOH;
        for (int tag : header) inner += std::to_string(tag) + "=" + fields[tag] + SOH;
        for (const auto& [tag, value] : fields)
            if (std::find(header.begin(), header.end(), tag) == header.end())
                inner += std::to_string(tag) + "=" + value + SOH;
        std::string message = std::string("8=FIX.4.2") + SOH + "9=" + std::to_string(inner.size()) + SOH + inner;
        message += "10=" + check_sum(message) + SOH;
        for (size_t sent = 0; sent < message.size();) {
            ssize_t count = ::send(socket_, message.data() + sent, message.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) throw std::runtime_error("closed by the server");
            sent += static_cast<size_t>(count);
        }
    }

    // The next message of one of these types; Test Requests that come before it are answered.
    Fields receive(const std::vector<std::string>& wanted) {
        for (;;) {
            std::string text = next_message();
            Fields fields = parse(text, SOH);
            std::replace(text.begin(), text.end(), SOH, '|');
            std::cout << text << std::endl;
            if (std::find(wanted.begin(), wanted.end(), fields[35]) != wanted.end()) return fields;
            if (fields[35] == "1") send("0", {{112, fields[112]}});
            if (fields[35] == "5") throw Refused(value_or(fields, 58, "logged out"));
        }
    }

  private:
    // Cuts a message by its BodyLength and compares its CheckSum.
    std::string next_message() {
        for (;;) {
            size_t first = buffer_.find(SOH);
            size_t second = first == std::string::npos ? first : buffer_.find(SOH, first + 1);
            if (second != std::string::npos) {
                size_t length = std::strtoul(value_or(parse(buffer_.substr(0, second), SOH), 9, "x").c_str(), nullptr, 10);
                if (length == 0 || length > MESSAGE_LEN_MAX) throw std::runtime_error("not a FIX message: " + buffer_);
                size_t end = second + 1 + length + 7;
                if (buffer_.size() >= end) {
                    std::string message = buffer_.substr(0, end);
                    buffer_.erase(0, end);
                    if (message.substr(end - 7) != "10=" + check_sum(message.substr(0, end - 7)) + SOH)
                        throw std::runtime_error("wrong CheckSum: " + message);
                    return message;
                }
            }
            char more[65536];
            ssize_t count = recv(socket_, more, sizeof more, 0);
            if (count == 0) throw std::runtime_error("closed by the server");
            if (count < 0) throw std::runtime_error("no answer in time");
            buffer_.append(more, static_cast<size_t>(count));
        }
    }

    Fields identity_;
    int next_out_;
    int socket_ = -1;
    std::string buffer_;
};

// Log on, send an order, take its report, leave.
void logon(Session& session, const std::string& access_key_id, const std::string& secret_key) {
    session.send("A", {{108, "30"}, {1603, "Doorward sample"}, {1604, "1.0"}, {1605, "Doorward"}}, access_key_id,
                 secret_key);
    Fields answer = session.receive({"A", "5"});
    if (answer[35] == "5") throw Refused(value_or(answer, 58, "no reason"));
    // Nothing may be sent before the Logon is here; the server asks next whether we are alive.
    session.send("0", {{112, session.receive({"1"})[112]}});

    std::string order_id = "C" + std::to_string(session.next_out());
    session.send("D", {{11, order_id},
                       {21, "1"},
                       {38, "5"},
                       {40, "2"},
                       {44, "101.25"},
                       {54, "1"},
                       {55, "GEZ6"},
                       {59, "0"},
                       {60, utc_now()}});
    Fields report = session.receive({"8"});
    if (report[11] != order_id) throw Refused("a report of another order: " + report[11]);
    session.send("5", {});
    Fields farewell = session.receive({"5"});
    std::cout << "next: " << value_or(farewell, 789, std::to_string(session.next_out())) << std::endl;
}

int usage() {
    std::cerr << "usage: fix_logon sign <LOGON\n"
                 "       fix_logon logon HOST:PORT SENDERCOMPID OPERATOR ACCESSKEYID [--seq N] [--venue CME]\n"
                 "                 [--segment G] [--location US,IL]\n";
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    const char* variable = std::getenv("DOORWARD_SECRET_KEY");
    std::string secret_key = variable ? variable : "";
    if (words.size() == 1 && words[0] == "sign") {
        std::string text{std::istreambuf_iterator<char>(std::cin), {}};
        text.erase(text.find_last_not_of('\n') + 1);
        std::cout << sign(parse(text, text.find(SOH) == std::string::npos ? '|' : SOH), secret_key) << std::endl;
        return 0;
    }
    if (words.size() < 5 || words.size() % 2 == 0 || words[0] != "logon") return usage();
    std::map<std::string, std::string> options = {
        {"--seq", "1"}, {"--venue", "CME"}, {"--segment", "G"}, {"--location", "US,IL"}};
    for (size_t at = 5; at < words.size(); at += 2) options[words[at]] = words[at + 1];
    Fields identity = {{49, words[2]},
                       {50, words[3]},
                       {56, options["--venue"]},
                       {57, options["--segment"]},
                       {142, options["--location"]}};
    try {
        Session session(words[1], identity, std::atoi(options["--seq"].c_str()));
        logon(session, words[4], secret_key);
    } catch (const Refused& why) {
        std::cerr << "refused: " << why.what() << std::endl;
        return 1;
    } catch (const std::exception& fault) {
        std::cerr << "no connection: " << fault.what() << std::endl;
        return 1;
    }
    return 0;
}
