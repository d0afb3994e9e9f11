//! `doorward audit verify`: whether the journal is as it was written, without a node and beside a running one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::config::ConfigFile;
use super::{CliError, Exit};
use crate::fault::Fault;
use crate::journal::{
    Anchoring, Finding, FindingKind, HEAD_KEYS_FILE, HEADS_FILE, Head, HeadKey, Noted, RealDisk, Report,
    SignedHead, verify_anchored,
};

/// So much of a line of a log is looked at together, in bytes: a signed head is far shorter.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// `doorward audit verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// The journal's directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Heads that were kept elsewhere and that the journal must still hold: `NUMBER:HASH` a line, a copy of the file
    /// `heads`, or a log in which they stand
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// The public keys that may have signed heads, as `doorward audit key` printed them [default: those beside the
    /// journal, which prove nothing against somebody who could write there]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    // 2 says that something was found, and nothing else.
    verified(args).map_err(CliError::as_refused)
}

fn verified(args: &VerifyArgs) -> Result<Exit, CliError> {
    let (dir, node) = match &args.journal {
        Some(dir) => (dir.clone(), None),
        None => {
            let config = args.file.load()?;
            (config.data_dir.join("journal"), Some(config.node))
        }
    };
    let noted = match &args.head {
        Some(path) => {
            let file = File::open(path).map_err(|error| unread("--head", path, &error))?;
            heads(path, BufReader::new(file))?
        }
        None => NotedHeads::default(),
    };
    let keys = Keys::read(args.key.as_deref(), &dir)?;
    let refused = |fault: Fault| CliError::refused(fault.to_string());
    let disk = RealDisk::open_to_read(&dir).map_err(refused)?;
    let (mut report, anchoring) = verify_anchored(&disk, &noted.heads, &keys.keys).map_err(refused)?;
    if let Some(node) = node {
        held_to_node(&mut report, &node);
    }
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json(&report, &anchoring, &keys, &noted))?;
    } else {
        print(&mut out, &report, &anchoring, &keys, &noted)?;
    }
    Ok(if report.intact { Exit::Done } else { Exit::Tampered })
}

/// The journal of another node, whose heads may stand in the same log, is not the one that was meant.
fn held_to_node(report: &mut Report, node: &str) {
    let Some(other) = report.node.as_ref().filter(|other| *other != node) else { return };
    let finding = Finding {
        segment: "node.name".to_owned(),
        offset: 0,
        no: report.first,
        kind: FindingKind::Header,
        text: format!("the journal is that of node {other:?}, this one is {node:?}"),
    };
    report.findings.insert(0, finding);
    report.intact = false;
}

/// What signatures are checked with.
struct Keys {
    keys: Vec<HeadKey>,
    /// Where they were kept: `given`, `beside` or `none`.
    kept: &'static str,
}

impl Keys {
    fn read(given: Option<&Path>, dir: &Path) -> Result<Self, CliError> {
        let beside = dir.join(HEAD_KEYS_FILE);
        let (path, kept) = match given {
            Some(path) => (path, "given"),
            None if beside.exists() => (beside.as_path(), "beside"),
            None => return Ok(Self { keys: Vec::new(), kept: "none" }),
        };
        let text = std::fs::read(path).map_err(|error| unread("--key", path, &error))?;
        let keys = HeadKey::parse_all(&text)
            .map_err(|what| CliError::refused(format!("--key: {}: {what}", path.display())))?;
        Ok(Self { keys, kept })
    }
}

fn unread(option: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::refused(format!("{option}: {}: {error}", path.display()))
}

/// What was kept elsewhere.
#[derive(Default, Debug)]
struct NotedHeads {
    heads: Vec<Noted>,
    /// Lines of a log in which a head begins that is not whole: cut off, or a user id that looks like one.
    broken: u64,
}

/// The heads in a file. Lines without one are passed over in a log, that is where others have signed ones; such a log may
/// be long, and hold bytes that are no text.
fn heads(path: &Path, from: impl BufRead) -> Result<NotedHeads, CliError> {
    let (mut noted, mut other, mut is_log) = (NotedHeads::default(), None, false);
    let mut broken = None;
    let cut = |line: &str| line.chars().take(200).collect::<String>();
    let read = each_line(from, |line| {
        if let Some(signed) = SignedHead::find_in(line) {
            is_log = true;
            noted.heads.push(Noted::Signed(signed));
        } else if let Some(head) = Head::parse(line) {
            noted.heads.push(Noted::Plain(head));
        } else if line.contains("doorward-head-") {
            noted.broken += 1;
            broken.get_or_insert_with(|| cut(line));
        } else if !line.is_empty() {
            other.get_or_insert_with(|| cut(line));
        }
    });
    read.map_err(|error| unread("--head", path, &error))?;
    let name = path.display();
    match (broken, other) {
        (Some(line), _) if !is_log => {
            Err(CliError::refused(format!("--head: {name}: {line:?} is no whole signed head")))
        }
        (None, Some(line)) if !is_log => Err(CliError::refused(format!(
            "--head: {name}: {line:?} is not NUMBER:HASH, nor is there a signed head"
        ))),
        (Some(_) | None, Some(_) | None) => Ok(noted),
    }
}

