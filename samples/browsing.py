"""The pages, walked through by people at keyboards: samples/pages, driven against a node with a real mail server."""

import base64
import contextlib
import datetime
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
import urllib.parse

from demo import BINARY, CLIENT_S_MAX, HERE, INSTALLED, oathtool
from own_node import Node, text_of

# An upper limit alone: a walk takes two minutes at most where nothing else runs.
WALK_S_MAX = 1500
STEP_S = 30
# A code of the step before is taken as well: it leaves the present one to the browser.
STEP_LEFT_S_MIN = 10

RIGHTS = "view-people,edit-people,reset-authenticator,manage-key-pairs,edit-notices,view-audit"
INITIAL = "handed over on paper 31"
OWN = "chosen by myself alone 47"


# --- What went over the wire. ---


class Traffic:
    """All messages of all walks, and the secrets that must not be in them."""

    def __init__(self):
        self.messages = {}
        self.allowed = {}
        self.lock = threading.Lock()

    def judge(self, name, messages, told):
        """No message holds a secret, however it is written; what is shown once is in one message."""
        with self.lock:
            self.messages[name] = messages
            for one in told:
                self.allowed |= {one[key]: times for key, times in (("never", 0), ("once", 1)) if key in one}
            for secret, allowed in self.allowed.items():
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


# --- The other doors. ---


