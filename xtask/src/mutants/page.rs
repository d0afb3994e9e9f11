//! docs/planted-faults.md: each fault, the rule that it breaks, and the tests that found it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use super::run::Outcome;
use super::{Fault, faults};
use crate::tidy::{Complaint, File, Source};

/// Where the page is, from the root.
const PATH: &str = "docs/planted-faults.md";

/// How many tests are named for one fault.
const NAMES_MAX: usize = 3;
/// What stands in the place of tests for a fault that was not run yet.
const NOT_RUN: &str = "not run yet";

const HEAD: &str = "# Planted faults\n\nEach fault is one small change that breaks one rule. `cargo xtask mutants` \
plants them one at a time in a copy of the tree, runs the tests that must find it, and writes this page; do not edit. \
`cargo xtask mutants --only NAME` runs those with this in their names, `cargo xtask tidy` says when a fault no longer \
fits the tree. The rules are those of `docs/security.md`, of \"What always holds\" in `ARCHITECTURE.md` (always 1 to \
9), or a numbered rule of the WebSocket messages.\n\n| fault | rule | what goes wrong | file | found by |\n|---|---|---|---|---|\n";

/// Writes what became of one fault into the page; the rows of the others stay as they are.
pub(super) fn write(root: &Path, fault: &Fault, outcome: &Outcome) -> Result<()> {
    let path = root.join(PATH);
    let mut found = std::fs::read_to_string(&path).map(|text| read(&text)).unwrap_or_default();
    let by = match outcome {
        Outcome::Found(tests) => names(fault, tests),
        Outcome::NotFound => "**nothing**".to_owned(),
        Outcome::DoesNotCompile(_) => "**it does not compile**".to_owned(),
    };
    found.insert(fault.name.to_owned(), by);
    std::fs::write(path, render(&faults::all(), &found)).with_context(|| format!("cannot write {PATH}"))
}

/// The page, with what is known to have found each fault.
fn render(all: &[Fault], found: &BTreeMap<String, String>) -> String {
    let mut text = HEAD.to_owned();
    for fault in all {
        let by = found.get(fault.name).map_or(NOT_RUN, String::as_str);
        let Fault { name, rule, what, file, .. } = fault;
        text.push_str(&format!("| {name} | {rule} | {what} | `{file}` | {by} |\n"));
    }
    text
}

/// What found each fault, as the page has it.
fn read(text: &str) -> BTreeMap<String, String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.filter_map(|row| Some((row.split(" | ").next()?.to_owned(), row.rsplit(" | ").next()?.to_owned())))
        .filter(|(name, _)| name != "fault")
        .collect()
}

/// The last names of `tests`, the first few of them: those that bear the rule before others.
pub(super) fn names(fault: &Fault, tests: &[String]) -> String {
    let rules: Vec<String> = fault.rule.split(", ").map(str::to_lowercase).collect();
    let bears = |name: &str| name.split('_').any(|word| rules.iter().any(|rule| rule == word));
    let names: BTreeSet<(bool, &str)> =
        tests.iter().filter_map(|test| test.rsplit("::").next()).map(|name| (!bears(name), name)).collect();
    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(|(_, name)| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Checks that the page has every fault as the table has it, each found by tests that are still there.
pub(super) fn check(all: &[Fault], files: &[File], sources: &[Source], complaints: &mut Vec<Complaint>) {
    let text = files.iter().find(|file| file.path == PATH).map_or("", |file| file.text.as_str());
    let found = read(text);
    if text != render(all, &found) {
        let text = "does not have the faults of xtask/src/mutants/faults: run `cargo xtask mutants --only NAME` for \
                    those that are new or changed";
        complaints.push(Complaint::new(PATH, 0, text));
        return;
    }
    let functions: BTreeSet<String> =
        sources.iter().flat_map(Source::functions).map(|function| function.name).collect();
    for (name, by) in &found {
        let tests: Vec<&str> = by.split('`').skip(1).step_by(2).collect();
        let gone =
            tests.iter().find(|test| !functions.contains(**test) && **test != "tests_that_did_not_end");
        let wrong = match gone {
            _ if tests.is_empty() => format!("{name}: {by}"),
            Some(test) => format!("{name}: there is no test {test} any more"),
            None => continue,
        };
        complaints.push(Complaint::new(PATH, 0, format!("{wrong}: run `cargo xtask mutants --only {name}`")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::Tests;

    const FAULT: Fault = Fault {
        name: "number-reused",
        rule: "F8",
        what: "a number counts twice",
        file: "a.rs",
        text: "1",
        instead: "0",
        tests: Tests { package: "p", target: "lib", words: &[] },
    };

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let tests: Vec<String> = ["m::f8_d", "m::b", "m::a", "m::c"].map(str::to_owned).to_vec();
        let found = BTreeMap::from([("number-reused".to_owned(), names(&FAULT, &tests))]);
        assert_eq!(found["number-reused"], "`f8_d`, `a`, `b` and 1 more");
        assert_eq!(read(&render(&[FAULT], &found)), found);
    }

    #[test]
    fn a_fault_that_nothing_found_and_a_test_that_is_gone_are_complaints() {
        let complaints = |by: &str, sources: &[Source]| {
            let found = BTreeMap::from([("number-reused".to_owned(), by.to_owned())]);
            let file = File { path: PATH.to_owned(), text: render(&[FAULT], &found) };
            let mut complaints = Vec::new();
            check(&[FAULT], &[file], sources, &mut complaints);
            complaints.len()
        };
        let sources = [Source::new("a.rs", "#[test]\nfn there() {}\n")];
        assert_eq!(complaints("`there`", &sources), 0);
        assert_eq!(complaints("`gone`", &sources), 1);
        assert_eq!(complaints("**nothing**", &sources), 1);
        assert_eq!(complaints(NOT_RUN, &sources), 1);
    }
}
