"""The pages, walked through by people at keyboards: samples/pages, driven against a node with a real mail server."""

import base64
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.parse

from demo import BINARY, HERE, INSTALLED, oathtool
from own_node import Node

WALK_S_MAX = 240
STEP_S = 30
# A code of the step before is taken as well: it leaves the present one to the browser.
STEP_LEFT_S_MIN = 5

RIGHTS = "view-people,edit-people,reset-authenticator,manage-key-pairs,edit-notices,view-audit"
INITIAL = "handed over on paper 31"
OWN = "chosen by myself alone 47"


# --- What went over the wire. ---


class Traffic:
    """All messages of all walks, and the secrets that must not be in them."""

    def __init__(self):
        self.messages = {}
        self.never = set()
        self.once = set()

    def judge(self):
        """No message holds a secret, however it is written; what is shown once is in one message."""
        for secret, allowed in [(one, 0) for one in self.never] + [(one, 1) for one in self.once]:
            found = [walk for walk, messages in self.messages.items() for one in messages if holds(one, secret)]
            assert len(found) <= allowed, f"a secret ({secret[:3]}..., {len(secret)} characters) is in {found}"


def holds(message, secret):
    return any(form in message for form in forms(secret))


def forms(secret, known={}):
    """A secret as it may be written."""
    if secret not in known:
        known[secret] = set(written(secret))
    return known[secret]


def written(secret):
    yield from (secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), json.dumps(secret)[1:-1])
    yield "".join(f"%{byte:02X}" for byte in secret.encode())
    for raw in (secret.encode(), secret.encode("utf-16-le")):
        yield raw.hex()
        # The head of a text in base64 stands for itself, wherever it ends.
        yield base64.b64encode(raw).decode().rstrip("=")
        yield base64.urlsafe_b64encode(raw).decode().rstrip("=")


# --- The world. ---


class World:
    """A node, its mailbox, and who was set up there."""

    def __init__(self, folder):
        self.folder = folder
        self.node = Node(folder)
        self.mail = self.node.mail
        self.traffic = Traffic()
        self.firms = 0
        # Node.js looks for modules beside the program: a copy lies beside what was installed for it.
        for source in (HERE / "pages").glob("*.mjs"):
            shutil.copy(source, INSTALLED / "pages")

    def firm(self, *policy):
        """A firm of its own; its code."""
        self.firms += 1
        code = f"FIRM{self.firms}"
        self.node.do("firm", "add", code, "--name", f"Firm Number {self.firms}")
        if policy:
            self.node.do("policy", "set", "--firm", code, *policy)
        return code

    def add(self, name, kind, firm=None, system="otp", mail=True, rights=RIGHTS):
        """Somebody with an initial password."""
        userid = f"{name}@{firm.lower()}.example" if firm else name
        words = ["--kind", kind, "--password-stdin"]
        words += ["--firm", firm] if firm else []
        words += ["--auth-system", system] if kind != "desk" else []
        words += ["--email", userid if firm else f"{userid}@venue.example"] if mail else []
        words += ["--grant-rights", rights] if kind == "admin" and rights else []
        self.node.do("user", "add", userid, *words, stdin=INITIAL + "\n")
        return {"userid": userid, "password": INITIAL}

    def with_own_password(self, person, *options):
        """The same, who has changed the initial password at the WebSocket door."""
        new = self.folder / "new-password"
        new.write_text(OWN + "\n", encoding="utf-8")
        words = ["--user", person["userid"], "--password-env", "PASSWORD", "--new-password-file", str(new), *options]
        self.ws_login(person["password"], *words, "--json")
        return dict(person, password=OWN)

    def ws_login(self, password, *words):
        environment = dict(os.environ, PASSWORD=password)
        words = [BINARY, "ws", "login", "--url", self.node.websocket, *words]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    def registered(self, *words, **options):
        """Somebody with a password of their own and a registered authenticator."""
        person = self.add(*words, **options)
        seed = self.node.do("user", "otp", person["userid"])["seed"]
        now = time.time()
        step = int(now // STEP_S) - (now % STEP_S < STEP_S - STEP_LEFT_S_MIN)
        code = oathtool(seed, time_of(step))
        return dict(self.with_own_password(person, "--code", code), seed=seed, step=step)

    def walk(self, name, answers=None, **known):
        """One walk of samples/pages; `answers` are functions for what it asks."""
        told = self._walked(name, {"link": self.mail.link_to, "mail": self.mail.awaited, **(answers or {})}, known)
        self.traffic.never |= {one["never"] for one in told if "never" in one}
        self.traffic.once |= {one["once"] for one in told if "once" in one}
        self.traffic.messages[name] = json.loads((self.folder / f"{name}.traffic").read_text(encoding="utf-8"))
        assert self.traffic.messages[name], "nothing was recorded"
        self.traffic.judge()

    def _walked(self, name, answers, known):
        words = ["node", str(INSTALLED / "pages" / "walk.mjs"), name, "--portal", self.node.portal]
        words += ["--traffic", str(self.folder / f"{name}.traffic")]
        if os.environ.get("DOORWARD_SHOTS"):
            words += ["--shots", str(pathlib.Path(os.environ["DOORWARD_SHOTS"]).resolve() / name)]
        told, environment = [], dict(os.environ, NO_PROXY="127.0.0.1,localhost")
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
        with open(self.folder / f"{name}.log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(words, stderr=log, **pipes)
            guard = threading.Timer(WALK_S_MAX, process.kill)
            guard.start()
            try:
                say(process, known)
                for line in process.stdout:
                    one = json.loads(line)
                    told.append(one)
                    if "ask" in one:
                        say(process, {"answer": answers[one["ask"][0]](*one["ask"][1:])})
                status = process.wait()
            finally:
                guard.cancel()
                process.kill()
                process.wait()
            log.seek(0)
            assert status == 0, f"{name}: exit {status}\n{log.read()}"
        return told

    def stop(self):
        return self.node.stop()


def time_of(step):
    return datetime.datetime.fromtimestamp(step * STEP_S, datetime.timezone.utc)


def say(process, what):
    process.stdin.write(json.dumps(what) + "\n")
    process.stdin.flush()


# --- Scenarios, by the numbers of the workflows. ---


def workflow_0_the_first_operator_by_the_claim_link_of_the_terminal(world):
    world.walk("claim", link=world.node.claim_link)
    token = world.node.claim_link.split("#")[1]
    assert token not in world.node.log_path.read_text(encoding="utf-8"), "the link is in the log"


def workflows_2_3_5_a_new_trader_registers_by_the_mailed_link(world):
    firm = world.firm()
    admin = world.registered("ada", "admin", firm)
    world.walk("newTrader", admin=admin, userid=f"tess@{firm.lower()}.example")


SCENARIOS = [
    workflow_0_the_first_operator_by_the_claim_link_of_the_terminal,
    workflows_2_3_5_a_new_trader_registers_by_the_mailed_link,
]