/// Calls for each line of a file that may be long and hold bytes that are no text; a line that is absurdly long comes in
/// parts.
pub(super) fn each_line(mut from: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut bytes = Vec::new();
    while from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? > 0 {
        each(String::from_utf8_lossy(&bytes).trim());
        bytes.clear();
    }
    Ok(())
}

fn json(report: &Report, anchoring: &Anchoring, keys: &Keys, noted: &NotedHeads) -> Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "segment": finding.segment, "offset": finding.offset, "no": finding.no,
                "kind": finding.kind.name(), "text": finding.text,
            })
        })
        .collect();
    json!({
        "intact": report.intact, "node": report.node, "first": report.first, "head": report.head.to_string(),
        "records": report.records, "segments": report.segments,
        "torn_tail": report.torn_tail.is_some(), "anchored": report.anchored, "findings": findings,
        "findings_more": report.more,
        "noted": {
            "heads": noted.heads.len(), "of_other_nodes": anchoring.strangers, "not_whole": noted.broken,
        },
        "signed": {
            "heads": anchoring.heads, "last": anchoring.last.as_ref().map(ToString::to_string),
            "signatures_good": anchoring.good, "signatures_unchecked": anchoring.unchecked, "keys": keys.kept,
            "torn_line": anchoring.torn.is_some(),
            "dropped": anchoring.dropped.as_ref().map(ToString::to_string),
        },
    })
}

fn print_anchored(out: &mut impl Write, report: &Report, has_heads: bool) -> io::Result<()> {
    match report.anchored {
        Some(no) if no >= report.head.no => writeln!(out, "anchored: up to record {no}, the last one"),
        Some(no) => {
            let behind = report.head.no.saturating_sub(no);
            writeln!(out, "anchored: up to record {no}; the last {behind} records are not")
        }
        None if has_heads => writeln!(out, "anchored: nothing: no head stands on records that verify"),
        None => writeln!(out, "anchored: nothing: there is no signed head, and --head named none"),
    }
}

