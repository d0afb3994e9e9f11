//! `cargo xtask timing`: whether what must look alike can be told apart by the time that it takes.
//!
//! The program `crates/doorward/examples/timing` tries; here the tries are judged. The method is in docs/timing.md.

mod statistics;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use statistics::{Judged, Sample};

/// Where the tables go.
const PAGE: &str = "docs/timing.md";
/// The core of what is measured, or of the client where the server is a process of its own.
const CORE: &str = "1";
/// Shifts of which the least that would be found is told, in microseconds.
const LADDER_US: [f64; 13] = [0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0];
/// What is told, though it is refused in another way: it waits for as long as a hash takes.
const NOT_HASHED: [&str; 2] = ["backed off", "at the person's limit"];

/// One program, and what is told of it.
struct What {
    name: &'static str,
    tries: u32,
}

const ALL: [What; 3] = [
    What { name: "ciphertexts", tries: 20_000 },
    What { name: "logins", tries: 10_000 },
    What { name: "door", tries: 1_000 },
];

/// What was given on the command line.
#[derive(Debug, Default)]
struct Options {
    names: Vec<String>,
    tries: Option<u32>,
    /// Judges what an earlier run has tried.
    read: bool,
    write: bool,
}

impl Options {
    fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--read" => options.read = true,
                "--write" => options.write = true,
                "--tries" => options.tries = Some(words.next().context("--tries: a number")?.parse()?),
                name if ALL.iter().any(|what| what.name == name) => options.names.push(name.to_owned()),
                other => {
                    bail!("timing: {other:?} is none of ciphertexts, logins, door, --tries, --read, --write")
                }
            }
        }
        Ok(options)
    }
}

/// Tries, judges and tells; fails where something was told apart that must not be, or where the judge is blind.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<ExitCode> {
    let options = Options::parse(words)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("timing");
    fs::create_dir_all(&folder)?;
    if !options.read {
        let words =
            ["build", "--release", "--locked", "-p", "doorward", "--bin", "doorward", "--example", "timing"];
        let built = Command::new("cargo").current_dir(root).args(words).status()?;
        ensure!(built.success(), "cargo build failed");
    }
    let mut flaws = Vec::new();
    for what in ALL
        .iter()
        .filter(|what| options.names.is_empty() || options.names.iter().any(|name| name == what.name))
    {
        let path = folder.join(format!("{}.tsv", what.name));
        if !options.read {
            try_all(&target, what, options.tries.unwrap_or(what.tries), &path)?;
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (page, found) = told(what.name, &text)?;
        println!("{page}");
        flaws.extend(found);
        if options.write {
            put(root, what.name, &page)?;
        }
    }
    flaws.iter().for_each(|flaw| println!("{flaw}"));
    Ok(if flaws.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_all(target: &Path, what: &What, tries: u32, path: &Path) -> Result<()> {
    println!("{}: {tries} tries of each kind", what.name);
    let out = fs::File::create(path)?;
    let program = target.join("release/examples/timing");
    let done = Command::new("taskset")
        .args(["-c", CORE])
        .arg(program)
        .args([what.name, "--tries", &tries.to_string()])
        .stdout(Stdio::from(out))
        .status()
        .context("taskset")?;
    ensure!(done.success(), "{}: the program failed", what.name);
    Ok(())
}

/// The times of one kind in microseconds.
struct Kind {
    name: String,
    whole: Vec<f64>,
    /// Without the hash, where that was told.
    around: Vec<f64>,
}

/// All kinds in the order in which they first came.
fn parse(text: &str) -> Result<Vec<Kind>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kinds: Vec<Kind> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let kind = fields.next().unwrap_or_default();
        let at = *places.entry(kind).or_insert_with(|| {
            kinds.push(Kind { name: kind.to_owned(), whole: Vec::new(), around: Vec::new() });
            kinds.len() - 1
        });
        let mut us = || fields.next().map(|ns| ns.parse::<f64>().map(|ns| ns / 1_000.0)).transpose();
        kinds[at].whole.extend(us().with_context(|| line.to_owned())?);
        kinds[at].around.extend(us().with_context(|| line.to_owned())?);
    }
    Ok(kinds)
}

/// Tables for the page, and what is wrong.
fn told(name: &str, text: &str) -> Result<(String, Vec<String>)> {
    let kinds = parse(text)?;
    let (mut page, mut flaws) = (String::new(), Vec::new());
    // Each padding has a reference of its own.
    let mut groups: BTreeMap<&str, Vec<&Kind>> = BTreeMap::new();
    for kind in &kinds {
        let group = kind.name.split_once(": ").map_or("", |(group, _)| group);
        groups.entry(group).or_default().push(kind);
    }
    for (group, kinds) in groups {
        let of = |times: fn(&Kind) -> &Vec<f64>| -> Vec<(&str, Sample)> {
            let told = kinds.iter().filter(|kind| !times(kind).is_empty());
            told.map(|kind| (kind.name.as_str(), Sample::new(times(kind).clone()))).collect()
        };
        let title = if group.is_empty() { name.to_owned() } else { format!("{name}, {group}") };
        table(&title, &of(|kind| &kind.whole), &mut page, &mut flaws)?;
        let around = of(|kind| &kind.around);
        if !around.is_empty() {
            table(&format!("{title}, without the hash"), &around, &mut page, &mut flaws)?;
        }
    }
    Ok((page, flaws))
}

