//! What the core may depend on, and what nobody may.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Complaint, output};

/// Every crate that the core depends on itself: none of them has a clock, a socket or randomness in use.
const CORE: &[&str] =
    &["data-encoding", "jiff", "serde", "serde_json", "subtle", "unicode-normalization", "zeroize"];

const CORE_MANIFEST: &str = "crates/doorward-core/Cargo.toml";

/// Asks cargo what is built and checks it against the lists.
pub(crate) fn check(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    let core = tree(root, &["--package", "doorward-core", "--edges", "normal", "--depth", "1"])?;
    let everything = tree(root, &["--workspace", "--edges", "all"])?;
    let deny = std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    check_core(&core, complaints);
    check_bans(&everything, &banned(&deny), complaints);
    Ok(())
}

fn tree(root: &Path, arguments: &[&str]) -> Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(arguments);
    let names = output(&mut command)?;
    Ok(names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn check_core(names: &BTreeSet<String>, complaints: &mut Vec<Complaint>) {
    for name in names.iter().filter(|name| *name != "doorward-core" && !CORE.contains(&name.as_str())) {
        let text = format!(
            "the core may not depend on {name}: let the shell do it, or argue for it in dependencies.rs"
        );
        complaints.push(Complaint::new(CORE_MANIFEST, 0, text));
    }
}

fn check_bans(names: &BTreeSet<String>, banned: &[String], complaints: &mut Vec<Complaint>) {
    if banned.is_empty() {
        complaints.push(Complaint::new(
            "deny.toml",
            0,
            "no banned crate found: the list `deny` of [bans] is gone",
        ));
    }
    for name in banned.iter().filter(|name| names.contains(*name)) {
        let text =
            format!("{name} is banned and would be built: `cargo tree -i {name} --edges all` shows by whom");
        complaints.push(Complaint::new("Cargo.lock", 0, text));
    }
}

/// The crates of the list `deny` in deny.toml, one a line.
fn banned(deny: &str) -> Vec<String> {
    deny.lines()
        .skip_while(|line| !line.starts_with("deny = ["))
        .take_while(|line| *line != "]")
        .filter_map(|line| line.split_once("crate = \"")?.1.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_new_dependency_of_the_core_is_flagged() {
        let mut found = Vec::new();
        check_core(&set(&["doorward-core", "serde", "rand"]), &mut found);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("rand"));
    }

    #[test]
    fn a_banned_crate_is_flagged_and_so_is_an_empty_list() {
        let list = banned(
            "[bans]\ndeny = [\n  { crate = \"rsa\", reason = \"x\" },\n  { crate = \"ring\" },\n]\nskip = []\n",
        );
        assert_eq!(list, ["rsa", "ring"]);
        let mut found = Vec::new();
        check_bans(&set(&["rsa-like", "ring"]), &list, &mut found);
        assert_eq!(found.len(), 1);
        check_bans(&set(&["serde"]), &list, &mut found);
        assert_eq!(found.len(), 1);
        check_bans(&set(&["serde"]), &banned("[bans]\n"), &mut found);
        assert_eq!(found.len(), 2);
    }
}
