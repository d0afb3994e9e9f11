"""A node with a real mail server (aiosmtpd) as its mailbox, and what its command line sets up for a walk."""

import base64
import email
import email.policy
import json
import pathlib
import re
import subprocess
import threading
import time

from demo import BINARY, HERE, INSTALLED, START_S_MAX, STOP_S_MAX, command

MAIL_S_MAX = 180
SMTP = HERE.parent / "crates" / "doorward" / "tests" / "support" / "smtp_server.py"
CONFIG = """\
data_dir = "store"
[log]
format = "json"
[ws]
listen = ["127.0.0.1:0"]
[web]
listen = ["127.0.0.1:0"]
[[fix.listeners]]
name = "trader"
listen = "127.0.0.1:0"
profile = "trader-otp"
[calendar]
mode = "always"
[metrics]
listen = "127.0.0.1:0"
[vault]
key_file = "keys/vault.key"
[mail]
server = "localhost"
port = {port}
security = "none"
from = "Doorward <no-reply@venue.example>"
"""


class MailServer:
    """aiosmtpd on loopback; keeps what it was handed."""

    def __init__(self):
        python = str(INSTALLED / "venv" / "bin" / "python")
        self.process = subprocess.Popen([python, str(SMTP)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.mails = []
        self.done = []
        self.news = threading.Condition()
        self.port = json.loads(self.process.stdout.readline())["port"]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        for line in self.process.stdout:
            told = json.loads(line)
            with self.news:
                if "data" in told:
                    raw = base64.b64decode(told["data"])
                    self.mails.append(email.message_from_bytes(raw, policy=email.policy.default))
                else:
                    self.done.append(told["done"])
                self.news.notify_all()

    def command(self, words):
        """Gives a command of smtp_server.py; returns once it is in force."""
        with self.news:
            before = len(self.done)
            self.process.stdin.write(f"{words}\n".encode())
            self.process.stdin.flush()
            assert self.news.wait_for(lambda: len(self.done) > before, MAIL_S_MAX), f"{words}: not done"

    def awaited(self, address, *words):
        """The text of the last mail to an address that has all these words in its subject or text."""
        give_up = time.monotonic() + MAIL_S_MAX
        with self.news:
            while True:
                texts = [text_of(mail) for mail in self.mails if address in mail["To"]]
                found = [text for text in texts if all(word in text for word in words)]
                if found:
                    return found[-1]
                if not self.news.wait(give_up - time.monotonic()):
                    raise AssertionError(f"no mail to {address} with {words}: {texts}")

    def link_to(self, address):
        """The setup link that was mailed last."""
        return re.search(r"\S+/setup#\S+", self.awaited(address, "/setup#")).group()

    def stop(self):
        """It ends when nobody speaks to it any more."""
        self.process.stdin.close()
        self.process.wait(STOP_S_MAX)


def text_of(mail):
    return f"{mail['Subject']}\n{mail.get_body(('plain',)).get_content()}"


class Node:
    """A running `doorward serve`; its clock is this machine's."""

    def __init__(self, folder):
        self.mail = MailServer()
        (folder / "keys").mkdir(mode=0o700)
        config = folder / "doorward.toml"
        config.write_text(CONFIG.format(port=self.mail.port), encoding="utf-8")
        self.out_path, self.log_path = folder / "out", folder / "log"
        self.socket = str(folder / "store" / "admin.sock")
        with open(self.out_path, "w", encoding="utf-8") as out, open(self.log_path, "w", encoding="utf-8") as log:
            words = [BINARY, "serve", "--config", str(config)]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        self._until_it_serves()

    def _until_it_serves(self):
        give_up = time.monotonic() + START_S_MAX
        while True:
            log, out = self.log_path.read_text(encoding="utf-8"), self.out_path.read_text(encoding="utf-8")
            if '"socket"' in log:
                break
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"the node does not serve:\n{out}{log}")
            time.sleep(0.05)
        self.claim_link = re.search(r"\S+/claim#\S+", out).group()
        self.portal = self.claim_link.split("/claim#")[0]
        told = {key: value for line in log.splitlines() for key, value in json.loads(line).items()}
        self.websocket, self.fix = f"ws://{told['address']}/", told["fix"]

    def do(self, *words, stdin=""):
        """One step by the command line at the machine; gives what it answers."""
        return json.loads(command([BINARY, *words, "--socket", self.socket, "--json"], stdin=stdin))

    def logged(self, words):
        """Waits for words in the log."""
        give_up = time.monotonic() + MAIL_S_MAX
        while words not in self.log_path.read_text(encoding="utf-8"):
            assert time.monotonic() < give_up, f"{words} is not in the log"
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
        self.mail.stop()
        return self.process.returncode
