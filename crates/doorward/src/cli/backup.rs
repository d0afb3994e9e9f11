//! `doorward backup`: one sealed file of a node's data, while the node runs or without it.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use doorward_core::limits::Limit;
use serde_json::{Value, json};

use super::config::ConfigFile;
use super::server::{json_line, print};
use super::{CliError, Exit};
use crate::backup::{self, From as Source, Header};
use crate::clock::Clock;
use crate::config::{Config, VaultProvider};
use crate::fault::Fault;
use crate::serve::{challenge_settings, protection};
use crate::vault::SoftVault;

/// Between two lines of progress on a terminal.
const EVERY: Duration = Duration::from_millis(200);

/// `doorward backup`
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The file to make; refused where there is one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
    /// Show what a backup that is there says of itself, instead; it needs no key, and proves nothing
    #[arg(long)]
    inspect: bool,
    /// Make it also where the journal, the stream log or the book in it does not verify; it says so then
    #[arg(long)]
    damaged: bool,
    /// No progress on standard error
    #[arg(long)]
    quiet: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &BackupArgs) -> Result<Exit, CliError> {
    if args.inspect {
        let header = backup::inspect(&args.file).map_err(|fault| refused(&fault))?;
        return say(
            &args.file,
            &header,
            args.json,
            "not checked: `doorward restore FILE --check` opens all of it",
        );
    }
    let config = args.config.load()?;
    let vault = open_vault(&config)?;
    let (data_dir, config_file) = (&config.data_dir, &args.config.config);
    let reserve_bytes = Limit::DiskFreeMiB.max() << 20;
    let (node, damaged) = (&config.node, args.damaged);
    let from = Source { data_dir, config: config_file, node, damaged, reserve_bytes };
    let clock = Clock::system();
    let mut shown = Shown::new(args.quiet);
    let header =
        backup::make(from, &vault, &|| clock.now().wall, &args.file, &mut |done, of| shown.show(done, of))
            .map_err(|fault| refused(&fault))?;
    say(&args.file, &header, args.json, "keep it apart from the key file, and try it: docs/backup.md")
}

pub(super) fn refused(fault: &Fault) -> CliError {
    CliError::refused(fault.to_string())
}

/// The vault of a configuration; its keys must be there already.
pub(super) fn open_vault(config: &Config) -> Result<SoftVault, CliError> {
    match config.vault.provider {
        VaultProvider::Soft => {
            SoftVault::open(&config.vault.key_file, &protection(config), challenge_settings(config))
                .map_err(|fault| refused(&fault))
        }
    }
}

/// Progress on standard error: in place on a terminal, else a line for each tenth.
pub(super) struct Shown {
    quiet: bool,
    terminal: bool,
    tenth: u64,
    last: Option<Instant>,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), tenth: 0, last: None }
    }

    pub(super) fn show(&mut self, done: u64, of: u64) {
        let percent = done.saturating_mul(100) / of.max(1);
        let is_end = done >= of;
        let tenth = percent / 10;
        let due = match self.terminal {
            true => is_end || self.last.is_none_or(|last| last.elapsed() >= EVERY),
            false => tenth > self.tenth || self.last.is_none(),
        };
        if self.quiet || !due {
            return;
        }
        (self.tenth, self.last) = (tenth, Some(Instant::now()));
        let (before, after) = match (self.terminal, is_end) {
            (false, _) => ("", "\n"),
            (true, false) => ("\r", ""),
            (true, true) => ("\r", "\n"),
        };
        // Nobody reads it then.
        let _ = write!(std::io::stderr(), "{before}{percent:3} %  {done} of {of} bytes{after}");
    }
}

pub(super) fn header_json(header: &Header) -> Value {
    json!({
        "id": header.id, "node": header.node, "release": header.release, "made_at": header.made_at.to_string(),
        "first": header.first, "head": header.head.to_string(), "book": header.book,
        "content_bytes": header.content_bytes, "key": header.key.key,
        "damaged": header.damaged, "book_damaged": header.book_damaged,
    })
}

fn say(file: &Path, header: &Header, as_json: bool, more: &str) -> Result<Exit, CliError> {
    let data =
        std::fs::metadata(file).map_err(|error| CliError::refused(format!("{}: {error}", file.display())))?;
    let bytes = data.len();
    if as_json {
        let mut told = header_json(header);
        told["file"] = json!(file.display().to_string());
        told["bytes"] = json!(bytes);
        return print(&json_line(&told));
    }
    let Header { id, node, release, made_at, first, head, key, .. } = header;
    let name = file.display();
    let mut wrong = String::new();
    if let Some(what) = &header.damaged {
        wrong.push_str(&format!("DAMAGED: {what}\n"));
    }
    if let Some(what) = &header.book_damaged {
        wrong.push_str(&format!("the book is DAMAGED: {what}; a restore makes it anew from the journal\n"));
    }
    print(&format!(
        "{name}: {bytes} bytes, backup {id}\n\
         node:    {node}, by release {release}\n\
         reaches: {made_at}\n\
         journal: records {first} to {head}\n\
         key:     {key}, format 1\n\
         {wrong}{more}\n",
        key = key.key,
    ))
}