def asked(password, *words, status):
    """What the client of a door prints."""
    environment = dict(os.environ, PASSWORD=password)
    done = subprocess.run([BINARY, *words], env=environment, capture_output=True, text=True, timeout=CLIENT_S_MAX)
    assert done.returncode == status, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Held:
    """A connection at another door that stays until the server ends it."""

    def __init__(self, person, words):
        environment = dict(os.environ, PASSWORD=person["password"])
        words = [BINARY, *words, "--user", person["userid"], "--password-env", "PASSWORD"]
        self.process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.guard = threading.Timer(WALK_S_MAX, self.process.kill)
        self.guard.start()
        self.told = []
        for line in self.process.stdout:
            self.told.append(line)
            if line.startswith("staying"):
                return
        raise AssertionError(f"not let in: {self.told}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.guard.cancel()
        self.process.kill()
        self.process.wait()

    def ended(self):
        """What was said as the server ended it."""
        self.told.append(self.process.communicate(timeout=CLIENT_S_MAX)[0])
        assert self.process.returncode in (0, 1), self.told
        return "".join(self.told)


# --- The world. ---


class World:
    """A node, its mailbox, and who was set up there."""

    def __init__(self, folder):
        self.folder = folder
        self.node = Node(folder)
        self.mail = self.node.mail
        self.traffic = Traffic()
        self.firms = itertools.count(1)
        self.new_password = folder / "new-password"
        self.new_password.write_text(OWN + "\n", encoding="utf-8")
        # Node.js looks for modules beside the program: a copy lies beside what was installed for it.
        for source in (HERE / "pages").glob("*.mjs"):
            shutil.copy(source, INSTALLED / "pages")

    def firm(self, *policy):
        """A firm of its own; its code."""
        code = f"FIRM{next(self.firms)}"
        self.node.do("firm", "add", code, "--name", f"The {code.capitalize()} Company")
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
        words = ["--user", person["userid"], "--new-password-file", str(self.new_password), *options]
        self.ws_login(person["password"], *words, "--json")
        return dict(person, password=OWN)

    def ws_login(self, password, *words, status=0):
        """What a login over WebSocket is answered."""
        return asked(password, "ws", "login", "--url", self.node.websocket, "--password-env", "PASSWORD", *words, status=status)

    def fix_logon(self, password, *words, status=0):
        """What a trader's Logon over FIX is answered."""
        where = ["--profile", "trader-otp", "--address", self.node.fix, "--password-env", "PASSWORD"]
        return asked(password, "fix", "logon", *where, *words, status=status)

    def hold_ws(self, stack, person):
        """A login over WebSocket that stays."""
        words = ["ws", "login", "--url", self.node.websocket, "--hold"]
        return stack.enter_context(Held(person, words))

    def hold_fix(self, stack, person):
        """A Logon over FIX that stays."""
        words = ["fix", "logon", "--profile", "trader-otp", "--address", self.node.fix, "--stay", "0"]
        return stack.enter_context(Held(person, words))

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
        messages = json.loads((self.folder / f"{name}.traffic").read_text(encoding="utf-8"))
        assert messages, "nothing was recorded"
        self.traffic.judge(name, messages, told)

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


def workflow_2_a_link_is_shown_where_the_desk_allowed_it(world):
    firm = world.firm()
    admin = world.registered("ada", "admin", firm)
    silent = world.add("silent", "trader", firm, mail=False)

    def allow():
        world.node.do("policy", "set", "--firm", firm, "show_setup_link=true")

    typed = f"typed@{firm.lower()}.example"
    world.walk("shownLink", {"allow": allow}, admin=admin, silent=silent["userid"], initial=INITIAL, typed=typed)


def workflow_4_each_door_says_register_first_after_the_right_password(world):
    trader = world.add("newcomer", "trader", world.firm())
    told = json.loads(world.ws_login(INITIAL, "--user", trader["userid"], "--json", status=1).splitlines()[1])
    assert told["result"] == "2fa registration required", told
    assert told["register_url"].startswith(world.node.portal), told
    told = world.ws_login("not the right one 1", "--user", trader["userid"], "--json", status=1)
    assert "invalid user/password" in told and "register" not in told, told
    told = world.fix_logon(INITIAL, "--user", trader["userid"], status=1)
    assert "regist" in told and world.node.portal in told, told
    told = world.fix_logon("not the right one 1", "--user", trader["userid"], status=1)
    assert "regist" not in told and world.node.portal not in told, told
    world.walk("registerFirst", trader=trader)


def workflow_5_a_list_with_filters_and_a_link_to_all_who_are_not_registered(world):
    firm = world.firm()
    admin = world.registered("ada", "admin", firm)
    plain = world.add("pia", "trader", firm, system="password")
    gone = world.add("gus", "trader", firm, system="password")
    world.node.do("user", "disable", gone["userid"])
    mailed = [world.add(name, "trader", firm) for name in ("tess", "tim")]
    silent = world.add("silent", "trader", firm, mail=False)
    ids = {name: sorted(one["userid"] for one in people) for name, people in {
        "all": [admin, plain, gone, *mailed, silent],
        "disabled": [gone],
        "unregistered": [*mailed, silent],
        "mailed": mailed,
    }.items()}
    world.walk("unregistered", admin=admin, **ids)


def workflow_6_resets_with_and_without_a_link_and_of_everything(world):
    firm = world.firm()
    world.walk("resets", admin=world.registered("ada", "admin", firm), trader=world.registered("tess", "trader", firm))


def workflows_7_8_rights_and_notices_of_another_administrator(world):
    firm = world.firm()
    ada = world.registered("ada", "admin", firm)
    bert = world.registered("bert", "admin", firm, rights="view-people,edit-people")
    trader = world.add("tess", "trader", firm)
    world.walk("administrators", ada=ada, bert=bert, trader=trader["userid"])


def workflow_12_a_leaver_has_nothing_open_any_more(world):
    firm = world.firm()
    trader = world.with_own_password(world.add("tess", "trader", firm, system="password"))
    open_ones = []
    with contextlib.ExitStack() as stack:
        answers = {
            "hold": lambda: open_ones.extend([world.hold_ws(stack, trader), world.hold_fix(stack, trader)]),
            "held": lambda: [one.ended() for one in open_ones],
        }
        world.walk("leaver", answers, admin=world.registered("ada", "admin", firm), trader=trader)


def workflow_13_wrong_codes_lock_and_an_administrator_unlocks(world):
    firm = world.firm("wrong_codes_lock=2")
    trader = world.registered("tess", "trader", firm)
    world.walk("unlock", admin=world.registered("ada", "admin", firm), trader=trader)


def workflow_14_both_addresses_are_told_of_a_change(world):
    firm = world.firm()
    admin = world.registered("ada", "admin", firm)
    email = f"new-address@{firm.lower()}.example"
    world.walk("changeOfAddress", admin=admin, trader=world.add("tess", "trader", firm), email=email)


def workflows_1_8_9_the_desk_sets_up_a_firm_with_its_policy_and_first_administrator(world):
    world.walk("firstFirm", operator=world.registered("opal", "desk"), userid="ella@east.example", second="emil@east.example")


def workflow_11_the_desk_serves_an_administrator_and_operators_serve_each_other(world):
    firm = world.firm()
    admin = world.registered("ada", "admin", firm)
    trader = world.add("tess", "trader", firm)
    operator = world.registered("odo", "desk")

    def audited(reason):
        told = world.node.do("audit", "list", "--firm", firm)
        assert reason in json.dumps(told), "it is not in the firm's own audit"

    def recover(userid):
        told = world.node.do("user", "recover", userid, "--reason", "lost everything")
        return [told["password"], told["link"]]

    names = dict(second="oona", address="oona@venue.example")
    answers = {"audited": audited, "recover": recover}
    world.walk("serves", answers, operator=operator, admin=admin, trader=trader["userid"], **names)


def workflow_15_the_emergency_switch_ends_what_is_open_at_every_door(world):
    firm = world.firm()
    trader = world.with_own_password(world.add("tess", "trader", firm, system="password"))
    open_ones = []

    def refused():
        for door in (world.ws_login, world.fix_logon):
            door(trader["password"], "--user", trader["userid"], status=1)

    with contextlib.ExitStack() as stack:
        answers = {
            "hold": lambda: open_ones.extend([world.hold_ws(stack, trader), world.hold_fix(stack, trader)]),
            "held": lambda: [one.ended() for one in open_ones],
            "refused": refused,
        }
        world.walk("emergencySwitch", answers, operator=world.registered("olga", "desk"), trader=trader, firm=firm)


def a_mail_that_was_delayed_is_sent_again(world):
    firm = world.firm()
    trader = world.add("tess", "trader", firm)
    answers = {
        "busy": lambda address: world.mail.command(f"busy {address}"),
        "delayed": lambda: world.node.logged("mail-delayed"),
        "release": lambda: world.mail.command("release"),
    }
    world.walk("lateMail", answers, admin=world.registered("ada", "admin", firm), trader=trader["userid"])


def no_password_and_no_seed_is_in_the_log_or_in_a_mail(world):
    texts = [world.node.log_path.read_text(encoding="utf-8")]
    texts += [mail.as_string() + text_of(mail) for mail in world.mail.mails]
    assert len(texts) > 1 and world.traffic.allowed, "nothing was recorded"
    for secret in world.traffic.allowed:
        assert not any(holds(text, secret) for text in texts), f"a secret ({secret[:3]}...) is in the log or in a mail"


SCENARIOS = [
    workflow_0_the_first_operator_by_the_claim_link_of_the_terminal,
    workflows_2_3_5_a_new_trader_registers_by_the_mailed_link,
    workflow_2_a_link_is_shown_where_the_desk_allowed_it,
    workflow_4_each_door_says_register_first_after_the_right_password,
    workflow_5_a_list_with_filters_and_a_link_to_all_who_are_not_registered,
    workflow_6_resets_with_and_without_a_link_and_of_everything,
    workflows_7_8_rights_and_notices_of_another_administrator,
    workflow_12_a_leaver_has_nothing_open_any_more,
    workflow_13_wrong_codes_lock_and_an_administrator_unlocks,
    workflow_14_both_addresses_are_told_of_a_change,
    workflows_1_8_9_the_desk_sets_up_a_firm_with_its_policy_and_first_administrator,
    workflow_11_the_desk_serves_an_administrator_and_operators_serve_each_other,
    workflow_15_the_emergency_switch_ends_what_is_open_at_every_door,
    a_mail_that_was_delayed_is_sent_again,
]
