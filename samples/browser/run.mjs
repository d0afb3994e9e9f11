#!/usr/bin/env node
// Drives login.html in headless Chromium as a person would, and prints the answers that the page shows.
// Takes what the other samples take, so that samples/run can treat all of them alike.
//
// Needs `playwright-core` and a Chromium: CHROMIUM names it, /usr/bin/chromium is the default.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const WAIT_MS = 30_000;
const FILES = { "/": ["login.html", "text/html"], "/login.js": ["login.js", "text/javascript"] };
const FLAGS = [
  "--no-sandbox", // root has no sandbox
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Serves the page from loopback: WebCrypto needs a secure context, and 127.0.0.1 is one. */
async function serve() {
  const server = createServer(async (request, response) => {
    const [name, type] = FILES[request.url] ?? [];
    if (!name) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": `${type}; charset=utf-8` });
    response.end(await readFile(new URL(name, import.meta.url)));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Waits until the page's state is one of `states`, and gives it back. */
async function state(page, ...states) {
  const shown = await page.waitForFunction(
    (wanted) => {
      const text = document.querySelector("#state").textContent;
      return wanted.some((one) => text.startsWith(one)) && text;
    },
    states,
    { timeout: WAIT_MS },
  );
  return shown.jsonValue();
}

const answers = (page) => page.locator("#answers li").allTextContents();

/** The answers, once the page has seen its connection close `times` times. */
async function answersAfterClose(page, times) {
  await page.waitForFunction(
    (wanted) => [...document.querySelectorAll("#answers li")].filter((li) => li.textContent.startsWith('{"closed"')).length >= wanted,
    times,
    { timeout: WAIT_MS },
  );
  return answers(page);
}

/** One login through the forms; gives back whether it went through, and has logged out if it did. */
async function attempt(page, url, user, password, options, times) {
  await page.fill("#login [name=url]", url);
  await page.fill("#login [name=userid]", user);
  await page.fill("#login [name=password]", password);
  if (options["one-step"]) await page.fill("#login [name=code]", options.code);
  await page.click("#login button");

  let now = await state(page, "logged in", "refused", "code required", "invalid token", "password change required", "closed");
  assert.equal(await page.inputValue("#login [name=password]"), "", "the page keeps no password in its field");
  if (now === "code required" && options.code) {
    await page.fill("#code [name=code]", options.code);
    await page.click("#code button");
    now = await state(page, "logged in", "refused", "invalid token", "password change required", "closed");
  }
  if (now === "password change required" && options["new-password-env"]) {
    await page.fill("#change [name=newpass]", process.env[options["new-password-env"]]);
    await page.click("#change button");
    now = await state(page, "logged in", "refused", "closed");
  }
  if (now !== "logged in") {
    // A refused login is closed by the server; a refused code or password leaves the connection open.
    if (now.startsWith("refused: invalid user") || now.startsWith("refused: 2fa")) await answersAfterClose(page, times);
    return false;
  }
  assert.ok(await page.isVisible("#leave"), "who is logged in can log out");
  assert.ok(!(await page.isVisible("#login")), "who is logged in sees no login form");
  await page.click("#leave button");
  await answersAfterClose(page, times);
  await state(page, "closed");
  return true;
}

async function run(page, url, user, options) {
  assert.equal(await page.evaluate(() => isSecureContext), true, "WebCrypto needs a secure context");
  const env = (name) => process.env[name] ?? "";
  if (await attempt(page, url, user, env(options["password-env"]), options, 1)) return true;
  if (!options.retry) return false;
  return attempt(page, url, user, env(options.retry), options, 2);
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "password-env": { type: "string", default: "DOORWARD_PASSWORD" },
    code: { type: "string" },
    "one-step": { type: "boolean" },
    "new-password-env": { type: "string" },
    retry: { type: "string" },
  },
});
const [url, user] = positionals;
if (!user) {
  console.error("usage: run.mjs URL USER [--password-env VAR] [--code CODE] [--one-step]");
  console.error("               [--new-password-env VAR] [--retry VAR]");
  process.exit(2);
}

const profile = await mkdtemp(join(tmpdir(), "doorward-chromium-"));
const server = await serve();
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: FLAGS,
});
try {
  const page = await browser.newPage();
  const faults = [];
  page.on("pageerror", (fault) => faults.push(fault.message));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  process.exitCode = (await run(page, url, user, options)) ? 0 : 1;
  for (const answer of await answers(page)) console.log(answer);
  assert.deepEqual(faults, [], "the page threw");
} finally {
  await browser.close();
  server.close();
  await rm(profile, { recursive: true, force: true });
}
