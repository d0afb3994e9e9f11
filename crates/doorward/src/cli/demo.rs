//! `doorward demo`: everything on loopback with sample people.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use doorward_core::time::Wall;
use tracing::Level;

use super::{CliError, Exit};
use crate::config::{Log, LogFormat};
use crate::demo::{Demo, DemoOptions, Drill};
use crate::logging;

/// `doorward demo`
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Keep the data here; without it they are temporary
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write what a program needs to know here, as JSON, once all doors listen
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Begin with nothing, whatever an earlier demo left in the directory
    #[arg(long)]
    fresh: bool,
    /// Begin with this time of day (RFC 3339); 'doorward demo-clock' moves it on
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    clock: Option<Wall>,
    /// A drill: gate-delay=SECONDS, vault-down or disk-full
    #[arg(long, value_name = "FAULT", value_parser = Drill::parse)]
    fault: Option<Drill>,
}

fn instant(text: &str) -> Result<Wall, String> {
    Wall::parse(text).ok_or_else(|| format!("{text:?} is no RFC 3339 instant, such as 2026-11-21T20:00:00Z"))
}

pub(super) async fn run(args: DemoArgs) -> Result<Exit, CliError> {
    let log = Log { format: LogFormat::Human, level: Level::WARN };
    logging::install(log).map_err(|error| CliError::refused(error.to_string()))?;
    let told = super::serve::stop_signal()?;
    let options = DemoOptions {
        data: args.data,
        ready_file: args.ready_file,
        fresh: args.fresh,
        clock: args.clock,
        fault: args.fault,
    };
    let demo = Demo::start(&options).await?;
    let mut out = std::io::stdout();
    out.write_all(demo.tour().as_bytes())?;
    out.flush()?;
    told.await;
    demo.stop().await;
    Ok(Exit::Done)
}
