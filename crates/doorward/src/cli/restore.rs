//! `doorward restore`: a backup into a new data directory, verified.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use doorward_core::identity::restore::UnsurePair;
use doorward_core::secret::Secret;
use serde_json::{Value, json};

use super::backup::{Shown, header_json, open_vault, refused};
use super::config::ConfigFile;
use super::restore_since::{Since, since};
use super::server::{json_line, print};
use super::{CliError, Exit};
use crate::backup::{self, Restored, To};
use crate::clock::Clock;
use crate::serve::protection_of;
use crate::vault::{ChallengeSettings, SoftVault};

/// `doorward restore`
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["into", "check", "since"]))]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The new data directory; it must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Open all of the backup, verify what is in it, and leave nothing written; the book is looked at in a file without a name
    /// (TMPDIR)
    #[arg(long, conflicts_with = "into")]
    check: bool,
    /// List what was decided after the backup, by what was kept elsewhere: the output of `doorward audit export`, or
    /// signed heads, or the log in which they stand
    #[arg(long, value_name = "EXPORT")]
    since: Option<PathBuf>,
    /// How many numbers each FIX stream leaves out, as they may have been used since the backup
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    fix_ahead: u64,
    /// Take the book as it is and what reads of the journal and the stream log, where they do not verify
    #[arg(long, requires = "into")]
    damaged: bool,
    /// This machine's clock is right, though it stands more than 30 days after the backup
    #[arg(long, requires = "into")]
    late: bool,
    /// This machine's clock is right, though it stands before the backup or before a line of EXPORT, as the node's was ahead:
    /// one-time passwords are then void up to the newest of these instants
    #[arg(long, requires = "into")]
    early: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// The vault's key file, where there is no configuration any more
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    key_file: Option<PathBuf>,
    /// The file with its passphrase [default: the service manager's credential, or the unlock file beside it]
    #[arg(long, value_name = "FILE", requires = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// No progress on standard error
    #[arg(long)]
    quiet: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &RestoreArgs) -> Result<Exit, CliError> {
    let header = backup::inspect(&args.file).map_err(|fault| refused(&fault))?;
    // Before anything is written: what is asked for last must not fail then.
    let since = args.since.as_deref().map(|path| since(path, &header)).transpose()?;
    let mut shown = Shown::new(args.quiet);
    let mut told = Told::default();
    let mut exit = Exit::Done;
    if let Some(into) = &args.into {
        let clock = Clock::system();
        let uid = rustix::process::getuid().as_raw();
        let known = since.as_ref().and_then(Since::newest_at);
        let (numbers_ahead, damaged) = (args.fix_ahead, args.damaged);
        let (late, early) = (args.late, args.early);
        let to = To { into, numbers_ahead, uid, damaged, known, late, early };
        backup::clock_fits(&header, to, clock.now().wall).map_err(CliError::refused)?;
        let done = backup::restore(&args.file, to, &vault(args)?, &|| clock.now().wall, &mut |done, of| {
            shown.show(done, of);
        });
        told.restored(into, &key_file(args)?, &done.map_err(|fault| refused(&fault))?);
    } else if args.check {
        let done = backup::check(&args.file, &vault(args)?, &mut |done, of| shown.show(done, of));
        let done = done.map_err(|fault| refused(&fault))?;
        exit = if done.findings.is_empty() { Exit::Done } else { Exit::Refused };
        told.checked(&args.file, &done);
    }
    if let Some(since) = &since {
        told.since(since);
    }
    print(&if args.json { json_line(&told.json) } else { told.text })?;
    Ok(exit)
}

/// Which keys opened it: the node that goes on needs the same.
fn key_file(args: &RestoreArgs) -> Result<PathBuf, CliError> {
    match &args.key_file {
        Some(path) => Ok(path.clone()),
        None => Ok(args.config.load()?.vault.key_file),
    }
}

fn vault(args: &RestoreArgs) -> Result<SoftVault, CliError> {
    let Some(key_file) = &args.key_file else { return open_vault(&args.config.load()?) };
    let passphrase = args.passphrase_file.as_deref().map(passphrase).transpose()?;
    SoftVault::open(key_file, &protection_of(passphrase.as_ref()), ChallengeSettings::default())
        .map_err(|fault| refused(&fault))
}

