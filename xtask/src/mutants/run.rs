//! Plants faults, one at a time, in a copy of the tree, and runs the tests that must find each.
//!
//! The copy lies below the target folder and is built into that folder, so what others wrote is not built again; our
//! crates are built without debug information, which makes them artifacts of their own.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Fault, Tests, page};

/// How long one build may take, and how long the tests of one fault.
const BUILD_MAX: Duration = Duration::from_secs(1_800);
const TESTS_MAX: Duration = Duration::from_secs(300);
/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What cargo says when no test had the words.
const NONE_RAN: &str = "no test with these words in its name";

/// What became of one planted fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The tests that failed, by their paths, in order.
    Found(Vec<String>),
    /// Every test passed.
    NotFound,
    /// It proves nothing: the first error.
    DoesNotCompile(String),
}

/// Runs `faults` and writes what was found to the page; fails unless each was found.
pub(super) fn run(root: &Path, faults: &[Fault]) -> Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let shop = Shop { tree: target.join("planted"), target };
    let started = Instant::now();
    let files = shop.copy(root)?;
    println!("mutants: {files} files copied to {}", shop.tree.display());
    let mut faults = faults.to_vec();
    faults.sort_by_key(|fault| (fault.tests.package, fault.tests.target));
    shop.sound(&faults)?;
    let mut outcomes = Vec::new();
    for (at, fault) in faults.iter().enumerate() {
        let began = Instant::now();
        let outcome = shop.plant(fault)?;
        let took = began.elapsed().as_secs();
        println!("{:>3}/{} {:<40} {took:>4} s  {}", at + 1, faults.len(), fault.name, told(fault, &outcome));
        page::write(root, fault, &outcome)?;
        outcomes.push(outcome);
    }
    let missed = outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Found(_))).count();
    let minutes = started.elapsed().as_secs() / 60;
    println!("mutants: {} planted, {} found, {minutes} min", outcomes.len(), outcomes.len() - missed);
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(fault: &Fault, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Found(tests) => format!("found by {}", page::names(fault, tests)),
        Outcome::NotFound => "NOT FOUND".to_owned(),
        Outcome::DoesNotCompile(why) => format!("DOES NOT COMPILE: {why}"),
    }
}

/// The copy of the tree and the folder it is built into.
struct Shop {
    tree: PathBuf,
    target: PathBuf,
}

impl Shop {
    /// Makes the copy like the tree; a file that is like it already keeps its time, so that nothing is built twice.
    fn copy(&self, root: &Path) -> Result<usize> {
        let listed = crate::tidy::output(Command::new("git").current_dir(root).args(["ls-files", "-z"]))?;
        let paths: BTreeSet<&str> = listed.split('\0').filter(|path| root.join(path).is_file()).collect();
        for path in &paths {
            let (from, to) = (root.join(path), self.tree.join(path));
            let content = fs::read(&from).with_context(|| format!("cannot read {path}"))?;
            if fs::read(&to).ok().as_deref() == Some(&content[..]) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            // With its mode: scripts are run.
            fs::copy(&from, &to).with_context(|| format!("cannot copy {path}"))?;
        }
        remove_others(&self.tree, &self.tree, &paths)?;
        Ok(paths.len())
    }

    /// Makes sure that the tests pass as long as no fault is planted: a red test finds nothing.
    fn sound(&self, faults: &[Fault]) -> Result<()> {
        let mut seen = BTreeSet::new();
        for tests in faults.iter().map(|fault| fault.tests).filter(|tests| seen.insert(*tests)) {
            match self.judge(tests)? {
                Outcome::NotFound => {}
                Outcome::Found(failed) => bail!("without any fault {} fails", failed.join(", ")),
                Outcome::DoesNotCompile(why) => {
                    bail!("without any fault {} does not compile: {why}", tests.package)
                }
            }
        }
        println!("mutants: without a fault all {} groups of tests pass", seen.len());
        Ok(())
    }

