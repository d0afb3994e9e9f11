"""Sample clients that log in over WebSocket: how they are run, and what they must be answered."""

import base64
import json
import os
import shutil
import subprocess

from demo import CLIENT_S_MAX, HERE, INSTALLED, add_user, oathtool, pyotp

WRONG_PASSWORD = "not the right one at all 1"


# --- The clients. ---


class Client:
    """One sample program and where its codes come from."""

    def __init__(self, name, words, code_maker):
        self.name = name
        self.words = words
        self.code_maker = code_maker

    def run(self, demo, user, password, *options, **passwords):
        """Runs it; gives its exit status and the answers that it printed."""
        environment = dict(os.environ, DOORWARD_PASSWORD=password, NO_PROXY="127.0.0.1,localhost", **passwords)
        words = [*self.words, demo.ready["websocket"], user, *options]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=CLIENT_S_MAX)
        try:
            answers = [json.loads(line) for line in done.stdout.splitlines()]
        except json.JSONDecodeError as fault:
            raise AssertionError(f"not JSON ({fault}):\n{done.stdout}{done.stderr}") from fault
        return Outcome(done.returncode, answers, done.stderr)

    def code_options(self, demo, seed):
        """Options and variables that give the program a fresh code."""
        code, at = demo.next_code(self.code_maker, seed)
        if self.name == "python":
            # This one makes its codes itself.
            return ["--seed-env", "OTP_SEED", "--at", at.isoformat()], {"OTP_SEED": seed}
        return ["--code", code], {}


class Outcome:
    """What a client said."""

    def __init__(self, status, answers, stderr):
        self.status = status
        self.answers = answers
        self.stderr = stderr

    def told(self):
        lines = [json.dumps(answer) for answer in self.answers]
        return "\n".join([f"exit {self.status}", *lines, self.stderr.strip()])

    def check(self, status, *expected):
        """The exit status, and of each answer the fields named; the number of answers too."""
        assert self.status == status, f"exit status {self.status}, expected {status}\n{self.told()}"
        assert len(self.answers) == len(expected), f"{len(self.answers)} answers, expected {expected}\n{self.told()}"
        for answer, fields in zip(self.answers, expected):
            for field, value in fields.items():
                seen = answer.get(field)
                assert seen == value, f"{field} is {seen!r}, expected {value!r}\n{self.told()}"


def clients():
    node = INSTALLED / "node" / "login.mjs"
    page = INSTALLED / "browser" / "run.mjs"
    # Node looks for packages beside the program, so the programs go to where samples/prepare put them.
    for source, folder in (("node/login.mjs", node.parent),):
        shutil.copy(HERE / source, folder)
    for name in ("login.html", "login.js", "run.mjs"):
        shutil.copy(HERE / "browser" / name, page.parent)
    python = INSTALLED / "venv" / "bin" / "python"
    return [
        Client("java", ["java", str(HERE / "java" / "Login.java")], oathtool),
        Client("node", ["node", str(node)], pyotp),
        Client("python", [str(python), str(HERE / "python" / "login.py")], pyotp),
        Client("browser", ["node", str(page)], oathtool),
    ]


# --- Answers and scenarios. ---

CHALLENGE = {"type": "challenge", "result": "OK"}
LOGIN = {"type": "login", "result": "OK", "2fa": None, "password": None}
REFUSED = {"type": "login", "result": "invalid user/password"}
CODE_WANTED = {"type": "login", "result": "OK", "2fa": "required"}
PING = {"type": "ping", "result": "OK"}
LOGGED_OUT = {"closed": 1000}
CLOSED_BY_SERVER = {"closed": 1008}


def login(demo, client):
    user = demo.password_user()
    outcome = client.run(demo, user["userid"], user["password"])
    outcome.check(0, CHALLENGE, LOGIN, PING, LOGGED_OUT)
    challenge, _, ping, _ = outcome.answers
    assert challenge["padding"] == ["PKCS1", "OAEP-SHA256"], challenge
    assert len(base64.b64decode(challenge["key"], validate=True)) > 250, challenge
    assert isinstance(challenge["keyid"], str) and challenge["expires"] > ping["time"], outcome.told()


