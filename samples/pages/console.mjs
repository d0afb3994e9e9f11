// The console as an administrator of a firm sees it: people, steps on them, events.

import assert from "node:assert/strict";
import { account, newPassword, ownAccount, password, registerApp, setUp, signIn } from "./portal.mjs";

const PEOPLE = "/console/people";

async function toPeople(person) {
  await person.press(`nav a[href='${PEOPLE}']`);
  await person.sees(PEOPLE, "People");
}

/** The page of somebody, found by their user name. */
export async function find(person, userid, list = PEOPLE) {
  await person.open(list);
  await person.sees(PEOPLE, "People");
  await person.type("#q", userid);
  await person.page.keyboard.press("Enter");
  await person.page.waitForURL((url) => url.searchParams.get("q") === userid);
  await person.press(`td a[href^='${PEOPLE}/p']`);
  await person.sees(/\/p[0-9a-f]+$/, userid);
}

/** Filters the list of people. */
async function only(person, words, query) {
  await person.select("#show", words);
  await person.press("form[role=search] button");
  await person.page.waitForURL((url) => url.searchParams.get("show") === query);
}

/** Opens a step of the person page. */
export async function begin(person, path, title) {
  await person.press(`main a[href$='/${path}']`);
  await person.sees(new RegExp(`/${path}$`), title);
}

/** Gives a reason and, where one is asked for, a code, and does it. */
export async function confirm(person, reason, app) {
  if (reason) await person.type("#reason", reason);
  if (await person.page.locator("#code").count()) await person.type("#code", await app.code());
  await person.press("main form button");
}

/** The flags at the head of the person page. */
export const flags = (person) => person.page.locator(".head .tag").allInnerTexts();

