//! `doorward config`: check and show a configuration.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::server::json_line;
use super::{CliError, Exit};
use crate::config::{Config, docs};
use crate::serve::faults_of_files;

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
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// The findings as one JSON object
        #[arg(long)]
        json: bool,
    },
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

/// Everything that `serve` would refuse before it opens its data.
fn check(file: &ConfigFile, json: bool, out: &mut impl Write) -> Result<Exit, CliError> {
    let shown = file.config.display();
    let (faults, warnings) = match file.load() {
        Ok(config) => (faults_of_files(&config), config.warnings()),
        Err(error) if json => (error.to_string().lines().map(str::to_owned).collect(), Vec::new()),
        Err(error) => return Err(error),
    };
    let good = faults.is_empty();
    if json {
        let told = json!({ "file": shown.to_string(), "good": good, "faults": faults, "warnings": warnings });
        out.write_all(json_line(&told).as_bytes())?;
        return Ok(if good { Exit::Done } else { Exit::Usage });
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    if !good {
        let faults: Vec<String> = faults.iter().map(|fault| format!("{shown}: {fault}")).collect();
        return Err(CliError::lines(faults.join("\n")));
    }
    writeln!(out, "{shown}: good")?;
    Ok(Exit::Done)
}

pub(super) fn run(args: &ConfigArgs) -> Result<Exit, CliError> {
    let mut out = std::io::stdout().lock();
    match &args.command {
        ConfigCommand::Check { file, json } => return check(file, *json, &mut out),
        ConfigCommand::Show { docs: true, .. } => write!(out, "{}", docs::markdown())?,
        ConfigCommand::Show { file, json: true, .. } => writeln!(out, "{:#}", file.load()?.show_json())?,
        ConfigCommand::Show { file, .. } => write!(out, "{}", file.load()?.show())?,
    }
    Ok(Exit::Done)
}