fn print(
    out: &mut impl Write,
    report: &Report,
    anchoring: &Anchoring,
    keys: &Keys,
    noted: &NotedHeads,
) -> io::Result<()> {
    let verdict = if report.intact { "intact" } else { "TAMPERED OR DAMAGED" };
    writeln!(out, "journal: {verdict}, {} records in {} segments", report.records, report.segments)?;
    writeln!(out, "head: {}", report.head)?;
    print_anchored(out, report, anchoring.heads > 0 || !noted.heads.is_empty())?;
    if let Some(last) = &anchoring.last {
        let (at, key) = (last.checkpoint.at, &last.key);
        writeln!(out, "signed heads: {}, the last at {at} with key {key}", anchoring.heads)?;
    }
    if anchoring.strangers > 0 {
        let (of, node) = (anchoring.strangers, report.node.as_deref().unwrap_or_default());
        writeln!(out, "noted heads: {of} of {} are of other nodes than {node:?}", noted.heads.len())?;
    }
    if noted.broken > 0 {
        writeln!(
            out,
            "noted heads: {} lines begin one that is not whole; they were passed over",
            noted.broken
        )?;
    }
    if let Some(said) = &anchoring.dropped {
        let (no, at) = (said.checkpoint.head.no, said.checkpoint.at);
        writeln!(
            out,
            "dropped: records up to {no}, as signed at {at}; the journal holds those from {} on",
            report.first
        )?;
    }
    let good = anchoring.good;
    match keys.kept {
        "given" => writeln!(out, "signatures: {good} good, by the keys given")?,
        "beside" => writeln!(
            out,
            "signatures: {good} good, by the keys beside the journal: whoever can write there can have put them there, so \
             give --key with a copy kept elsewhere"
        )?,
        _ => writeln!(out, "signatures: not checked: no --key, and no {HEAD_KEYS_FILE} beside the journal")?,
    }
    if let Some(torn) = &report.torn_tail {
        writeln!(
            out,
            "torn tail: {} bytes at {} of {}, an unfinished last batch",
            torn.bytes, torn.offset, torn.segment
        )?;
    }
    if let Some(offset) = anchoring.torn {
        writeln!(out, "torn tail: an unfinished last line at {offset} of {HEADS_FILE}")?;
    }
    for finding in &report.findings {
        let (segment, offset, kind) = (&finding.segment, finding.offset, finding.kind.name());
        writeln!(out, "{segment} at {offset}: {kind}: {}", finding.text)?;
    }
    if report.more > 0 {
        writeln!(out, "and {} more findings, which are not listed", report.more)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "7:0000000000000000000000000000000000000000000000000000000000000000";

    #[test]
    fn q7_noted_heads_are_numbers_and_hashes_or_stand_in_a_log() {
        let heads = |text: &str| heads(Path::new("x"), text.as_bytes());
        assert!(matches!(
            heads(&format!("\n {PLAIN}\n")).unwrap().heads[..],
            [Noted::Plain(Head { no: 7, .. })]
        ));
        for wrong in ["7:00", "some log\nand no head", &format!("{PLAIN}\n7")] {
            assert!(heads(wrong).unwrap_err().to_string().contains("NUMBER:HASH"), "{wrong}");
        }
        let cut = heads("INFO head=\"doorward-head-1 node 1 at\"").unwrap_err().to_string();
        assert!(cut.contains("no whole signed head"), "{cut}");
    }

    #[test]
    fn q7_a_log_with_bytes_that_are_no_text_and_a_line_without_end_is_read() {
        let hash = "0".repeat(64);
        let signature = "A".repeat(86);
        let head = format!(
            "doorward-head-1 node1 1 at 7:{hash} 2026-11-22T08:00:00.000Z 9c41aa03d2f0b716 {signature}"
        );
        let mut log = b"\xff\xfe broken\n".to_vec();
        log.extend(vec![b'x'; 3 << 20]);
        log.extend(format!("\nINFO audit: head=\"{head}\" \u{fffd}\n").into_bytes());
        log.extend(b"\xc3 the end");
        let found = heads(Path::new("x"), &log[..]).unwrap().heads;
        assert!(matches!(&found[..], [Noted::Signed(signed)] if signed.to_string() == head), "{found:?}");
    }

    #[test]
    fn q7_a_user_id_that_looks_like_a_head_and_a_head_cut_off_are_counted_in_a_log() {
        let (hash, signature) = ("0".repeat(64), "A".repeat(86));
        let head = format!(
            "doorward-head-1 node1 1 at 7:{hash} 2026-11-22T08:00:00.000Z 9c41aa03d2f0b716 {signature}"
        );
        let log = format!("INFO login refused who=doorward-head-1\nhead=\"{head}\"\nhead=\"{}", &head[..60]);
        let found = heads(Path::new("x"), log.as_bytes()).unwrap();
        assert_eq!((found.heads.len(), found.broken), (1, 2), "{found:?}");
    }

    #[test]
    fn q7_what_was_passed_over_or_left_out_is_told() {
        let (anchoring, keys) =
            (Anchoring { strangers: 2, ..Anchoring::default() }, Keys { keys: Vec::new(), kept: "none" });
        let mut report = Report {
            intact: true,
            node: Some("node1".to_owned()),
            first: 1,
            head: Head::EMPTY,
            records: 0,
            segments: 1,
            torn_tail: None,
            anchored: None,
            findings: Vec::new(),
            more: 500,
        };
        held_to_node(&mut report, "node1");
        assert!(report.intact);
        held_to_node(&mut report, "node2");
        assert!(!report.intact && report.findings[0].text.contains("\"node1\", this one is \"node2\""));
        let noted = NotedHeads { heads: vec![Noted::Plain(Head::EMPTY); 5], broken: 3 };
        let shown = json(&report, &anchoring, &keys, &noted);
        assert_eq!(shown["findings_more"], 500);
        assert_eq!(shown["noted"], json!({"heads": 5, "of_other_nodes": 2, "not_whole": 3}));
        let mut text = Vec::new();
        print(&mut text, &report, &anchoring, &keys, &noted).unwrap();
        let text = String::from_utf8(text).unwrap();
        for told in ["2 of 5 are of other nodes than \"node1\"", "3 lines begin", "500 more findings"] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn q7_what_could_not_run_leaves_with_1() {
        let dir = tempfile::tempdir().unwrap();
        let args = |journal: Option<PathBuf>, key: Option<PathBuf>| VerifyArgs {
            file: ConfigFile { config: dir.path().join("none.toml") },
            journal,
            head: None,
            key,
            json: true,
        };
        let key = dir.path().join("key.pem");
        std::fs::write(&key, "no key").unwrap();
        for args in [
            args(None, None),
            args(Some(dir.path().join("none")), None),
            args(Some(dir.path().into()), None),
            args(Some(dir.path().into()), Some(key)),
        ] {
            assert_eq!(run(&args).unwrap_err().exit(), Exit::Refused, "{args:?}");
        }
    }
}
