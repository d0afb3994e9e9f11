//! What the core may depend on, and what nobody may: by name, licence and source.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Complaint, licences, output};

/// Every crate that the core depends on itself: none of them has a clock, a socket or randomness in use.
const CORE: &[&str] =
    &["data-encoding", "jiff", "memchr", "serde", "serde_json", "subtle", "unicode-normalization", "zeroize"];

const CORE_MANIFEST: &str = "crates/doorward-core/Cargo.toml";

/// Asks cargo what is built and checks it against the lists.
pub(crate) fn check(root: &Path, complaints: &mut Vec<Complaint>) -> Result<()> {
    let core = tree(root, &["--package", "doorward-core", "--edges", "normal", "--depth", "1"])?;
    let everything = tree(root, &["--workspace", "--edges", "all"])?;
    let deny = std::fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    check_core(&core, complaints);
    check_bans(&everything, &list(&deny, "deny"), complaints);
    check_licences(&everything, &list(&deny, "allow"), complaints);
    check_sources(&lock, complaints);
    Ok(())
}

/// Names and licences of what cargo would build here.
fn tree(root: &Path, arguments: &[&str]) -> Result<BTreeMap<String, String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}\t{l}"])
        .args(arguments);
    let text = output(&mut command)?;
    let mut crates: BTreeMap<String, String> = BTreeMap::new();
    for (package, licence) in text.lines().filter_map(|line| line.split_once('\t')) {
        let name = package.split_whitespace().next().unwrap_or_default().to_owned();
        let licence = licence.trim_end_matches(" (*)");
        let known = crates.entry(name).or_insert_with(|| licence.to_owned());
        if known != licence {
            // Two versions under two licences: both must be allowed.
            *known = format!("({known}) AND ({licence})");
        }
    }
    Ok(crates)
}

fn check_core(crates: &BTreeMap<String, String>, complaints: &mut Vec<Complaint>) {
    for name in crates.keys().filter(|name| *name != "doorward-core" && !CORE.contains(&name.as_str())) {
        let text = format!(
            "the core may not depend on {name}: let the shell do it, or argue for it in dependencies.rs"
        );
        complaints.push(Complaint::new(CORE_MANIFEST, 0, text));
    }
}

fn check_bans(crates: &BTreeMap<String, String>, banned: &[String], complaints: &mut Vec<Complaint>) {
    if banned.is_empty() {
        complaints.push(Complaint::new(
            "deny.toml",
            0,
            "no banned crate found: the list `deny` of [bans] is gone",
        ));
    }
    for name in banned.iter().filter(|name| crates.contains_key(*name)) {
        let text =
            format!("{name} is banned and would be built: `cargo tree -i {name} --edges all` shows by whom");
        complaints.push(Complaint::new("Cargo.lock", 0, text));
    }
}

fn check_licences(crates: &BTreeMap<String, String>, allow: &[String], complaints: &mut Vec<Complaint>) {
    for (name, licence) in crates {
        let text = match licences::allowed(licence, allow) {
            Some(true) => continue,
            Some(false) => {
                format!("{name} is under {licence}, which deny.toml does not allow: do without it")
            }
            None => format!("{name} has the licence {licence:?}, which cannot be read: look at it"),
        };
        complaints.push(Complaint::new("Cargo.lock", 0, text));
    }
}

/// Everything comes from one registry, nothing from a repository.
fn check_sources(lock: &str, complaints: &mut Vec<Complaint>) {
    let mut first = None;
    for (at, line) in lock.lines().enumerate() {
        let Some(source) = line.strip_prefix("source = ") else {
            continue;
        };
        if !source.starts_with("\"registry+") || *first.get_or_insert(source) != source {
            let text = format!("comes from {source}: crates come from the default registry only");
            complaints.push(Complaint::new("Cargo.lock", at + 1, text));
        }
    }
}

/// The first text of each line of a list in deny.toml: `deny = [`, one entry a line, `]`.
fn list(deny: &str, name: &str) -> Vec<String> {
    deny.lines()
        .skip_while(|line| *line != format!("{name} = ["))
        .skip(1)
        .take_while(|line| *line != "]")
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(crates: &[(&str, &str)]) -> BTreeMap<String, String> {
        crates.iter().map(|(name, licence)| ((*name).to_owned(), (*licence).to_owned())).collect()
    }

    const DENY: &str = "[bans]\ndeny = [\n  { crate = \"rsa\", reason = \"x\" },\n  { crate = \"ring\" },\n]\n\
                        [licenses]\nallow = [\n  \"MIT\",\n]\n";

    #[test]
    fn a_new_dependency_of_the_core_is_flagged() {
        let mut found = Vec::new();
        check_core(&built(&[("doorward-core", ""), ("serde", ""), ("rand", "")]), &mut found);
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("rand"));
    }

    #[test]
    fn a_banned_crate_is_flagged_and_so_is_an_empty_list() {
        assert_eq!(list(DENY, "deny"), ["rsa", "ring"]);
        let mut found = Vec::new();
        check_bans(&built(&[("rsa-like", ""), ("ring", "")]), &list(DENY, "deny"), &mut found);
        assert_eq!(found.len(), 1);
        check_bans(&built(&[("serde", "")]), &list(DENY, "deny"), &mut found);
        assert_eq!(found.len(), 1);
        check_bans(&built(&[("serde", "")]), &list("[bans]\n", "deny"), &mut found);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_licence_that_is_not_listed_is_flagged() {
        let mut found = Vec::new();
        let crates = built(&[("a", "MIT"), ("b", "GPL-3.0-only"), ("c", ""), ("d", "GPL-3.0-only OR MIT")]);
        check_licences(&crates, &list(DENY, "allow"), &mut found);
        let names: Vec<bool> =
            found.iter().map(|one| one.text.starts_with('b') || one.text.starts_with('c')).collect();
        assert_eq!(names, [true, true]);
    }

    #[test]
    fn a_source_that_is_not_the_registry_is_flagged() {
        let mut found = Vec::new();
        check_sources("source = \"registry+x\"\nsource = \"registry+x\"\n", &mut found);
        assert!(found.is_empty());
        check_sources("source = \"registry+x\"\nsource = \"registry+y\"\nsource = \"git+z\"\n", &mut found);
        assert_eq!(found.len(), 2);
    }
}
