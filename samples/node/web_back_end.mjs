#!/usr/bin/env node
// The back end of a web site that signs its customers in with Doorward.
//
// It keeps one connection to the WebSocket door, logged in as a service user, and has each customer verified over it.
// The token that it gets is the customer's session cookie; so nothing of a session is kept here.
//
//     DOORWARD_PASSWORD=... node web_back_end.mjs ws://127.0.0.1:8080/ web-backend --listen 127.0.0.1:3000
//
// Needs `ws` (npm install in this folder). Off loopback put TLS in front of it and say `--secure`: it puts `Secure` on
// the cookie.

import { constants, createPublicKey, publicEncrypt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import WebSocket from "ws";

const ANSWER_MS = 30_000;
const SILENCE_MS = 60_000;
const RECONNECT_MS = { first: 250, most: 30_000 };
const TRIES = 3;
const RETRY_MS_MAX = 2_000;
const BODY_BYTES_MAX = 4_096;

const tell = (event) => console.log(JSON.stringify(event));

/** Doorward cannot be asked now. */
class Unavailable extends Error {
  constructor(why, retryMs = 0) {
    super(why);
    this.retryS = Math.max(1, Math.ceil(retryMs / 1_000));
  }
}

/** The one connection to Doorward; it comes back by itself. */
class Door {
  #socket;
  #queue = Promise.resolve();
  #waiting = new Map();
  #id = 0;

  constructor(url, userid, password) {
    Object.assign(this, { url, userid, password });
  }

  /** Stays connected for ever; throws only where the server does not take the password. */
  async stay() {
    for (let pause = RECONNECT_MS.first; ; pause = Math.min(2 * pause, RECONNECT_MS.most)) {
      try {
        const socket = await this.#connect();
        tell({ door: "connected" });
        pause = RECONNECT_MS.first;
        tell({ door: "closed", code: await socket.ended });
      } catch (why) {
        if (!(why instanceof Unavailable)) throw why;
        tell({ door: "unavailable", why: why.message });
      }
      this.#socket = undefined;
      await sleep(pause);
    }
  }

  /** Connects and logs in; `ended` of the socket will be the close code. */
  async #connect() {
    const socket = new WebSocket(this.url, { handshakeTimeout: ANSWER_MS });
    socket.ended = new Promise((resolve) => socket.on("close", resolve));
    // The door pings every 20 s; a silent one has gone without a word.
    const watch = setTimeout(() => socket.terminate(), SILENCE_MS);
    socket.on("ping", () => watch.refresh());
    socket.on("close", () => clearTimeout(watch));
    socket.on("message", (data) => {
      const answer = JSON.parse(data.toString("utf8"));
      this.#waiting.get(answer.id)?.(answer);
    });
    socket.on("close", () => this.#waiting.forEach((settle) => settle(undefined)));
    await new Promise((resolve, reject) => {
      socket.on("open", resolve);
      socket.on("error", (why) => reject(new Unavailable(why.message)));
    });
    try {
      const pass = await this.#encrypt(socket, this.password);
      const answer = await this.#exchange(socket, { type: "login", userid: this.userid, pass });
      if (["busy", "try again later"].includes(answer.result)) throw new Unavailable(answer.result);
      if (answer.result !== "OK" || answer.password || answer["2fa"]) {
        throw new Error(`the service user cannot log in: ${JSON.stringify(answer)}`);
      }
    } catch (why) {
      socket.terminate();
      throw why;
    }
    this.#socket = socket;
    return socket;
  }

  #exchange(socket, message) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      const settle = (answer) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        if (answer) resolve(answer);
        else reject(new Unavailable("the connection was closed"));
      };
      const timer = setTimeout(settle, ANSWER_MS);
      this.#waiting.set(id, settle);
      socket.send(JSON.stringify({ ...message, id }));
    });
  }

  async #encrypt(socket, password) {
    // A key lives for about a minute, and a ciphertext counts once: a fresh key each time is simplest.
    const challenge = await this.#exchange(socket, { type: "challenge" });
    if (challenge.result !== "OK") throw new Unavailable(challenge.result);
    const key = createPublicKey({ key: Buffer.from(challenge.key, "base64"), format: "der", type: "spki" });
    // The padding must be named: Node's default is OAEP with SHA-1, which the server does not take.
    const options = { key, padding: constants.RSA_PKCS1_PADDING };
    return publicEncrypt(options, Buffer.from(password, "utf8")).toString("base64");
  }

  /** Asks one thing after the other, as the door decides them; `password` is sent encrypted. */
  ask(message, password) {
    const asked = this.#queue.then(() => this.#ask(message, password));
    this.#queue = asked.catch(() => {});
    return asked;
  }

  async #ask(message, password) {
    for (let tries = 1; ; tries++) {
      const socket = this.#socket;
      if (!socket) throw new Unavailable("not connected");
      const pass = password === undefined ? {} : { pass: await this.#encrypt(socket, password) };
      const answer = await this.#exchange(socket, { ...message, ...pass });
      const again = ["busy", "try again later", "challenge required"].includes(answer.result);
      if (!again) return answer;
      // Nothing was decided and nothing counted. Where it takes longer the customer waits, and nobody behind.
      const retryMs = answer.retry_ms ?? 0;
      if (tries === TRIES || retryMs > RETRY_MS_MAX) throw new Unavailable(answer.result, retryMs);
      await sleep(retryMs);
    }
  }
}

