//! `doorward serve`: a node, until it is told to stop.

use std::io::Write as _;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::config::ConfigFile;
use super::{CliError, Exit};
use crate::logging;
use crate::serve::{Node, Options, StartError};

/// `doorward serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) async fn run(args: &ServeArgs) -> Result<Exit, CliError> {
    let config = args.file.load()?;
    logging::install(config.log).map_err(|error| CliError::refused(error.to_string()))?;
    let told = stop_signal()?;
    let node = Node::start(&config, Options::default()).await?;
    for address in &node.ws {
        tracing::info!(%address, tls = config.ws.tls.is_some(), "WebSocket door open");
    }
    for bound in &node.fix {
        let (name, gateway) = (bound.name.as_str(), bound.gateway.sub_id().escape_ascii());
        tracing::info!(fix = %bound.address, name, %gateway, tls = bound.tls, "FIX listener open");
    }
    if let Some(link) = &node.claim {
        // On the terminal alone, never in a log.
        let text = format!(
            "The desk has no operator yet. Make the first one within 24 hours at\n{}\n",
            link.expose()
        );
        std::io::stdout().lock().write_all(text.as_bytes())?;
    }
    tracing::info!(socket = %node.admin_socket.display(), metrics = %node.metrics, "node {} serves", config.node);
    told.await;
    tracing::info!("stopping");
    node.stop().await;
    Ok(Exit::Done)
}

/// Resolves when the process is told to stop, by SIGTERM or SIGINT. Listens from now on.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let cannot = |error: std::io::Error| CliError::refused(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Fault(fault) => Self::refused(fault.to_string()),
            StartError::Config(text) => Self::usage(text),
        }
    }
}
