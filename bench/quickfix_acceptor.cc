// The peer: a QuickFIX acceptor that answers an order (D) with an Execution Report (8) and does nothing else.
//
//     g++ -std=c++14 -O2 -Wno-deprecated -Wno-deprecated-declarations -o quickfix_acceptor quickfix_acceptor.cc -lquickfix
//     quickfix_acceptor PORT memory|FOLDER SENDERCOMPID...
//
// FOLDER is for its FileStore, which never syncs: after a power cut it may have forgotten what it has answered. It
// checks no signature, keeps no audit trail and writes no log. Prints a line once it listens, and ends with SIGTERM.

#include <quickfix/FileStore.h>
#include <quickfix/Session.h>
#include <quickfix/SessionSettings.h>
#include <quickfix/SocketAcceptor.h>

#include <csignal>
#include <ctime>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

namespace {

const char* const DAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

class Venue : public FIX::NullApplication {
  public:
    void fromApp(const FIX::Message& order, const FIX::SessionID& session)
        throw(FIX::FieldNotFound, FIX::IncorrectDataFormat, FIX::IncorrectTagValue, FIX::UnsupportedMessageType)
            override {
        FIX::Message report;
        report.getHeader().setField(FIX::MsgType(FIX::MsgType_ExecutionReport));
        std::string number = std::to_string(++count_);
        report.setField(FIX::OrderID(number));
        report.setField(FIX::ExecID(number));
        report.setField(FIX::ExecTransType('0'));
        report.setField(FIX::ExecType('0'));
        report.setField(FIX::OrdStatus('0'));
        for (int tag : {FIX::FIELD::ClOrdID, FIX::FIELD::Symbol, FIX::FIELD::Side, FIX::FIELD::OrderQty})
            report.setField(tag, order.getField(tag));
        report.setField(FIX::FIELD::LeavesQty, order.getField(FIX::FIELD::OrderQty));
        report.setField(FIX::CumQty(0));
        report.setField(FIX::AvgPx(0));
        FIX::Session::sendToTarget(report, session);
    }

  private:
    long count_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::cerr << "usage: quickfix_acceptor PORT memory|FOLDER SENDERCOMPID..." << std::endl;
        return 2;
    }
    std::string store_in = argv[2];
    std::ostringstream text;
    // A week without a gap that ends in three days, so that no session ends in the middle of a measurement.
    std::time_t now = std::time(nullptr);
    std::string day = DAYS[(std::gmtime(&now)->tm_wday + 3) % 7];
    text << "[DEFAULT]\nConnectionType=acceptor\nBeginString=FIX.4.2\nSenderCompID=CME\nSocketAcceptPort=" << argv[1]
         << "\nSocketReuseAddress=Y\nSocketNodelay=Y\nStartTime=00:00:00\nEndTime=00:00:00\nStartDay="
         << day << "\nEndDay=" << day << "\nUseDataDictionary=N\nCheckLatency=N\nFileStorePath=" << store_in << "\n";
    for (int at = 3; at < argc; ++at) text << "[SESSION]\nTargetCompID=" << argv[at] << "\n";

    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);
    try {
        std::istringstream input(text.str());
        FIX::SessionSettings settings(input);
        Venue venue;
        std::unique_ptr<FIX::MessageStoreFactory> store;
        if (store_in == "memory") store.reset(new FIX::MemoryStoreFactory);
        else store.reset(new FIX::FileStoreFactory(settings));
        FIX::SocketAcceptor acceptor(venue, *store, settings);
        acceptor.start();
        std::cout << "listening on " << argv[1] << std::endl;
        int ended = 0;
        sigwait(&ends, &ended);
        acceptor.stop(true);
    } catch (const std::exception& fault) {
        std::cerr << fault.what() << std::endl;
        return 1;
    }
    return 0;
}
