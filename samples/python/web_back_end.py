#!/usr/bin/env python3
"""The back end of a web site that signs its customers in with Doorward.

It keeps one connection to the WebSocket door, logged in as a service user, and has each customer verified over it. The
token that it gets is the customer's session cookie; so nothing of a session is kept here.

    DOORWARD_PASSWORD=... python3 web_back_end.py ws://127.0.0.1:8080/ web-backend --listen 127.0.0.1:3000

Needs `websockets` and `cryptography` (requirements.txt). Off loopback put TLS in front of it and say `--secure`: it
puts `Secure` on the cookie.
"""

import argparse
import base64
import http.server
import json
import math
import os
import pathlib
import re
import sys
import threading
import time

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_public_key
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

ANSWER_S = 30
RECONNECT_S_MIN, RECONNECT_S_MAX = 0.25, 30
TRIES, RETRY_S_MAX = 3, 2
BODY_BYTES_MAX = 4_096
UNDECIDED = ("busy", "try again later", "challenge required")
PAGE = pathlib.Path(__file__).resolve().parent.parent / "browser" / "sign_in.html"


def tell(**event):
    print(json.dumps(event), flush=True)


class Unavailable(Exception):
    """Doorward cannot be asked now."""

    def __init__(self, why, retry_s=1):
        super().__init__(why)
        self.retry_s = retry_s


class Refused(Unavailable):
    """The service user cannot log in."""


