//! The audit trail of a real node: signed, verified, exported (Q6, Q7, Q8).
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/node.rs"]
mod node;

use std::path::Path;

use node::{Serving, doorward_at, told, write_config};
use serde_json::Value;

/// Runs a command that must leave with this code; its standard output.
fn left(folder: &Path, args: &[&str], code: i32) -> String {
    let output = doorward_at(folder, args);
    assert_eq!(output.status.code(), Some(code), "doorward {}: {}", args.join(" "), told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A node that has run twice, with some firms; what it logged.
fn with_history(folder: &Path) -> Vec<String> {
    write_config(folder, "");
    let mut log = Vec::new();
    for run in 0..2 {
        let mut serving = Serving::start(folder);
        for firm in 0..3 {
            left(folder, &["firm", "add", &format!("F{run}{firm}"), "--name", "=cmd|' /C calc'!A0"], 0);
        }
        assert!(serving.process.stop().0.success());
        log.extend(serving.process.log());
    }
    log
}

fn verified(folder: &Path, more: &[&str], code: i32) -> Value {
    let args = [&["audit", "verify", "--config", "doorward.toml", "--json"][..], more].concat();
    serde_json::from_str(&left(folder, &args, code)).unwrap()
}

fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["kind"].as_str()).collect()
}

#[test]
fn q6_heads_are_signed_at_start_and_stop_and_told_to_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = with_history(dir.path());
    let file = std::fs::read_to_string(dir.path().join("data/journal/heads")).unwrap();
    let lines: Vec<&str> = file.lines().collect();
    assert!(lines.len() >= 4, "{file}");
    for line in &lines {
        assert!(log.iter().any(|told| told.contains(line)), "{line}");
    }
    let pem = left(dir.path(), &["audit", "key", "--config", "doorward.toml"], 0);
    assert_eq!(pem, std::fs::read_to_string(dir.path().join("data/journal/heads.pem")).unwrap());
    std::fs::write(dir.path().join("kept.pem"), pem).unwrap();
    std::fs::write(dir.path().join("kept.log"), log.join("\n")).unwrap();
    let report = verified(dir.path(), &["--key", "kept.pem", "--head", "kept.log"], 0);
    let head = report["head"].as_str().unwrap().split(':').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(report["anchored"], head, "an orderly stop leaves nothing unanchored: {report}");
    assert_eq!(report["signed"]["signatures_unchecked"], 0);
    assert!(report["signed"]["signatures_good"].as_u64().unwrap() >= 2 * lines.len() as u64, "{report}");
}

#[test]
fn q7_what_a_walk_does_not_see_the_kept_log_and_key_show() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = with_history(dir.path());
    with_history(other.path());
    std::fs::write(dir.path().join("kept.log"), log.join("\n")).unwrap();
    let pem = left(dir.path(), &["audit", "key", "--config", "doorward.toml"], 0);
    std::fs::write(dir.path().join("kept.pem"), pem).unwrap();
    // The whole trail of another node of the same name, signed by that one, in its place.
    for name in ["00000000000000000001.seg", "heads", "heads.pem"] {
        let from = other.path().join("data/journal").join(name);
        std::fs::copy(from, dir.path().join("data/journal").join(name)).unwrap();
    }
    assert_eq!(kinds(&verified(dir.path(), &[], 0)), [""; 0], "it is sound in itself");
    assert!(kinds(&verified(dir.path(), &["--key", "kept.pem"], 2)).contains(&"head"));
    let report = verified(dir.path(), &["--head", "kept.log"], 2);
    assert!(kinds(&report).contains(&"anchor"), "{report}");
}

#[test]
fn q7_a_tail_cut_off_is_found_and_the_node_does_not_go_on() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), "");
    let mut serving = Serving::start(dir.path());
    let segment = dir.path().join("data/journal/00000000000000000001.seg");
    left(dir.path(), &["firm", "add", "EARLY", "--name", "Early"], 0);
    let earlier = std::fs::read(&segment).unwrap();
    left(dir.path(), &["firm", "add", "LATE", "--name", "Late"], 0);
    assert!(serving.process.stop().0.success());
    std::fs::write(&segment, earlier).unwrap();
    assert_eq!(kinds(&verified(dir.path(), &[], 2)), ["anchor"]);
    // Nor does it with a book that knows nothing of what is gone.
    for name in ["book.db", "book.db-wal", "book.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join("data").join(name));
    }
    let output = doorward_at(dir.path(), &["serve", "--config", "doorward.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("signed head of record"), "{}", told(&output));
}

#[test]
fn q8_what_is_exported_is_whole_and_runs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    with_history(dir.path());
    let export = ["audit", "export", "--config", "doorward.toml"];
    let lines = left(dir.path(), &export, 0);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = lines.iter().map(|line| line["no"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=lines.len() as u64).collect::<Vec<_>>());
    assert_eq!(lines.iter().filter(|line| line["event"] == "firm-added").count(), 6);
    let csv =
        left(dir.path(), &[&export[..], &["--format", "csv", "--from", "2", "--to", "4"][..]].concat(), 0);
    assert_eq!(csv.lines().count(), 4, "{csv}");
    for cell in csv.lines().flat_map(|line| line.split(',')) {
        assert!(!cell.trim_start_matches('"').starts_with(['=', '+', '-', '@']), "{cell}");
    }
}

#[test]
fn q7_verify_leaves_with_2_only_where_it_found_something() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["audit", "verify"][..],
        &["audit", "verify", "--config", "none.toml"],
        &["audit", "verify", "--journal", "none"],
        &["audit", "verify", "--no-such-option"],
        &["audit", "verify", "--journal", ".", "--head", "none"],
    ] {
        left(dir.path(), args, 1);
    }
}
