"""The pages, walked through by a person at a keyboard: samples/pages, driven against a demo and a node of its own."""

import email
import email.policy
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from demo import BINARY, HERE, INSTALLED, START_S_MAX, STOP_S_MAX

WALK_S_MAX = 300
MAIL_S_MAX = 20


def walk(what, *arguments, **variables):
    """One walk of portal.mjs; gives what it told."""
    # Modules are looked for beside the program: a copy lies beside what was installed for it.
    for name in ("person.mjs", "portal.mjs"):
        (INSTALLED / "pages" / name).write_bytes((HERE / "pages" / name).read_bytes())
    words = ["node", str(INSTALLED / "pages" / "portal.mjs"), what, *arguments]
    shots = os.environ.get("DOORWARD_SHOTS")
    if shots:
        words += ["--shots", str(pathlib.Path(shots).resolve() / what)]
    environment = dict(os.environ, DOORWARD=BINARY, NO_PROXY="127.0.0.1,localhost", **variables)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=WALK_S_MAX)
    if done.returncode != 0:
        raise AssertionError(f"{what}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def mails_to(demo, address):
    """What lies in the demo's mailbox for an address, oldest first."""
    folder = pathlib.Path(demo.ready["mailbox"])
    read = (email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in sorted(folder.glob("*.eml")))
    return [mail for mail in read if address in mail["To"]]


def awaited_mail(demo, address, words):
    """The last mail to an address with these words in its text."""
    give_up = time.monotonic() + MAIL_S_MAX
    while True:
        texts = [mail.get_body(("plain",)).get_content() for mail in mails_to(demo, address)]
        found = [text for text in texts if words in text]
        if found:
            return found[-1]
        if time.monotonic() > give_up:
            raise AssertionError(f"no mail to {address} with {words!r}: {texts}")
        time.sleep(0.05)


def from_the_mailed_link_to_an_account_by_keyboard_alone(demo):
    user = next(user for user in demo.ready["users"] if user["userid"].startswith("joiner@"))
    text = awaited_mail(demo, user["userid"], "/setup#")
    assert user["userid"] in text and user["password"] not in text, text
    link = re.search(r"\S+/setup#\S+", text).group()
    assert link.startswith(demo.ready["portal"]), link
    told = walk(
        "register", link, user["userid"], "--socket", demo.ready["admin_socket"], PASSWORD=user["password"]
    )
    assert [next(iter(one)) for one in told] == ["registered", "changed", "recovered"], told
    awaited_mail(demo, user["userid"], "recovery code")
    for mail in mails_to(demo, user["userid"]):
        assert user["password"] not in mail.as_string()


SERVE = """\
data_dir = "store"
[ws]
listen = ["127.0.0.1:0"]
[web]
listen = ["127.0.0.1:0"]
[metrics]
listen = "127.0.0.1:0"
[vault]
key_file = "keys/vault.key"
"""


def the_first_operator_by_the_claim_link_of_the_terminal(_):
    with tempfile.TemporaryDirectory(prefix="doorward-claim-") as folder:
        folder = pathlib.Path(folder)
        (folder / "keys").mkdir(mode=0o700)
        (folder / "doorward.toml").write_text(SERVE, encoding="utf-8")
        out, log = folder / "out", open(folder / "log", "w", encoding="utf-8")
        with open(out, "w", encoding="utf-8") as terminal:
            words = [BINARY, "serve", "--config", str(folder / "doorward.toml")]
            node = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=terminal, stderr=log)
        try:
            link = claim_link(node, out, folder / "log")
            told = walk("claim", link)
            assert told == [{"claimed": "dora"}], told
            assert link.split("#")[1] not in (folder / "log").read_text(encoding="utf-8"), "the link is in the log"
        finally:
            node.terminate()
            node.wait(STOP_S_MAX)
            log.close()


def claim_link(node, out, log):
    """The link on the terminal of a node, once it serves."""
    give_up = time.monotonic() + START_S_MAX
    while True:
        found = re.search(r"\S+/claim#\S+", out.read_text(encoding="utf-8"))
        if found:
            return found.group()
        if node.poll() is not None or time.monotonic() > give_up:
            raise AssertionError(f"no claim link:\n{out.read_text()}{log.read_text()}")
        time.sleep(0.05)


SCENARIOS = [
    the_first_operator_by_the_claim_link_of_the_terminal,
    from_the_mailed_link_to_an_account_by_keyboard_alone,
]