def wrong_password(demo, client):
    user = demo.password_user()
    client.run(demo, user["userid"], WRONG_PASSWORD).check(1, CHALLENGE, REFUSED, CLOSED_BY_SERVER)


def reconnect_after_close(demo, client):
    user = demo.password_user()
    outcome = client.run(demo, user["userid"], WRONG_PASSWORD, "--retry", "SECOND", SECOND=user["password"])
    first = [CHALLENGE, REFUSED, CLOSED_BY_SERVER]
    outcome.check(0, *first, CHALLENGE, LOGIN, PING, LOGGED_OUT)


def unknown_and_disabled_look_like_a_wrong_password(demo, client):
    disabled = demo.user(disabled=True)
    answers = []
    for user, password in ((disabled["userid"], disabled["password"]), ("nobody-at-all", WRONG_PASSWORD)):
        outcome = client.run(demo, user, password)
        outcome.check(1, CHALLENGE, REFUSED, CLOSED_BY_SERVER)
        answers.append(outcome.answers[1])
    assert answers[0] == answers[1], answers


def two_steps(demo, client):
    user = demo.otp_user()
    options, variables = client.code_options(demo, user["otp_seed"])
    outcome = client.run(demo, user["userid"], user["password"], *options, **variables)
    outcome.check(0, CHALLENGE, CODE_WANTED, {"type": "send2fatoken", "result": "OK"}, PING, LOGGED_OUT)


def one_step_and_the_code_counts_once(demo, client):
    user = demo.otp_user()
    options, variables = client.code_options(demo, user["otp_seed"])
    options = [*options, "--one-step"]
    outcome = client.run(demo, user["userid"], user["password"], *options, **variables)
    outcome.check(0, CHALLENGE, LOGIN, PING, LOGGED_OUT)
    again = client.run(demo, user["userid"], user["password"], *options, **variables)
    again.check(1, CHALLENGE, {"type": "login", "result": "invalid token", "2fa": "required"})


def registration_required(demo, client):
    user = demo.user(kind="trader", auth_system="otp", otp_registered=False, disabled=False)
    outcome = client.run(demo, user["userid"], user["password"])
    outcome.check(1, CHALLENGE, {"type": "login", "result": "2fa registration required"}, CLOSED_BY_SERVER)
    assert outcome.answers[1]["register_url"].startswith("http"), outcome.told()


def password_change_required(demo, client):
    userid = f"newcomer-{client.name}"
    initial, chosen = "handed over on paper 31", "chosen by myself alone 47"
    add_user(demo, userid, demo.password_user()["firm"], initial)
    must_change = {"type": "login", "result": "OK", "password": "change required"}

    undecided = client.run(demo, userid, initial)
    assert [answer.get("password") for answer in undecided.answers[:2]] == [None, "change required"], undecided.told()
    if client.name != "browser":
        undecided.check(1, CHALLENGE, must_change)

    outcome = client.run(demo, userid, initial, "--new-password-env", "CHOSEN", CHOSEN=chosen)
    changed = {"type": "adduser", "result": "OK", "updateprof": True, "pass": None, "newpass": None}
    outcome.check(0, CHALLENGE, must_change, CHALLENGE, changed, PING, LOGGED_OUT)

    client.run(demo, userid, initial).check(1, CHALLENGE, REFUSED, CLOSED_BY_SERVER)
    client.run(demo, userid, chosen).check(0, CHALLENGE, LOGIN, PING, LOGGED_OUT)


SCENARIOS = [
    login,
    wrong_password,
    reconnect_after_close,
    unknown_and_disabled_look_like_a_wrong_password,
    two_steps,
    one_step_and_the_code_counts_once,
    registration_required,
    password_change_required,
]
