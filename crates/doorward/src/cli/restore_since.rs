//! What was decided after a backup, by what was kept elsewhere.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use doorward_core::text::escape_untrusted;
use doorward_core::time::Wall;
use serde_json::{Value, json};

use super::CliError;
use super::audit::{who, whom};
use super::audit_verify::each_line;
use super::server::cell;
use crate::backup::Header;
use crate::journal::{Head, SignedHead};

/// What was decided after a backup.
pub(super) struct Since {
    /// The last record of the backup.
    backup: u64,
    /// Records of an export behind the backup's, as they were exported.
    entries: Vec<Value>,
    /// Number of the last record that is known of.
    last: u64,
    /// Whether the backup's own last record is among what was given: so it is the same journal.
    is_same: bool,
    /// The newest instant in it.
    newest_at: Option<Wall>,
    /// Records and heads of other nodes, which were passed over: a log may be that of many.
    strangers: u64,
}

/// What a line tells of.
struct Line {
    /// Whether it is of another node than the backup.
    is_strange: bool,
    head: Head,
    at: Option<Wall>,
    /// Of an export: the record.
    entry: Option<Value>,
}

/// Reads an export, signed heads, or a log in which they stand.
pub(super) fn since(path: &Path, header: &Header) -> Result<Since, CliError> {
    let failed = |what: &str| CliError::refused(format!("--since: {}: {what}", path.display()));
    let file = File::open(path).map_err(|error| failed(&error.to_string()))?;
    let mut since = Since {
        backup: header.head.no,
        entries: Vec::new(),
        last: 0,
        is_same: false,
        newest_at: None,
        strangers: 0,
    };
    let mut is_other = false;
    let read = each_line(BufReader::new(file), |line| {
        let Some(Line { is_strange, head, at, entry }) = read(line, &header.node) else { return };
        if is_strange {
            since.strangers += 1;
            return;
        }
        is_other |= head.no == header.head.no && head.hash != header.head.hash;
        since.is_same |= head.no == header.head.no;
        since.last = since.last.max(head.no);
        since.newest_at = since.newest_at.max(at);
        since.entries.extend(entry.filter(|_| head.no > header.head.no));
    });
    read.map_err(|error| failed(&error.to_string()))?;
    let (no, node) = (header.head.no, &header.node);
    if is_other {
        return Err(failed(&format!("record {no} is another one there: it is of another journal")));
    }
    if since.last == 0 {
        return Err(failed(&format!(
            "there is no line of `doorward audit export`, and no head, of node {node:?} in it"
        )));
    }
    Ok(since)
}

fn read(line: &str, node: &str) -> Option<Line> {
    if let Some(signed) = SignedHead::find_in(line) {
        let (head, at) = (signed.checkpoint.head, Some(signed.checkpoint.at));
        return Some(Line { is_strange: !signed.checkpoint.is_of(node), head, at, entry: None });
    }
    if let Some(head) = Head::parse(line) {
        return Some(Line { is_strange: false, head, at: None, entry: None });
    }
    let entry: Value = serde_json::from_str(line).ok()?;
    let (no, hash) = (entry["no"].as_u64()?, entry["hash"].as_str()?);
    let (head, at) = (Head::parse(&format!("{no}:{hash}"))?, entry["at"].as_str().and_then(Wall::parse));
    let is_strange = entry["node"].as_str().is_some_and(|of| of != node);
    Some(Line { is_strange, head, at, entry: Some(entry) })
}

impl Since {
    fn count(&self) -> u64 {
        self.last.saturating_sub(self.backup)
    }

