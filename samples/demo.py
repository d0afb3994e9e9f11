"""A demo of Doorward's for the sample clients: starts it, asks it for things by its command line, ends it."""

import datetime
import json
import os
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")).resolve()
BINARY = os.environ.get("DOORWARD", str(TARGET / "debug" / "doorward"))
INSTALLED = TARGET / "samples"

# Upper limits alone, for a slow machine that does other things as well.
START_S_MAX = 120
STOP_S_MAX = 60
CLIENT_S_MAX = 180


# --- The server's command line: one function for each command that is used here. ---


def demo_command(data, ready_file):
    return [BINARY, "demo", "--data", str(data), "--ready-file", str(ready_file)]


def advance_clock(demo, seconds):
    demo.ahead_s += seconds
    command([BINARY, "demo-clock", "advance", f"{seconds}s", "--socket", demo.ready["admin_socket"]])


def show_clock(demo):
    """The demo's time."""
    text = command([BINARY, "demo-clock", "show", "--socket", demo.ready["admin_socket"]]).strip()
    return datetime.datetime.fromisoformat(text[:19] + "+00:00")


def add_user(demo, userid, firm, initial_password):
    """A trader with a password alone, which must be changed at the first login."""
    arguments = ["--firm", firm, "--kind", "trader", "--auth-system", "password", "--password-stdin"]
    where = ["--socket", demo.ready["admin_socket"]]
    command([BINARY, "user", "add", userid, *arguments, *where], stdin=initial_password + "\n")


def command(words, stdin="", environment=None):
    """Runs it, with these variables beside ours; gives what it printed."""
    env = dict(os.environ, **environment) if environment else None
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=CLIENT_S_MAX, env=env)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# --- The demo. ---


class Demo:
    """A running demo; `ready` is what it wrote once all doors listened."""

    def __init__(self, folder, *more):
        self.log_path = folder / "demo.log"
        self.log = open(self.log_path, "a", encoding="utf-8")
        # How far its clock was moved.
        self.ahead_s = 0
        ready_file = folder / "ready.json"
        # An earlier demo on the same data may have left one.
        ready_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [*demo_command(folder / "data", ready_file), *more], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.ready = None
        give_up = time.monotonic() + START_S_MAX
        while self.ready is None:
            if self.process.poll() is not None:
                raise SystemExit(f"the demo ended with {self.process.returncode}:\n{self.log_text()}")
            if time.monotonic() > give_up:
                self.stop()
                raise SystemExit(f"the demo was not ready after {START_S_MAX} s:\n{self.log_text()}")
            try:
                self.ready = json.loads(ready_file.read_text(encoding="utf-8"))
            except (FileNotFoundError, json.JSONDecodeError):
                time.sleep(0.05)

    def log_text(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self):
        """Ends the process that this started, and no other."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        return self.process.returncode

    def kill(self):
        """Ends it as a power cut would; another one may go on with the same folder."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def user(self, **wanted):
        """The first sample person with these fields."""
        for user in self.ready["users"]:
            if all(user[field] == value for field, value in wanted.items()):
                return user
        raise AssertionError(f"the demo has no user with {wanted}")

    def password_user(self):
        return self.user(kind="trader", auth_system="password", disabled=False)

    def otp_user(self):
        return self.user(kind="trader", auth_system="otp", otp_registered=True, disabled=False)

    def next_code(self, maker, seed):
        """A code that nobody has used: the clock goes on by two steps first. Gives the code and its time."""
        advance_clock(self, 60)
        at = show_clock(self)
        return maker(seed, at), at


def oathtool(seed, at):
    stamp = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return command(["oathtool", "--totp", "--base32", "--now", stamp, "-"], stdin=seed + "\n").strip()


def pyotp(seed, at):
    program = "import pyotp, sys; print(pyotp.TOTP(sys.stdin.readline().strip()).at(int(sys.argv[1])))"
    python = str(INSTALLED / "venv" / "bin" / "python")
    return command([python, "-c", program, str(int(at.timestamp()))], stdin=seed + "\n").strip()
