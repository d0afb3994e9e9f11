//! `doorward audit export`: what was decided, read from the journal itself, for another system or a spreadsheet.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use data_encoding::HEXLOWER;
use doorward_core::audit;
use doorward_core::text::csv_cell;
use doorward_core::time::Wall;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::{who, whom};
use super::config::ConfigFile;
use super::server::{cell, json_line};
use super::{CliError, Exit};
use crate::fault::Fault;
use crate::http::api::audit_entry;
use crate::journal::{Disk, Entry, RealDisk, read_from, verify};

/// `doorward audit export`
#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// The journal's directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// How records are written
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// From the record of this number on
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: u64,
    /// Up to the record of this number
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    /// Not before this instant, such as 2026-11-21T20:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<Wall>,
    /// Before this instant
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Wall>,
}

/// How records are written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// A JSON object a line, with everything that was written down
    Jsonl,
    /// Comma-separated cells with a line of names (RFC 4180), without the checks behind a decision
    Csv,
}

/// The columns of CSV.
const COLUMNS: [&str; 17] = [
    "no", "at", "node", "event", "outcome", "by", "by_kind", "on", "firm", "session", "door", "source",
    "factor", "reason", "detail", "attempt", "hash",
];

fn instant(text: &str) -> Result<Wall, String> {
    Wall::parse(text).ok_or_else(|| "not an RFC 3339 instant such as 2026-11-21T20:00:00Z".to_owned())
}

pub(super) fn run(args: &ExportArgs) -> Result<Exit, CliError> {
    // 2 says that something was found, as with `audit verify`.
    exported(args).map_err(CliError::as_refused)
}

fn exported(args: &ExportArgs) -> Result<Exit, CliError> {
    let dir = match &args.journal {
        Some(dir) => dir.clone(),
        None => args.file.load()?.data_dir.join("journal"),
    };
    let refused = |fault: Fault| CliError::refused(fault.to_string());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open_to_read(&dir).map_err(refused)?);
    // What is handed on as the truth is looked at first, and shows where the journal ends beside a running node.
    let report = verify(&*disk, &[]).map_err(refused)?;
    if report.segments == 0 {
        let place = dir.display();
        return Err(CliError::refused(format!(
            "{place}: there is no journal here; run `doorward audit verify`"
        )));
    }
    if !report.intact {
        eprintln!("nothing was exported: the journal is not as it was written; run `doorward audit verify`");
        return Ok(Exit::Tampered);
    }
    let from = args.from.max(report.first);
    let to = args.to.unwrap_or(u64::MAX).min(report.head.no);
    let mut out = BufWriter::new(std::io::stdout().lock());
    let count = export(&mut out, args, read_from(disk, from, to))?;
    out.flush()?;
    eprintln!("{count} records; the journal ends with {}", report.head);
    Ok(Exit::Done)
}

/// The audit part of a record.
#[derive(Deserialize)]
struct AuditPart {
    entry: audit::Entry,
}

fn export(
    out: &mut impl Write,
    args: &ExportArgs,
    records: impl Iterator<Item = Result<Entry, Fault>>,
) -> Result<u64, CliError> {
    if args.format == Format::Csv {
        out.write_all(csv_line(COLUMNS.iter().map(|name| (*name).to_owned())).as_bytes())?;
    }
    let mut count = 0;
    for record in records {
        let Entry { no, hash, bytes } = record.map_err(|fault| CliError::refused(fault.to_string()))?;
        let part: AuditPart = serde_json::from_slice(&bytes)
            .map_err(|error| CliError::refused(format!("record {no} does not read: {error}")))?;
        let at = part.entry.at;
        if args.since.is_some_and(|since| at < since) || args.until.is_some_and(|until| at >= until) {
            continue;
        }
        let mut shown = audit_entry(no, &part.entry);
        shown["hash"] = json!(HEXLOWER.encode(&hash));
        let line = match args.format {
            Format::Jsonl => json_line(&shown),
            Format::Csv => csv_line(cells(&shown)),
        };
        out.write_all(line.as_bytes())?;
        count += 1;
    }
    Ok(count)
}

