//! docs/security.md: each rule with its tests and how they went.

use std::collections::BTreeMap;

use super::junit::{Case, Run};
use super::{Test, ids};

const HEAD: &str = "# Security rules and their tests\n\nEach rule has an id; a test bears the rules whose ids stand in \
its name. Made by `cargo xtask security --results JUNIT.xml` from the sources and a run's results; do not edit. \
`./test` writes a page of its own run below the target folder. `docs/planted-faults.md` shows what such tests find.\n";
/// In the place of a result.
const NOT_RUN: &str = "not run";
const PASSED: &str = "passed";
const FAILED: &str = "**failed**";
/// Scenarios of the sample clients are in no JUnit file.
const BY_SAMPLES: &str = "run by `samples/run`";

/// How the tests went.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Results {
    /// When, in words.
    at: String,
    by_test: BTreeMap<Test, String>,
}

impl Results {
    /// Those of `run` for `tests`.
    pub(super) fn of(run: &Run, tests: &[Test]) -> Self {
        let mut cases: BTreeMap<(&str, &str), Vec<&Case>> = BTreeMap::new();
        for case in &run.cases {
            let last = case.name.rsplit("::").next().unwrap_or_default();
            cases.entry((case.suite.as_str(), last)).or_default().push(case);
        }
        let mut by_test = BTreeMap::new();
        for test in tests {
            let (suite, module) = place(&test.path);
            let all = cases.get(&(suite.as_str(), test.name.as_str())).map_or(&[][..], Vec::as_slice);
            // Two modules may have tests of one name; a module's path is that of its file, but for `#[path]`.
            let own: Vec<&Case> =
                all.iter().copied().filter(|case| case.name.starts_with(module.as_str())).collect();
            let chosen = if own.is_empty() { all } else { &own[..] };
            if !chosen.is_empty() {
                let passed = chosen.iter().all(|case| case.passed);
                by_test.insert(test.clone(), if passed { PASSED } else { FAILED }.to_owned());
            }
        }
        let at = run.at.get(..16).unwrap_or(&run.at).replace('T', " ");
        Self { at: format!("{at} UTC, {} tests in all", run.cases.len()), by_test }
    }

    /// Those that a page tells of.
    pub(super) fn read(text: &str) -> Self {
        let at = text.lines().find_map(|line| line.strip_prefix("Results: the run of ")?.strip_suffix('.'));
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
        let by_test = rows.filter_map(|row| {
            let (name, rest) = row.split_once("` | `")?;
            let (path, result) = rest.split_once("` | ")?;
            let test = Test { path: path.to_owned(), name: name.to_owned() };
            [PASSED, FAILED].contains(&result).then(|| (test, result.to_owned()))
        });
        Self { at: at.unwrap_or_default().to_owned(), by_test: by_test.collect() }
    }

    fn result(&self, test: &Test) -> &str {
        let otherwise = if test.path.ends_with(".rs") { NOT_RUN } else { BY_SAMPLES };
        self.by_test.get(test).map_or(otherwise, String::as_str)
    }

    /// How many of `tests` failed.
    pub(super) fn failed(&self, tests: &[Test]) -> usize {
        tests.iter().filter(|test| self.result(test) == FAILED).count()
    }

    /// How `tests` went, in one line.
    pub(super) fn summary(&self, tests: &[Test]) -> String {
        let count = |result: &str| tests.iter().filter(|test| self.result(test) == result).count();
        format!("{} passed, {} failed, {} not run", count(PASSED), count(FAILED), count(NOT_RUN))
    }
}

/// The suite of the tests in the file at `path`, and the path of its module.
fn place(path: &str) -> (String, String) {
    let inside = path.strip_prefix("crates/").unwrap_or(path);
    let (package, inside) = inside.split_once('/').unwrap_or((inside, ""));
    match inside.split_once('/') {
        // A file in a folder is a module of the suite that has the folder's name.
        Some(("tests", file)) => {
            let (suite, module) = file.trim_end_matches(".rs").split_once('/').unwrap_or((file, ""));
            (format!("{package}::{}", suite.trim_end_matches(".rs")), module.replace('/', "::"))
        }
        Some((_, file)) => {
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            (package.to_owned(), module)
        }
        None => (package.to_owned(), String::new()),
    }
}

/// The page.
pub(super) fn render(tests: &[Test], results: &Results) -> String {
    let mut text = HEAD.to_owned();
    if !results.at.is_empty() {
        text.push_str(&format!("\nResults: the run of {}.\n", results.at));
    }
    let without: Vec<&str> = ids::without(tests).collect();
    if !without.is_empty() {
        text.push_str(&format!("\nWithout a test: {}.\n", without.join(", ")));
    }
    for chapter in ids::CHAPTERS {
        text.push_str(&format!("\n## {}\n", chapter.title));
        for rule in chapter.rules {
            text.push_str(&format!("\n### {}: {}\n", rule.id, rule.title));
            if !rule.note.is_empty() {
                text.push_str(&format!("\n{}\n", rule.note));
            }
            let own: Vec<&Test> = tests.iter().filter(|test| test.ids().any(|id| id == rule.id)).collect();
            if own.is_empty() {
                text.push_str("\nNo test.\n");
                continue;
            }
            text.push_str("\n| test | file | result |\n|---|---|---|\n");
            for test in own {
                text.push_str(&format!("| `{}` | `{}` | {} |\n", test.name, test.path, results.result(test)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(path: &str, name: &str) -> Test {
        Test { path: path.to_owned(), name: name.to_owned() }
    }

    fn case(suite: &str, name: &str, passed: bool) -> Case {
        Case { suite: suite.to_owned(), name: name.to_owned(), passed }
    }

    #[test]
    fn each_test_has_the_result_of_its_own_module() {
        let tests = [
            test("crates/doorward/src/journal/tests.rs", "f8_cut"),
            test("crates/doorward/src/streams/tests.rs", "f8_cut"),
            test("crates/doorward/tests/fix_door.rs", "f8_cut"),
            test("crates/doorward/tests/fix_door.rs", "f9_other"),
            test("crates/doorward/tests/ws_admin/verify.rs", "t6_once"),
            test("samples/browsing.py", "t14_asks"),
        ];
        let run = Run {
            at: "2026-11-22T09:00:00.000+00:00".to_owned(),
            cases: vec![
                case("doorward", "journal::tests::f8_cut", true),
                case("doorward", "streams::tests::f8_cut", false),
                case("doorward::fix_door", "f8_cut", true),
                case("doorward::ws_admin", "verify::t6_once", true),
            ],
        };
        let results = Results::of(&run, &tests);
        let told: Vec<&str> = tests.iter().map(|test| results.result(test)).collect();
        assert_eq!(told, [PASSED, FAILED, PASSED, NOT_RUN, PASSED, BY_SAMPLES]);
        assert_eq!(results.summary(&tests), "3 passed, 1 failed, 1 not run");
        assert_eq!(Results::read(&render(&tests, &results)), results);
        let text = render(&tests, &results);
        assert!(text.contains("Results: the run of 2026-11-22 09:00 UTC, 4 tests in all.\n"), "{text}");
        assert!(text.contains("### E1: "), "{text}");
        assert!(text.contains("\nNo test.\n"), "{text}");
    }
}
