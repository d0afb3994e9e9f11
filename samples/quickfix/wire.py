#!/usr/bin/env python3
"""Records what goes over a connection, writes it as a capture file, and lets tshark's FIX dissector read that.

    python3 wire.py CAPTURE.pcap PORT...        judge a capture file

Nothing is captured from a network, so nothing here needs rights: the recorder is a relay between client and server.
"""

import ipaddress
import itertools
import re
import socket
import struct
import subprocess
import sys
import threading
import time

TSHARK_S_MAX = 120
SEGMENT_LEN_MAX = 32 * 1024
RAW_IP = 101
SERVER = ipaddress.ip_address("127.0.0.1")
CLIENTS_FROM = ipaddress.ip_address("127.1.0.0")
SYN, PUSH, ACK = 0x02, 0x08, 0x10


class Capture:
    """TCP conversations in a capture file of libpcap's format, made up around the bytes that they carried."""

    def __init__(self, path):
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, RAW_IP))
        self.held = threading.Lock()
        self.count = itertools.count(1)

    def client(self):
        """An address that no other conversation has: ports come again, and tshark takes the later for the earlier."""
        return CLIENTS_FROM + next(self.count)

    def packet(self, ends, numbers, flags, payload=b""):
        """One packet from `ends[0]` to `ends[1]`, which are addresses with ports; `numbers` are its SEQ and ACK."""
        ((from_host, source), (to_host, target)), (seq, ack) = ends, numbers
        tcp = struct.pack(">HHIIBBHHH", source, target, seq, ack, 5 << 4, flags, 65535, 0, 0) + payload
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, socket.IPPROTO_TCP, 0)
        data = head + from_host.packed + to_host.packed + tcp
        now = time.time()
        with self.held:
            if self.file.closed:
                return  # The last words of a connection that goes down with the recorder.
            self.file.write(struct.pack("<IIII", int(now), int(now % 1 * 1e6), len(data), len(data)) + data)

    def close(self):
        """No more packets."""
        with self.held:
            self.file.close()


class Conversation:
    """One connection in a capture: who has sent how much."""

    def __init__(self, capture, client_port, server_port):
        self.capture = capture
        self.ends = client, server = (capture.client(), client_port), (SERVER, server_port)
        self.sent = [1, 1]
        self.held = threading.Lock()
        capture.packet((client, server), (0, 0), SYN)
        capture.packet((server, client), (0, 1), SYN | ACK)
        capture.packet((client, server), (1, 1), ACK)

    def carried(self, side, data):
        """Bytes from the client (side 0) or from the server (side 1)."""
        with self.held:
            for at in range(0, len(data), SEGMENT_LEN_MAX):
                part = data[at : at + SEGMENT_LEN_MAX]
                ends = (self.ends[side], self.ends[1 - side])
                self.capture.packet(ends, (self.sent[side], self.sent[1 - side]), PUSH | ACK, part)
                self.sent[side] = (self.sent[side] + len(part)) % (1 << 32)


class Recorder:
    """A relay on a port of its own that writes down everything; `bytes_out` is what the server has sent."""

    def __init__(self, path, host, port):
        self.path = path
        self.target = (host, port)
        self.capture = Capture(path)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, address = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += [client, server]
            talk = Conversation(self.capture, address[1], self.port)
            threading.Thread(target=self._relay, args=(talk, 0, client, server), daemon=True).start()
            threading.Thread(target=self._relay, args=(talk, 1, server, client), daemon=True).start()

    @staticmethod
    def _relay(talk, side, source, target):
        try:
            while data := source.recv(65536):
                talk.carried(side, data)
                target.sendall(data)
        except OSError:
            pass  # One of them is gone; so is the connection.
        for end in (target, source):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        """Ends the relay and its file."""
        self.listener.close()
        for end in self.connections:
            try:
                # A thread that reads would keep it open behind our back.
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It is gone already.
            end.close()
        self.capture.close()


def messages(data):
    """How many FIX messages begin in these bytes."""
    return len(re.findall(rb"8=FIX(?:T)?\.\d\.\d\x019=\d+\x01", data))


def judge(path, ports):
    """Lets tshark read a capture; gives the number of FIX messages, raises AssertionError for anything it minds."""
    as_fix = [word for port in ports for word in ("-d", f"tcp.port=={port},fix")]
    columns = ["frame.number", "tcp.payload", "fix.BeginString", "fix.checksum_bad", "_ws.malformed", "_ws.expert.message"]
    fields = [word for column in columns for word in ("-e", column)]
    # Two passes: a message in two segments is counted where it ends. Every CheckSum is computed.
    words = ["tshark", "-n", "-2", "-r", str(path), *as_fix, "-T", "fields", "-E", "separator=/t", *fields]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TSHARK_S_MAX)
    assert done.returncode == 0, f"tshark ended with {done.returncode}: {done.stderr}"
    seen, payloads, complaints = 0, bytearray(), []
    for line in done.stdout.splitlines():
        number, payload, begins, bad, malformed, expert = (line + "\t" * 5).split("\t")[:6]
        payloads += bytes.fromhex(payload.split(",")[0].replace(":", ""))
        seen += len([one for one in begins.split(",") if one])
        if "1" in bad.split(",") or "True" in bad.split(",") or malformed or fix_complaint(expert):
            complaints.append(f"frame {number}: CheckSum {bad!r}, malformed {malformed!r}, {expert!r}")
    assert not complaints, f"{path}: " + "\n".join(complaints)
    return seen, messages(bytes(payloads))


def fix_complaint(expert):
    """Whether an expert's remark is about more than the beginning of a connection."""
    remarks = [one for one in expert.split(",") if one]
    return [one for one in remarks if not one.startswith("Connection establish")]


def main():
    path, *ports = sys.argv[1:]
    seen, cut = judge(path, [int(port) for port in ports])
    print(f"{path}: {seen} FIX messages read without a complaint, {cut} in the bytes")
    return 0 if seen == cut else 1


if __name__ == "__main__":
    sys.exit(main())
