#!/usr/bin/env node
// Walks through the portal by keyboard alone, as somebody new does, with oathtool as the authenticator app.
//
//   portal.mjs register LINK USER [--socket DEMO] [--shots FOLDER]   PASSWORD in the environment: the initial one
//   portal.mjs claim LINK [--shots FOLDER]                           the claim link of a node without an operator
//
// Each prints what it saw on its way as JSON lines and ends with 0 when all of it was right. `person.mjs` says what is
// looked at on each page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Clock, Person } from "./person.mjs";

const OWN = "amber harbour 62 kites";
const NEXT = "seven quiet lanterns 8";

const told = (what) => console.log(JSON.stringify(what));

/** From the page with the QR code to the account; gives the seed and the recovery codes. */
async function enrol(person, clock, action) {
  const seed = (await person.text("#key")).replace(/\s/g, "");
  assert.match(seed, /^[A-Z2-7]{32,}$/);
  assert.ok(await person.hasFocus("#code"), "the code's field has the focus");
  await person.look("seed");
  await person.type("#code", "000000");
  await person.page.keyboard.press("Enter");
  await person.page.locator("#code-wrong").waitFor();
  assert.equal(await person.page.locator("#key").count(), 0, "a seed is shown once");
  await person.look("seed-wrong-code");
  await person.type("#code", clock.code(seed));
  await person.page.keyboard.press("Enter");
  await person.page.locator("#codes").waitFor();
  assert.equal(new URL(person.page.url()).pathname, action);
  await person.look("recovery-codes");
  const codes = (await person.page.locator("#codes li").allInnerTexts()).map((code) => code.trim());
  assert.equal(codes.length, 10);
  const download = person.page.waitForEvent("download");
  await person.press("a[download]");
  const kept = readFileSync(await (await download).path(), "utf8");
  for (const code of codes) assert.ok(kept.includes(code), "the file has every code");
  await person.press("main a.primary");
  await person.sees("/account", "My account");
  return { seed, codes };
}

async function newPassword(person, password, repeat = password) {
  await person.type("#new", password);
  await person.type("#repeat", repeat);
  await person.page.keyboard.press("Enter");
}

async function register(person, clock, link, userid) {
  const initial = process.env.PASSWORD ?? "";
  await person.page.goto(link);
  await person.sees("/setup", "Set up your account");
  await person.look("setup");
  await person.type("#userid", userid);
  await person.type("#password", "not the password that was given");
  await person.page.keyboard.press("Enter");
  await person.page.locator(".notice.bad").waitFor();
  await person.look("setup-refused");
  assert.equal(await person.page.inputValue("#userid"), userid, "the user name is not typed twice");
  await person.type("#password", initial);
  await person.page.keyboard.press("Enter");

  await person.sees("/password", "Choose your password");
  await person.look("first-password");
  await newPassword(person, "too short");
  await person.page.locator("#new-wrong").waitFor();
  assert.ok(await person.hasFocus("#new"), "the field that is wrong has the focus");
  await person.look("first-password-wrong");
  await newPassword(person, OWN, `${OWN}!`);
  assert.ok(await person.page.evaluate(() => !document.querySelector("#repeat").validity.valid));
  await newPassword(person, OWN);

  await person.sees("/register", "Register your authenticator");
  await person.look("register");
  await person.press("main form[action='/register'] button");
  await person.sees("/register", "Scan this with your app");
  const { seed, codes } = await enrol(person, clock, "/register/code");
  told({ registered: userid });

  await person.look("account");
  await person.press("a[href='/account/attempts']");
  await person.sees("/account/attempts", "Sign-in attempts");
  await person.look("attempts");
  await person.press("details summary");
  assert.ok(await person.page.locator("details").first().getAttribute("open") !== null);
  await person.look("attempts-open");

  await person.press("main a[href='/account']");
  await person.sees("/account", "My account");
  await person.press("a[href='/password']");
  await person.sees("/password", "Change your password");
  await person.type("#present", "not the present one at all");
  await newPassword(person, NEXT);
  await person.page.locator("#present-wrong").waitFor();
  await person.look("password-wrong");
  await person.type("#present", OWN);
  await newPassword(person, NEXT);
  await person.sees("/account", "My account");
  assert.match(await person.text("#notice"), /Your password is changed/);
  told({ changed: userid });

  await person.press("header form button");
  await person.sees("/signin", "Sign in");
  await person.type("#userid", userid);
  await person.type("#password", NEXT);
  await person.page.keyboard.press("Enter");
  await person.sees("/signin/code", "Enter your code");
  await person.press("a[href='/signin/recovery']");
  await person.sees("/signin/recovery", "Use a recovery code");
  await person.look("recovery");
  await person.type("#code", "AAAAA-AAAAA");
  await person.page.keyboard.press("Enter");
  await person.page.locator("#code-wrong").waitFor();
  await person.look("recovery-wrong");
  await person.type("#code", codes[0].toLowerCase());
  await person.page.keyboard.press("Enter");
  await person.sees("/account", "My account");
  await person.look("account-by-recovery-code");
  told({ recovered: userid });

  await person.press("a[href='/account/recovery-codes']");
  await person.sees("/account/recovery-codes", "New recovery codes");
  await person.look("new-recovery-codes");
  await person.type("#code", clock.freshCode(seed));
  await person.page.keyboard.press("Enter");
  await person.page.locator("#codes").waitFor();
  const fresh = await person.page.locator("#codes li").allInnerTexts();
  assert.ok(fresh.length === 10 && fresh.every((code) => !codes.includes(code.trim())));
  return { passwords: [initial, OWN, NEXT], once: [seed, ...codes.slice(1)] };
}

async function claim(person, clock, link) {
  await person.page.goto(link);
  await person.sees("/claim", "The first desk operator");
  await person.look("claim");
  await person.type("#userid", "dora");
  await person.type("#email", "dora@venue.example");
  await newPassword(person, "too short");
  await person.page.locator("#new-wrong").waitFor();
  await person.look("claim-wrong");
  await newPassword(person, OWN);
  await person.page.locator("#key").waitFor();
  const { seed, codes } = await enrol(person, clock, "/claim/code");
  assert.match(await person.text("dl.facts"), /dora/);
  told({ claimed: "dora" });
  await person.page.goto(link);
  await person.sees("/claim", "The first desk operator");
  return { passwords: [OWN], once: [seed, ...codes] };
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { socket: { type: "string" }, shots: { type: "string" } },
});
const [what, link, userid] = positionals;
if (!link || !["register", "claim"].includes(what) || (what === "register" && !userid)) {
  console.error("usage: portal.mjs register LINK USER [--socket DEMO] [--shots FOLDER]");
  console.error("       portal.mjs claim LINK [--shots FOLDER]");
  process.exit(2);
}

const person = await Person.at(options.shots);
try {
  const clock = new Clock(options.socket);
  const done = what === "claim" ? await claim(person, clock, link) : await register(person, clock, link, userid);
  for (const password of done.passwords) {
    assert.equal(await person.messagesWith(password), 0, "a password went over the wire");
  }
  for (const secret of done.once) {
    assert.ok((await person.messagesWith(secret)) <= 1, "a seed or a recovery code is shown once");
  }
  assert.deepEqual(person.faults, [], "a page complained");
} finally {
  await person.close();
}