class Door:
    """The one connection to Doorward; whoever asks opens it again where it has gone."""

    def __init__(self, url, userid, password):
        self.url, self.userid, self.password = url, userid, password
        self.socket = None
        self.pause_s, self.not_before = RECONNECT_S_MIN, 0.0
        self.last_id = 0
        # One thing after the other, as the door decides them.
        self.lock = threading.Lock()

    def connect(self):
        """Connects and logs in, not too soon after a failure."""
        if time.monotonic() < self.not_before:
            raise Unavailable("not connected")
        try:
            self.socket = connect(self.url, open_timeout=ANSWER_S)
            answer = self.exchange({"type": "login", "userid": self.userid, "pass": self.encrypted(self.password)})
            if answer["result"] in UNDECIDED:
                raise Unavailable(answer["result"])
            if answer["result"] != "OK" or "password" in answer or "2fa" in answer:
                self.pause_s = RECONNECT_S_MAX  # each try would count
                raise Refused(f"the service user cannot log in: {answer}")
        except (OSError, WebSocketException, Unavailable) as why:
            self.drop()
            self.not_before = time.monotonic() + self.pause_s
            self.pause_s = min(2 * self.pause_s, RECONNECT_S_MAX)
            tell(door="unavailable", why=str(why))
            raise
        self.pause_s, self.not_before = RECONNECT_S_MIN, 0.0
        tell(door="connected")

    def drop(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def exchange(self, message):
        """Sends a message and waits for its answer."""
        self.last_id += 1
        self.socket.send(json.dumps({**message, "id": self.last_id}))
        while True:
            answer = json.loads(self.socket.recv(timeout=ANSWER_S))
            if answer.get("id") == self.last_id:
                return answer

    def encrypted(self, password):
        # A key lives for about a minute, and a ciphertext counts once: a fresh key each time is simplest.
        challenge = self.exchange({"type": "challenge"})
        if challenge["result"] != "OK":
            raise Unavailable(challenge["result"])
        key = load_der_public_key(base64.b64decode(challenge["key"]))
        # PKCS#1 v1.5 is what the server takes unless the message says "padding": "OAEP-SHA256".
        return base64.b64encode(key.encrypt(password.encode("utf-8"), padding.PKCS1v15())).decode("ascii")

    def ask(self, message, password=None):
        """Asks one thing; `password` is sent encrypted."""
        with self.lock:
            for tries in range(1, TRIES + 1):
                if self.socket is None:
                    self.connect()
                try:
                    sealed = {} if password is None else {"pass": self.encrypted(password)}
                    answer = self.exchange({**message, **sealed})
                except (OSError, WebSocketException) as why:
                    # It went away meanwhile. A code that it took all the same counts as used when it is asked again.
                    self.drop()
                    tell(door="closed", why=str(why))
                    continue
                if answer["result"] not in UNDECIDED:
                    return answer
                # Nothing was decided and nothing counted. Where it takes longer the customer waits, and nobody behind.
                retry_s = answer.get("retry_ms", 0) / 1_000
                if tries == TRIES or retry_s > RETRY_S_MAX:
                    raise Unavailable(answer["result"], max(1, math.ceil(retry_s)))
                time.sleep(retry_s)
        raise Unavailable("no decision")


def outcome(answer):
    """What to say to a customer whose login was verified, or was not."""
    refusals = {
        "invalid user/password": (401, "user or password is wrong"),
        "2fa token missing": (401, "code needed"),
        "invalid token": (401, "code is wrong or used"),
    }
    if answer["result"] != "OK":  # such as "permission denied": a right is missing
        return refusals.get(answer["result"], (500, "cannot sign anybody in"))
    if answer["active"] != "Y":
        return 403, "account is disabled"
    if "password" in answer:
        return 403, "change the password first"
    if "2fa" in answer:
        return 403, "register an authenticator first"
    return (200, "signed in") if "token" in answer else (500, "cannot sign anybody in")


class Handler(http.server.BaseHTTPRequestHandler):
    """One request of a customer's browser."""

    door = None
    secure = ""
    timeout = ANSWER_S

    def answer(self, status, body, cookie=None, retry_s=1):
        html = isinstance(body, bytes)
        content = body if html else json.dumps(body).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if html else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if status == 503:
            self.send_header("Retry-After", str(retry_s))
        if cookie is not None:
            token, max_age = cookie
            settings = f"Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{self.secure}"
            self.send_header("Set-Cookie", f"session={token}; {settings}")
        self.end_headers()
        self.wfile.write(content)

    def token(self):
        # Whatever other cookies there are, and however they are written.
        found = re.search(r"(?:^|;\s*)session=([\w-]+)", self.headers.get("Cookie", ""), re.ASCII)
        return found and found[1]

    def sign_in(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= BODY_BYTES_MAX:
            raise ValueError("too long")
        given = json.loads(self.rfile.read(length))
        # The customer's own address, so that wrong passwords hold back nobody else; behind a proxy, what that says.
        message = {"type": "verifylogin", "userid": str(given["userid"]), "gentoken": True}
        message["source"] = self.client_address[0]
        if given.get("code"):
            message["2fatoken"] = str(given["code"])
        answer = self.door.ask(message, str(given["password"]))
        status, result = outcome(answer)
        if status != 200:
            return self.answer(status, {"result": result})
        cookie = (answer["token"], max(0, int(answer["expires"] / 1_000 - time.time())))
        return self.answer(200, {"result": result, "userid": answer["userid"]}, cookie)

    def who(self):
        token = self.token()
        answer = self.door.ask({"type": "checktoken", "token": token}) if token else {"result": "invalid token"}
        if answer["result"] != "OK":
            return self.answer(401, {"result": "not signed in"}, ("", 0))
        return self.answer(200, {"userid": answer["userid"], "expires": answer["expires"]})

    def sign_out(self):
        if token := self.token():
            self.door.ask({"type": "revoketoken", "token": token})
        return self.answer(200, {"result": "signed out"}, ("", 0))

    def serve(self, routes):
        try:
            route = routes.get(self.path, lambda: self.answer(404, {"result": "nothing here"}))
            route()
        except Unavailable as why:
            self.answer(503, {"result": "try again in a moment"}, retry_s=why.retry_s)
        except (OSError, WebSocketException):
            self.answer(503, {"result": "try again in a moment"})
        except (ValueError, KeyError, TypeError):
            self.answer(400, {"result": "not understood"})

    def do_GET(self):
        self.serve({"/": lambda: self.answer(200, PAGE.read_bytes()), "/me": self.who})

    def do_POST(self):
        routes = {"/sign-in": self.sign_in, "/sign-out": self.sign_out}
        # JSON alone: no other site's form can send that.
        if self.headers.get("Content-Type", "").split(";")[0].strip().lower() != "application/json":
            routes = dict.fromkeys(routes, lambda: self.answer(415, {"result": "send application/json"}))
        self.serve(routes)

    def log_message(self, *_):
        """Says nothing."""


def main():
    parser = argparse.ArgumentParser(description="A web back end that signs customers in with Doorward.")
    parser.add_argument("url", help="for example ws://127.0.0.1:8080/")
    parser.add_argument("userid", help="the service user; its password is in DOORWARD_PASSWORD")
    parser.add_argument("--listen", default="127.0.0.1:3000", metavar="HOST:PORT")
    parser.add_argument("--secure", action="store_true", help="the cookie is for https alone")
    options = parser.parse_args()
    Handler.secure = "; Secure" if options.secure else ""
    Handler.door = Door(options.url, options.userid, os.environ["DOORWARD_PASSWORD"])
    try:
        with Handler.door.lock:
            Handler.door.connect()
    except Refused as why:
        print(why, file=sys.stderr)
        return 1
    except (OSError, WebSocketException, Unavailable):
        pass  # the first customer tries again
    host, port = options.listen.rsplit(":", 1)
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    tell(listening=f"http://{host}:{server.server_address[1]}/")
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