/** Workflows 2, 3 and 5: a trader is added, gets a mail, registers, and the flags go. */
export async function newTrader(person, talk, known) {
  const admin = account(known.admin, talk);
  await signIn(person, admin);
  await toPeople(person);
  await person.look("people-first");
  await person.press(`main a[href='${PEOPLE}/new']`);
  await person.sees(`${PEOPLE}/new`, "New trader");
  await person.look("new-trader");
  await person.type("#userid", "two words");
  await person.type("#email", known.userid);
  await person.page.keyboard.press("Enter");
  await person.page.locator("#userid-wrong").waitFor();
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

/** Workflow 2, the manual way: the link is shown where the desk has allowed it, and a password is typed. */
export async function shownLink(person, talk, known) {
  await signIn(person, account(known.admin, talk));
  await find(person, known.silent);
  await person.reads("There is no mail address");
  assert.equal(await person.page.locator("main a[href$='/send-link']").count(), 0, "nowhere to send it");
  assert.equal(await person.page.locator("main a[href$='/show-link']").count(), 0, "the desk has not allowed it");
  await talk.ask("allow");
  await person.page.reload();
  await begin(person, "show-link", "Show a setup link");
  await person.look("step-show-link");
  await confirm(person, "no mailbox yet");
  await person.page.locator("#the-link").waitFor();
  const link = (await person.text("#the-link")).trim();
  await person.look("link-shown");
  const trader = await person.another();
  await setUp(trader, talk, { link, userid: known.silent, initial: known.initial });
  await trader.sees("/account", "My account");

  await person.open(`${PEOPLE}/new`);
  await person.press("a[href$='password=typed']");
  await person.page.locator("#password").waitFor();
  await person.look("new-trader-typed");
  await person.type("#userid", known.typed);
  await person.type("#password", "thought up for somebody 5");
  talk.never("thought up for somebody 5");
  await person.tick("input[name=send]", false);
  await person.page.keyboard.press("Enter");
  await person.sees(`${PEOPLE}/new`, `${known.typed} was added`);
  assert.equal(await person.page.locator("#the-password").count(), 0, "what was typed is not shown");
  await person.press("main a.primary");
  await person.sees(/\/p[0-9a-f]+$/, known.typed);
  assert.ok((await flags(person)).includes("no mail address"));
}

/** Workflow 4 at the pages: after the right password alone, and no further without a link where one is asked for. */
export async function registerFirst(person, talk, known) {
  const trader = account(known.trader, talk);
  await person.open("/signin");
  await password(person, { ...trader, password: "not the right one at all 1" });
  await person.page.locator(".notice.bad").waitFor();
  assert.doesNotMatch(await person.text("main"), /authenticator.*regist/i);
  await password(person, trader);
  await person.sees("/password", "Choose your password");
  await person.type("#new", "still without an app 9");
  await person.type("#repeat", "still without an app 9");
  talk.never("still without an app 9");
  await person.page.keyboard.press("Enter");
  await person.sees("/register", "Register your authenticator");
  await person.reads("with a setup link");
  await person.look("link-needed");
}

/** Workflow 5: who has not registered yet, and a link to all of them. */
export async function unregistered(person, talk, known) {
  await signIn(person, account(known.admin, talk));
  await toPeople(person);
  await person.look("people");
  const shown = async () => (await person.page.locator("td[data-label='User name']").allInnerTexts()).sort();
  assert.deepEqual(await shown(), known.all);
  const show = (words, query) => only(person, words, query);
  await show("Disabled", "disabled");
  assert.deepEqual(await shown(), known.disabled);
  await show("Locked", "locked");
  await person.reads("Nobody like this");
  await person.look("people-nobody");
  await show("Not registered", "not-registered");
  assert.deepEqual(await shown(), known.unregistered);
  await person.press("form[action='/console/people/send-links'] button");
  await person.reads("mailed");
  await person.look("links-sent");
  for (const userid of known.mailed) await talk.ask("link", userid);
  await toPeople(person);
  await show("Link sent", "link-live");
  assert.deepEqual(await shown(), known.mailed);
  await person.type("#q", "tim");
  await person.page.keyboard.press("Enter");
  await person.page.waitForURL((url) => url.searchParams.get("q") === "tim");
  assert.deepEqual(await shown(), known.mailed.filter((userid) => userid.startsWith("tim")));
}

/** Workflow 6: an app is replaced by way of the firm only; then another way to prove oneself, and back. */
export async function resets(person, talk, known) {
  const trader = account(known.trader, talk);
  const { userid } = trader;
  const at = await person.another();
  await signIn(at, trader);
  await at.open("/register");
  await at.sees("/account", "My account");

  await signIn(person, account(known.admin, talk));
  await find(person, userid);
  await begin(person, "reset-authenticator", "Reset the authenticator");
  await person.look("step-reset");
  await person.page.keyboard.press("Enter");
  assert.ok(await person.page.locator("#reason:invalid").count(), "it asks why");
  await person.choose("hand", "mail");
  await confirm(person, "lost telephone");
  await person.sees(/\/p[0-9a-f]+$/, userid);
  await person.reads("The authenticator was reset");
  assert.deepEqual(await flags(person), ["authenticator not registered"]);
  await talk.ask("mail", userid, "lost telephone");
  await at.page.reload();
  await at.sees("/signin", "Sign in");
  await at.open(await talk.ask("link", userid));
  await at.sees("/setup", "Set up your account");
  await password(at, trader);
  await registerApp(at, talk);
  await at.sees("/account", "My account");

  await person.page.reload();
  assert.deepEqual(await flags(person), []);
  await begin(person, "reset-authenticator", "Reset the authenticator");
  await confirm(person, "stolen telephone");
  await person.reads("The authenticator was reset");
  await talk.ask("mail", userid, "stolen telephone");
  await at.page.reload();
  await at.sees("/signin", "Sign in");

  await begin(person, "reset-all", "Reset password and authenticator");
  await person.choose("hand", "mail");
  await confirm(person, "forgot everything");
  await person.page.locator("#the-password").waitFor();
  await person.look("reset-all-done");
  const initial = (await person.text("#the-password")).trim();
  talk.once(initial);
  await talk.ask("mail", userid, "forgot everything");
  const link = await talk.ask("link", userid);
  const anew = await setUp(at, talk, { link, userid, initial, own: "a new beginning 2026" });

  await find(person, userid);
  assert.deepEqual(await flags(person), []);
  await begin(person, "use-password", "Ask for a password alone");
  await confirm(person, "no telephone at the desk");
  await person.reads("is asked for from now on");
  // It was chosen beside a one-time password, and may be too short to be the only proof.
  assert.deepEqual(await flags(person), ["initial password"]);
  await talk.ask("mail", userid, "no telephone at the desk");
  await at.page.reload();
  await at.sees("/signin", "Sign in");
  await password(at, anew);
  await at.sees("/password", "Choose your password");
  await newPassword(at, "long enough to stand alone");
  talk.never("long enough to stand alone");
  await at.sees("/account", "My account");
  await at.reads("with your password alone");
  await begin(person, "use-codes", "Ask for one-time passwords");
  await confirm(person);
  await person.reads("One-time passwords are asked for");
  assert.deepEqual(await flags(person), ["authenticator not registered"]);
}

/** Workflows 7 and 8: what another administrator may do and is told of; nobody's own. */
export async function administrators(person, talk, known) {
  const [ada, bert] = [account(known.ada, talk), account(known.bert, talk)];
  await signIn(person, ada);
  await find(person, bert.userid);
  await begin(person, "notices", "Change the notices");
  await person.look("step-notices");
  await person.tick("input[value='link-sent']");
  await person.tick("input[value='rights-changed']");
  await person.press("main form button");
  await person.reads("The notices were changed");
  await begin(person, "rights", "Change the rights");
  await person.look("step-rights");
  await person.tick("input[value='view-audit']");
  await confirm(person, "audits with us now");
  await person.reads("The rights were changed");
  await talk.ask("mail", bert.userid, "audits with us now");
  await find(person, known.trader);
  await begin(person, "send-link", "Mail a setup link");
  await confirm(person, null);
  await person.reads("is on its way");
  await talk.ask("mail", bert.userid, known.trader);

  const other = await person.another();
  await signIn(other, bert);
  await find(other, bert.userid);
  await other.look("person-oneself");
  const offered = await other.page.locator("section[aria-labelledby='h-steps'] a").allInnerTexts();
  assert.deepEqual(offered, ["Change the mail address"], "nobody's own rights, notices and proofs");
  await other.open(`${new URL(other.page.url()).pathname}/rights`);
  await other.sees(/\/rights$/, "Change the rights");
  await confirm(other, "more for me");
  await other.reads("Nobody does this to themselves");
  await other.press("nav a[href='/console/events']");
  await other.sees("/console/events", "Events");
}

/** Workflow 12: one click, and nothing is left open. */
export async function leaver(person, talk, known) {
  const trader = account(known.trader, talk);
  const at = await person.another();
  await at.open("/signin");
  await password(at, trader);
  await at.sees("/account", "My account");
  await talk.ask("hold");
  await signIn(person, account(known.admin, talk));
  await find(person, trader.userid);
  await begin(person, "disable", "Disable");
  await person.look("step-disable");
  await confirm(person, "leaves us");
  await person.reads("all that was open has ended");
  assert.deepEqual(await flags(person), ["disabled"]);
  await person.look("person-disabled");
  await talk.ask("held");
  await talk.ask("mail", trader.userid, "leaves us");
  await at.page.reload();
  await at.sees("/signin", "Sign in");
  await password(at, trader);
  await at.page.locator(".notice.bad").waitFor();
  await begin(person, "enable", "Enable again");
  await confirm(person, "came back");
  await person.reads("Enabled");
  await password(at, trader);
  await at.sees("/account", "My account");
}

/** Workflow 13, and what the console shows of the attempts. */
export async function unlock(person, talk, known) {
  const trader = account(known.trader, talk);
  const at = await person.another();
  await at.open("/signin");
  await password(at, trader);
  await at.sees("/signin/code", "Enter your code");
  for (let wrong = 0; wrong < 3; wrong += 1) {
    await at.type("#code", "000000");
    await Promise.all([at.page.waitForEvent("load"), at.page.keyboard.press("Enter")]);
  }
  await at.page.locator(".notice.bad").waitFor();
  await signIn(person, account(known.admin, talk));
  await toPeople(person);
  await only(person, "Locked", "locked");
  await person.press(`td a[href^='${PEOPLE}/p']`);
  await person.sees(/\/p[0-9a-f]+$/, trader.userid);
  assert.deepEqual(await flags(person), ["locked"]);
  await person.look("person-locked");
  await person.press("a[href^='/console/events?person=']");
  await person.sees("/console/events", "Events");
  await person.look("events");
  await person.open("/console/events?attempts=1");
  await person.sees("/console/events", "Attempts");
  await person.press("details summary");
  await person.look("attempts-of-the-firm");
  await find(person, trader.userid);
  await begin(person, "unlock", "Unlock");
  await confirm(person, "it was them");
  await person.reads("Unlocked");
  assert.deepEqual(await flags(person), []);
  await talk.ask("mail", trader.userid, "it was them");
  await signIn(at, trader);
  await at.sees("/account", "My account");
}

/** Workflow 14: both addresses are told, and a link that was sent stops working. */
export async function changeOfAddress(person, talk, known) {
  const trader = account(known.trader, talk);
  await signIn(person, account(known.admin, talk));
  await find(person, trader.userid);
  await begin(person, "send-link", "Mail a setup link");
  await confirm(person, null);
  await person.reads("is on its way");
  const link = await talk.ask("link", trader.userid);
  await begin(person, "email", "Change the mail address");
  await person.look("step-email");
  await person.type("#email", known.email);
  await person.page.keyboard.press("Enter");
  await person.reads("The mail address was changed");
  await person.reads(known.email);
  await person.reads("revoked");
  for (const address of [trader.userid, known.email]) await talk.ask("mail", address, "address");
  const at = await person.another();
  await at.open(link);
  await at.sees("/setup", "Set up your account");
  await password(at, trader);
  await at.page.locator(".notice.bad").waitFor();
}
