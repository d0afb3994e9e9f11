// The limit: the least program that could do a FIX gateway's job. One thread, one epoll loop: accept, read, cut,
// compare the Logon's HMAC, append to a file, one fdatasync for everything that a turn of the loop has brought, answer.
//
//     g++ -std=c++17 -O2 -Wno-deprecated-declarations -o bare_fix bare_fix.cc -lcrypto
//     bare_fix PORT FOLDER KEYS           KEYS: lines of `ACCESSKEYID SECRETKEY`
//     bare_fix --hmac                     nanoseconds of one HMAC over a canonical message
//
// What it leaves out is what a gateway is for: policies, weeks, replays, resends, gaps, limits, a readable audit trail.
// Its numbers go on from connection to connection, so that a real client can be its peer. It prints a line once it
// listens and runs until it is told to end.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

constexpr int SIGNED[] = {34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605};

constexpr char SOH = '\x01';
constexpr size_t BUFFER = 64 * 1024;
constexpr size_t SEGMENT = 64 * 1024 * 1024;

[[noreturn]] void fail(const char* what) {
    perror(what);
    exit(1);
}

// A session's numbers: the next one each way.
struct Stream {
    std::string comp_id, operator_id;
    unsigned long in = 1, out = 1;
};

// What differs from message to message; most of a connection is its file descriptor.
struct Connection {
    explicit Connection(int descriptor) : fd(descriptor) {}
    int fd;
    Stream* stream = nullptr;
    std::string partial;  // the beginning of a message whose end has not come
    std::string output;   // waits for the turn's commit
    bool closing = false;
    bool listed = false;
};

// The values of the tags that anybody here looks at, found in one pass.
struct Fields {
    static constexpr int TAGS[] = {11, 34, 35, 38, 49, 50, 52, 54, 55, 57, 108, 112, 142, 355, 369, 1402, 1603, 1604, 1605};
    std::string_view values[1606];
    void read(std::string_view message) {
        for (int tag : TAGS) values[tag] = {};
        const char* at = message.data();
        const char* end = at + message.size();
        while (at < end) {
            int tag = 0;
            for (; at < end && *at >= '0' && *at <= '9'; ++at) tag = tag * 10 + (*at - '0');
            const char* value = at + 1;
            const char* stop = static_cast<const char*>(memchr(value, SOH, static_cast<size_t>(end - value)));
            if (!stop) return;
            if (tag < 1606) values[tag] = {value, static_cast<size_t>(stop - value)};
            at = stop + 1;
        }
    }
    std::string_view operator[](int tag) const { return values[tag]; }
};

// 43 characters of base64url to 32 bytes.
bool decode(std::string_view text, unsigned char* out) {
    if (text.size() != 43) return false;
    unsigned bits = 0, held = 0;
    for (unsigned char one : text) {
        int value = one >= 'A' && one <= 'Z'   ? one - 'A'
                    : one >= 'a' && one <= 'z' ? one - 'a' + 26
                    : one >= '0' && one <= '9' ? one - '0' + 52
                    : one == '-'               ? 62
                    : one == '_'               ? 63
                                               : -1;
        if (value < 0) return false;
        bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffffff;
        held += 6;
        if (held >= 8) *out++ = static_cast<unsigned char>(bits >> (held -= 8));
    }
    return true;
}

// HMAC-SHA256 whose key was hashed once: what is left is the least that each Logon costs.
class Hmac {
  public:
    explicit Hmac(const unsigned char* key) {
        for (auto [state, pad] : {std::pair{&inner_, 0x36}, std::pair{&outer_, 0x5c}}) {
            unsigned char block[64];
            for (int at = 0; at < 64; ++at) block[at] = static_cast<unsigned char>((at < 32 ? key[at] : 0) ^ pad);
            SHA256_Init(state);
            SHA256_Update(state, block, sizeof block);
        }
    }
    void compute(std::string_view message, unsigned char* digest) const {
        SHA256_CTX state = inner_;
        SHA256_Update(&state, message.data(), message.size());
        SHA256_Final(digest, &state);
        state = outer_;
        SHA256_Update(&state, digest, 32);
        SHA256_Final(digest, &state);
    }

  private:
    SHA256_CTX inner_, outer_;
};

// The file that everything is written to before it is answered: pre-zeroed, so that a sync moves no metadata.
class Journal {
  public:
    explicit Journal(std::string folder) : folder_(std::move(folder)) { next_segment(); }
    void append(std::string_view record) { batch_.append(record); }
    void commit() {
        if (batch_.empty()) return;
        if (at_ + batch_.size() > SEGMENT) next_segment();
        if (pwrite(file_, batch_.data(), batch_.size(), static_cast<off_t>(at_)) != static_cast<ssize_t>(batch_.size()))
            fail("journal");
        if (fdatasync(file_) != 0) fail("fdatasync");
        at_ += batch_.size();
        batch_.clear();
    }

