"""QuickFIX against a demo: as a trading system that signs its Logon, and as a trader with one-time passwords."""

import collections
import contextlib
import itertools
import os
import shutil
import signal
import subprocess

import demo as demos
from quickfix import wire
from quickfix.engine import Account, Initiator

PROGRAM = demos.INSTALLED / "quickfix_initiator"
WRONG_SECRET_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
WEEK_S = 7 * 24 * 3600
UNDELIVERED = 1000


class World:
    """A demo in a folder of its own, and a relay before each of its doors that writes down what goes over them."""

    def __init__(self, folder):
        self.folder = folder
        self.demo = demos.Demo(folder)
        self.recorders = {}
        self.sessions = iter(self.demo.ready["fix_sessions"])
        self.count = itertools.count(1)

    def address(self, door):
        """Where to connect to reach a door and be written down."""
        if door not in self.recorders:
            where = self.demo.ready["fix"][door]
            path = self.folder / f"{door}-{next(self.count)}.pcap"
            self.recorders[door] = wire.Recorder(path, where["host"], where["port"])
        return "127.0.0.1", self.recorders[door].port

    def system(self, **replaced):
        """A trading system with an order session that no other scenario uses."""
        session = next(self.sessions)
        facts = {
            "sender": session["sender_comp_ids"][0],
            "secret": session["secret_key"],
            "AccessKeyID": session["access_key_id"],
            "OperatorID": session["operator_ids"][0],
            **replaced,
        }
        # The last character is the fault tolerance indicator: N, none.
        facts["sender"] = facts["sender"][:6] + "N"
        own = {key: facts[key] for key in ("AccessKeyID", "OperatorID")}
        door = {"TargetSubID": "G", "SenderLocationID": "US,IL", "Scheme": "CME-1-SHA-256"}
        return Account(facts["sender"], self.demo.ready["venue"], "cme-secure", facts["secret"], **door, **own)

    def trader(self, user, begin_string="FIX.4.4", password=None, **own):
        """A person; the user name is the SenderCompID."""
        secret = user["password"] if password is None else password
        venue = self.demo.ready["venue"]
        return Account(user["userid"], venue, "trader-otp", secret, begin_string, Scheme="password", **own)

    def connect(self, account, door="cgw", **variables):
        """QuickFIX as this account; it keeps its store over several calls."""
        folder = self.folder / "clients" / account.sender
        return Initiator(PROGRAM, folder, account, self.address(door), self.demo.ahead_s, **variables)

    def twin(self, account):
        """A second QuickFIX that has the same numbers."""
        folder = self.folder / "clients" / account.sender
        other = folder.with_name(f"{account.sender}-twin")
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(folder, other)
        return Initiator(PROGRAM, other, account, self.address("cgw"), self.demo.ahead_s)

    def restart(self):
        """SIGKILL, then a new server on the same data."""
        self.demo.kill()
        self._close_recorders()
        self.demo = demos.Demo(self.folder)

    def _close_recorders(self):
        for recorder in self.recorders.values():
            recorder.close()
            check(recorder)
        self.recorders = {}

    def close(self):
        """Stops the demo and lets tshark read everything that was said."""
        try:
            self._close_recorders()
        finally:
            status = self.demo.stop()
        assert status == 0, f"the demo ended with {status} when told to stop\n{self.demo.log_text()}"


def check(recorder):
    """tshark's FIX dissector reads every message of ours without a complaint."""
    seen, there = wire.judge(recorder.path, [recorder.port])
    assert seen == there, f"tshark saw {seen} of {there} FIX messages in {recorder.path}"


@contextlib.contextmanager
def running(client):
    """A client that ends in order, or at least ends."""
    try:
        yield client
        client.quit()
    finally:
        if client.process.poll() is None:
            client.kill()


def stop_short(client):
    """SIGKILL for the client, once all it has said was seen to be fine."""
    client.kill()
    client.check()


