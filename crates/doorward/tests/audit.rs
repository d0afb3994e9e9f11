//! The audit trail of a real node: signed, verified, exported (Q6, Q7, Q8).
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/node.rs"]
mod node;
#[path = "support/segment.rs"]
mod segment;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use doorward::clock::Clock;
use doorward::config::Config;
use doorward::journal::HeadKey;
use doorward::serve::{Node, Options};
use doorward_core::audit::Actor;
use doorward_core::id::FirmCode;
use node::{Serving, doorward_at, flip, page, soon, told, write_config};
use segment::Segment;
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

/// A node's journal, with what was kept elsewhere: `kept.pem` and `kept.log`.
struct Trail {
    dir: tempfile::TempDir,
    journal: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Trail {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = with_history(dir.path());
        std::fs::write(dir.path().join("kept.log"), log.join("\n")).unwrap();
        let pem = left(dir.path(), &["audit", "key", "--config", "doorward.toml"], 0);
        std::fs::write(dir.path().join("kept.pem"), pem).unwrap();
        let journal = dir.path().join("data/journal");
        let names = ["00000000000000000001.seg", "heads", "heads.pem"];
        let files = names.map(|name| (journal.join(name), std::fs::read(journal.join(name)).unwrap()));
        Self { dir, files: files.into(), journal }
    }

    /// Puts everything back as the node left it.
    fn mend(&self) {
        for entry in std::fs::read_dir(&self.journal).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (path, bytes) in &self.files {
            std::fs::write(path, bytes).unwrap();
        }
        assert_eq!(
            kinds(&verified(self.dir.path(), &["--key", "kept.pem", "--head", "kept.log"], 0)),
            [""; 0]
        );
    }

    /// What is found with nothing but what lies there.
    fn found(&self) -> Vec<String> {
        let report = verified(self.dir.path(), &[], 2);
        kinds(&report).into_iter().map(str::to_owned).collect()
    }

    /// Whether a finding of this kind is among those that come by what was kept elsewhere.
    fn is_found_by(&self, kept: &[&str], kind: &str) -> bool {
        kinds(&verified(self.dir.path(), kept, 2)).contains(&kind)
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.files[1].1.clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn write_lines(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.journal.join("heads"), text).unwrap();
    }
}

#[test]
fn q7_all_seven_kinds_of_tampering_are_found_in_a_real_nodes_journal() {
    let trail = Trail::new();
    let whole = Segment::read(&trail.journal);
    assert!(whole.frames.len() >= 8, "{}", whole.frames.len());
    let found = |change: &dyn Fn(&mut Segment)| {
        let mut segment = whole.clone();
        change(&mut segment);
        segment.write();
        let found = trail.found();
        trail.mend();
        found
    };
    // Edited: as it comes, and with the checksum made right.
    flip(&trail.journal.join("00000000000000000001.seg"), 700);
    assert_eq!(trail.found(), ["checksum"]);
    let text = left(trail.dir.path(), &["audit", "verify", "--config", "doorward.toml"], 2);
    assert!(text.contains("anchored: nothing: no head stands on records that verify"), "{text}");
    trail.mend();
    assert_eq!(
        found(&|segment| {
            segment.edit("\"F00\"", "\"F99\"");
        }),
        ["chain"]
    );
    // Deleted: head, also with a header that knows nothing of it, middle, tail.
    assert!(found(&|segment| drop(segment.frames.remove(0))).contains(&"gap".to_owned()));
    assert_eq!(found(&Segment::behead), ["missing-segment"]);
    assert!(found(&|segment| drop(segment.frames.remove(4))).contains(&"gap".to_owned()));
    assert_eq!(found(&|segment| drop(segment.frames.pop())), ["anchor"]);
    // Inserted, also with all numbers and hashes behind it made right.
    let twice = |segment: &mut Segment| segment.frames.insert(5, segment.frames[4].clone());
    assert!(found(&twice).contains(&"order".to_owned()));
    let inserted = found(&|segment| {
        twice(segment);
        segment.chain_anew();
    });
    assert!(!inserted.is_empty() && inserted.iter().all(|kind| kind == "anchor"), "{inserted:?}");
    // Reordered.
    let reordered = found(&|segment| segment.frames.swap(4, 5));
    assert!(
        reordered.contains(&"gap".to_owned()) && reordered.contains(&"order".to_owned()),
        "{reordered:?}"
    );
    // Chained anew up to the end.
    let chained = found(&|segment| {
        segment.edit("\"F00\"", "\"F99\"");
        segment.chain_anew();
    });
    assert!(!chained.is_empty() && chained.iter().all(|kind| kind == "anchor"), "{chained:?}");
}