  private:
    void next_segment() {
        if (file_ >= 0) close(file_);
        std::string path = folder_ + "/bare-" + std::to_string(count_++);
        file_ = open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
        if (file_ < 0) fail(path.c_str());
        std::vector<char> zeros(1 << 20);
        for (size_t at = 0; at < SEGMENT; at += zeros.size())
            if (write(file_, zeros.data(), zeros.size()) < 0) fail(path.c_str());
        if (fsync(file_) != 0) fail(path.c_str());
        at_ = 0;
    }
    std::string folder_, batch_;
    int file_ = -1, count_ = 0;
    size_t at_ = 0;
};

class Server {
  public:
    Server(int port, const std::string& folder, const std::string& keys) : journal_(folder) {
        std::ifstream file(keys);
        for (std::string id, secret; file >> id >> secret;) {
            unsigned char key[33];
            if (!decode(secret, key)) fail("a Secret Key");
            keys_.emplace(id, Hmac(key));
        }
        rlimit most{};
        getrlimit(RLIMIT_NOFILE, &most);
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
        listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int on = 1;
        setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        // Connections inherit it.
        setsockopt(listener_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("bind");
        if (listen(listener_, 4096) != 0) fail("listen");
        epoll_ = epoll_create1(0);
        watch(listener_, nullptr);
        std::cout << "listening on " << port << std::endl;
    }

    void run() {
        epoll_event events[1024];
        for (;;) {
            int count = epoll_wait(epoll_, events, 1024, -1);
            tell_time();
            for (int at = 0; at < count; ++at) {
                auto* connection = static_cast<Connection*>(events[at].data.ptr);
                if (connection) take(*connection);
                else accept_all();
            }
            journal_.commit();
            for (Connection* connection : answered_) answer(*connection);
            answered_.clear();
        }
    }

  private:
    void watch(int fd, Connection* connection) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = connection;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
    }