def alive(client, word):
    """Both sides have processed all that was sent before this."""
    client.say(f"test {word}")
    client.message("in", "0", f112=word)


def ids(prefix, first, last):
    return [f"{prefix}{at}" for at in range(first, last + 1)]


def venue_sends(world, account, count):
    """The simulated venue sends this many messages to the stream of an order session, logged on or not."""
    stream = f"cgw/{account.sender[:3]}/{account.sender[3:6]}"
    words = ["venue", "send", "--stream", stream, "--count", str(count), "--text", "while you were away"]
    demos.command([demos.BINARY, *words, "--socket", world.demo.ready["admin_socket"]])


def tshark_minds_what_is_wrong(world):
    """A control: the judge of all other scenarios does see a wrong CheckSum, and a message that is cut short.

    It minds no port that a later connection has again, which a machine gives out when it likes.
    """
    body = b"35=0\x0134=2\x0149=CME\x0156=ABCFIRN\x01"
    good = b"8=FIX.4.2\x019=%d\x01" % len(body) + body
    trailer = b"10=%03d\x01" % (sum(good) % 256)
    for name, data, fine in (
        ("good", good + trailer, True),
        ("sum", good + b"10=000\x01", False),
        ("length", good.replace(b"9=28", b"9=34") + trailer, False),
        ("cut", (good + trailer)[:-4], False),
    ):
        path = world.folder / f"control-{name}.pcap"
        capture = wire.Capture(path)
        wire.Conversation(capture, 40000, 40001).carried(1, data)
        capture.close()
        try:
            seen, there = wire.judge(path, [40001])
            minded = seen != there
        except AssertionError:
            minded = True
        assert minded != fine, f"{name}: {'minded' if minded else 'not minded'}"
    path = world.folder / "control-port-again.pcap"
    capture = wire.Capture(path)
    for _ in range(2):
        wire.Conversation(capture, 40000, 40001).carried(1, good + trailer)
    capture.close()
    assert wire.judge(path, [40001]) == (2, 2)


# --- As a trading system: profile cme-secure. ---


def logon_orders_logout(world):
    account = world.system()
    with running(world.connect(account)) as client:
        answer = client.logon()
        assert answer["34"] == "1" and answer["49"] == account.target and answer["56"] == account.sender, answer
        assert answer["57"] == account.own["OperatorID"].upper() and answer["50"] == "G", answer
        assert "98" not in answer and not {"354", "355", "1400", "1401", "1402"} & answer.keys(), answer
        assert answer["1603"] == "QuickFIX" and answer["1605"] == "quickfixengine.org", answer
        client.message("in", "1")
        client.say("orders L 1 25")
        client.reports(ids("L", 1, 25))
        alive(client, "quiet")
        ours, _ = client.numbers()
        farewell = client.logout()
        assert farewell["789"] == str(ours + 1), f"{farewell} after {ours}"


def a_wrong_secret_key_moves_nothing(world):
    account = world.system()
    right, account.secret = account.secret, WRONG_SECRET_KEY
    with running(world.connect(account)) as client:
        answer = client.refused()
        assert answer["58"] == "Invalid Logon. Logout Forced" and answer["34"] == "1", answer
        assert "789" not in answer, answer
    account.secret = right
    with running(world.connect(account)) as client:
        # QuickFIX has counted what it sent; the server has not.
        client.say("numbers 1 1")
        client.wait("numbers")
        assert client.logon()["34"] == "1"
        client.logout()


def mid_week_the_numbers_go_on(world):
    account = world.system()
    with running(world.connect(account)) as client:
        client.logon()
        client.say("order M1 1 5 101.25")
        client.reports(["M1"])
        client.logout()
        ours, theirs = client.numbers()
    with running(world.connect(account)) as client:
        answer = client.logon()
        assert answer["34"] == str(theirs), f"{answer} where {theirs} was next"
        client.say("order M2 1 5 101.25")
        client.reports(["M2"])
        client.logout()
        assert client.numbers()[0] > ours
    with running(world.connect(account)) as client:
        client.say("numbers 1 1")
        answer = client.refused()
        assert answer["58"].startswith("MsgSeqNum too low, expecting "), answer