#[test]
fn q7_signed_heads_edited_cut_or_deleted_are_found() {
    let trail = Trail::new();
    let lines = trail.lines();
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        trail.write_lines(&lines);
    };
    let edited = |nth: usize, lines: &mut Vec<String>| lines[nth] = lines[nth].replacen("Z ", "Z a", 1);
    changed(&|lines| edited(1, lines));
    assert!(trail.found().contains(&"head".to_owned()));
    changed(&|lines| drop(lines.remove(1)));
    assert_eq!(trail.found(), ["head"], "one deleted");
    changed(&|lines| lines.swap(1, 2));
    assert!(trail.found().contains(&"head".to_owned()));
    std::fs::remove_file(trail.journal.join("heads")).unwrap();
    assert_eq!(trail.found(), ["head"], "all of them");
    // Without the keys beside it, it is the journal of a node that knew no heads; but not for who kept the key.
    std::fs::remove_file(trail.journal.join("heads.pem")).unwrap();
    assert_eq!(verified(trail.dir.path(), &[], 0)["anchored"], Value::Null);
    assert!(trail.is_found_by(&["--key", "kept.pem"], "head"));
    trail.mend();
    // Cut together with the records that they vouch for, they miss nothing: what was kept elsewhere does.
    let mut segment = Segment::read(&trail.journal);
    segment.frames.truncate(4);
    let last = segment.frames.last().unwrap();
    let end = last.first + last.records.len() as u64 - 1;
    segment.write();
    let no = |line: &String| line.split([' ', ':']).nth(4).unwrap().parse::<u64>().unwrap();
    changed(&|lines| lines.retain(|line| no(line) <= end));
    assert_eq!(kinds(&verified(trail.dir.path(), &["--key", "kept.pem"], 0)), [""; 0]);
    assert!(trail.is_found_by(&["--head", "kept.log"], "anchor"));
}

#[test]
fn q7_everything_chained_anew_and_signed_with_another_key_is_found_by_key_or_head_kept_elsewhere() {
    let trail = Trail::new();
    let mut segment = Segment::read(&trail.journal);
    segment.edit("\"F00\"", "\"F99\"");
    segment.chain_anew();
    segment.write();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key = HeadKey::new(pair.public_key().as_ref().try_into().unwrap());
    let signed: Vec<String> = trail
        .lines()
        .iter()
        .map(|line| {
            let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let no: u64 = fields[4].split(':').next().unwrap().parse().unwrap();
            fields[4] = format!("{no}:{}", HEXLOWER.encode(&segment.hash_of(no)));
            fields[6] = key.id();
            let text = fields[..7].join(" ");
            format!("{text} {}", BASE64URL_NOPAD.encode(pair.sign(text.as_bytes()).as_ref()))
        })
        .collect();
    trail.write_lines(&signed);
    std::fs::write(trail.journal.join("heads.pem"), key.pem()).unwrap();
    let report = verified(trail.dir.path(), &[], 0);
    assert_eq!(report["signed"]["keys"], "beside", "sound in itself, and it says whose keys it went by");
    assert!(trail.is_found_by(&["--key", "kept.pem"], "head"));
    assert!(trail.is_found_by(&["--head", "kept.log"], "anchor"));
}

#[test]
fn q6_a_line_is_checked_with_openssl_as_the_docs_say() {
    if std::env::var_os("DOORWARD_TEST_QUICK").is_some()
        && Command::new("openssl").arg("version").output().is_err()
    {
        eprintln!("left out: no openssl here");
        return;
    }
    let trail = Trail::new();
    let docs =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.md")).unwrap();
    let recipe: Vec<&str> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("printf") || line.starts_with("openssl"))
        .collect();
    assert_eq!(recipe.len(), 3, "{recipe:?}");
    std::fs::copy(trail.dir.path().join("kept.pem"), trail.dir.path().join("audit-key.pem")).unwrap();
    let check = |line: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(recipe.join("\n")).env("LINE", line).current_dir(trail.dir.path());
        let output = shell.output().unwrap();
        (output.status.success(), told(&output))
    };
    for line in trail.lines() {
        let (good, text) = check(&line);
        assert!(good && text.contains("Verified Successfully"), "{line}: {text}");
        assert!(!check(&line.replacen(" at ", " at 9", 1)).0, "another head");
    }
}

#[test]
fn q10_of_many_refusals_a_minute_from_one_source_twenty_are_written_and_the_rest_counted() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), "");
    let mut serving = Serving::start(dir.path());
    let address = serving.url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    for _ in 0..33 {
        assert_eq!(page(&address, "/").0, 426, "no WebSocket");
    }
    let socket = serving.socket.display().to_string();
    let refused = || {
        let args = [
            "audit",
            "list",
            "--event",
            "connection-refused",
            "--limit",
            "100",
            "--json",
            "--socket",
            &socket,
        ];
        let list: Value = serde_json::from_str(&left(dir.path(), &args, 0)).unwrap();
        list.as_array().or_else(|| list["items"].as_array()).unwrap().len()
    };
    soon("20 records", || refused() == 20);
    assert!(serving.process.stop().0.success());
    let lines = left(dir.path(), &["audit", "export", "--config", "doorward.toml"], 0);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("connection-refused").len(), 20);
    let counted = of("refusals-counted");
    assert_eq!(counted.len(), 1);
    assert_eq!(
        (&counted[0]["detail"], &counted[0]["source"]),
        (&"13 more within a minute".into(), &"127.0.0.1".into())
    );
}

