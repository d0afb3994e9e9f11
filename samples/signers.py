"""The signed Logon in every language of samples/: against other people's signatures, and against a demo."""

import json
import os
import shutil
import subprocess

import demo as demos

VECTORS = demos.HERE.parent / "crates" / "doorward-core" / "vectors" / "fix-logon.json"
WRONG_SECRET_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
SOH = "\x01"


class Signer:
    """One sample program that signs its Logon."""

    def __init__(self, name, words, turn):
        self.name = name
        self.words = words
        # Which of the demo's order sessions it has for itself, counted from the last.
        self.turn = turn

    def run(self, secret_key, *arguments, stdin=""):
        """Runs it; gives what it did."""
        variables = dict(os.environ, DOORWARD_SECRET_KEY=secret_key)
        return subprocess.run(
            [*self.words, *arguments],
            env=variables,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=demos.CLIENT_S_MAX,
        )

    def logon(self, demo, seq, secret_key=None):
        """Logs on as this program's own session; gives the exit status, the messages and the last word of its output."""
        session = demo.ready["fix_sessions"][-self.turn]
        where = demo.ready["fix"]["cgw"]
        sender = session["sender_comp_ids"][0][:6] + "N"
        who = [f"{where['host']}:{where['port']}", sender, session["operator_ids"][0], session["access_key_id"]]
        options = ["--seq", str(seq), "--venue", demo.ready["venue"]]
        done = self.run(secret_key or session["secret_key"], "logon", *who, *options)
        lines = done.stdout.splitlines()
        messages = [parse(line) for line in lines if line.startswith("8=")]
        told = f"exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.returncode, messages, lines[-1].removeprefix("next: ") if lines else "", told


def signers():
    node = demos.INSTALLED / "node" / "fix_logon.mjs"
    shutil.copy(demos.HERE / "node" / "fix_logon.mjs", node)
    return [
        Signer("java", ["java", str(demos.HERE / "java" / "FixLogon.java")], 1),
        Signer("node", ["node", str(node)], 2),
        Signer("python", ["python3", str(demos.HERE / "python" / "fix_logon.py")], 3),
        Signer("cpp", [str(demos.INSTALLED / "fix_logon")], 4),
    ]


def parse(line):
    """Fields by their tags."""
    return dict(field.split("=", 1) for field in line.split("|") if field)


def signs_as_others_do(_demo, signer):
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    refused = {vector["signature"] for vector in vectors["refused"]}
    for at, vector in enumerate(vectors["accepted"]):
        separator = "|" if at % 2 else SOH
        logon = separator.join(f"{tag}={value}" for tag, value in vector["fields"].items())
        done = signer.run(vector["secret_key"], "sign", stdin=f"35=A{separator}{logon}{separator}\n")
        made = done.stdout.strip()
        assert made == vector["signature"] and made not in refused, f"{vector['name']}: {made}\n{done.stderr}"


def a_wrong_secret_key_is_refused(demo, signer):
    status, messages, _, told = signer.logon(demo, 1, WRONG_SECRET_KEY)
    assert status == 1 and [one["35"] for one in messages] == ["5"], told
    assert messages[0]["58"] == "Invalid Logon. Logout Forced", told


def logs_on_trades_and_comes_back(demo, signer):
    status, messages, after, told = signer.logon(demo, 1)
    assert status == 0 and [one["35"] for one in messages] == ["A", "1", "8", "5"], told
    assert [one["34"] for one in messages] == ["1", "2", "3", "4"], told
    # Logon, Heartbeat, order and Logout were ours.
    assert after == "5" and messages[3]["789"] == "5", told
    status, messages, after, told = signer.logon(demo, int(after))
    assert status == 0 and messages[0]["34"] == "5" and after == "9", told


def five_refusals_close_the_port(demo, signer):
    closed = f"(1000) {demo.ready['venue']} Administered Port Closure Due to Invalid Number of Login Attempts Being Exceeded"
    # One or more were refused already, a little ago.
    for _ in range(5):
        status, messages, _, told = signer.logon(demo, 9, WRONG_SECRET_KEY)
        assert status == 1 and [one["35"] for one in messages] == ["5"], told
        if messages[0]["58"] == closed:
            break
        assert messages[0]["58"] == "Invalid Logon. Logout Forced", told
    else:
        raise AssertionError(f"not closed by five refusals: {told}")
    status, messages, _, told = signer.logon(demo, 9)
    assert status == 1 and messages[0]["58"] == closed, f"the right key hears that it is closed: {told}"


SCENARIOS = [
    signs_as_others_do,
    a_wrong_secret_key_is_refused,
    logs_on_trades_and_comes_back,
    five_refusals_close_the_port,
]
