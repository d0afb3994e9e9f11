"""A mail server on loopback for tests: aiosmtpd, told what to do on standard input.

    smtp_server.py [--port N] [--tls CERT KEY] [--user NAME PASSWORD]

It prints one JSON object a line: first {"port": N}, then each mail that it was handed, before it answers for it. It
takes one command a line: `refuse ADDRESS` (550 at RCPT), `busy ADDRESS` (451 at RCPT), `hold` (mails are not answered
until `release`), `deaf` (connections are taken and not greeted until `release`).
"""

import argparse
import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def tell(what):
    print(json.dumps(what), flush=True)


class Handler:
    """Tells of every mail."""

    def __init__(self):
        self.refused = set()
        self.busy = set()
        self.free = asyncio.Event()
        self.free.set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refused:
            return "550 5.1.1 nobody of this name lives here"
        if address in self.busy:
            return "451 4.2.1 the mailbox is busy"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        tell(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "tls": session.ssl is not None,
                "user": session.auth_data.decode() if session.authenticated else None,
                "data": base64.b64encode(envelope.content).decode(),
            }
        )
        await self.free.wait()
        return "250 OK"


class Server(SMTP):
    """Can keep silent before it greets."""

    deaf = None

    async def _handle_client(self):
        await self.deaf.wait()
        await super()._handle_client()


async def commands(handler):
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        match line.decode().split():
            case ["refuse", address]:
                handler.refused.add(address)
            case ["busy", address]:
                handler.busy.add(address)
            case ["hold"]:
                handler.free.clear()
            case ["deaf"]:
                Server.deaf.clear()
            case ["release"]:
                handler.busy.clear()
                handler.free.set()
                Server.deaf.set()
        tell({"done": line.decode().strip()})


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--user", nargs=2)
    options = parser.parse_args()
    Server.deaf = asyncio.Event()
    Server.deaf.set()
    handler = Handler()
    settings = {"enable_SMTPUTF8": True, "hostname": "mail.test"}
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
        settings |= {"tls_context": context, "require_starttls": True}

    def check(server, session, envelope, mechanism, data):
        good = [data.login.decode(), data.password.decode()] == options.user
        return AuthResult(success=good, auth_data=data.login if good else None, handled=False)

    if options.user:
        settings |= {"authenticator": check, "auth_required": True, "auth_require_tls": bool(options.tls)}
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Server(handler, **settings), "127.0.0.1", options.port)
    tell({"port": listening.sockets[0].getsockname()[1]})
    # Until standard input ends: whoever started this has gone.
    await commands(handler)


asyncio.run(main())
