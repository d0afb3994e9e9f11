#!/usr/bin/env node
// Logs in to Doorward over WebSocket and prints each answer as one line of JSON.
//
// Needs `ws` (npm install in this folder). Passwords come from environment variables, so that no list of processes
// shows them:
//
//     DOORWARD_PASSWORD=... node login.mjs ws://127.0.0.1:8080/ trader1 --code 123456
//
// Exit status: 0 logged in, 1 refused.

import { constants, createPublicKey, publicEncrypt } from "node:crypto";
import { parseArgs } from "node:util";
import WebSocket from "ws";

const WAIT_MS = 30_000;

/** The server said no; its answer has been printed. */
class Refused extends Error {}

/** One connection whose messages and close are taken one after the other. */
class Connection {
  #arrived = [];
  #waiting = [];

  static open(url) {
    const connection = new Connection();
    const socket = new WebSocket(url);
    connection.socket = socket;
    socket.on("message", (data) => connection.#arrive({ text: data.toString("utf8") }));
    socket.on("close", (code) => connection.#arrive({ closed: code }));
    return new Promise((resolve, reject) => {
      socket.on("open", () => resolve(connection));
      socket.on("error", reject);
    });
  }

  #arrive(event) {
    const next = this.#waiting.shift();
    if (next) next(event);
    else this.#arrived.push(event);
  }

  /** The next message, or how the connection was closed; printed. */
  async next() {
    const event = this.#arrived.shift() ?? (await this.#later());
    const answer = event.text === undefined ? event : JSON.parse(event.text);
    console.log(JSON.stringify(answer));
    return answer;
  }

  #later() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("no answer in time")), WAIT_MS);
      this.#waiting.push((event) => {
        clearTimeout(timer);
        resolve(event);
      });
    });
  }

  /** Sends one message and gives back its answer. */
  async ask(message) {
    this.socket.send(JSON.stringify(message));
    const answer = await this.next();
    if (answer.closed !== undefined) throw new Refused(`connection closed with ${answer.closed}`);
    return answer;
  }

  async closed() {
    while ((await this.next()).closed === undefined);
  }
}

/** Encrypts passwords with a fresh key; a key lives for about a minute, and a ciphertext counts once. */
async function encrypt(connection, ...passwords) {
  const challenge = await connection.ask({ type: "challenge" });
  const key = createPublicKey({ key: Buffer.from(challenge.key, "base64"), format: "der", type: "spki" });
  // The padding must be named: Node's default is OAEP with SHA-1, which the server does not take.
  const options = { key, padding: constants.RSA_PKCS1_PADDING };
  return passwords.map((password) => publicEncrypt(options, Buffer.from(password, "utf8")).toString("base64"));
}

/** Logs in, in as many steps as the server asks for; throws Refused. */
async function login(connection, user, password, options) {
  const [pass] = await encrypt(connection, password);
  const request = { type: "login", userid: user, pass };
  if (options["one-step"]) request["2fatoken"] = options.code;
  let answer = await connection.ask(request);
  if (["invalid user/password", "2fa registration required"].includes(answer.result)) await connection.closed();
  if (answer.result !== "OK") throw new Refused(answer.result);

  let change = answer.password === "change required";
  if (answer["2fa"] === "required") {
    if (!options.code) throw new Refused("the server wants a one-time password: give --code");
    answer = await connection.ask({ type: "send2fatoken", "2fatoken": options.code });
    if (answer.result !== "OK") throw new Refused(answer.result);
    change ||= answer.password === "change required";
  }

  if (change) {
    const wanted = process.env[options["new-password-env"]];
    if (!wanted) throw new Refused("the password must be changed: give --new-password-env");
    const [present, newpass] = await encrypt(connection, password, wanted);
    answer = await connection.ask({ type: "adduser", updateprof: true, pass: present, newpass });
    if (answer.result !== "OK") throw new Refused(answer.reason ?? answer.result);
  }
}

/** One connection: log in, show that it works, leave. */
async function session(url, user, password, options) {
  const connection = await Connection.open(url);
  try {
    await login(connection, user, password, options);
    await connection.ask({ type: "ping" });
    connection.socket.send(JSON.stringify({ type: "logout" }));
    await connection.closed();
  } finally {
    connection.socket.terminate();
  }
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "password-env": { type: "string", default: "DOORWARD_PASSWORD" },
    code: { type: "string" }, // one-time password
    "one-step": { type: "boolean" }, // send the code with the login
    "new-password-env": { type: "string" }, // for when the password must be changed
    retry: { type: "string" }, // after a refusal connect again with the password in this variable
  },
});
const [url, user] = positionals;
if (!user) {
  console.error("usage: login.mjs URL USER [--password-env VAR] [--code CODE] [--one-step]");
  console.error("                 [--new-password-env VAR] [--retry VAR]");
  process.exit(2);
}

try {
  try {
    await session(url, user, process.env[options["password-env"]] ?? "", options);
  } catch (why) {
    if (!(why instanceof Refused) || !options.retry) throw why;
    await session(url, user, process.env[options.retry] ?? "", options);
  }
} catch (why) {
  console.error(why instanceof Refused ? `refused: ${why.message}` : `no connection: ${why.message}`);
  process.exitCode = 1;
}
