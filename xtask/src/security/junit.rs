//! The few things that are read of nextest's JUnit file: suites, tests, and whether each passed.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// The results of one run.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Run {
    /// When it began, as the file says it.
    pub(super) at: String,
    pub(super) cases: Vec<Case>,
}

/// One test that was run.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Case {
    /// `doorward` for tests beside the code, `doorward::fix_security` for those of a file in `tests/`.
    pub(super) suite: String,
    /// With its modules.
    pub(super) name: String,
    pub(super) passed: bool,
}

/// Reads the text of a JUnit file.
pub(super) fn read(text: &str) -> Result<Run> {
    let mut run = Run { at: String::new(), cases: Vec::new() };
    let mut suite = String::new();
    for tag in tags(text) {
        let attribute = |name: &str| tag.attributes.get(name).cloned().unwrap_or_default();
        match tag.name {
            "testsuites" => run.at = attribute("timestamp"),
            "testsuite" => suite = attribute("name"),
            "testcase" => {
                run.cases.push(Case { suite: suite.clone(), name: attribute("name"), passed: true });
            }
            // Of a test that passed at a second try the first is a `flakyFailure`: it passed.
            "failure" | "error" | "skipped" => {
                if let Some(case) = run.cases.last_mut() {
                    case.passed = false;
                }
            }
            _ => {}
        }
    }
    ensure!(!run.cases.is_empty(), "there is no test in this JUnit file");
    Ok(run)
}

struct Tag<'a> {
    name: &'a str,
    attributes: BTreeMap<&'a str, String>,
}

/// The opening tags, in order.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>"), ("/", ">")];
        if let Some((open, close)) = skipped.into_iter().find(|(open, _)| rest.starts_with(open)) {
            rest = rest[open.len()..].split_once(close).map_or("", |(_, after)| after);
            continue;
        }
        let end = rest.find([' ', '\n', '\t', '/', '>']).unwrap_or(rest.len());
        let name = &rest[..end];
        rest = &rest[end..];
        let mut attributes = BTreeMap::new();
        while let Some((key, after)) = rest.split_once("=\"").filter(|(key, _)| !key.contains('>')) {
            let Some((value, after)) = after.split_once('"') else { break };
            attributes.insert(key.trim(), unescaped(value));
            rest = after;
        }
        tags.push(Tag { name, attributes });
    }
    tags
}

fn unescaped(value: &str) -> String {
    let named =
        value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    named.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_tests_and_failures_are_read() {
        let text = r#"<?xml version="1.0"?>
<testsuites name="nextest-run" tests="3" timestamp="2026-11-22T09:00:00.000+00:00">
    <testsuite name="doorward::fix_door" tests="1">
        <testcase name="f1_a" classname="doorward::fix_door" time="0.1">
        </testcase>
    </testsuite>
    <testsuite name="doorward">
        <testcase name="gate::tests::s2_&lt;b>" time="0.1"><failure type="test failure" message="a > b">x = "&lt;"</failure>
            <system-out><![CDATA[<error>]]></system-out></testcase>
        <testcase name="c" time="0.1"/>
    </testsuite>
</testsuites>"#;
        let case = |suite: &str, name: &str, passed| {
            let (suite, name) = (suite.to_owned(), name.to_owned());
            Case { suite, name, passed }
        };
        let wanted = [
            case("doorward::fix_door", "f1_a", true),
            case("doorward", "gate::tests::s2_<b>", false),
            case("doorward", "c", true),
        ];
        let run = read(text).unwrap();
        assert_eq!((run.at.as_str(), &run.cases[..]), ("2026-11-22T09:00:00.000+00:00", &wanted[..]));
        assert!(read("<testsuites/>").is_err());
    }
}
