// A person at a keyboard, in headless Chromium: no pointer. Each page that is looked at goes through axe-core, in light
// and dark, on a desktop and on a phone; what goes over the wire is kept, to be searched for secrets afterwards.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const WAIT_MS = 30_000;
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

const DOORWARD = process.env.DOORWARD ?? "doorward";

/** The demo's clock. */
export class Clock {
  constructor(socket) {
    this.socket = socket;
  }

  #ask(...words) {
    if (!this.socket) return "";
    return execFileSync(DOORWARD, ["demo-clock", ...words, "--socket", this.socket], { encoding: "utf8" }).trim();
  }

  /** What `oathtool` shows for a seed now. Without a socket the clock is this machine's. */
  code(seed) {
    const now = this.#ask("show").slice(0, 19).replace("T", " ");
    const at = now ? ["--now", `${now} UTC`] : [];
    const options = ["--totp", "--base32", ...at, "-"];
    return execFileSync("oathtool", options, { input: `${seed}\n`, encoding: "utf8" }).trim();
  }

  /** A code of a step that none was used of yet. */
  freshCode(seed) {
    this.#ask("advance", "60s");
    return this.code(seed);
  }
}

export class Person {
  #shots;
  #wire = [];
  #taken = 0;
  faults = [];

  /** `shots`: a folder for pictures of each page. */
  static async at(shots) {
    const person = new Person();
    person.#shots = shots;
    if (shots) mkdirSync(shots, { recursive: true });
    person.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: FLAGS,
    });
    await person.newContext();
    return person;
  }

  async newContext() {
    await this.context?.close();
    this.context = await this.browser.newContext({
      acceptDownloads: true,
      viewport: SIZES.desktop,
      timezoneId: "America/Chicago",
      locale: "en-GB",
    });
    const page = await this.context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (fault) => this.faults.push(`${page.url()}: ${fault.message}`));
    page.on("console", (told) => {
      // A refused form has status 422, which Chromium calls an error.
      if (told.type() === "error" && !told.text().includes("status of 422")) {
        this.faults.push(`${page.url()}: ${told.text()}`);
      }
    });
    page.on("request", (request) => this.#wire.push(request.url(), request.postData() ?? ""));
    page.on("response", (response) => {
      const body = response.text().catch(() => "");
      this.#wire.push(body.then((text) => `${JSON.stringify(response.headers())}\n${text}`));
    });
    this.page = page;
  }

  async close() {
    await this.browser.close();
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

  /** Waits for a page by its path and its heading; gives back the path. */
  async sees(path, heading) {
    const title = this.page.locator("h1", { hasText: heading });
    try {
      await title.waitFor({ timeout: WAIT_MS });
    } catch {
      const shown = await this.page.locator("main").innerText();
      assert.fail(`${this.page.url()}: no heading ${JSON.stringify(heading)} but:\n${shown}`);
    }
    const at = new URL(this.page.url());
    assert.equal(at.pathname, path);
    assert.equal(at.hash, "", "a link's token does not stay in the address");
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  /** Looks at the page in all its forms: axe-core finds nothing, nothing sticks out on a phone, a picture is kept. */
  async look(name) {
    this.#taken += 1;
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ["light", "dark"]) {
        await this.page.setViewportSize(viewport);
        await this.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        const found = await this.page.evaluate(`${AXE}; axe.run(document)`);
        const told = found.violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
        assert.deepEqual(told, [], `${name}, ${size}, ${colorScheme}`);
        const over = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `${name}, ${size}: ${over} pixels stick out`);
        if (this.#shots) {
          const number = String(this.#taken).padStart(2, "0");
          await this.page.screenshot({ path: `${this.#shots}/${number}-${name}-${size}-${colorScheme}.png`, fullPage: true });
        }
      }
    }
    await this.page.setViewportSize(SIZES.desktop);
    await this.page.emulateMedia({ colorScheme: "light" });
  }

  /** How many messages of the whole run hold a secret, however it is written. */
  async messagesWith(secret) {
    const bytes = Buffer.from(secret, "utf8");
    const wide = Buffer.from(secret, "utf16le");
    const unpadded = (text) => text.replace(/=+$/, "");
    const forms = [bytes, wide].flatMap((form) => [
      form.toString("latin1"),
      form.toString("hex"),
      unpadded(form.toString("base64")),
      form.toString("base64url"),
    ]);
    const hex = (byte) => `%${byte.toString(16).padStart(2, "0").toUpperCase()}`;
    forms.push(secret, encodeURIComponent(secret), secret.replaceAll(" ", "+"), [...bytes].map(hex).join(""));
    const wire = await Promise.all(this.#wire);
    return wire.filter((message) => forms.some((form) => message.includes(form))).length;
  }
}