fn passphrase(path: &Path) -> Result<Secret<String>, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::refused(format!("--passphrase-file: {}: {error}", path.display())))?;
    let text = Secret::new(text);
    Ok(Secret::new(text.expose().trim_end_matches(['\r', '\n']).to_owned()))
}

/// What there is to say.
#[derive(Default)]
struct Told {
    json: Value,
    text: String,
}

impl Told {
    fn line(&mut self, line: &str) {
        // A String takes every text.
        let _ = writeln!(self.text, "{line}");
    }

    fn restored(&mut self, into: &Path, key_file: &Path, done: &Restored) {
        let Restored { header, at, clock, record, unsure, mails, streams, damaged, made_anew } = done;
        self.json = header_json(header);
        self.json["into"] = json!(into.display().to_string());
        self.json["key_file"] = json!(key_file.display().to_string());
        self.json["restored_at"] = json!(at.to_string());
        self.json["record"] = json!(record);
        self.json["fix_streams_raised"] = json!(streams);
        self.json["mails"] = json!(mails);
        self.json["unsure"] = unsure.iter().map(pair_json).collect();
        self.json["damaged"] = json!(damaged);
        self.json["book_made_anew"] = json!(made_anew);
        self.json["clock"] = json!(clock.unwrap_or(*at).to_string());
        let verified = if damaged.is_some() { "restored, DAMAGED" } else { "restored and verified" };
        self.line(&format!("{}: {verified}, records {} to {record}", into.display(), header.first));
        if let Some(what) = damaged {
            self.line(&format!("damaged: {what}; what did not open lies in {}/damaged", into.display()));
        }
        if let Some(what) = made_anew {
            self.line(&format!("the book in it did not verify: {what}; it was made anew from the journal"));
        }
        self.line(&format!(
            "the data reach to {}: whatever was decided after that has to be done again",
            header.made_at
        ));
        self.line(&match clock {
            None => format!(
                "restored at {at} by this machine's clock: see that it is right before anybody logs in"
            ),
            Some(clock) => format!(
                "restored at {clock} by this machine's clock, and written down as of {at}: no one-time password is good \
                 before"
            ),
        });
        self.line("void: tokens, setup links, seeds without a first code, recovery codes, one-time passwords up to now");
        self.line(&format!(
            "FIX: {streams} streams go on at higher numbers; what clients lack is gap-filled"
        ));
        for pair in unsure {
            self.line(&format!("unsure: {}", pair.in_words()));
        }
        if *mails > 0 {
            self.line(&format!("{mails} mails to administrators wait in the outbox"));
        }
        self.line(&format!(
            "next: set data_dir = {:?} and vault.key_file = {:?}, and start the node; docs/backup.md has the list",
            into.display().to_string(),
            key_file.display().to_string()
        ));
    }

    fn checked(&mut self, file: &Path, done: &backup::Check) {
        self.json = header_json(&done.header);
        self.json["files"] = json!(done.files);
        self.json["good"] = json!(done.findings.is_empty());
        self.json["findings"] = json!(done.findings);
        let (head, files) = (done.header.head.no, done.files);
        let (node, made_at) = (&done.header.node, done.header.made_at);
        let good = if done.findings.is_empty() { "good" } else { "DAMAGED" };
        let name = file.display();
        self.line(&format!("{name}: {good}, {files} files of node {node}, up to record {head} at {made_at}"));
        for finding in &done.findings {
            self.line(finding);
        }
    }

    fn since(&mut self, since: &Since) {
        if self.json.is_null() {
            self.json = json!({});
        }
        self.json["since"] = since.json();
        self.text.push_str(&since.text());
    }
}

fn pair_json(pair: &UnsurePair) -> Value {
    json!({
        "session": pair.session.to_string(), "access_key": pair.id.to_string(), "at": pair.at.to_string(),
        "was": if pair.deleted { "deleted" } else { "made" },
    })
}