/** What to say to a customer whose login was verified, or was not. */
function outcome(answer) {
  switch (answer.result) {
    case "invalid user/password": return [401, "user or password is wrong"];
    case "2fa token missing": return [401, "code needed"];
    case "invalid token": return [401, "code is wrong or used"];
    case "OK": break;
    default: return [500, "cannot sign anybody in"]; // such as "permission denied": a right is missing
  }
  if (answer.active !== "Y") return [403, "account is disabled"];
  if (answer.password) return [403, "change the password first"];
  if (answer["2fa"]) return [403, "register an authenticator first"];
  return answer.token ? [200, "signed in"] : [500, "cannot sign anybody in"];
}

const cookieOf = (request) => /(?:^|;\s*)session=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1];
const setCookie = (token, maxAge) => {
  const secure = values.secure ? "; Secure" : "";
  return { "set-cookie": `session=${token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${maxAge}${secure}` };
};

async function body(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new SyntaxError("too long");
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

async function signIn(door, request) {
  const { userid, password, code } = await body(request);
  if (typeof userid !== "string" || typeof password !== "string") throw new SyntaxError("userid and password");
  // The customer's own address, so that wrong passwords hold back nobody else; behind a proxy, what that says.
  const message = { type: "verifylogin", userid, gentoken: true, source: request.socket.remoteAddress };
  if (code) message["2fatoken"] = String(code);
  const answer = await door.ask(message, password);
  const [status, result] = outcome(answer);
  if (status !== 200) return [status, { result }];
  const maxAge = Math.max(0, Math.floor((answer.expires - Date.now()) / 1_000));
  return [200, { result, userid: answer.userid }, setCookie(answer.token, maxAge)];
}

async function serve(door, page, request) {
  const token = cookieOf(request);
  // JSON alone: no other site's form can send that.
  const json = /^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "");
  switch (`${request.method} ${request.url}${request.method === "POST" && !json ? " no json" : ""}`) {
    case "POST /sign-in no json":
    case "POST /sign-out no json": return [415, { result: "send application/json" }];
    case "GET /": return [200, page];
    case "POST /sign-in": return signIn(door, request);
    case "GET /me": {
      const answer = token ? await door.ask({ type: "checktoken", token }) : { result: "invalid token" };
      if (answer.result === "OK") return [200, { userid: answer.userid, expires: answer.expires }];
      return [401, { result: "not signed in" }, setCookie("", 0)];
    }
    case "POST /sign-out":
      if (token) await door.ask({ type: "revoketoken", token });
      return [200, { result: "signed out" }, setCookie("", 0)];
    default: return [404, { result: "nothing here" }];
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { listen: { type: "string", default: "127.0.0.1:3000" }, secure: { type: "boolean", default: false } },
});
const [url, userid] = positionals;
if (!userid || !process.env.DOORWARD_PASSWORD) {
  console.error("usage: DOORWARD_PASSWORD=... web_back_end.mjs URL SERVICE-USER [--listen HOST:PORT] [--secure]");
  process.exit(2);
}
const page = await readFile(new URL("../browser/sign_in.html", import.meta.url));
const door = new Door(url, userid, process.env.DOORWARD_PASSWORD);
const server = createServer(async (request, response) => {
  let answer;
  try {
    answer = await serve(door, page, request);
  } catch (why) {
    const later = why instanceof Unavailable && { "retry-after": String(why.retryS) };
    if (later) answer = [503, { result: "try again in a moment" }, later];
    else if (why instanceof SyntaxError) answer = [400, { result: "not understood" }];
    else answer = [500, { result: "something went wrong" }];
  }
  const [status, content, more] = answer;
  const html = Buffer.isBuffer(content);
  const type = html ? "text/html; charset=utf-8" : "application/json";
  response.writeHead(status, { "content-type": type, "cache-control": "no-store", ...more });
  response.end(html ? content : JSON.stringify(content));
});
const [, host, port] = /^(.*):(\d+)$/.exec(values.listen) ?? [];
server.listen(Number(port), host, () => tell({ listening: `http://${host}:${server.address().port}/` }));
door.stay().catch((why) => {
  console.error(why.message);
  process.exit(1);
});
