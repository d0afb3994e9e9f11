//! `cargo xtask security`: docs/security.md, which rule is borne by which tests, and how they went.
//!
//! A test bears the rules whose ids are words of its name: `p7_…`, `e8_…_and_e4_counts_once`.

mod ids;
mod junit;
mod page;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::tidy::{Complaint, File, Source};

/// Where the page is, from the root.
pub(crate) const PATH: &str = "docs/security.md";

/// One automated test that bears rules.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Test {
    /// From the root.
    pub(crate) path: String,
    pub(crate) name: String,
}

impl Test {
    /// The ids among the words of its name.
    fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('_').filter_map(ids::known)
    }
}

/// Carries out `cargo xtask security` with these arguments.
pub(crate) fn command(root: &Path, arguments: &[&str]) -> Result<ExitCode> {
    let (results, out) = match arguments {
        [] => (None, None),
        ["--results", results] => (Some(results), None),
        ["--results", results, "--out", out] => (Some(results), Some(out)),
        _ => bail!("usage: cargo xtask security [--results JUNIT.xml [--out FILE]]"),
    };
    let files = crate::tidy::files(root)?;
    let tests = tests(&files, &crate::tidy::sources(&files));
    let results = match results {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            page::Results::of(&junit::read(&text)?, &tests)
        }
        // Those of the page hold until there are others.
        None => {
            page::Results::read(files.iter().find(|file| file.path == PATH).map_or("", |file| &file.text))
        }
    };
    let text = page::render(&tests, &results);
    let path = out.map_or_else(|| root.join(PATH), std::path::PathBuf::from);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let without: Vec<&str> = ids::without(&tests).collect();
    println!(
        "security: {} rules, {} tests bear them: {}; without a test: {}",
        ids::count(),
        tests.len(),
        results.summary(&tests),
        if without.is_empty() { "none".to_owned() } else { without.join(" ") }
    );
    Ok(if results.failed(&tests) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks that the page names the tests that the tree has.
pub(crate) fn check(files: &[File], sources: &[Source], complaints: &mut Vec<Complaint>) {
    let tests = tests(files, sources);
    let text = files.iter().find(|file| file.path == PATH).map_or("", |file| file.text.as_str());
    if text != page::render(&tests, &page::Results::read(text)) {
        let text = "does not name the tests of the tree: run `cargo xtask security`";
        complaints.push(Complaint::new(PATH, 0, text));
    }
}

/// The tests that bear rules, in order: Rust's, and the scenarios of the sample clients.
fn tests(files: &[File], sources: &[Source]) -> Vec<Test> {
    let rust = sources.iter().flat_map(|source| {
        let tests = source.tests().into_iter();
        tests.map(|name| Test { path: source.path.clone(), name })
    });
    let scenarios =
        files.iter().filter(|file| file.path.starts_with("samples/") && file.path.ends_with(".py"));
    let scenarios = scenarios.flat_map(|file| {
        let names = file.text.lines().filter_map(|line| line.strip_prefix("def ")?.split('(').next());
        names.map(|name| Test { path: file.path.clone(), name: name.to_owned() })
    });
    let mut tests: Vec<Test> = rust.chain(scenarios).filter(|test| test.ids().next().is_some()).collect();
    tests.sort();
    tests.dedup();
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_bears_the_rules_in_its_name_and_what_is_no_test_bears_none() {
        let text = "#[test]\nfn e8_what_and_e4_counts() {}\n#[tokio::test]\nasync fn s10_full() {}\nfn t6_client() {}\n\
                    #[test]\nfn rule_8_holds() {}\n";
        let sample = File { path: "samples/a.py".to_owned(), text: "def t14_asks(world):\n".to_owned() };
        let found = tests(&[sample], &[Source::new("crates/doorward/tests/a.rs", text)]);
        let names: Vec<&str> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["e8_what_and_e4_counts", "s10_full", "t14_asks"]);
        assert_eq!(found[0].ids().collect::<Vec<_>>(), ["E8", "E4"]);
    }
}
