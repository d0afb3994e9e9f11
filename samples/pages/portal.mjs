// The portal: the first operator of the desk, and a new trader from the mailed link to an account.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Authenticator } from "./person.mjs";

const OWN = "amber harbour 62 kites";
const NEXT = "seven quiet lanterns 8";

/** Password and, where it is asked for, the code; ends where somebody begins. */
export async function signIn(person, account) {
  await person.open("/signin");
  await person.sees("/signin", "Sign in");
  await password(person, account);
  await person.sees("/signin/code", "Enter your code");
  await person.type("#code", await account.app.code());
  await person.page.keyboard.press("Enter");
  await person.page.locator("header .who").waitFor();
}

/** User name and password, wherever they are asked for. */
export async function password(person, { userid, password }) {
  if ((await person.page.inputValue("#userid")) !== userid) await person.type("#userid", userid);
  await person.type("#password", password);
  await person.page.keyboard.press("Enter");
}

/** Somebody who was set up beforehand. */
export function account(known, talk) {
  talk.never(known.password);
  if (known.seed) talk.never(known.seed);
  return { ...known, app: known.seed && new Authenticator(known.seed, known.step) };
}

/** A password of one's own, twice. */
export async function newPassword(person, password, repeat = password) {
  await person.type("#new", password);
  await person.type("#repeat", repeat);
  await person.page.keyboard.press("Enter");
}

/** From the page with the QR code to where somebody begins; gives the authenticator and the recovery codes. */
async function enrol(person, talk, { path, looks = false }) {
  const look = async (name) => looks && person.look(name);
  const seed = (await person.text("#key")).replace(/\s/g, "");
  assert.match(seed, /^[A-Z2-7]{32,}$/);
  talk.once(seed);
  assert.ok(await person.hasFocus("#code"), "the code's field has the focus");
  await look("seed");
  if (looks) {
    await person.type("#code", "000000");
    await person.page.keyboard.press("Enter");
    await person.page.locator("#code-wrong").waitFor();
    assert.equal(await person.page.locator("#key").count(), 0, "a seed is shown once");
    await look("seed-wrong-code");
  }
  const app = new Authenticator(seed);
  await person.type("#code", await app.code());
  await person.page.keyboard.press("Enter");
  await person.page.locator("#codes").waitFor();
  assert.equal(new URL(person.page.url()).pathname, path);
  await look("recovery-codes");
  const codes = (await person.page.locator("#codes li").allInnerTexts()).map((code) => code.trim());
  assert.equal(codes.length, 10);
  if (looks) {
    const download = person.page.waitForEvent("download");
    await person.press("a[download]");
    const kept = readFileSync(await (await download).path(), "utf8");
    for (const code of codes) assert.ok(kept.includes(code), "the file has every code");
  }
  await person.press("main a.primary");
  await person.page.locator("#codes").waitFor({ state: "detached" });
  return { app, codes };
}

/** From a setup link to a registered account; `looks`: with every detour, and a look at each page. */
export async function setUp(person, talk, { link, userid, initial, own = OWN, looks = false }) {
  const look = async (name) => looks && person.look(name);
  talk.never(own);
  await person.open(link);
  await person.sees("/setup", "Set up your account");
  await look("setup");
  if (looks) {
    await password(person, { userid, password: "not the password that was given" });
    await person.page.locator(".notice.bad").waitFor();
    await look("setup-refused");
    assert.equal(await person.page.inputValue("#userid"), userid, "the user name is not typed twice");
  }
  await password(person, { userid, password: initial });
  await person.sees("/password", "Choose your password");
  await look("first-password");
  if (looks) {
    await newPassword(person, "too short");
    await person.page.locator("#new-wrong").waitFor();
    assert.ok(await person.hasFocus("#new"), "the field that is wrong has the focus");
    await look("first-password-wrong");
    await newPassword(person, own, `${own}!`);
    assert.ok(await person.page.evaluate(() => !document.querySelector("#repeat").validity.valid));
  }
  await newPassword(person, own);
  return { userid, password: own, ...(await registerApp(person, talk, looks)) };
}

/** From the page that says what an authenticator is to where somebody begins. */
export async function registerApp(person, talk, looks = false) {
  await person.sees("/register", "Register your authenticator");
  if (looks) await person.look("register");
  await person.press("main form[action='/register'] button");
  await person.sees("/register", "Scan this with your app");
  return enrol(person, talk, { path: "/register/code", looks });
}

/** The own account of somebody who is signed in: attempts, another password, recovery codes. */
export async function ownAccount(person, talk, { userid, password: own, app, codes }) {
  await person.sees("/account", "My account");
  await person.look("account");
  await person.press("a[href='/account/attempts']");
  await person.sees("/account/attempts", "Sign-in attempts");
  await person.press("details summary");
  assert.ok((await person.page.locator("details").first().getAttribute("open")) !== null);
  await person.look("attempts");

  await person.press("main a[href='/account']");
  await person.sees("/account", "My account");
  await person.press("a[href='/password']");
  await person.sees("/password", "Change your password");
  await person.type("#present", "not the present one at all");
  await newPassword(person, NEXT);
  await person.page.locator("#present-wrong").waitFor();
  await person.look("password-wrong");
  await person.type("#present", own);
  await newPassword(person, NEXT);
  talk.never(NEXT);
  await person.sees("/account", "My account");
  assert.match(await person.text("#notice"), /Your password is changed/);

  await person.press("header form[action='/signout'] button");
  await person.sees("/signin", "Sign in");
  await person.look("signin");
  await password(person, { userid, password: NEXT });
  await person.sees("/signin/code", "Enter your code");
  await person.look("signin-code");
  await person.press("a[href='/signin/recovery']");
  await person.sees("/signin/recovery", "Use a recovery code");
  await person.type("#code", "AAAAA-AAAAA");
  await person.page.keyboard.press("Enter");
  await person.page.locator("#code-wrong").waitFor();
  await person.look("recovery-wrong");
  await person.type("#code", codes[0].toLowerCase());
  await person.page.keyboard.press("Enter");
  await person.sees("/account", "My account");
  await person.look("account-by-recovery-code");
  for (const code of codes.slice(1)) talk.once(code);

  await person.press("a[href='/account/recovery-codes']");
  await person.sees("/account/recovery-codes", "New recovery codes");
  await person.look("new-recovery-codes");
  await person.type("#code", await app.code());
  await person.page.keyboard.press("Enter");
  await person.page.locator("#codes").waitFor();
  const fresh = await person.page.locator("#codes li").allInnerTexts();
  assert.ok(fresh.length === 10 && fresh.every((code) => !codes.includes(code.trim())));
}

/** The first start: the claim link of a node without an operator. */
export async function claim(person, talk, { link }) {
  talk.never(OWN);
  await person.open(link);
  await person.sees("/claim", "The first desk operator");
  await person.look("claim");
  await person.type("#userid", "dora");
  await person.type("#email", "dora@venue.example");
  await newPassword(person, "too short");
  await person.page.locator("#new-wrong").waitFor();
  await person.look("claim-wrong");
  await newPassword(person, OWN);
  await person.page.locator("#key").waitFor();
  await enrol(person, talk, { path: "/claim/code", looks: true });
  await person.sees("/console", "Console");
  await person.reads("no firm yet");
  await person.look("home-first");
  const late = await person.another();
  await late.open(link);
  await late.sees("/claim", "The first desk operator");
  await late.look("claim-over");
}
