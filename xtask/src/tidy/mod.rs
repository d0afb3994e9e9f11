//! What must hold for every file of the tree, each rule with what to do about a breach.
//!
//! | file | rules |
//! |---|---|
//! | `budgets` | length of files and functions |
//! | `imports` | who may import whom |
//! | `dependencies`, `licences` | what the core may depend on, what nobody may |
//! | `words` | unfinished code, unexplained panics, sleeping tests, `unsafe` |
//! | `tables` | rows are used, well named and documented |
//! | `text` | white space, line length, machine paths |
//!
//! Beside them: planted faults fit the tree (`mutants`), and docs/security.md names the tests there are (`security`).

mod budgets;
mod dependencies;
mod imports;
mod licences;
mod source;
pub(crate) mod tables;
mod text;
mod tokens;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub(crate) use source::Source;

/// One breach of one rule.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Complaint {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong, the limit, what to do.
    text: String,
}

impl Complaint {
    pub(crate) fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// What a run found.
pub(crate) struct Report {
    /// How many files were read.
    pub(crate) files: usize,
    /// In the order of path and line.
    pub(crate) complaints: Vec<Complaint>,
}

/// A text file of the tree.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Checks the whole tree below `root`.
pub(crate) fn run(root: &Path) -> Result<Report> {
    let files = files(root)?;
    let sources = sources(&files);
    let mut complaints = Vec::new();
    for file in &files {
        text::check(file, &mut complaints);
    }
    for source in &sources {
        budgets::check(source, &mut complaints);
        imports::check(source, &mut complaints);
        words::check(source, &mut complaints);
    }
    tables::check(&files, &sources, &mut complaints)?;
    dependencies::check(root, &mut complaints)?;
    crate::mutants::check(&files, &sources, &mut complaints);
    crate::security::check(&files, &sources, &mut complaints);
    complaints.sort();
    complaints.dedup();
    Ok(Report { files: files.len(), complaints })
}

/// The text files that git knows or would take, in order of path.
pub(crate) fn files(root: &Path) -> Result<Vec<File>> {
    let listed = output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let paths: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    let mut files = Vec::new();
    for path in paths {
        let full = root.join(path);
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        if bytes.contains(&0) {
            continue;
        }
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    ensure!(!files.is_empty(), "git lists no file below {}", root.display());
    Ok(files)
}

/// The Rust files among `files`, each with its test code marked.
pub(crate) fn sources(files: &[File]) -> Vec<Source> {
    let mut sources: Vec<Source> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| Source::new(&file.path, &file.text))
        .collect();
    let modules: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let inside = modules.iter().any(|module| {
            stem.strip_prefix(module.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if inside {
            source.mark_all_test();
        }
    }
    sources
}

/// Runs `command` and gives back what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(done.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    String::from_utf8(done.stdout).context("its output is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let report = run(&crate::root()).unwrap();
        let lines: Vec<String> = report.complaints.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{}", lines.join("\n"));
        assert!(report.files > 20, "only {} files were read", report.files);
    }

    #[test]
    fn a_module_declared_for_tests_only_is_test_code_in_its_own_file() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let sources = sources(&[
            file("a/src/door.rs", "#[cfg(test)]\nmod trials;\n"),
            file("a/src/door/trials.rs", "fn f() {}\n"),
            file("a/src/door/trials/deep.rs", "fn f() {}\n"),
            file("a/src/door/trialsome.rs", "fn f() {}\n"),
        ]);
        let tested: Vec<bool> = sources.iter().map(|source| source.lines[0].test).collect();
        assert_eq!(tested, [true, true, true, false]);
    }
}