def killed_client_comes_back_and_misses_nothing(world):
    account = world.system()
    client = world.connect(account)
    client.logon()
    client.say("orders K 1 200")
    client.message("app", "8", f11="K50")
    stop_short(client)
    before = [one["fields"]["11"] for one in client.told if one["event"] == "app"]
    with running(world.connect(account)) as client:
        client.logon()
        client.say("order LAST 1 1 101.25")
        client.message("app", "8", f11="LAST")
        alive(client, "all")
        after = [one["fields"]["11"] for one in client.told if one["event"] == "app"]
        client.logout()
    # What was in the store's last moment may be seen on either side of it, so both; nothing is missing between.
    accepted = [one for one in after if one != "LAST"]
    numbers = sorted({int(one[1:]) for one in before + accepted})
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 50, f"missing one of {numbers}"


def killed_server_comes_back_and_has_lost_nothing(world):
    account = world.system()
    client = world.connect(account)
    reported = set()
    sent = 0
    client.logon()
    for turn in range(1, 6):
        client.say(f"orders S {sent + 1} {sent + 100}")
        # Killed in the middle of them, at another place each time.
        client.message("app", "8", f11=f"S{sent + 10 * turn}")
        sent += 100
        world.restart()
        client.wait("closed")
        client.check()
        client.kill()
        reported |= {one["fields"]["11"] for one in client.told if one["event"] == "app"}
        client = world.connect(account)
        client.logon()
        # QuickFIX sends again what the server has not got, the server what QuickFIX has not got.
        missing = set(ids("S", 1, sent)) - reported
        while missing:
            missing.discard(client.message("app", "8")["11"])
        alive(client, f"turn{turn}")
        reported |= set(ids("S", 1, sent))
    with running(client):
        client.logout()


def a_thousand_undelivered_messages_are_fetched(world):
    account = world.system()
    with running(world.connect(account)) as client:
        client.logon()
        alive(client, "before")
        client.logout()
        _, theirs = client.numbers()
    venue_sends(world, account, UNDELIVERED)
    with running(world.connect(account)) as client:
        answer = client.logon()
        assert answer["34"] == str(theirs + UNDELIVERED), f"{answer} where {theirs} was next before"
        got = [client.message("app", "B") for _ in range(UNDELIVERED)]
        assert [int(one["34"]) for one in got] == list(range(theirs, theirs + UNDELIVERED)), "in order, each once"
        assert all(one["43"] == "Y" and one["122"] <= one["52"] for one in got), "resent, and marked as such"
        assert [one["148"] for one in got] == [f"{n} of {UNDELIVERED}" for n in range(1, UNDELIVERED + 1)]
        alive(client, "after")
        client.say("order U1 1 5 101.25")
        client.reports(["U1"])
        client.logout()


def in_session_reset(world):
    account = world.system()
    with running(world.connect(account)) as client:
        client.logon()
        client.say("orders R 1 10")
        client.reports(ids("R", 1, 10))
        alive(client, "first")
        client.say("reset")
        answer = client.message("in", "A")
        assert answer["34"] == "1" and answer["141"] == "Y", answer
        client.say("orders T 1 10")
        client.reports(ids("T", 1, 10))
        alive(client, "then")
        client.logout()
        ours, theirs = client.numbers()
        assert ours < 20 and theirs < 30, f"both began again: {ours}, {theirs}"
    with running(world.connect(account)) as client:
        assert client.logon()["34"] == str(theirs)
        client.logout()


