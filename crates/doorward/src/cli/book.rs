//! `doorward book`: the database, while no node runs.

use std::io::Write as _;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::config::ConfigFile;
use super::{CliError, Exit};
use crate::book::sqlite;
use crate::journal::{Disk, RealDisk};

/// `doorward book …`
#[derive(Args, Debug)]
pub struct BookArgs {
    #[command(subcommand)]
    command: BookCommand,
}

#[derive(Subcommand, Debug)]
enum BookCommand {
    /// Make the book anew from the journal; the node must not run
    Rebuild(Rebuild),
}

#[derive(Args, Debug)]
struct Rebuild {
    #[command(flatten)]
    file: ConfigFile,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BookArgs) -> Result<Exit, CliError> {
    let BookCommand::Rebuild(Rebuild { file, json }) = &args.command;
    let config = file.load()?;
    let refused = |fault: crate::fault::Fault| CliError::refused(fault.to_string());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&config.data_dir.join("journal")).map_err(refused)?);
    let rebuilt = sqlite::rebuild(&config.data_dir, &disk, config.node.clone(), &sqlite::Settings::default())
        .map_err(refused)?;
    let mut out = std::io::stdout().lock();
    if *json {
        writeln!(
            out,
            "{:#}",
            serde_json::json!({
                "records": rebuilt.records, "set_aside": rebuilt.set_aside, "head": rebuilt.head.to_string(),
            })
        )?;
    } else if let Some(no) = rebuilt.set_aside {
        writeln!(
            out,
            "book rebuilt from the one set aside at record {no} and {} records, up to {}",
            rebuilt.records, rebuilt.head
        )?;
    } else {
        writeln!(out, "book rebuilt from {} records, up to {}", rebuilt.records, rebuilt.head)?;
    }
    Ok(Exit::Done)
}