    /// Plants one fault, runs its tests and puts the text back.
    fn plant(&self, fault: &Fault) -> Result<Outcome> {
        let path = self.tree.join(fault.file);
        let sound = fs::read_to_string(&path).with_context(|| format!("cannot read {}", fault.file))?;
        ensure!(
            sound.matches(fault.text).count() == 1,
            "fault {}: its text stands {} times in {}",
            fault.name,
            sound.matches(fault.text).count(),
            fault.file
        );
        fs::write(&path, sound.replace(fault.text, fault.instead))?;
        let outcome = self.judge(fault.tests);
        fs::write(&path, sound)?;
        // The next build of the tree makes the sound program again; nobody is to start this one by mistake.
        match fs::remove_file(self.target.join("debug/doorward")) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why.into()),
            Ok(()) | Err(_) => outcome.with_context(|| format!("fault {}", fault.name)),
        }
    }

    /// Builds and runs `tests` as the copy stands now.
    fn judge(&self, tests: Tests) -> Result<Outcome> {
        let built = self.cargo(tests, &["--no-run"], BUILD_MAX)?;
        if built.status != Some(true) {
            let why = built.text.lines().find(|line| line.starts_with("error"));
            return Ok(Outcome::DoesNotCompile(why.unwrap_or("it was not built in time").to_owned()));
        }
        let mut words = vec!["--"];
        words.extend(tests.words);
        let ran = self.cargo(tests, &words, TESTS_MAX)?;
        judged(&ran, tests)
    }

    fn cargo(&self, tests: Tests, more: &[&str], limit: Duration) -> Result<Ran> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // This process is cargo's child: its words about our package are not meant for the copy.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
                command.env_remove(name);
            }
        }
        command.args(["test", "--locked", "--config", "profile.dev.debug=false", "--package", tests.package]);
        match tests.target {
            "lib" => command.arg("--lib"),
            file => command.args(["--test", file]),
        };
        command.args(more);
        let log = self.target.join("planted.log");
        let out = fs::File::create(&log).context("cannot write the log of a run")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .context("cannot run cargo")?;
        let status = within(child, limit)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(Ran { status, text })
    }
}

/// A finished cargo.
struct Ran {
    /// Whether it went well; `None` where it had to be ended.
    status: Option<bool>,
    text: String,
}

/// What a run of tests says about a fault.
fn judged(ran: &Ran, tests: Tests) -> Result<Outcome> {
    let failed: BTreeSet<String> = ran
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(str::to_owned)
        .collect();
    let none = !ran.text.lines().any(|line| line.starts_with("running ") && line != "running 0 tests");
    match ran.status {
        Some(true) if none => bail!("{NONE_RAN}: {} {} {:?}", tests.package, tests.target, tests.words),
        Some(true) => Ok(Outcome::NotFound),
        Some(false) if !failed.is_empty() => Ok(Outcome::Found(failed.into_iter().collect())),
        Some(false) => bail!("the tests ended without a result:\n{}", tail(&ran.text)),
        None => {
            let mut found: Vec<String> = failed.into_iter().collect();
            found.push("tests_that_did_not_end".to_owned());
            Ok(Outcome::Found(found))
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// Waits for a process and ends it, with all that it started, past `limit`: whether it went well.
fn within(mut child: Child, limit: Duration) -> Result<Option<bool>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if began.elapsed() > limit {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status().context("cannot end a run")?;
            child.wait()?;
            return Ok(None);
        }
        sleep(LOOK_EVERY);
    }
}

/// Removes the files below `folder` that are not among `paths`, which are relative to `tree`.
fn remove_others(tree: &Path, folder: &Path, paths: &BTreeSet<&str>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(tree, &path, paths)?;
        } else if !path.strip_prefix(tree)?.to_str().is_some_and(|path| paths.contains(path)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTS: Tests = Tests { package: "p", target: "lib", words: &["word"] };

    fn outcome(status: Option<bool>, text: &str) -> Result<Outcome> {
        judged(&Ran { status, text: text.to_owned() }, TESTS)
    }

    #[test]
    fn a_fault_is_found_by_the_tests_that_fail() {
        let text = "running 3 tests\ntest a::b ... FAILED\ntest a::a ... FAILED\ntest c ... ok\n";
        let found = Outcome::Found(vec!["a::a".to_owned(), "a::b".to_owned()]);
        assert_eq!(outcome(Some(false), text).unwrap(), found);
        assert_eq!(outcome(Some(true), "running 1 test\ntest c ... ok\n").unwrap(), Outcome::NotFound);
    }

    #[test]
    fn tests_that_hang_have_found_it() {
        let found = Outcome::Found(vec!["tests_that_did_not_end".to_owned()]);
        assert_eq!(outcome(None, "running 1 test\n").unwrap(), found);
    }

    #[test]
    fn words_that_no_test_has_and_tests_without_a_result_prove_nothing() {
        assert!(outcome(Some(true), "running 0 tests\n").unwrap_err().to_string().starts_with(NONE_RAN));
        assert!(outcome(Some(false), "running 1 test\nterminated by a signal\n").is_err());
    }

    #[test]
    fn a_process_past_its_limit_is_ended() {
        let child = Command::new("tail").args(["-f", "/dev/null"]).process_group(0).spawn().unwrap();
        assert_eq!(within(child, Duration::ZERO).unwrap(), None);
        let child = Command::new("false").process_group(0).spawn().unwrap();
        assert_eq!(within(child, Duration::from_secs(60)).unwrap(), Some(false));
    }
}
