//! Doorward's own checks of its tree; `cargo xtask help` lists them.

mod mutants;
mod reference;
mod security;
mod tidy;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask <command>

  tidy        check budgets, imports, dependencies, words, tables and text of the whole tree
  docs        write docs/reference.md from the tables of the core
  mutants     plant each fault in a copy of the tree, run the tests that must find it, write docs/planted-faults.md
              --only NAME...   those with one of these in their names
              --list           tell them
              --check          whether each still fits the tree
  security    write docs/security.md: each rule, its tests and how they went
              --results FILE   of this JUnit file of nextest
              --out FILE       to another place
  timing      try and judge whether refusals can be told apart by their time; see docs/timing.md";

fn main() -> Result<ExitCode> {
    let root = root();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => tidy_tree(&root),
        ["docs"] => {
            let path = reference::write(&root)?;
            println!("docs: wrote {path}");
            Ok(ExitCode::SUCCESS)
        }
        ["timing", ..] => timing::run(&root, &arguments[1..]),
        ["mutants", ref more @ ..] => mutants::command(&root, more),
        ["security", ref more @ ..] => security::command(&root, more),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("no such command: {}\n{USAGE}", arguments.join(" ")),
    }
}

fn tidy_tree(root: &Path) -> Result<ExitCode> {
    let report = tidy::run(root).context("tidy could not look at the tree")?;
    for complaint in &report.complaints {
        println!("{complaint}");
    }
    if report.complaints.is_empty() {
        println!("tidy: {} files, no complaint", report.files);
        Ok(ExitCode::SUCCESS)
    } else {
        println!("tidy: {} files, complaints: {}", report.files, report.complaints.len());
        Ok(ExitCode::FAILURE)
    }
}

/// The folder of the workspace, from which cargo started this; several trees may share one target folder.
fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut path = PathBuf::from(manifest);
    path.pop();
    path
}
