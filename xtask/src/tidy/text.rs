//! White space, line length and machine paths, in every text file.

use super::{Complaint, File};

/// In Rust files, in characters. rustfmt keeps code below 110; this holds what it leaves alone.
const LINE_CHARS_MAX: usize = 140;

/// Recorded bytes, kept as they are.
const RECORDED: &[&str] =
    &["fuzz/corpus/", "crates/doorward-core/corpus/", "crates/doorward/corpus/", "vectors/"];

/// Folders of one machine: nothing in the tree may depend on them. Split, or this file would hold them.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Checks the text of one file.
pub(crate) fn check(file: &File, complaints: &mut Vec<Complaint>) {
    let mut complain = |line: usize, text: String| complaints.push(Complaint::new(&file.path, line, text));
    for (at, line) in file.text.split('\n').enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| holds_path(line, path)) {
            complain(
                at + 1,
                format!("{path} is a folder of one machine: use a relative path or a temporary folder"),
            );
        }
        if RECORDED.iter().any(|folder| file.path.starts_with(folder)) {
            continue;
        }
        if line.ends_with([' ', '\t', '\r']) {
            complain(at + 1, "white space at the end of the line: remove it".to_owned());
        }
        let chars = line.chars().count();
        if file.path.ends_with(".rs") && chars > LINE_CHARS_MAX {
            complain(
                at + 1,
                format!("{chars} characters in the line, the limit is {LINE_CHARS_MAX}: break it"),
            );
        }
    }
    let recorded = RECORDED.iter().any(|folder| file.path.starts_with(folder));
    if !recorded && !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        complain(file.text.lines().count(), "a file ends with one newline".to_owned());
    }
}

/// Whether `path` stands in `line` as an absolute path, not as the tail of a relative one or of an address.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|char| char.is_alphanumeric() || "._-~})$*".contains(char))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(&File { path: path.to_owned(), text: text.to_owned() }, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn untidy_text_is_flagged() {
        let home = MACHINE_PATHS[2];
        for text in [
            "a \nb\n".to_owned(),
            "a\tb\t\n".to_owned(),
            "a\r\n".to_owned(),
            "a".to_owned(),
            "a\n\n".to_owned(),
            format!("cd {home}me\n"),
            format!("file://{home}me\n"),
            format!("{}\n", "x".repeat(141)),
        ] {
            assert_eq!(complaints("a.rs", &text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn tidy_text_is_not() {
        let home = MACHINE_PATHS[2];
        assert!(
            complaints("a.rs", &format!("// site{home}page, ~{home}x\n{}\n", "ä".repeat(140))).is_empty()
        );
        assert!(complaints("a.md", &format!("{}\n", "x".repeat(300))).is_empty());
        assert!(complaints("empty.txt", "").is_empty());
        assert!(complaints("vectors/a.txt", "recorded \n\n").is_empty());
    }
}
