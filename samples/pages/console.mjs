// The console as an administrator of a firm sees it: people, steps on them, events.

import assert from "node:assert/strict";
import { account, ownAccount, password, registerApp, setUp, signIn } from "./portal.mjs";

const PEOPLE = "/console/people";

async function toPeople(person) {
  await person.press(`nav a[href='${PEOPLE}']`);
  await person.sees(PEOPLE, "People");
}

/** The page of somebody, found by their user name. */
async function find(person, userid) {
  await person.open(PEOPLE);
  await person.sees(PEOPLE, "People");
  await person.type("#q", userid);
  await person.page.keyboard.press("Enter");
  await person.page.waitForURL((url) => url.searchParams.get("q") === userid);
  await person.press(`td a[href^='${PEOPLE}/p']`);
  await person.sees(/\/p[0-9a-f]+$/, userid);
}

/** Opens a step of the person page. */
async function begin(person, path, title) {
  await person.press(`main a[href$='/${path}']`);
  await person.sees(new RegExp(`/${path}$`), title);
}

/** Gives a reason and, where one is asked for, a code, and does it. */
async function confirm(person, reason, app) {
  if (reason) await person.type("#reason", reason);
  if (await person.page.locator("#code").count()) await person.type("#code", await app.code());
  await person.page.keyboard.press("Enter");
}

/** The flags at the head of the person page. */
const flags = (person) => person.page.locator(".head .tag").allInnerTexts();

/** Workflows 2, 3 and 5: a trader is added, gets a mail, registers, and the flags go. */
export async function newTrader(person, talk, known) {
  const admin = account(known.admin, talk);
  await signIn(person, admin);
  await toPeople(person);
  await person.look("people-first");
  await person.press(`main a[href='${PEOPLE}/new']`);
  await person.sees(`${PEOPLE}/new`, "New trader");
  await person.look("new-trader");
  await person.type("#userid", "two words\u0000".slice(0, 9));
  await person.type("#email", known.userid);
  await person.page.keyboard.press("Enter");
  await person.page.locator(".notice.bad").waitFor();
  await person.look("new-trader-wrong");
  await person.type("#userid", known.userid);
  await person.page.keyboard.press("Enter");
  await person.sees(`${PEOPLE}/new`, `${known.userid} was added`);
  await person.reads(`on its way to ${known.userid}`);
  await person.look("new-trader-added");
  const initial = (await person.text("#the-password")).trim();
  assert.ok(initial.length >= 16);
  talk.once(initial);
  await person.press("main a.primary");
  await person.sees(/\/p[0-9a-f]+$/, known.userid);
  assert.deepEqual(await flags(person), ["authenticator not registered", "never signed in", "initial password"]);
  await person.look("person-new");

  const link = await talk.ask("link", known.userid);
  const trader = await person.another();
  const done = await setUp(trader, talk, { link, userid: known.userid, initial, looks: true });
  await talk.ask("mail", known.userid, "your authenticator is registered");
  await ownAccount(trader, talk, done);
  await talk.ask("mail", known.userid, "recovery code");

  await person.page.reload();
  assert.deepEqual(await flags(person), []);
  await person.reads("registered");
  await person.look("person-registered");
}
