//! Words that unfinished, unexplained or unreliable code is written with.

use super::{Complaint, Source};

/// The one place for tests' waiting on processes and sockets; it may sleep between two looks.
const SLEEP_ALLOWED_IN: &str = "crates/doorward/tests/support/";
/// The one file that calls C.
const UNSAFE_ALLOWED_IN: &str = "crates/doorward/src/vault/raw_rsa.rs";
/// Where errors of any kind end.
const ANYHOW_ALLOWED_IN: &[&str] = &["crates/doorward/src/main.rs", "xtask/"];

/// Never, tests or not.
const NEVER: &[(&str, &str)] = &[
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "remove it"),
    ("#[ignore", "a test runs or is deleted"),
];

/// Outside tests only with a reason on the line, or alone on the line above.
const WITH_REASON: &[&str] =
    &[".unwrap()", ".expect(", ".unwrap_err()", ".expect_err(", "::unwrap)", "::expect)"];

/// Not in tests.
const SLEEPS: &[&str] = &["thread::sleep", "time::sleep", "sleep(", "sleep_until(", "sleep_ms("];

/// Checks the words of one file.
pub(crate) fn check(source: &Source, complaints: &mut Vec<Complaint>) {
    for (at, line) in source.lines.iter().enumerate() {
        let mut complain = |text: String| complaints.push(Complaint::new(&source.path, at + 1, text));
        for (word, remedy) in NEVER.iter().filter(|(word, _)| holds_word(&line.code, word)) {
            complain(format!("{word} is not allowed: {remedy}"));
        }
        for word in WITH_REASON.iter().filter(|word| !line.test && line.code.contains(**word)) {
            if !has_reason(source, at) {
                complain(format!("{word} without its reason: return an error, or add // holds: <why>"));
            }
        }
        let sleepless = line.test && !source.path.starts_with(SLEEP_ALLOWED_IN);
        if let Some(word) = SLEEPS.iter().find(|word| sleepless && holds_word(&line.code, word)) {
            let word = word.trim_end_matches('(');
            complain(format!(
                "{word} in a test: move the clock, or wait for an event with {SLEEP_ALLOWED_IN}"
            ));
        }
        let unsafe_word = ["unsafe", "allow(unsafe_code)", "expect(unsafe_code"]
            .into_iter()
            .find(|word| holds_word(&line.code, word) && source.path != UNSAFE_ALLOWED_IN);
        if let Some(word) = unsafe_word {
            complain(format!("{word} outside {UNSAFE_ALLOWED_IN}: use a safe interface"));
        }
        let anyhow_ends = ANYHOW_ALLOWED_IN.iter().any(|place| source.path.starts_with(place));
        if holds_word(&line.code, "anyhow") && !anyhow_ends {
            complain("anyhow outside main.rs and xtask: use Deny, Fault, Misuse or an own error".to_owned());
        }
    }
}

/// Whether the line has `// holds: <why>`, or the line above is that comment.
fn has_reason(source: &Source, at: usize) -> bool {
    let told = |comment: &str| comment.split_once("// holds:").is_some_and(|(_, why)| why.trim().len() >= 3);
    let above =
        at.checked_sub(1).map(|above| &source.lines[above]).filter(|line| line.code.trim().is_empty());
    told(&source.lines[at].comment) || above.is_some_and(|line| told(&line.comment))
}

/// Whether `word` stands in `code`, not as the end or the beginning of a longer one.
fn holds_word(code: &str, word: &str) -> bool {
    let part = |char: char| char.is_alphanumeric() || char == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let open = word.starts_with(part) && before.is_some_and(part);
        let runs_on = word.ends_with(part) && after.is_some_and(part);
        !open && !runs_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(&Source::new(path, text), &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_word_is_flagged() {
        for text in [
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"later\") }",
            "let x = dbg!(y);",
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
            "let x = y.unwrap();",
            "let x = y.expect(\"// holds: not a comment\");",
            "let x = y.unwrap(); // holds:",
            "// holds: too far away\n\nlet x = y.unwrap();",
            "list.map(Option::unwrap)",
            "unsafe { f() }",
            "#![allow(unsafe_code)]",
            "use anyhow::Result;",
            "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(x); } }",
            "#[tokio::test]\nasync fn f() { tokio::time::sleep(x).await; }",
            "#[cfg(test)]\nmod tests {\n use std::thread::sleep;\n}",
        ] {
            assert_eq!(complaints("crates/doorward/src/a.rs", text).len(), 1, "{text}");
        }
        let slept = complaints("crates/doorward/tests/door.rs", "fn f() { thread::sleep(x); }");
        let remedy = "move the clock, or wait for an event with crates/doorward/tests/support/";
        assert_eq!(slept, [format!("crates/doorward/tests/door.rs:1: thread::sleep in a test: {remedy}")]);
    }

    #[test]
    fn what_is_explained_or_in_its_place_is_not_flagged() {
        for (path, text) in [
            ("crates/doorward/src/a.rs", "let x = y.unwrap(); // holds: y was checked above"),
            ("crates/doorward/src/a.rs", "// holds: y was checked above\nlet x = y.expect(\"checked\");"),
            ("crates/doorward/src/a.rs", "let x = y.unwrap_or(z); self.expect_byte(b'x');"),
            ("crates/doorward/src/a.rs", "#[cfg(test)]\nmod tests { fn f() { y.unwrap(); } }"),
            ("crates/doorward/src/a.rs", "/// x.unwrap() and todo!() and unsafe\nfn f() {}"),
            ("crates/doorward/src/a.rs", "tokio::time::sleep(x).await; #[deny(unsafe_code)]"),
            ("crates/doorward/src/vault/raw_rsa.rs", "unsafe { f() }"),
            ("crates/doorward/src/main.rs", "use anyhow::Result;"),
            ("crates/doorward/tests/support/mod.rs", "fn f() { thread::sleep(x); y.unwrap(); }"),
        ] {
            assert_eq!(complaints(path, text), Vec::<String>::new(), "{text}");
        }
    }
}
