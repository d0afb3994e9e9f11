#!/usr/bin/env python3
"""Logs in to Doorward over WebSocket and prints each answer as one line of JSON.

Needs `websockets`, `cryptography` and `pyotp` (requirements.txt). Passwords come from environment variables, so that
no list of processes shows them:

    DOORWARD_PASSWORD=... python3 login.py ws://127.0.0.1:8080/ trader1 --code 123456

Exit status: 0 logged in, 1 refused.
"""

import argparse
import base64
import datetime
import json
import os
import sys

import pyotp
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


class Refused(Exception):
    """The server said no; its answer has been printed."""


def ask(socket, **message):
    """Sends one message, prints its answer and gives it back."""
    socket.send(json.dumps(message))
    answer = json.loads(socket.recv(timeout=30))
    print(json.dumps(answer), flush=True)
    return answer


def wait_for_close(socket):
    """Reads until the server has closed, and prints the close code."""
    try:
        while True:
            print(json.dumps(json.loads(socket.recv(timeout=30))), flush=True)
    except ConnectionClosed as closed:
        print(json.dumps({"closed": closed.rcvd.code if closed.rcvd else 1006}), flush=True)


def encrypt(socket, *passwords):
    """Encrypts passwords with a fresh key; a key lives for about a minute, and a ciphertext counts once."""
    challenge = ask(socket, type="challenge")
    key = load_der_public_key(base64.b64decode(challenge["key"]))
    # PKCS#1 v1.5 is what the server takes unless the message says "padding": "OAEP-SHA256".
    sealed = [key.encrypt(password.encode("utf-8"), padding.PKCS1v15()) for password in passwords]
    return [base64.b64encode(one).decode("ascii") for one in sealed]


def code(options):
    """The one-time password: as given, or made from the authenticator's seed."""
    if options.code:
        return options.code
    if not options.seed_env:
        raise Refused("the server wants a one-time password: give --code or --seed-env")
    at = datetime.datetime.fromisoformat(options.at.replace("Z", "+00:00")) if options.at else None
    totp = pyotp.TOTP(os.environ[options.seed_env])
    return totp.at(at) if at else totp.now()


def login(socket, options, password):
    """Logs in, in as many steps as the server asks for; raises Refused."""
    request = {"type": "login", "userid": options.user, "pass": encrypt(socket, password)[0]}
    if options.one_step:
        request["2fatoken"] = code(options)
    answer = ask(socket, **request)
    if answer["result"] == "invalid user/password" or answer["result"] == "2fa registration required":
        wait_for_close(socket)
        raise Refused(answer["result"])
    if answer["result"] != "OK":
        raise Refused(answer["result"])

    change = answer.get("password") == "change required"
    if answer.get("2fa") == "required":
        answer = ask(socket, **{"type": "send2fatoken", "2fatoken": code(options)})
        if answer["result"] != "OK":
            raise Refused(answer["result"])
        change = change or answer.get("password") == "change required"

    if change:
        if not options.new_password_env:
            raise Refused("the password must be changed: give --new-password-env")
        present, new = encrypt(socket, password, os.environ[options.new_password_env])
        answer = ask(socket, **{"type": "adduser", "updateprof": True, "pass": present, "newpass": new})
        if answer["result"] != "OK":
            raise Refused(answer.get("reason", answer["result"]))


def session(options, password):
    """One connection: log in, show that it works, leave."""
    with connect(options.url) as socket:
        login(socket, options, password)
        ask(socket, type="ping")
        socket.send(json.dumps({"type": "logout"}))
        wait_for_close(socket)


def main():
    parser = argparse.ArgumentParser(description="Logs in to Doorward over WebSocket.")
    parser.add_argument("url", help="for example ws://127.0.0.1:8080/")
    parser.add_argument("user")
    parser.add_argument("--password-env", default="DOORWARD_PASSWORD", metavar="VAR")
    parser.add_argument("--code", help="one-time password")
    parser.add_argument("--seed-env", metavar="VAR", help="variable with the authenticator's seed in base32")
    parser.add_argument("--at", metavar="RFC3339", help="time that the code is made for, instead of now")
    parser.add_argument("--one-step", action="store_true", help="send the code with the login")
    parser.add_argument("--new-password-env", metavar="VAR", help="for when the password must be changed")
    parser.add_argument("--retry", metavar="VAR", help="after a refusal connect again with the password in VAR")
    options = parser.parse_args()

    try:
        try:
            session(options, os.environ[options.password_env])
        except Refused:
            if not options.retry:
                raise
            session(options, os.environ[options.retry])
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        return 1
    except (ConnectionClosed, OSError, TimeoutError) as fault:
        print(f"no connection: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