    /// The newest instant that is known of.
    pub(super) fn newest_at(&self) -> Option<Wall> {
        self.newest_at
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "after": self.backup, "records": self.count(), "same_journal": self.is_same.then_some(true),
            "entries": self.entries, "of_other_nodes": self.strangers,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "decided after the backup: {} records, {} of them known\n",
            self.count(),
            self.entries.len()
        );
        if !self.is_same {
            let backup = self.backup;
            text.push_str(&format!(
                "record {backup} is not in it: whether it is of this journal is not proved\n"
            ));
        }
        if self.strangers > 0 {
            text.push_str(&format!("of other nodes, and passed over: {}\n", self.strangers));
        }
        for entry in &self.entries {
            let on = whom(entry);
            let on = if on.is_empty() { on } else { format!(" on {on}") };
            let detail = cell(&entry["detail"]);
            let session = cell(&entry["session"]);
            let line = format!(
                "{}  {}  {} {}  by {}{on}  {session} {detail}",
                cell(&entry["no"]),
                cell(&entry["at"]),
                cell(&entry["event"]),
                cell(&entry["outcome"]),
                who(&entry["actor"]),
            );
            // A String takes every text.
            let _ = writeln!(text, "{}", escape_untrusted(line.trim_end()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::identity::sealed::Sealed;
    use doorward_core::time::Wall;

    use super::*;

    fn header(no: u64, hash: u8) -> Header {
        Header {
            id: "b1".into(),
            node: "node1".into(),
            release: "0".into(),
            made_at: Wall::from_s(1),
            first: 1,
            head: Head { no, hash: [hash; 32] },
            book: None,
            content_bytes: 0,
            damaged: None,
            book_damaged: None,
            key: Sealed { key: "k".into(), blob: String::new() },
        }
    }

    fn line(no: u64) -> String {
        let hash = Head { no, hash: [7; 32] }.to_string();
        let hash = hash.split_once(':').unwrap().1;
        json!({
            "no": no, "hash": hash, "at": "2026-11-22T09:00:00.000Z", "event": "person-disabled",
            "outcome": "allowed", "actor": { "kind": "local", "uid": 7 }, "subject": { "userid": "ana\u{1b}" },
        })
        .to_string()
    }

    #[test]
    fn what_was_decided_after_the_backup_is_listed_and_another_journal_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("export");
        std::fs::write(&path, [line(4), line(5), line(6), "no line of it".into()].join("\n")).unwrap();
        let found = since(&path, &header(5, 7)).unwrap();
        assert_eq!((found.count(), found.entries.len(), found.is_same), (1, 1, true));
        let text = found.text();
        assert!(
            text.contains("1 records, 1 of them known\n6  ") && text.contains("person-disabled"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(found.newest_at(), Wall::parse("2026-11-22T09:00:00Z"));
        assert!(since(&path, &header(5, 8)).err().unwrap().to_string().contains("another journal"));
        let before = since(&path, &header(2, 7)).unwrap();
        assert_eq!((before.count(), before.entries.len(), before.is_same), (4, 3, false));
        assert!(before.text().contains("not proved"));

        std::fs::write(&path, Head { no: 9, hash: [7; 32] }.to_string()).unwrap();
        let heads = since(&path, &header(5, 7)).unwrap();
        assert_eq!((heads.count(), heads.entries.len()), (4, 0));
        std::fs::write(&path, "nothing").unwrap();
        assert!(since(&path, &header(5, 7)).is_err());
    }

    #[test]
    fn a_log_with_bytes_that_are_no_text_and_a_line_without_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = b"\xff\xfe broken\n".to_vec();
        log.extend(vec![b'x'; 3 << 20]);
        log.extend(format!("\n{}\n", line(6)).into_bytes());
        log.extend(b"\xc3 the end");
        std::fs::write(&path, log).unwrap();
        let found = since(&path, &header(5, 7)).unwrap();
        assert_eq!((found.count(), found.entries.len()), (1, 1));
    }

    #[test]
    fn what_other_nodes_wrote_into_the_same_log_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (hash, signature) = ("0".repeat(64), "A".repeat(86));
        let head = |node: &str, no: u64| {
            format!(
                "doorward-head-1 {node} 1 at {no}:{hash} 2036-11-22T08:00:00.000Z 9c41aa03d2f0b716 {signature}"
            )
        };
        let mut entry: Value = serde_json::from_str(&line(7)).unwrap();
        entry["node"] = "node2".into();
        let log = [line(5), head("node2", 5), head("node2", 99), entry.to_string(), line(6)];
        std::fs::write(&path, log.join("\n")).unwrap();
        let found = since(&path, &header(5, 7)).unwrap();
        assert_eq!((found.count(), found.entries.len(), found.is_same, found.strangers), (1, 1, true, 3));
        assert_eq!(found.newest_at(), Wall::parse("2026-11-22T09:00:00Z"));
        assert!(found.text().contains("of other nodes, and passed over: 3"), "{}", found.text());
        std::fs::write(&path, head("node2", 99)).unwrap();
        let fault = since(&path, &header(5, 7)).err().unwrap().to_string();
        assert!(fault.contains("of node \"node1\""), "{fault}");
    }
}
