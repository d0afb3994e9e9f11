//! How long a file and a function may be.

use super::{Complaint, Source};

/// Past this a file says in its head why: `//! Length: <reason>`.
const FILE_LINES_FREE: usize = 600;
/// Past this a file is split, whatever its reason.
const FILE_LINES_MAX: usize = 1_000;
/// From `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// How far into a file its head reaches.
const HEAD_LINES: usize = 20;

/// Tables and generated files, which may be of any length.
const ANY_LENGTH: &[&str] = &[];

/// Checks the lengths of one file; test code is free.
pub(crate) fn check(source: &Source, complaints: &mut Vec<Complaint>) {
    let lines = source.lines.iter().filter(|line| !line.test).count();
    if !ANY_LENGTH.contains(&source.path.as_str()) {
        if lines > FILE_LINES_MAX {
            let text = format!("{lines} lines without tests, the limit is {FILE_LINES_MAX}: split the file");
            complaints.push(Complaint::new(&source.path, 0, text));
        } else if lines > FILE_LINES_FREE && !has_reason(source) {
            let text = format!(
                "{lines} lines without tests, {FILE_LINES_FREE} are free: split the file, or say why in its head: \
                 //! Length: <reason>"
            );
            complaints.push(Complaint::new(&source.path, 0, text));
        }
    }
    for function in source.functions() {
        let first = *function.lines.start();
        let length = function.lines.count();
        if length > FUNCTION_LINES_MAX && !source.lines[first].test {
            let text = format!(
                "fn {} has {length} lines, the limit is {FUNCTION_LINES_MAX}: split it",
                function.name
            );
            complaints.push(Complaint::new(&source.path, first + 1, text));
        }
    }
}

fn has_reason(source: &Source) -> bool {
    let reason =
        |comment: &str| comment.strip_prefix("//! Length:").is_some_and(|why| why.trim().len() >= 10);
    source.lines.iter().take(HEAD_LINES).any(|line| reason(&line.comment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<Complaint> {
        let mut found = Vec::new();
        check(&Source::new("a.rs", text), &mut found);
        found
    }

    #[test]
    fn a_long_file_needs_a_reason_and_a_very_long_one_is_refused() {
        let reason = "//! Length: one message is one row\n";
        assert!(complaints(&"// x\n".repeat(600)).is_empty());
        assert_eq!(complaints(&"// x\n".repeat(601)).len(), 1);
        assert!(complaints(&format!("{reason}{}", "// x\n".repeat(999))).is_empty());
        assert_eq!(complaints(&format!("{reason}{}", "// x\n".repeat(1_000))).len(), 1);
        assert_eq!(complaints(&format!("//! Length:\n{}", "// x\n".repeat(600))).len(), 1);
    }

    #[test]
    fn tests_do_not_count() {
        let tests = format!("#[cfg(test)]\nmod tests {{\nfn a() {{\n{}}}\n}}\n", "x();\n".repeat(700));
        assert!(complaints(&tests).is_empty());
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let function = |inside: usize| format!("fn a() {{\n{}}}\n", "x();\n".repeat(inside));
        assert!(complaints(&function(68)).is_empty());
        let found = complaints(&function(69));
        assert_eq!(found[0].to_string(), "a.rs:1: fn a has 71 lines, the limit is 70: split it");
    }
}
