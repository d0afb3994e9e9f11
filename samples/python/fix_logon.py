#!/usr/bin/env python3
"""Logs on over FIX with a signed Logon, sends an order and logs out; prints each message that arrives.

Needs nothing but Python. The Secret Key comes from an environment variable, so that no list of processes shows it:

    DOORWARD_SECRET_KEY=... python3 fix_logon.py logon 127.0.0.1:9001 ABCFIRN OPERATOR ACCESSKEYID --seq 1
    DOORWARD_SECRET_KEY=... python3 fix_logon.py sign <a-logon.txt       # fields with | or SOH between them

Exit status: 0 logged on and the order answered, 1 refused or no connection.
"""

import argparse
import base64
import datetime
import hashlib
import hmac
import os
import re
import socket
import sys

SOH = "\x01"
SIGNED = ("34", "49", "50", "52", "57", "108", "142", "369", "1603", "1604", "1605")
WAIT_S = 30


class Refused(Exception):
    """The server said no; its answer has been printed."""


def canonical(fields):
    """What is signed: these values, one a line; a field that is not in the message is an empty line."""
    return "\n".join(fields.get(tag, "") for tag in SIGNED)


def signature(fields, secret_key):
    """HMAC-SHA256 with the decoded Secret Key, in base64url without padding: 43 characters."""
    key = base64.urlsafe_b64decode(secret_key + "=" * (-len(secret_key) % 4))
    digest = hmac.new(key, canonical(fields).encode("utf-8"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def utc_now():
    """SendingTime: UTC with milliseconds."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]


class Session:
    """One connection and the numbers of its messages."""

    def __init__(self, options):
        host, port = options.address.rsplit(":", 1)
        self.options = options
        self.next_out = options.seq
        self.buffer = b""
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT_S)

    def send(self, msg_type, body=(), sign_with=None):
        """One message; the header is the same for all of them."""
        options = self.options
        header = {
            "34": str(self.next_out),
            "49": options.sender,
            "50": options.operator,
            "52": utc_now(),
            "56": options.venue,
            "57": options.segment,
            "142": options.location,
        }
        body = dict(body)
        if sign_with:
            signed = signature({**header, **body}, sign_with)
            body |= {"354": str(len(options.access_key_id)), "355": options.access_key_id}
            body |= {"1400": "CME-1-SHA-256", "1401": str(len(signed)), "1402": signed}
        inner = "".join(f"{tag}={value}{SOH}" for tag, value in {"35": msg_type, **header, **body}.items())
        message = f"8=FIX.4.2{SOH}9={len(inner.encode())}{SOH}{inner}".encode()
        self.socket.sendall(message + f"10={sum(message) % 256:03}{SOH}".encode())
        self.next_out += 1

    def receive(self, *wanted):
        """The next message of one of these types; Test Requests that come before it are answered."""
        while True:
            text = self.next_message()
            print(text.replace(SOH, "|"), flush=True)
            # Enough for messages without repeating groups and data fields.
            fields = dict(field.split("=", 1) for field in text.split(SOH) if field)
            if fields["35"] in wanted:
                return fields
            if fields["35"] == "1":
                self.send("0", {"112": fields["112"]})
            elif fields["35"] == "5":
                raise Refused(fields.get("58", "logged out"))

    def next_message(self):
        """Cuts a message by its BodyLength and compares its CheckSum."""
        while not (head := re.match(rb"8=FIX\.4\.2\x019=(\d+)\x01", self.buffer)) or len(self.buffer) < (
            end := head.end() + int(head[1]) + 7
        ):
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("closed by the server")
            self.buffer += more
        message, self.buffer = self.buffer[:end], self.buffer[end:]
        if message[-7:] != f"10={sum(message[:-7]) % 256:03}{SOH}".encode():
            raise ConnectionError(f"wrong CheckSum: {message!r}")
        return message.decode("utf-8")


def logon(options, secret_key):
    """One connection: log on, send an order, take its report, leave."""
    session = Session(options)
    with session.socket:
        software = {"1603": "Doorward sample", "1604": "1.0", "1605": "Doorward"}
        session.send("A", {"108": "30", **software}, sign_with=secret_key)
        answer = session.receive("A", "5")
        if answer["35"] == "5":
            raise Refused(answer.get("58", "no reason"))
        # Nothing may be sent before the Logon is here; the server asks next whether we are alive.
        session.send("0", {"112": session.receive("1")["112"]})
        order_id = f"P{session.next_out}"
        limit = {"40": "2", "44": "101.25", "59": "0", "60": utc_now()}
        session.send("D", {"11": order_id, "21": "1", "55": "GEZ6", "54": "1", "38": "5", **limit})
        report = session.receive("8")
        if report["11"] != order_id:
            raise Refused(f"a report of another order: {report['11']}")
        session.send("5")
        farewell = session.receive("5")
        print(f"next: {farewell.get('789', session.next_out)}")


def main():
    parser = argparse.ArgumentParser(description="Logs on to Doorward over FIX with a signed Logon.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sign", help="read the fields of a Logon and print its signature")
    connect = commands.add_parser("logon", help="log on, send an order, log out")
    connect.add_argument("address", help="HOST:PORT")
    connect.add_argument("sender", help="SenderCompID: Session ID, Firm ID, N")
    connect.add_argument("operator", help="operator ID (SenderSubID)")
    connect.add_argument("access_key_id")
    connect.add_argument("--seq", type=int, default=1, help="our next MsgSeqNum; 1 at the beginning of the week")
    connect.add_argument("--venue", default="CME", help="TargetCompID")
    connect.add_argument("--segment", default="G", help="TargetSubID: G, or the market segment of an MSGW")
    connect.add_argument("--location", default="US,IL", help="SenderLocationID")
    options = parser.parse_args()
    secret_key = os.environ["DOORWARD_SECRET_KEY"]

    if options.command == "sign":
        text = sys.stdin.read().strip("\n")
        fields = re.split(SOH if SOH in text else r"\|", text)
        print(signature(dict(field.split("=", 1) for field in fields if field), secret_key))
        return 0
    try:
        logon(options, secret_key)
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        return 1
    except OSError as fault:
        print(f"no connection: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
