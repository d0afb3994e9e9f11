// The desk: firms, policies, administrators, operators, the emergency switch.

import assert from "node:assert/strict";
import { begin, confirm, find, flags } from "./console.mjs";
import { account, password, setUp, signIn } from "./portal.mjs";

/** Adds an administrator or operator on the form that is open; gives the initial password. */
async function add(person, talk, userid, email, app) {
  await person.type("#userid", userid);
  await person.type("#email", email);
  await confirm(person, null, app);
  await person.reads(`${userid} was added`);
  const initial = (await person.text("#the-password")).trim();
  talk.once(initial);
  await person.press("main a.primary");
  await person.sees(/\/p[0-9a-f]+$/, userid);
  return initial;
}

/** Workflows 1, 8 and 9: a firm, its policy, its first administrator, who registers at the console. */
export async function firstFirm(person, talk, known) {
  const operator = account(known.operator, talk);
  await signIn(person, operator);
  await person.press("nav a[href='/console/firms']");
  await person.sees("/console/firms", "Firms");
  await person.press("main a[href='/console/firms/new']");
  await person.sees("/console/firms/new", "New firm");
  await person.look("firm-new");
  await person.type("#name", "Eastgate Clearing");
  await person.type("#firm", "not a code");
  await person.page.keyboard.press("Enter");
  await person.page.locator("#firm-wrong").waitFor();
  await person.look("firm-new-wrong");
  await person.type("#firm", "EAST");
  await person.page.keyboard.press("Enter");
  await person.sees("/console/firms/EAST", "Eastgate Clearing");
  await person.look("firm-first");

  await person.press("a[href='/console/firms/EAST/policy']");
  await person.sees("/console/firms/EAST/policy", /policy/i);
  await person.look("policy");
  await person.type("#setup_link_min", "1");
  await person.select("#show_setup_link", "On");
  await confirm(person, "they hand links over themselves");
  await person.page.locator("#setup_link_min[aria-invalid]").waitFor();
  await person.look("policy-wrong");
  await person.type("#setup_link_min", "600");
  await confirm(person, "they hand links over themselves");
  await person.sees("/console/firms/EAST", "Eastgate Clearing");
  await person.reads("10 hours");

  await person.press("section a[href^='/console/people/new?kind=admin']");
  await person.sees("/console/people/new", "New administrator");
  await person.look("new-administrator");
  const initial = await add(person, talk, known.userid, known.userid, operator.app);
  assert.ok((await flags(person)).includes("authenticator not registered"));
  const link = await talk.ask("link", known.userid);

  const admin = await person.another();
  const done = await setUp(admin, talk, { link, userid: known.userid, initial });
  await admin.sees("/console", "Console");
  await admin.look("home-of-a-new-firm");
  await person.page.reload();
  assert.deepEqual(await flags(person), []);
  await person.open("/console/firms");
  await person.look("firms");
  await person.open("/console/firms/EAST");
  await person.look("firm");

  // A recovery code lets somebody in, and no further: a dangerous step asks for a code of the app (T14).
  await admin.press("header form[action='/signout'] button");
  await admin.sees("/signin", "Sign in");
  await password(admin, done);
  await admin.sees("/signin/code", "Enter your code");
  await admin.press("a[href='/signin/recovery']");
  await admin.sees("/signin/recovery", "Use a recovery code");
  await admin.type("#code", done.codes[3]);
  await admin.page.keyboard.press("Enter");
  await admin.sees("/account", "My account");
  await admin.open("/console/people/new?kind=admin");
  await admin.sees("/console/people/new", "New administrator");
  await admin.type("#userid", known.second);
  await admin.tick("#box-view-audit", false);
  await admin.look("step-asks-for-a-code");
  await admin.type("#code", "000000");
  await admin.page.keyboard.press("Enter");
  await admin.page.locator("#code-wrong").waitFor();
  assert.ok(!(await admin.page.isChecked("#box-view-audit")), "what was ticked is not lost by a wrong code");
  await add(admin, talk, known.second, known.second, done.app);
  await begin(admin, "rights", "Change the rights");
  await admin.tick("input[value='view-audit']");
  await confirm(admin, "audits", done.app);
  await admin.reads("The rights were changed");
}

