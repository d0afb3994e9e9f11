// A person at a keyboard, in headless Chromium: no pointer. Each page that is looked at goes through axe-core, in light
// and dark, on a desktop and on a phone; what goes over the wire is kept, to be searched for secrets afterwards.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { chromium } from "playwright-core";

// An upper limit alone: a slow machine with a debug build takes ten times what a quiet one does.
export const WAIT_MS = 120_000;
const TABS_MAX = 60;
const SIZES = { desktop: { width: 1180, height: 800 }, phone: { width: 390, height: 844 } };
const FLAGS = [
  "--no-sandbox", // root has no sandbox
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const STEP_MS = 30_000;

/** An authenticator app: `oathtool`, by this machine's clock. No code twice. */
export class Authenticator {
  #seed;
  #used;

  /** `used`: the time step of the last code that was taken. */
  constructor(seed, used = 0) {
    this.#seed = seed;
    this.#used = used;
  }

  /** The present code; where that was used, the next one, once the server takes it (one step of drift). */
  async code() {
    const now = () => Math.floor(Date.now() / STEP_MS);
    this.#used = Math.max(now(), this.#used + 1);
    if (this.#used > now() + 1) await delay((this.#used - 1) * STEP_MS - Date.now());
    const at = new Date(this.#used * STEP_MS).toISOString().slice(0, 19).replace("T", " ");
    const words = ["--totp", "--base32", "--now", `${at} UTC`, "-"];
    return execFileSync("oathtool", words, { input: `${this.#seed}\n`, encoding: "utf8" }).trim();
  }
}

/** What all people of a walk share. */
class Run {
  shots;
  browser;
  wire = [];
  faults = [];
  taken = 0;
}

export class Person {
  #run;

  /** `shots`: a folder for pictures of each page. */
  static async at(portal, shots) {
    const run = new Run();
    run.shots = shots;
    if (shots) mkdirSync(shots, { recursive: true });
    run.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: FLAGS,
    });
    return Person.#with(portal, run);
  }

  static async #with(portal, run) {
    const person = new Person();
    person.portal = portal;
    person.#run = run;
    await person.newContext();
    return person;
  }

  /** Somebody else, at another machine. */
  another() {
    return Person.#with(this.portal, this.#run);
  }

  async newContext() {
    await this.context?.close();
    const run = this.#run;
    this.context = await run.browser.newContext({
      acceptDownloads: true,
      viewport: SIZES.desktop,
      timezoneId: "America/Chicago",
      locale: "en-GB",
    });
    const page = await this.context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (fault) => run.faults.push(`${page.url()}: ${fault.message}`));
    page.on("console", (told) => {
      // A refused form has status 422, which Chromium calls an error.
      if (told.type() === "error" && !told.text().includes("status of 422")) {
        run.faults.push(`${page.url()}: ${told.text()}`);
      }
    });
    page.on("request", (request) => run.wire.push(`${request.url()}\n${request.postData() ?? ""}`));
    page.on("response", (response) => {
      const body = response.text().catch(() => "");
      run.wire.push(body.then((text) => `${JSON.stringify(response.headers())}\n${text}`));
    });
    this.page = page;
  }

  /** What pages complained about. */
  get faults() {
    return this.#run.faults;
  }

  /** Every request and every answer of the run. */
  traffic() {
    return Promise.all(this.#run.wire);
  }

  async close() {
    await this.#run.browser.close();
  }

  /** A path of the portal, or a link, into the address bar. */
  async open(path) {
    await this.page.goto(new URL(path, this.portal).href);
  }

  /** Presses Tab until what has the focus matches a selector. */
  async tabTo(selector) {
    for (let pressed = 0; pressed < TABS_MAX; pressed += 1) {
      if (await this.hasFocus(selector)) return this.#focusIsSeen(selector);
      await this.page.keyboard.press("Tab");
    }
    const active = await this.page.evaluate(() => document.activeElement?.outerHTML);
    assert.fail(`${this.page.url()}: ${selector} is not reached by Tab; the focus is at ${active}`);
  }

  hasFocus(selector) {
    return this.page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector);
  }

  async #focusIsSeen(selector) {
    const seen = await this.page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== "none" || document.activeElement.matches("input");
    });
    assert.ok(seen, `${this.page.url()}: the focus at ${selector} is not seen`);
  }

  /** Puts a text in the place of what a field has. */
  async type(selector, text) {
    await this.tabTo(selector);
    await this.page.keyboard.press("Control+A");
    await this.page.keyboard.type(text);
  }

  async press(selector, key = "Enter") {
    await this.tabTo(selector);
    await this.page.keyboard.press(key);
  }

  /** Chooses one of a group of radio buttons. */
  async choose(name, value) {
    await this.tabTo(`input[name="${name}"]`);
    for (let pressed = 0; !(await this.hasFocus(`input[value="${value}"]`)); pressed += 1) {
      assert.ok(pressed < TABS_MAX, `${name} has no ${value}`);
      await this.page.keyboard.press("ArrowDown");
    }
  }

  /** Chooses of a select box what begins so. By the arrows: typed letters count as one word only when they come fast. */
  async select(selector, words) {
    await this.tabTo(selector);
    const chosen = () => this.page.locator(`${selector} option:checked`).innerText();
    await this.page.keyboard.press("Home");
    for (let pressed = 0; !(await chosen()).startsWith(words); pressed += 1) {
      assert.ok(pressed < TABS_MAX, `${selector} has no ${words}`);
      await this.page.keyboard.press("ArrowDown");
    }
  }

  /** Ticks a box, or takes the tick away. */
  async tick(selector, on = true) {
    await this.tabTo(selector);
    if ((await this.page.isChecked(selector)) !== on) await this.page.keyboard.press("Space");
    assert.equal(await this.page.isChecked(selector), on);
  }

  /** Waits for words anywhere in the main part. */
  async reads(words) {
    try {
      await this.page.locator("main", { hasText: words }).waitFor({ timeout: WAIT_MS });
    } catch {
      const shown = await this.page.locator("main").innerText();
      assert.fail(`${this.page.url()}: no ${words} but:\n${shown}`);
    }
  }

  /** Waits for a page by its path and its heading. */
  async sees(path, heading) {
    const title = this.page.locator("h1", { hasText: heading });
    try {
      await title.waitFor({ timeout: WAIT_MS });
    } catch {
      const shown = await this.page.locator("main").innerText();
      assert.fail(`${this.page.url()}: no heading ${JSON.stringify(heading)} but:\n${shown}`);
    }
    const at = new URL(this.page.url());
    if (path instanceof RegExp) assert.match(at.pathname, path);
    else assert.equal(at.pathname, path);
    assert.equal(at.hash, "", "a link's token does not stay in the address");
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  async #isAccessible(rules, place) {
    if (!(await this.page.evaluate("'axe' in window"))) await this.page.evaluate(AXE);
    const found = await this.page.evaluate((chosen) => globalThis.axe.run(document, chosen), rules);
    const told = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
    assert.deepEqual(told, [], place);
  }

  /** Looks at the page in all its forms: axe-core finds nothing, nothing sticks out on a phone, a picture is kept. */
  async look(name) {
    this.#run.taken += 1;
    for (const [size, viewport] of Object.entries(SIZES)) {
      await this.page.setViewportSize(viewport);
      for (const colorScheme of ["light", "dark"]) {
        await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        const place = `${name}, ${size}, ${colorScheme}`;
        // What differs in the dark is contrast, on either machine alike.
        if (colorScheme === "light") await this.#isAccessible({}, place);
        else if (size === "desktop") await this.#isAccessible({ runOnly: ["color-contrast"] }, place);
        if (this.#run.shots) {
          const file = `${String(this.#run.taken).padStart(2, "0")}-${name}-${size}-${colorScheme}.png`;
          await this.page.screenshot({ path: `${this.#run.shots}/${file}`, fullPage: true });
        }
      }
      const over = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(over <= 0, `${name}, ${size}: ${over} pixels stick out`);
    }
    await this.page.setViewportSize(SIZES.desktop);
    await this.page.emulateMedia({ colorScheme: "light" });
  }
}