def a_live_session_is_not_taken_over(world):
    account = world.system()
    with running(world.connect(account)) as client:
        client.logon()
        alive(client, "first")
        with running(world.twin(account)) as other:
            assert other.refused()["58"] == "Invalid Logon. Already logged on. Logout forced."
        client.say("order X1 1 5 101.25")
        client.reports(["X1"])
        client.logout()


def a_silent_session_is_taken_over(world):
    account = world.system()
    client = world.connect(account)
    try:
        client.logon()
        alive(client, "first")
        twin = world.twin(account)
        # Its connection stays, but nobody is behind it.
        client.process.send_signal(signal.SIGSTOP)
        with running(twin) as other:
            other.logon()
            other.say("order Y1 1 5 101.25")
            other.reports(["Y1"])
            other.logout()
    finally:
        client.kill()


def the_week_rolls_once(world):
    account = world.system()
    with running(world.connect(account)) as client:
        client.logon()
        client.say("orders W 1 10")
        client.reports(ids("W", 1, 10))
        client.logout()
    demos.advance_clock(world.demo, WEEK_S)
    with running(world.connect(account)) as client:
        answer = client.refused()
        text = "Failed to reset sequence numbers at beginning of the week. Logout forced."
        assert answer["58"] == text, answer
        client.say("numbers 1 1")
        client.wait("numbers")
        assert client.logon()["34"] == "1"
        client.say("orders V 1 10")
        client.reports(ids("V", 1, 10))
        client.logout()
        _, theirs = client.numbers()
    with running(world.connect(account)) as client:
        assert client.logon()["34"] == str(theirs), "mid-week again"
        client.logout()


# --- As a trader: profile trader-otp. ---

CODE_WANTED = "one-time password required"
WRONG_CODE = "invalid one-time password"
WRONG_PASSWORD = "invalid user or password"
NOT_REGISTERED = "register an authenticator first: "


def otp_users(world):
    """Traders with an authenticator."""
    wanted = {"kind": "trader", "auth_system": "otp", "otp_registered": True, "disabled": False}
    return [user for user in world.demo.ready["users"] if all(user[key] == wanted[key] for key in wanted)]


def begin_anew(client):
    """Numbers from 1, as after a refusal, which the server does not count."""
    client.say("numbers 1 1")
    client.wait("numbers")


def trader_with_a_code(world):
    user = otp_users(world)[0]
    for begin_string, tag in (("FIX.4.2", "96"), ("FIX.4.4", "554")):
        account = world.trader(user, begin_string, ResetOnLogon="Y", PasswordTag=tag)
        code, _ = world.demo.next_code(demos.oathtool, user["otp_seed"])
        with running(world.connect(account, "trader")) as client:
            client.say(f"code {code}")
            answer = client.logon()
            assert answer["98"] == "0" and answer["141"] == "Y", answer
            assert not {"95", "96", "553", "554", "925", "20030"} & answer.keys(), answer
            prefix = f"P{tag}-"
            client.say(f"orders {prefix} 1 5")
            client.reports(ids(prefix, 1, 5))
            client.logout()


def trader_without_a_code(world):
    user = otp_users(world)[0]
    account = world.trader(user, ResetOnLogon="Y")
    with running(world.connect(account, "trader")) as client:
        assert client.refused()["58"] == CODE_WANTED


def a_code_counts_once(world):
    user = otp_users(world)[0]
    account = world.trader(user, ResetOnLogon="Y")
    code, _ = world.demo.next_code(demos.oathtool, user["otp_seed"])
    with running(world.connect(account, "trader")) as client:
        client.say(f"code {code}")
        client.logon()
        client.logout()
        client.say(f"code {code}")
        assert client.refused()["58"] == WRONG_CODE


def trader_with_no_authenticator(world):
    user = world.demo.user(kind="trader", auth_system="otp", otp_registered=False, disabled=False)
    with running(world.connect(world.trader(user, ResetOnLogon="Y"), "trader")) as client:
        answer = client.refused()
        assert answer["58"].startswith(NOT_REGISTERED + "http"), answer


