#!/usr/bin/env node
// Logs on over FIX with a signed Logon, sends an order and logs out; prints each message that arrives.
//
// Needs nothing but Node.js 18.3. The Secret Key comes from an environment variable, so that no list of processes
// shows it:
//
//     DOORWARD_SECRET_KEY=... node fix_logon.mjs logon 127.0.0.1:9001 ABCFIRN OPERATOR ACCESSKEYID --seq 1
//     DOORWARD_SECRET_KEY=... node fix_logon.mjs sign <a-logon.txt       # fields with | or SOH between them
//
// Exit status: 0 logged on and the order answered, 1 refused or no connection.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parseArgs } from "node:util";

const SOH = "\x01";
const SIGNED = [34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605];
const WAIT_MS = 30_000;

/** The server said no; its answer has been printed. */
class Refused extends Error {}

/** What is signed: these values, one a line; a field that is not in the message is an empty line. */
const canonical = (fields) => SIGNED.map((tag) => fields[tag] ?? "").join("\n");

/** HMAC-SHA256 with the decoded Secret Key, in base64url without padding: 43 characters. */
function signature(fields, secretKey) {
  const key = Buffer.from(secretKey, "base64url");
  return createHmac("sha256", key).update(canonical(fields), "utf8").digest("base64url");
}

/** SendingTime: UTC with milliseconds. */
const utcNow = () => new Date().toISOString().replace(/-/g, "").replace("T", "-").replace("Z", "");

const checkSum = (bytes) => String(bytes.reduce((sum, byte) => sum + byte, 0) % 256).padStart(3, "0");

/** One connection and the numbers of its messages. */
class Session {
  #buffer = Buffer.alloc(0);
  #wake = () => {};
  #closed = null;

  constructor(socket, options) {
    this.socket = socket;
    this.options = options;
    this.nextOut = Number(options.seq);
    socket.setTimeout(WAIT_MS, () => socket.destroy(new Error("no answer in time")));
    socket.on("data", (data) => {
      this.#buffer = Buffer.concat([this.#buffer, data]);
      this.#wake();
    });
    socket.on("error", (fault) => (this.#closed ??= fault));
    socket.on("close", () => {
      this.#closed ??= new Error("closed by the server");
      this.#wake();
    });
  }

  /** One message; the header is the same for all of them. */
  send(msgType, body = [], secretKey = null) {
    const { sender, operator, venue, segment, location, accessKeyId } = this.options;
    // A list and no object: numeric keys of an object would be put in order.
    const fields = [
      [35, msgType],
      [34, String(this.nextOut)],
      [49, sender],
      [50, operator],
      [52, utcNow()],
      [56, venue],
      [57, segment],
      [142, location],
      ...body,
    ];
    if (secretKey) {
      const signed = signature(Object.fromEntries(fields), secretKey);
      fields.push([354, accessKeyId.length], [355, accessKeyId]);
      fields.push([1400, "CME-1-SHA-256"], [1401, signed.length], [1402, signed]);
    }
    const inner = fields.map(([tag, value]) => `${tag}=${value}${SOH}`).join("");
    const message = Buffer.from(`8=FIX.4.2${SOH}9=${Buffer.byteLength(inner)}${SOH}${inner}`);
    this.socket.write(Buffer.concat([message, Buffer.from(`10=${checkSum(message)}${SOH}`)]));
    this.nextOut += 1;
  }

  /** The next message of one of these types; Test Requests that come before it are answered. */
  async receive(...wanted) {
    for (;;) {
      const text = await this.#nextMessage();
      console.log(text.replaceAll(SOH, "|"));
      // Enough for messages without repeating groups and data fields.
      const fields = parse(text, SOH);
      if (wanted.includes(fields[35])) return fields;
      if (fields[35] === "1") this.send("0", [[112, fields[112]]]);
      else if (fields[35] === "5") throw new Refused(fields[58] ?? "logged out");
    }
  }

  /** Cuts a message by its BodyLength and compares its CheckSum. */
  async #nextMessage() {
    for (;;) {
      const head = /^8=FIX\.4\.2\x019=(\d+)\x01/.exec(this.#buffer.subarray(0, 32).toString("latin1"));
      const end = head ? head[0].length + Number(head[1]) + 7 : Infinity;
      if (this.#buffer.length >= end) {
        const message = this.#buffer.subarray(0, end);
        this.#buffer = this.#buffer.subarray(end);
        const trailer = message.subarray(-7).toString();
        if (trailer !== `10=${checkSum(message.subarray(0, -7))}${SOH}`) throw new Error(`wrong CheckSum: ${message}`);
        return message.toString("utf8");
      }
      if (this.#closed) throw this.#closed;
      await new Promise((resolve) => (this.#wake = resolve));
    }
  }
}

/** Fields by their tags. */
function parse(text, separator) {
  const fields = text.split(separator).filter(Boolean);
  return Object.fromEntries(fields.map((field) => [field.split("=", 1)[0], field.slice(field.indexOf("=") + 1)]));
}

/** One connection: log on, send an order, take its report, leave. */
async function logon(session, secretKey) {
  const software = [
    [1603, "Doorward sample"],
    [1604, "1.0"],
    [1605, "Doorward"],
  ];
  session.send("A", [[108, "30"], ...software], secretKey);
  const answer = await session.receive("A", "5");
  if (answer[35] === "5") throw new Refused(answer[58] ?? "no reason");
  // Nothing may be sent before the Logon is here; the server asks next whether we are alive.
  session.send("0", [[112, (await session.receive("1"))[112]]]);
  const orderId = `N${session.nextOut}`;
  session.send("D", [
    [11, orderId],
    [21, "1"],
    [55, "GEZ6"],
    [54, "1"],
    [38, "5"],
    [40, "2"],
    [44, "101.25"],
    [59, "0"],
    [60, utcNow()],
  ]);
  const report = await session.receive("8");
  if (report[11] !== orderId) throw new Refused(`a report of another order: ${report[11]}`);
  session.send("5");
  const farewell = await session.receive("5");
  console.log(`next: ${farewell[789] ?? session.nextOut}`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seq: { type: "string", default: "1" }, // our next MsgSeqNum; 1 at the beginning of the week
    venue: { type: "string", default: "CME" }, // TargetCompID
    segment: { type: "string", default: "G" }, // TargetSubID: G, or the market segment of an MSGW
    location: { type: "string", default: "US,IL" }, // SenderLocationID
  },
});
const [command, address, sender, operator, accessKeyId] = positionals;
const secretKey = process.env.DOORWARD_SECRET_KEY ?? "";

if (command === "sign") {
  const text = readFileSync(0, "utf8").replace(/\n+$/, "");
  console.log(signature(parse(text, text.includes(SOH) ? SOH : "|"), secretKey));
} else if (command === "logon" && accessKeyId) {
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address);
  const socket = connect({ host, port: Number(port), noDelay: true });
  try {
    await logon(new Session(socket, { ...values, sender, operator, accessKeyId }), secretKey);
  } catch (why) {
    console.error(why instanceof Refused ? `refused: ${why.message}` : `no connection: ${why.message}`);
    process.exitCode = 1;
  } finally {
    socket.destroy();
  }
} else {
  console.error("usage: fix_logon.mjs sign <LOGON");
  console.error("       fix_logon.mjs logon HOST:PORT SENDERCOMPID OPERATOR ACCESSKEYID [--seq N] [--venue CME]");
  console.error("                     [--segment G] [--location US,IL]");
  process.exitCode = 2;
}