fn table(title: &str, kinds: &[(&str, Sample)], page: &mut String, flaws: &mut Vec<String>) -> Result<()> {
    let own = |kind: &str| kind.rsplit(": ").next().unwrap_or_default().to_owned();
    let find = |wanted: &str| {
        let found = kinds.iter().find(|(kind, _)| own(kind) == wanted);
        found.map(|(_, sample)| sample).with_context(|| format!("{title}: no {wanted:?}"))
    };
    let (first, again) = (find("wrong password")?, find("wrong password again")?);
    let seen = |by: &f64| Judged::of(first, &again.later(*by)).is_apart();
    let least = LADDER_US.iter().find(|by| seen(by) && LADDER_US.iter().filter(|more| more >= by).all(&seen));
    let least = least.map_or("more than 500".to_owned(), ToString::to_string);
    writeln!(
        page,
        "**{title}**: {} tries each, median {:.1} µs; a shift of {least} µs would be found.\n",
        first.len(),
        first.quantile(0.5)
    )?;
    writeln!(page, "| | shift of the median, µs | its 95 % | at 10 % | at 90 % | t | z | told apart |")?;
    writeln!(page, "|---|---:|---:|---:|---:|---:|---:|---|")?;
    for (kind, sample) in kinds.iter().filter(|(kind, _)| own(kind) != "wrong password") {
        let (kind, judged) = (own(kind), Judged::of(first, sample));
        let Judged { shift, between, low, high, t, z } = judged;
        let apart = judged.is_apart();
        let planted = kind.contains(" + ");
        let word = match (apart, planted) {
            (true, true) => "yes, as it must",
            (true, false) => "**yes**",
            (false, true) => "no: blind",
            (false, false) => "no",
        };
        writeln!(
            page,
            "| {kind} | {shift:+.2} | {:+.2} to {:+.2} | {low:+.2} | {high:+.2} | {t:+.1} | {z:+.1} | {word} |",
            between.0, between.1
        )?;
        if apart && !planted && !NOT_HASHED.contains(&kind.as_str()) {
            flaws.push(format!("{title}: {kind} is told apart, by {shift:+.2} µs"));
        }
    }
    page.push('\n');
    Ok(())
}

/// Puts tables between their marks on the page.
fn put(root: &Path, name: &str, tables: &str) -> Result<()> {
    let path = root.join(PAGE);
    let text = fs::read_to_string(&path).with_context(|| PAGE.to_owned())?;
    let (begin, end) = (format!("<!-- timing {name}: begin -->\n"), format!("<!-- timing {name}: end -->"));
    let from = text.find(&begin).with_context(|| format!("{PAGE}: no {begin:?}"))? + begin.len();
    let until = text[from..].find(&end).with_context(|| format!("{PAGE}: no {end:?}"))? + from;
    fs::write(path, format!("{}\n{}\n\n{}", &text[..from], tables.trim_end(), &text[until..]))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(of: &[(&str, u64)]) -> String {
        let mut text = String::new();
        for turn in 0..2_000_u64 {
            for (at, (kind, more)) in of.iter().enumerate() {
                let noise = (turn * 7_919 + at as u64 * 104_729) % 1_009;
                text += &format!("{kind}\t{}\n", 100_000 + noise + more);
            }
        }
        text
    }

    #[test]
    fn what_differs_is_told_and_what_does_not_is_not() {
        let text = tries(&[
            ("wrong password", 0),
            ("wrong password again", 0),
            ("wrong password + 5 µs", 5_000),
            ("unknown user", 0),
            ("disabled", 1_000),
            ("backed off", 1_000),
        ]);
        let (page, flaws) = told("logins", &text).unwrap();
        assert_eq!(flaws, ["logins: disabled is told apart, by +1.00 µs"], "{page}");
        assert!(
            page.contains("| wrong password + 5 µs | +5.00 |") && page.contains("yes, as it must"),
            "{page}"
        );
        assert!(page.contains("2000 tries each"), "{page}");
    }

    #[test]
    fn each_padding_is_held_against_its_own() {
        let text = tries(&[
            ("PKCS1: wrong password", 0),
            ("PKCS1: wrong password again", 0),
            ("OAEP: wrong password", 50_000),
            ("OAEP: wrong password again", 50_000),
        ]);
        let (page, flaws) = told("ciphertexts", &text).unwrap();
        assert!(flaws.is_empty(), "{flaws:?}");
        assert!(page.contains("**ciphertexts, OAEP**") && page.contains("**ciphertexts, PKCS1**"), "{page}");
    }

    #[test]
    fn the_hash_is_taken_away_where_it_was_told() {
        let mut text = String::new();
        for turn in 0..200 {
            for kind in ["wrong password", "wrong password again", "unknown user"] {
                text += &format!("{kind}\t{}\t{}\n", 30_000_000 + turn * 1_000, 1_000_000 + turn % 10 * 100);
            }
            text += &format!("backed off\t{}\n", 30_000_000 + turn * 1_000);
        }
        let (page, _) = told("logins", &text).unwrap();
        assert!(page.contains("**logins, without the hash**"), "{page}");
        assert_eq!(page.matches("| backed off |").count(), 1);
    }
}
