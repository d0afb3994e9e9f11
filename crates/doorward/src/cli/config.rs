//! `doorward config`: check and show a configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{CliError, Exit};
use crate::config::{Config, docs};

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "doorward.toml")]
    pub(super) config: PathBuf,
}

impl ConfigFile {
    /// Reads it; every fault in it, a line each.
    pub(super) fn load(&self) -> Result<Config, CliError> {
        load(&self.config)
    }
}

pub(super) fn load(path: &Path) -> Result<Config, CliError> {
    Config::load(path, &|name| std::env::var(name).ok()).map_err(|errors| {
        let missing = !path.exists();
        let remedy = if missing { "; make one with 'doorward init'" } else { "" };
        CliError::lines(format!("{errors}{remedy}"))
    })
}

/// `doorward config …`
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Read a configuration and list every fault in it
    Check(ConfigFile),
    /// Print the values in force and where they come from
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// As one JSON object
        #[arg(long)]
        json: bool,
        /// The documentation of every key, as Markdown, instead
        #[arg(long)]
        docs: bool,
    },
}

pub(super) fn run(args: &ConfigArgs) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        ConfigCommand::Check(file) => {
            let config = file.load()?;
            for warning in config.warnings() {
                writeln!(out, "warning: {warning}")?;
            }
            writeln!(out, "{}: good", file.config.display())?;
        }
        ConfigCommand::Show { docs: true, .. } => write!(out, "{}", docs::markdown())?,
        ConfigCommand::Show { file, json: true, .. } => writeln!(out, "{:#}", file.load()?.show_json())?,
        ConfigCommand::Show { file, .. } => write!(out, "{}", file.load()?.show())?,
    }
    Ok(Exit::Done)
}
