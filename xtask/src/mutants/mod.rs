//! `cargo xtask mutants`: plants one fault at a time in a copy of the tree and runs the tests that must find it.
//!
//! | file | what it does |
//! |---|---|
//! | `faults` | the table: each fault, the rule that it breaks, the tests that must find it |
//! | `run` | copies, plants, builds, tests, puts back |
//! | `page` | docs/planted-faults.md, written by a run |

mod faults;
mod page;
mod run;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use crate::tidy::{Complaint, File, Source};

/// One fault: a place in the tree and what is wrongly written there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// What it is called on the command line: lower case and `-`.
    pub(crate) name: &'static str,
    /// The ids of the security page, or of ARCHITECTURE.md ("always 4"), whose rule it breaks.
    pub(crate) rule: &'static str,
    /// What goes wrong, in one line.
    pub(crate) what: &'static str,
    /// From the root.
    pub(crate) file: &'static str,
    /// Stands in the file exactly once.
    pub(crate) text: &'static str,
    /// Stands there in its place.
    pub(crate) instead: &'static str,
    pub(crate) tests: Tests,
}

/// The tests that must find a fault: those of one target whose path holds one of the words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tests {
    pub(crate) package: &'static str,
    /// `lib`, or the name of a file in `tests/`.
    pub(crate) target: &'static str,
    pub(crate) words: &'static [&'static str],
}

/// Carries out `cargo xtask mutants` with these arguments.
pub(crate) fn command(root: &Path, arguments: &[&str]) -> Result<ExitCode> {
    let all = faults::all();
    match arguments {
        ["--list"] => {
            for fault in &all {
                println!("{:<40} {:<10} {}", fault.name, fault.rule, fault.what);
            }
            println!("mutants: {} faults", all.len());
            Ok(ExitCode::SUCCESS)
        }
        ["--check"] => {
            let mut complaints = Vec::new();
            let files = crate::tidy::files(root)?;
            check(&files, &crate::tidy::sources(&files), &mut complaints);
            for complaint in &complaints {
                println!("{complaint}");
            }
            println!("mutants: {} faults, complaints: {}", all.len(), complaints.len());
            Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        [] => run::run(root, &all),
        ["--only", words @ ..] if !words.is_empty() => {
            let wanted: Vec<Fault> =
                all.into_iter().filter(|fault| words.iter().any(|word| fault.name.contains(word))).collect();
            ensure!(!wanted.is_empty(), "no fault has {} in its name", words.join(" or "));
            run::run(root, &wanted)
        }
        _ => bail!("usage: cargo xtask mutants [--list | --check | --only NAME...]"),
    }
}

/// Checks that every fault can still be planted, and that the page tells of all of them.
pub(crate) fn check(files: &[File], sources: &[Source], complaints: &mut Vec<Complaint>) {
    let all = faults::all();
    for (at, fault) in all.iter().enumerate() {
        let mut complain = |text: String| {
            complaints.push(Complaint::new(fault.file, 0, format!("fault {}: {text}", fault.name)));
        };
        if all[..at].iter().any(|other| other.name == fault.name) {
            complain("its name comes twice: choose another".to_owned());
        }
        if fault.text == fault.instead {
            complain("it changes nothing: write another text in its place".to_owned());
        }
        let count = files
            .iter()
            .find(|file| file.path == fault.file)
            .map_or(0, |file| file.text.matches(fault.text).count());
        if count != 1 {
            complain(format!(
                "its text stands there {count} times, not once: adapt xtask/src/mutants/faults, then run \
                 `cargo xtask mutants --only {}`",
                fault.name
            ));
        }
    }
    page::check(&all, files, sources, complaints);
}