def trader_with_a_password_alone(world):
    user = world.demo.password_user()
    account = world.trader(user, ResetOnLogon="Y", password="not the right one at all 1")
    with running(world.connect(account, "trader")) as client:
        assert client.refused()["58"] == WRONG_PASSWORD
    account = world.trader(user, ResetOnLogon="Y")
    with running(world.connect(account, "trader")) as client:
        client.logon()
        client.say("orders Q 1 3")
        client.reports(ids("Q", 1, 3))
        client.logout()
        theirs = client.numbers()[1]
    # Without 141=Y the numbers go on.
    del account.own["ResetOnLogon"]
    with running(world.connect(account, "trader")) as client:
        assert client.logon()["34"] == str(theirs)
        client.logout()


def trader_changes_the_password(world):
    initial, chosen = "handed over on paper 31", "chosen by myself alone 47"
    demos.add_user(world.demo, "newcomer-fix", world.demo.password_user()["firm"], initial)
    user = {"userid": "newcomer-fix", "password": initial}
    account = world.trader(user, ResetOnLogon="Y")
    with running(world.connect(account, "trader", DOORWARD_NEW_PASSWORD=chosen)) as client:
        assert client.refused()["58"] == "password must be changed"
        begin_anew(client)
        client.say("new-password")
        answer = client.logon()
        assert answer["1409"] == "1", f"session password changed: {answer}"
        assert not {"95", "96", "554", "925"} & answer.keys(), answer
        client.logout()
    account.secret = chosen
    with running(world.connect(account, "trader")) as client:
        assert "1409" not in client.logon()
        client.logout()


def one_code_on_two_doors_at_once(world):
    user = otp_users(world)[0]
    wins = collections.Counter()
    for turn in range(4):
        code, _ = world.demo.next_code(demos.oathtool, user["otp_seed"])
        words = [str(demos.INSTALLED / "venv" / "bin" / "python"), str(demos.HERE / "python" / "login.py")]
        words += [world.demo.ready["websocket"], user["userid"], "--code", code, "--one-step"]
        variables = dict(os.environ, DOORWARD_PASSWORD=user["password"], NO_PROXY="127.0.0.1,localhost")
        account = world.trader(user, ResetOnLogon="Y")
        with running(world.connect(account, "trader")) as client:
            client.say(f"code {code}")
            page = subprocess.Popen(
                words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            if turn % 2:
                # At once QuickFIX is the quicker one to start; so every other time it comes second.
                page.wait(demos.CLIENT_S_MAX)
            client.say("logon")
            answer = client.wait("in", lambda event: event["fields"]["35"] in "A5")["fields"]
            told, _ = page.communicate(timeout=demos.CLIENT_S_MAX)
            over_fix, over_websocket = answer["35"] == "A", page.returncode == 0
            assert over_fix != over_websocket, f"FIX: {answer}\nWebSocket: {told}"
            if not over_fix:
                assert answer["58"] == WRONG_CODE, answer
            wins["FIX" if over_fix else "WebSocket"] += 1
            if over_fix:
                client.logout()
    return wins


# In this order: a new server has the machine's clock, codes move it by minutes, and a week's roll by a week.
SCENARIOS = [
    tshark_minds_what_is_wrong,
    logon_orders_logout,
    a_wrong_secret_key_moves_nothing,
    mid_week_the_numbers_go_on,
    killed_client_comes_back_and_misses_nothing,
    a_thousand_undelivered_messages_are_fetched,
    in_session_reset,
    a_live_session_is_not_taken_over,
    a_silent_session_is_taken_over,
    killed_server_comes_back_and_has_lost_nothing,
    trader_with_a_password_alone,
    trader_changes_the_password,
    trader_with_no_authenticator,
    trader_without_a_code,
    trader_with_a_code,
    a_code_counts_once,
    one_code_on_two_doors_at_once,
    the_week_rolls_once,
]
