"""Sample back ends of web sites: how they are run, and what their customers must be told."""

import http.client
import itertools
import json
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

from demo import BINARY, CLIENT_S_MAX, HERE, INSTALLED, STOP_S_MAX, add_user, command, oathtool, pyotp

WRONG_PASSWORD = "not the right one at all 1"
INITIAL = "handed over on paper 31"
SERVICE = "web-backend"
ADDRESSES = (f"127.3.{n // 200}.{n % 200 + 1}" for n in itertools.count())


class Relay:
    """A TCP relay in front of the door, which can be cut and comes back at the same address."""

    def __init__(self, url):
        door = urllib.parse.urlsplit(url)
        self.door = (door.hostname, door.port)
        self.port, self.pairs, self.listener = 0, [], None
        self.restore()
        self.url = f"ws://127.0.0.1:{self.port}/"

    def restore(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self.door)
            except OSError:
                return
            self.pairs.append((near, far))
            threading.Thread(target=self._forward, args=(near, far), daemon=True).start()

    @staticmethod
    def _forward(near, far):
        try:
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65_536)
                    if not data:
                        return
                    (far if end is near else near).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            near.close()
            far.close()

    def cut(self):
        """No connection is left, and none is taken."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in itertools.chain.from_iterable(self.pairs):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone already
        self.pairs.clear()


class Answer:
    """What a customer's browser gets."""

    def __init__(self, response):
        self.status = response.status
        self.body = json.loads(response.read())
        self.retry_after = response.getheader("Retry-After")
        self.set_cookie = response.getheader("Set-Cookie") or ""
        self.cookie = self.set_cookie.split(";")[0]

    def check(self, status, result):
        told = (self.status, self.body.get("result"))
        assert told == (status, result), f"{told}, expected {(status, result)}"
        return self