    void accept_all() {
        for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) watch(fd, new Connection(fd));
    }

    // The time of this turn, for 52 of everything that it answers.
    void tell_time() {
        timespec now{};
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec != second_) {
            tm parts{};
            gmtime_r(&now.tv_sec, &parts);
            strftime(time_, sizeof time_, "%Y%m%d-%H:%M:%S.", &parts);
            second_ = now.tv_sec;
        }
        int ms = static_cast<int>(now.tv_nsec / 1000000) % 1000;
        for (int at = 20, rest = ms; at >= 18; --at, rest /= 10) time_[at] = static_cast<char>('0' + rest % 10);
    }

    void take(Connection& connection) {
        ssize_t count = recv(connection.fd, buffer_, BUFFER, 0);
        if (count <= 0) return end(connection);
        std::string_view bytes(buffer_, static_cast<size_t>(count));
        if (!connection.partial.empty()) {
            connection.partial.append(bytes);
            bytes = connection.partial;
        }
        while (size_t length = cut(bytes)) {
            fields_.read(bytes.substr(0, length));
            handle(connection, bytes.substr(0, length));
            bytes.remove_prefix(length);
        }
        std::string rest(bytes);
        connection.partial = std::move(rest);
        if (!connection.listed && (!connection.output.empty() || connection.closing)) {
            connection.listed = true;
            answered_.push_back(&connection);
        }
    }

    // The length of the first message, 0 where it is not whole.
    static size_t cut(std::string_view bytes) {
        constexpr size_t BEGIN = 12;  // 8=FIX.4.2 SOH 9=
        if (bytes.size() < BEGIN + 2) return 0;
        size_t at = BEGIN, length = 0;
        for (; at < bytes.size() && bytes[at] != SOH; ++at) length = length * 10 + static_cast<size_t>(bytes[at] - '0');
        size_t whole = at + 1 + length + 7;
        if (at == bytes.size() || bytes.size() < whole) return 0;
        unsigned sum = 0;
        for (size_t one = 0; one < whole - 7; ++one) sum += static_cast<unsigned char>(bytes[one]);
        const char* given = bytes.data() + whole - 4;
        unsigned stated = static_cast<unsigned>((given[0] - '0') * 100 + (given[1] - '0') * 10 + (given[2] - '0'));
        if (sum % 256 != stated) std::cerr << "wrong CheckSum" << std::endl;
        return whole;
    }

    void handle(Connection& connection, std::string_view message) {
        switch (fields_[35].empty() ? ' ' : fields_[35][0]) {
            case 'A': return logon(connection);
            case 'D': return order(connection, message);
            case '1':
                ++connection.stream->in;
                return send(connection, "0", [&] { put(112, fields_[112]); });
            case '5':
                ++connection.stream->in;
                connection.closing = true;
                return send(connection, "5", [&] { put(789, connection.stream->in); });
            default: ++connection.stream->in;
        }
    }

    void logon(Connection& connection) {
        auto key = keys_.find(std::string(fields_[355]));
        canonical_.clear();
        for (int tag : SIGNED) {
            if (tag != 34) canonical_ += '\n';
            canonical_ += fields_[tag];
        }
        unsigned char digest[32], stated[33];
        if (key == keys_.end()) return refuse(connection);
        key->second.compute(canonical_, digest);
        if (!decode(fields_[1402], stated) || memcmp(digest, stated, 32) != 0) return refuse(connection);
        Stream& stream = streams_[std::string(fields_[49])];
        stream.comp_id = fields_[49];
        stream.operator_id = fields_[50];
        stream.in = std::strtoul(fields_[34].data(), nullptr, 10) + 1;
        connection.stream = &stream;
        // What an audit record and both numbers take at least.
        journal_.append(canonical_);
        journal_.append(std::string_view(reinterpret_cast<char*>(digest), 32));
        journal_.append(std::string_view(reinterpret_cast<char*>(&stream.in), 16));
        send(connection, "A", [&] {
            for (int tag : {108, 1603, 1604, 1605}) put(tag, fields_[tag]);
        });
        send(connection, "1", [&] { put(112, std::string_view("logon")); });
    }

    void refuse(Connection& connection) {
        static Stream nobody;
        connection.stream = &nobody;
        connection.closing = true;
        send(connection, "5", [&] { put(58, std::string_view("Invalid Logon. Logout Forced")); });
    }

    void order(Connection& connection, std::string_view message) {
        journal_.append(message);
        ++connection.stream->in;
        size_t from = connection.output.size();
        send(connection, "8", [&] {
            ++count_;
            put(6, std::string_view("0"));
            put(11, fields_[11]);
            put(14, std::string_view("0"));
            put(17, count_);
            put(20, std::string_view("0"));
            put(37, count_);
            put(38, fields_[38]);
            put(39, std::string_view("0"));
            put(54, fields_[54]);
            put(55, fields_[55]);
            put(150, std::string_view("0"));
            put(151, fields_[38]);
        });
        journal_.append(std::string_view(connection.output).substr(from));
    }

    template <typename Body>
    void send(Connection& connection, std::string_view msg_type, Body body) {
        Stream& stream = *connection.stream;
        body_.clear();
        put(35, msg_type);
        put(34, stream.out++);
        put(49, std::string_view("CME"));
        put(50, std::string_view("G"));
        put(52, std::string_view(time_, 21));
        put(56, std::string_view(stream.comp_id));
        put(57, std::string_view(stream.operator_id));
        body();
        size_t from = connection.output.size();
        connection.output += "8=FIX.4.2\0019=";
        connection.output += std::to_string(body_.size());
        connection.output += SOH;
        connection.output += body_;
        unsigned sum = 0;
        for (size_t at = from; at < connection.output.size(); ++at) sum += static_cast<unsigned char>(connection.output[at]);
        char trailer[] = {'1', '0', '=', char('0' + sum % 256 / 100), char('0' + sum % 256 / 10 % 10), char('0' + sum % 256 % 10), SOH};
        connection.output.append(trailer, sizeof trailer);
    }

    void put(int tag, std::string_view value) {
        if (value.empty()) return;
        body_ += std::to_string(tag);
        body_ += '=';
        body_ += value;
        body_ += SOH;
    }
    void put(int tag, unsigned long value) { put(tag, std::string_view(std::to_string(value))); }

    void answer(Connection& connection) {
        connection.listed = false;
        ssize_t sent = ::send(connection.fd, connection.output.data(), connection.output.size(), MSG_NOSIGNAL);
        // A client of a measurement reads; one that does not is dropped.
        if (sent != static_cast<ssize_t>(connection.output.size()) || connection.closing) return end(connection);
        connection.output.clear();
        if (connection.output.capacity() > 4096) connection.output.shrink_to_fit();
    }

    void end(Connection& connection) {
        if (connection.listed) answered_.erase(std::remove(answered_.begin(), answered_.end(), &connection), answered_.end());
        close(connection.fd);
        delete &connection;
    }

    Journal journal_;
    std::unordered_map<std::string, Hmac> keys_;
    std::unordered_map<std::string, Stream> streams_;
    std::vector<Connection*> answered_;
    Fields fields_;
    std::string canonical_, body_;
    char buffer_[BUFFER], time_[32] = {};
    time_t second_ = 0;
    unsigned long count_ = 0;
    int listener_ = -1, epoll_ = -1;
};

int bare_hmac() {
    std::string message = "1\nABCFIRN\nOPERATOR\n20261121-14:48:42.855\nG\n30\nUS,IL\n\nDoorward load\n1.0\nDoorward";
    unsigned char key[32] = {7}, digest[32];
    Hmac hmac(key);
    constexpr int TIMES = 1000000;
    auto cpu_ns = [] {
        timespec now{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
    };
    double began = cpu_ns();
    for (int at = 0; at < TIMES; ++at) {
        hmac.compute(message, digest);
        message[0] = static_cast<char>('0' + digest[0] % 10);
    }
    std::cout << (cpu_ns() - began) / TIMES << " ns" << std::endl;
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--hmac") return bare_hmac();
    if (argc != 4) {
        std::cerr << "usage: bare_fix PORT FOLDER KEYS | bare_fix --hmac" << std::endl;
        return 2;
    }
    auto server = std::make_unique<Server>(std::atoi(argv[1]), argv[2], argv[3]);
    server->run();
}