fn cells(shown: &Value) -> impl Iterator<Item = String> + '_ {
    COLUMNS.iter().map(|name| match *name {
        "by" => who(&shown["actor"]),
        "by_kind" => cell(&shown["actor"]["kind"]),
        "on" => whom(shown),
        name => cell(&shown[name]),
    })
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.map(|text| csv_cell(&text)).collect();
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use doorward_core::audit::{Actor, AttemptId, Context, Door, Event, Record};

    use super::*;

    fn record(no: u64, begins: &str, at_s: i64) -> Result<Entry, Fault> {
        let context =
            Context { at: Wall::from_s(at_s), door: Door::WebSocket, source: None, attempt: AttemptId(no) };
        let actor = Actor::Unknown { begins: begins.to_owned(), chars: 9 };
        let entry = audit::Entry::new(&context, Event::LoginRefused, actor).with_detail("=1+1, \"x\"");
        let bytes = serde_json::to_vec(&Record { entry, changes: Vec::new() }).unwrap();
        Ok(Entry { no, hash: [0xAB; 32], bytes })
    }

    fn text_of(format: Format, since: Option<Wall>, records: Vec<Result<Entry, Fault>>) -> String {
        let file = ConfigFile { config: PathBuf::new() };
        let args = ExportArgs { file, journal: None, format, from: 1, to: None, since, until: None };
        let mut out = Vec::new();
        export(&mut out, &args, records.into_iter()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn q8_a_cell_that_a_spreadsheet_would_run_is_quoted() {
        for begins in ["=cm", "+12", "-12", "@SU"] {
            let csv = text_of(Format::Csv, None, vec![record(1, begins, 0)]);
            assert!(csv.contains(&format!(",\"'{begins}… (9 characters)\",")), "{csv}");
            assert!(csv.contains(",\"'=1+1, \"\"x\"\"\","), "{csv}");
        }
        let csv = text_of(Format::Csv, None, vec![record(1, "\u{1b}[2", 0)]);
        assert!(!csv.contains('\u{1b}'), "{csv}");
        let lines: Vec<_> = csv.split_terminator("\r\n").collect();
        assert_eq!((lines.len(), lines[0]), (2, COLUMNS.join(",").as_str()));
        assert!(lines[1].starts_with("1,1970-01-01T00:00:00.000Z,"), "{}", lines[1]);
    }

    #[test]
    fn q4_what_was_named_in_the_place_of_somebody_stands_there() {
        let Entry { no, hash, bytes } = record(1, "abc", 4).unwrap();
        let mut record: Record = serde_json::from_slice(&bytes).unwrap();
        record.entry = record.entry.naming("=laton of the Academy");
        let bytes = serde_json::to_vec(&record).unwrap();
        let csv = text_of(Format::Csv, None, vec![Ok(Entry { no, hash, bytes })]);
        assert!(csv.contains(",unknown,\"'=la… (21 characters)\","), "{csv}");
    }

    #[test]
    fn q4_a_line_of_json_holds_what_was_written_down_and_its_hash() {
        let text =
            text_of(Format::Jsonl, Some(Wall::from_s(5)), vec![record(1, "abc", 4), record(2, "abc", 5)]);
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["no"], &line["event"]), (&json!(2), &json!("login-refused")), "{text}");
        assert_eq!(line["actor"], json!({"kind": "unknown", "begins": "abc", "chars": 9}));
        assert_eq!(line["hash"].as_str().map(str::len), Some(64));
    }

    #[test]
    fn q7_an_export_that_could_not_run_leaves_with_1() {
        let dir = tempfile::tempdir().unwrap();
        // Nor is there a journal in a folder that is of something else.
        for journal in [None, Some(dir.path().join("none")), Some(dir.path().to_owned())] {
            let file = ConfigFile { config: dir.path().join("none.toml") };
            let format = Format::Jsonl;
            let args = ExportArgs { file, journal, format, from: 1, to: None, since: None, until: None };
            assert_eq!(run(&args).unwrap_err().exit(), Exit::Refused, "{args:?}");
        }
    }

    #[test]
    fn a_record_that_does_not_read_is_named() {
        let broken = Ok(Entry { no: 7, hash: [0; 32], bytes: b"{}".to_vec() });
        let file = ConfigFile { config: PathBuf::new() };
        let args = ExportArgs {
            file,
            journal: None,
            format: Format::Csv,
            from: 1,
            to: None,
            since: None,
            until: None,
        };
        let error = export(&mut Vec::new(), &args, std::iter::once(broken)).unwrap_err().to_string();
        assert!(error.contains("record 7"), "{error}");
    }
}
