//! `doorward init`: a configuration, the vault's keys, and hashing parameters for this machine.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::server::json_line;
use super::{CliError, Exit};
use crate::config::docs;
use crate::hashing::{HashParams, calibrate};
use crate::serve::{challenge_settings, protection};
use crate::vault::SoftVault;

/// What one password hash should take on this machine (P7).
const HASH_TIME: Duration = Duration::from_millis(50);

/// `doorward init`
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The configuration file to make; refused where there is one
    #[arg(long, value_name = "FILE", default_value = "doorward.toml")]
    config: PathBuf,
    /// Where the node keeps its data
    #[arg(long, value_name = "DIR", default_value = "doorward-data")]
    data_dir: PathBuf,
    /// Print what was made as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InitArgs) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    if args.config.exists() {
        let text =
            format!("--config: {} exists already; move it away or name another", args.config.display());
        return Err(CliError::usage(text));
    }
    if !args.json {
        writeln!(out, "measuring how long a password hash takes here …")?;
        out.flush()?;
    }
    let (params, took) = calibrate(HASH_TIME).map_err(|fault| CliError::refused(fault.to_string()))?;
    let toml_text = |text: &str| format!("{text:?}");
    let sample = docs::sample(&[
        ("data_dir", toml_text(&args.data_dir.display().to_string())),
        ("hashing.memory_kib", params.m_kib().to_string()),
        ("hashing.passes", params.t().to_string()),
        ("hashing.lanes", params.p().to_string()),
    ]);
    write_new(&args.config, sample.as_bytes())?;
    let config = super::config::load(&args.config)?;
    for dir in [Some(config.data_dir.as_path()), config.vault.key_file.parent()].into_iter().flatten() {
        make_private(dir)?;
    }
    let kept = config.vault.key_file.exists();
    if !kept {
        SoftVault::create(&config.vault.key_file, &protection(&config), challenge_settings(&config))
            .map_err(|fault| CliError::refused(fault.to_string()))?;
    }
    let made = Made { config: &args.config, key_file: &config.vault.key_file, kept, params, took };
    let told = if args.json { json_line(&made.json()) } else { made.text() };
    out.write_all(told.as_bytes())?;
    Ok(Exit::Done)
}

/// What there is now.
struct Made<'a> {
    config: &'a Path,
    key_file: &'a Path,
    /// The key file was there before.
    kept: bool,
    params: HashParams,
    took: Duration,
}

impl Made<'_> {
    fn json(&self) -> Value {
        json!({
            "configuration": self.config.display().to_string(),
            "key_file": self.key_file.display().to_string(),
            "key_file_kept": self.kept,
            "hashing": {
                "memory_kib": self.params.m_kib(),
                "passes": self.params.t(),
                "lanes": self.params.p(),
                "took_ms": self.took.as_secs_f64() * 1e3,
            },
        })
    }

    fn text(&self) -> String {
        let (config, key_file) = (self.config.display(), self.key_file.display());
        let vault = match self.kept {
            true => format!("{key_file} is there already and is kept"),
            false => format!("new keys in {key_file} (keep a copy apart from the data)"),
        };
        format!(
            "vault: {vault}\n\
             hashing: Argon2id, {} KiB, {} passes, {} ms on this machine\n\
             configuration: {config}\n\n\
             Next:\n  \
             set web.listen in {config} for portal and console, fix.listeners for FIX\n  \
             doorward serve --config {config}         (with pages: prints a link for the first desk operator)\n  \
             doorward user add desk --kind desk       (without pages: on the same machine, while it serves)\n",
            self.params.m_kib(),
            self.params.t(),
            self.took.as_millis(),
        )
    }
}

fn make_private(dir: &Path) -> Result<(), CliError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| CliError::refused(format!("{}: {error}", dir.display())))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| CliError::refused(format!("{}: {error}", path.display())))
}
