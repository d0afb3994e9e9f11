//! `doorward audit verify`: whether the journal is as it was written, without a node and beside a running one.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::config::ConfigFile;
use super::{CliError, Exit};
use crate::journal::{Head, RealDisk, Report, verify};

/// `doorward audit verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// The journal's directory, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// A file of heads noted earlier, `NUMBER:HASH` a line: the journal must still hold them
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &VerifyArgs) -> Result<Exit, CliError> {
    let dir = match &args.journal {
        Some(dir) => dir.clone(),
        None => args.file.load()?.data_dir.join("journal"),
    };
    let noted = match &args.head {
        Some(path) => heads(path)?,
        None => Vec::new(),
    };
    let refused = |fault: crate::fault::Fault| CliError::refused(fault.to_string());
    let disk = RealDisk::open_to_read(&dir).map_err(refused)?;
    let report = verify(&disk, &noted).map_err(refused)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json(&report))?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.intact { Exit::Done } else { Exit::Tampered })
}

fn heads(path: &PathBuf) -> Result<Vec<Head>, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::refused(format!("--head: {}: {error}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            Head::parse(line).ok_or_else(|| {
                CliError::refused(format!("--head: {}: {line:?} is not NUMBER:HASH", path.display()))
            })
        })
        .collect()
}

fn json(report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "segment": finding.segment, "offset": finding.offset, "no": finding.no,
                "kind": finding.kind.name(), "text": finding.text,
            })
        })
        .collect();
    serde_json::json!({
        "intact": report.intact, "first": report.first, "head": report.head.to_string(),
        "records": report.records, "segments": report.segments,
        "torn_tail": report.torn_tail.is_some(), "anchored": report.anchored, "findings": findings,
    })
}

fn print(out: &mut impl std::io::Write, report: &Report) -> std::io::Result<()> {
    let verdict = if report.intact { "intact" } else { "TAMPERED OR DAMAGED" };
    writeln!(out, "journal: {verdict}, {} records in {} segments", report.records, report.segments)?;
    writeln!(out, "head: {}", report.head)?;
    if let Some(torn) = &report.torn_tail {
        writeln!(
            out,
            "torn tail: {} bytes at {} of {}, an unfinished last batch",
            torn.bytes, torn.offset, torn.segment
        )?;
    }
    for finding in &report.findings {
        writeln!(
            out,
            "{} at {}: {}: {}",
            finding.segment,
            finding.offset,
            finding.kind.name(),
            finding.text
        )?;
    }
    Ok(())
}