/// Sixty days ago this node added so many firms, and every six days since it was started and stopped; its clock was right.
fn ran_for_sixty_days(folder: &Path, firms: usize) {
    let text = std::fs::read_to_string(folder.join("doorward.toml")).unwrap();
    let config = Config::parse(&text, "doorward.toml", folder, &|_| None).unwrap();
    let now = Clock::system().now().wall;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for days in (6..=60).rev().step_by(6) {
        let clock = Arc::new(Clock::starting_at(now - Duration::from_secs(days * 86_400)));
        runtime.block_on(async {
            let node = Node::start(&config, Options { clock, ..Options::default() }).await.unwrap();
            let name = "Grain Merchants and Sons ".repeat(3);
            let adding = (0..if days == 60 { firms } else { 0 }).map(|nth| {
                let (gate, name) = (Arc::clone(&node.gate), name.trim_end().to_owned());
                let code = FirmCode::parse(&format!("F{nth:04}")).unwrap();
                tokio::spawn(async move { gate.add_firm(code, &name, Actor::Node).await.map(drop) })
            });
            for added in adding.collect::<Vec<_>>() {
                added.await.unwrap().unwrap();
            }
            node.stop().await;
        });
    }
}

/// Looks for what may go as a node does an hour after its start.
fn look_for_old_records(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("doorward.toml")).unwrap();
    let config = Config::parse(&text, "doorward.toml", folder, &|_| None).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = Node::start(&config, Options::default()).await.unwrap();
        node.gate.drop_old_records().await;
        node.stop().await;
    });
}

#[test]
fn q9_a_node_drops_old_records_signs_that_it_did_and_keeps_what_they_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_config(dir.path(), "");
    ran_for_sixty_days(dir.path(), 3_000);
    let before = verified(dir.path(), &[], 0);
    assert!(before["segments"].as_u64().unwrap() >= 2, "{before}");
    let pem = left(dir.path(), &["audit", "key", "--config", "doorward.toml"], 0);
    std::fs::write(dir.path().join("kept.pem"), pem).unwrap();
    std::fs::write(dir.path().join("kept.heads"), before["head"].as_str().unwrap()).unwrap();

    let text =
        std::fs::read_to_string(&path).unwrap().replace("[journal]", "[journal]\nkeep_records_days = 30");
    std::fs::write(&path, text).unwrap();
    look_for_old_records(dir.path());
    let mut serving = Serving::start(dir.path());
    let socket = serving.socket.display().to_string();
    let told =
        left(dir.path(), &["audit", "list", "--event", "records-dropped", "--json", "--socket", &socket], 0);
    assert!(told.contains("records up to"), "{told}");
    // Beside the running node, and held to what was kept before anything was dropped.
    let report = verified(dir.path(), &["--key", "kept.pem", "--head", "kept.heads"], 0);
    let first = report["first"].as_u64().unwrap();
    assert!(first > 1 && report["signed"]["dropped"].as_str().unwrap().contains(" dropped-to:"), "{report}");
    let line = report["signed"]["dropped"].as_str().unwrap().to_owned();
    assert!(line.contains(&format!(" {}:", first - 1)), "{line}");
    assert!(serving.process.stop().0.success());

    let export = left(dir.path(), &["audit", "export", "--config", "doorward.toml"], 0);
    let oldest: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(oldest["no"], first);
    let book: Value = serde_json::from_str(&left(
        dir.path(),
        &["book", "rebuild", "--config", "doorward.toml", "--json"],
        0,
    ))
    .unwrap();
    assert!(book["set_aside"].as_u64().unwrap() >= first, "{book}");
    let mut serving = Serving::start(dir.path());
    let firms =
        left(dir.path(), &["firm", "list", "--json", "--socket", &serving.socket.display().to_string()], 0);
    for code in ["F0000", "F2999"] {
        assert!(firms.contains(&format!("\"{code}\"")), "{code}");
    }
    assert!(serving.process.stop().0.success());
    // More gone than was said, or the book that stands for it changed.
    let journal = dir.path().join("data/journal");
    let names: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    let set_aside =
        names.iter().find(|path| path.extension().is_some_and(|ending| ending == "book")).unwrap();
    flip(set_aside, 6_000);
    assert_eq!(kinds(&verified(dir.path(), &["--key", "kept.pem"], 2)), ["book"]);
    left(dir.path(), &["book", "rebuild", "--config", "doorward.toml"], 1);
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