/** Workflow 11: the desk serves an administrator, and another operator, who serves in turn. */
export async function serves(person, talk, known) {
  const [operator, admin] = [account(known.operator, talk), account(known.admin, talk)];
  await signIn(person, operator);
  await person.sees("/console", "Console");
  await person.look("home");
  await find(person, admin.userid);
  await begin(person, "reset-authenticator", "Reset the authenticator");
  await person.choose("hand", "mail");
  await confirm(person, "telephone at the bottom of the lake");
  await person.reads("The authenticator was reset");
  await talk.ask("mail", admin.userid, "at the bottom of the lake");
  await talk.ask("link", admin.userid);
  await talk.ask("audited", "at the bottom of the lake");
  await person.open(`/console/people?q=${encodeURIComponent(known.trader)}`);
  await person.reads("Nobody like this");

  await person.open("/console/people/new?kind=desk");
  await person.sees("/console/people/new", "New operator");
  await person.look("new-operator");
  const initial = await add(person, talk, known.second, known.address, operator.app);
  const other = await person.another();
  const link = await talk.ask("link", known.address);
  await setUp(other, talk, { link, userid: known.second, initial });
  await other.sees("/console", "Console");
  await find(other, operator.userid, "/console/people?kind=desk");
  await begin(other, "disable", "Disable");
  await confirm(other, "on leave");
  await other.reads("all that was open has ended");
  await person.page.reload();
  await person.sees("/signin", "Sign in");
  // The one who is left is the last: nobody is there to disable them, and the machine brings them back.
  const [again, setup] = await talk.ask("recover", known.second);
  const back = await person.another();
  talk.never(again);
  await setUp(back, talk, { link: setup, userid: known.second, initial: again, own: "back at the desk 77" });
  await back.sees("/console", "Console");
  await talk.ask("mail", known.address, "recovered");
}

/** Workflow 15: nobody of a firm is let in any more, and all that is open ends; the events say so by themselves. */
export async function emergencySwitch(person, talk, known) {
  const trader = account(known.trader, talk);
  await talk.ask("hold");
  const at = await person.another();
  await at.open("/signin");
  await password(at, trader);
  await at.sees("/account", "My account");
  await at.look("account-with-connections");

  await signIn(person, account(known.operator, talk));
  const watching = await person.page.context().newPage();
  await watching.goto(new URL(`/console/events?firm=${known.firm}`, person.portal).href);
  await person.page.bringToFront();
  await person.press("nav a[href='/console/switch']");
  await person.sees("/console/switch", "Emergency switch");
  await person.look("switch");
  await person.choose("scope", "firm");
  await person.type("#firm", known.firm);
  await person.choose("ends", "all");
  await confirm(person, "a stolen laptop");
  await person.reads(/since/);
  await person.look("switch-thrown");
  await talk.ask("held");
  await talk.ask("refused");
  await at.page.reload();
  await at.sees("/signin", "Sign in");
  await password(at, trader);
  await at.page.locator(".notice.bad").waitFor();
  await person.open("/console");
  await person.reads("no new logons");
  await person.look("home-with-a-switch");
  await person.press("a[href^='/console/switch/back']");
  await person.sees("/console/switch/back", "Take the switch back");
  await person.look("switch-back");
  await confirm(person, "found again");
  await person.sees("/console/switch", "Emergency switch");
  await person.reads("logons are served everywhere");
  await password(at, trader);
  await at.sees("/account", "My account");
  await watching.locator("#rows", { hasText: "a stolen laptop" }).waitFor();
  await watching.locator("#rows", { hasText: "found again" }).waitFor();
}

/** A mail that the mail server will not take yet, and the button that tries again. */
export async function lateMail(person, talk, known) {
  await signIn(person, account(known.admin, talk));
  await talk.ask("busy", known.trader);
  await find(person, known.trader);
  await begin(person, "send-link", "Mail a setup link");
  await confirm(person, null);
  await person.reads("is on its way");
  await talk.ask("delayed");
  await person.press("nav a[href='/console/mails']");
  await person.sees("/console/mails", "Mails");
  await person.reads("Delayed");
  await person.look("mails");
  await talk.ask("release");
  await person.press("form[action='/console/mails/again'] button");
  await talk.ask("link", known.trader);
}
