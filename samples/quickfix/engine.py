"""The QuickFIX initiator under remote control: its settings, its commands, its events."""

import datetime
import json
import os
import queue
import subprocess
import threading
import time

from quickfix import dictionary

SOH = "\x01"
EVENT_S_MAX = 30
END_S_MAX = 15
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

SETTINGS = """\
[DEFAULT]
ConnectionType=initiator
HeartBtInt=30
ReconnectInterval=1
LogonTimeout=10
LogoutTimeout=5
SocketNodelay=Y
StartTime=00:00:00
EndTime=00:00:00
StartDay={day}
EndDay={day}
UseDataDictionary=Y
DataDictionary={folder}/dictionary.xml
FileStorePath={folder}/store
SocketConnectHost={host}
SocketConnectPort={port}
CheckLatency={check_latency}
[SESSION]
BeginString={begin_string}
SenderCompID={sender}
TargetCompID={target}
"""


def parse(message):
    """Fields by their tags; messages here have neither groups nor SOH in a value."""
    return dict(field.split("=", 1) for field in message.split(SOH) if field)


class Account:
    """Who logs on: comp IDs, profile, secret, and keys of the settings beside QuickFIX's own."""

    def __init__(self, sender, target, profile, secret, begin_string="FIX.4.2", **own):
        self.sender = sender
        self.target = target
        self.profile = profile
        self.secret = secret
        self.begin_string = begin_string
        self.own = own


class Initiator:
    """One QuickFIX process; its store in `folder` outlives it."""

    def __init__(self, program, folder, account, address, ahead_s=0, **variables):
        (folder / "store").mkdir(parents=True, exist_ok=True)
        xml = dictionary.dictionary(account.profile, account.begin_string)
        (folder / "dictionary.xml").write_text(xml, encoding="utf-8")
        # QuickFIX's own week ends in three days, so not while this runs.
        day = DAYS[(datetime.datetime.now(datetime.timezone.utc).weekday() + 3) % 7]
        text = SETTINGS.format(
            day=day,
            folder=folder,
            host=address[0],
            port=address[1],
            # A server whose clock was moved is ahead of QuickFIX's.
            check_latency="N" if ahead_s else "Y",
            begin_string=account.begin_string,
            sender=account.sender,
            target=account.target,
        )
        text += "".join(f"{key}={value}\n" for key, value in account.own.items())
        settings = folder / "settings.cfg"
        settings.write_text(text, encoding="utf-8")
        self.told = []
        self.events = queue.Queue()
        self.process = subprocess.Popen(
            [str(program), str(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ, DOORWARD_SECRET=account.secret, **variables),
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.wait("ready")
        if ahead_s:
            self.say(f"clock {ahead_s}")

    def _read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                event = {"event": "fault", "text": line.strip()}
            if "message" in event:
                event["fields"] = parse(event["message"])
            self.events.put(event)
        self.events.put({"event": "ended"})

    def say(self, command):
        """One command."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def wait(self, name, wanted=lambda event: True, seconds=EVENT_S_MAX):
        """The next event of this name that is the wanted one; what came before it is in `told`."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                event = self.events.get(timeout=max(give_up - time.monotonic(), 0.001))
            except queue.Empty:
                raise AssertionError(f"no event {name} within {seconds} s\n{self.story()}") from None
            self.told.append(event)
            if event["event"] == name and wanted(event):
                return event
            if event["event"] in ("ended", "fault", "misuse"):
                self.events.put({"event": "ended"})
                raise AssertionError(f"{event} while waiting for {name}\n{self.story()}")

    def message(self, direction, msg_type, **fields):
        """The next message (`in`, `out`, or `app`: in order) of this type and with these fields (`f11="a"`)."""

        def wanted(event):
            seen = event["fields"]
            return seen["35"] == msg_type and all(seen.get(tag[1:]) == value for tag, value in fields.items())

        return self.wait(direction, wanted)["fields"]

    def logon(self):
        """Connects; gives the server's Logon. A Logout instead of it is an AssertionError."""
        self.say("logon")
        answer = self.wait("in", lambda event: event["fields"]["35"] in "A5")["fields"]
        assert answer["35"] == "A", f"refused: {answer.get('58')}\n{self.story()}"
        self.wait("logon")
        return answer

    def refused(self):
        """Connects where that must fail; gives the server's Logout."""
        self.say("logon")
        answer = self.wait("in", lambda event: event["fields"]["35"] in "A5")["fields"]
        assert answer["35"] == "5", f"logged on\n{self.story()}"
        self.wait("closed")
        return answer

    def logout(self):
        """Logs out in order; gives the server's Logout."""
        self.say("logout")
        answer = self.message("in", "5")
        self.wait("closed")
        return answer

    def numbers(self):
        """The next MsgSeqNum of either side, ours first."""
        self.say("numbers")
        return tuple(self.wait("numbers")["next"])

    def reports(self, ids):
        """The Execution Reports of new orders with these ids, processed in order; each must come once."""
        due = list(ids)
        while due:
            report = self.message("app", "8")
            if report["150"] == "0":
                assert report["11"] == due.pop(0), f"out of order: {report}\n{self.story()}"

    def kill(self):
        """Ends it as a power cut would; what it had told until then counts."""
        self.process.kill()
        self.process.wait()
        while (event := self.events.get())["event"] != "ended":
            self.told.append(event)

    def quit(self):
        """Ends it in order, and looks through what it said: QuickFIX must not have minded any message."""
        self.say("quit")
        try:
            self.process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        self.check()

    def check(self):
        """QuickFIX rejected nothing that came."""
        for event in self.told:
            rejected = event["event"] == "out" and event["fields"]["35"] in "3j"
            minded = event["event"] == "note" and ("Rejected" in event["text"] or "not valid" in event["text"])
            assert not rejected and not minded, f"QuickFIX minds: {event}\n{self.story()}"

    def story(self):
        """The last events, for whoever has to find out."""
        lines = []
        for event in self.told[-40:]:
            text = event.get("message", event.get("text", event.get("next", "")))
            lines.append(f"  {event['event']:<7} {str(text).replace(SOH, '|')}")
        return "\n".join(lines)
