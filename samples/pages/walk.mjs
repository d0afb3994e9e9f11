#!/usr/bin/env node
// One walk through the pages by keyboard alone, with oathtool as the authenticator app.
//
//   walk.mjs NAME --portal URL --traffic FILE [--shots FOLDER]
//
// The first line on standard input is a JSON object with what the walk has to know. What it tells is JSON, a line each:
// {"ask": [...]} is a question, answered by a line {"answer": ...}; {"never": TEXT} names a secret that no message may
// hold, {"once": TEXT} one that exactly one may show. Every message of the run goes into FILE, a JSON array. It ends
// with 0 when all of it was right. `person.mjs` says what is looked at on each page.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import * as console_ from "./console.mjs";
import * as desk from "./desk.mjs";
import { Person } from "./person.mjs";
import * as portal from "./portal.mjs";

const { claim } = portal;
const { administrators, changeOfAddress, leaver, newTrader, registerFirst, resets, shownLink, unlock, unregistered } = console_;
const WALKS = {
  ...{ claim, newTrader, shownLink, registerFirst, unregistered, resets, administrators },
  ...{ leaver, unlock, changeOfAddress },
  ...desk,
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { portal: { type: "string" }, traffic: { type: "string" }, shots: { type: "string" } },
});
const walk = WALKS[positionals[0]];
if (!walk || !options.portal || !options.traffic) {
  console.error("usage: walk.mjs NAME --portal URL --traffic FILE [--shots FOLDER]");
  console.error(`walks: ${Object.keys(WALKS).join(" ")}`);
  process.exit(2);
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const heard = async () => JSON.parse((await lines.next()).value);
const tell = (what) => console.log(JSON.stringify(what));
const talk = {
  ask: async (...words) => {
    tell({ ask: words });
    return (await heard()).answer;
  },
  never: (secret) => tell({ never: secret }),
  once: (secret) => tell({ once: secret }),
};

const known = await heard();
const person = await Person.at(options.portal, options.shots);
try {
  await walk(person, talk, known);
  assert.deepEqual(person.faults, [], "a page complained");
  writeFileSync(options.traffic, JSON.stringify(await person.traffic()));
} finally {
  await person.close();
}
process.exit(0);