class BackEnd:
    """One sample back end, running, and where its customers' codes come from."""

    def __init__(self, name, words, code_maker):
        self.name, self.words, self.code_maker = name, words, code_maker
        self.process, self.told, self.news = None, [], threading.Condition()

    def start(self, url, password):
        self.told = []
        environment = dict(os.environ, DOORWARD_PASSWORD=password, NO_PROXY="127.0.0.1,localhost")
        words = [*self.words, url, SERVICE, "--listen", "127.0.0.1:0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(words, env=environment, text=True, **pipes)
        threading.Thread(target=self._read, daemon=True).start()
        told = self.awaited(lambda line: "listening" in line)
        self.port = urllib.parse.urlsplit(json.loads(told)["listening"]).port
        self.awaited(lambda line: '"door"' in line)

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.told.append(line)
                self.news.notify_all()

    def awaited(self, fits, after=0):
        """The first line that fits, of those after so many."""
        with self.news:
            found = self.news.wait_for(lambda: [line for line in self.told[after:] if fits(line)], CLIENT_S_MAX)
            assert found, f"waited in vain:\n{''.join(self.told)}"
            return found[0]

    def ask(self, method, path, body=None, cookie=None, source=None):
        """One request, from an address of loopback of its own unless one is given."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=CLIENT_S_MAX, source_address=(source or next(ADDRESSES), 0)
        )
        headers = {"Cookie": cookie} if cookie else {}
        if method == "POST":
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def sign_in(self, userid, password, code=None, source=None):
        body = {"userid": userid, "password": password}
        return self.ask("POST", "/sign-in", {**body, "code": code} if code else body, source=source)

    def signed_in(self, demo):
        """A customer who comes in with a fresh code; gives the cookie."""
        user = demo.otp_user()
        code, _ = demo.next_code(self.code_maker, user["otp_seed"])
        answer = self.sign_in(user["userid"], user["password"], code).check(200, "signed in")
        assert answer.body["userid"] == user["userid"], answer.body
        return answer.cookie

    def stop(self):
        """Ends the process that this started, and no other."""
        self.process.terminate()
        self.process.wait(STOP_S_MAX)


def back_ends():
    """Those that were started must be stopped."""
    node = INSTALLED / "node" / "web_back_end.mjs"
    shutil.copy(HERE / "node" / "web_back_end.mjs", node)
    shutil.copy(HERE / "browser" / "sign_in.html", INSTALLED / "browser")
    python = str(INSTALLED / "venv" / "bin" / "python")
    return [
        BackEnd("node", ["node", str(node)], oathtool),
        BackEnd("python", [python, str(HERE / "python" / "web_back_end.py")], pyotp),
    ]


def service(demo):
    return demo.user(userid=SERVICE)["password"]


# --- Scenarios. ---


def a_customer_signs_in_with_a_code_and_out(demo, site, _):
    user = demo.otp_user()
    site.sign_in(user["userid"], user["password"]).check(401, "code needed")
    code, _ = demo.next_code(site.code_maker, user["otp_seed"])
    answer = site.sign_in(user["userid"], user["password"], code).check(200, "signed in")
    for setting in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert setting in answer.set_cookie, answer.set_cookie
    assert re.fullmatch(r"session=[\w-]{43}", answer.cookie), "256 bits"
    for cookie in (answer.cookie, f"another site's(!)=1; {answer.cookie}"):
        me = site.ask("GET", "/me", cookie=cookie)
        assert (me.status, me.body["userid"]) == (200, user["userid"]), me.body
    site.ask("POST", "/sign-out", cookie=answer.cookie).check(200, "signed out")
    site.ask("GET", "/me", cookie=answer.cookie).check(401, "not signed in")
    site.ask("GET", "/me").check(401, "not signed in")


def a_code_counts_once(demo, site, _):
    user = demo.otp_user()
    code, _ = demo.next_code(site.code_maker, user["otp_seed"])
    site.sign_in(user["userid"], user["password"], code).check(200, "signed in")
    site.sign_in(user["userid"], user["password"], code).check(401, "code is wrong or used")


def an_unknown_user_looks_like_a_wrong_password(demo, site, _):
    user = demo.otp_user()
    for userid in (user["userid"], "nobody-at-all"):
        site.sign_in(userid, WRONG_PASSWORD).check(401, "user or password is wrong")


def who_has_something_to_do_first_is_told(demo, site, _):
    leaver = demo.user(kind="trader", disabled=True)
    site.sign_in(leaver["userid"], leaver["password"]).check(403, "account is disabled")
    newcomer = demo.user(kind="trader", auth_system="otp", otp_registered=False)
    told = site.sign_in(newcomer["userid"], newcomer["password"])
    told.check(403, "register an authenticator first")
    initial = f"web-newcomer-{site.name}"
    add_user(demo, initial, demo.password_user()["firm"], INITIAL)
    site.sign_in(initial, INITIAL).check(403, "change the password first")


def a_customer_without_an_authenticator_gets_no_token(demo, site, _):
    user = demo.password_user()
    site.sign_in(user["userid"], user["password"]).check(401, "code needed")


def wrong_passwords_hold_back_the_customers_own_address_alone(demo, site, _):
    user, stranger = demo.password_user(), next(ADDRESSES)
    for _ in range(5):
        site.sign_in(user["userid"], WRONG_PASSWORD, source=stranger).check(401, "user or password is wrong")
    told = site.sign_in(user["userid"], user["password"], source=stranger)
    told.check(401, "user or password is wrong")
    site.sign_in(user["userid"], user["password"]).check(401, "code needed")


def a_token_that_was_ended_elsewhere_signs_nobody_in(demo, site, _):
    cookie = site.signed_in(demo)
    where = ["--url", demo.ready["websocket"], "--user", SERVICE, "--password-env", "PW", "--token-env", "TOKEN"]
    secrets = {"PW": service(demo), "TOKEN": cookie.removeprefix("session=")}
    command([BINARY, "ws", "check-token", *where], environment=secrets)
    command([BINARY, "ws", "revoke-token", *where], environment=secrets)
    site.ask("GET", "/me", cookie=cookie).check(401, "not signed in")


def other_sites_and_nonsense_are_turned_away(demo, site, _):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=CLIENT_S_MAX)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/sign-in", "/sign-out"):
        connection.request("POST", path, "", form)
        Answer(connection.getresponse()).check(415, "send application/json")
    connection.request("POST", "/nowhere", "", form)
    Answer(connection.getresponse()).check(404, "nothing here")
    connection.close()
    for body in ([], {}, {"userid": "x"}, {"userid": "x", "password": "y" * 5_000}):
        site.ask("POST", "/sign-in", body).check(400, "not understood")
    assert site.ask("GET", "/nowhere").status == 404


def it_comes_back_when_the_door_does(demo, site, relay):
    cookie = site.signed_in(demo)
    before = len(site.told)
    relay.cut()
    if site.name == "node":
        site.awaited(lambda line: "closed" in line, before)  # the other one finds out when it asks
    told = site.ask("GET", "/me", cookie=cookie).check(503, "try again in a moment")
    assert told.retry_after, "when to come again"
    relay.restore()
    give_up = time.monotonic() + CLIENT_S_MAX
    while (me := site.ask("GET", "/me", cookie=cookie)).status == 503:
        assert time.monotonic() < give_up, "it does not come back"
        time.sleep(0.1)
    assert me.status == 200, "the session outlived the connection"


def it_wrote_no_password_and_no_token(demo, site, _):
    told = "".join(site.told)
    secrets = [user["password"] for user in demo.ready["users"]] + [WRONG_PASSWORD, INITIAL]
    assert not [secret for secret in secrets if secret in told], told
    assert not re.search(r"[\w-]{43}", told), f"a token:\n{told}"


SCENARIOS = [
    a_customer_signs_in_with_a_code_and_out,
    a_code_counts_once,
    an_unknown_user_looks_like_a_wrong_password,
    who_has_something_to_do_first_is_told,
    a_customer_without_an_authenticator_gets_no_token,
    wrong_passwords_hold_back_the_customers_own_address_alone,
    a_token_that_was_ended_elsewhere_signs_nobody_in,
    other_sites_and_nonsense_are_turned_away,
    it_comes_back_when_the_door_does,
    it_wrote_no_password_and_no_token,
]


def while_the_vault_is_down_customers_are_told_to_come_again(demo, site, _):
    user = demo.otp_user()
    told = site.sign_in(user["userid"], user["password"]).check(503, "try again in a moment")
    assert told.retry_after, "when to come again"


def a_wrong_password_of_its_own_ends_it(demo, site):
    environment = dict(os.environ, DOORWARD_PASSWORD=WRONG_PASSWORD, NO_PROXY="127.0.0.1,localhost")
    words = [*site.words, demo.ready["websocket"], SERVICE, "--listen", "127.0.0.1:0"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=CLIENT_S_MAX)
    assert done.returncode == 1 and "cannot log in" in done.stderr, (done.returncode, done.stderr)
