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
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| cannot_hear(&error))?;
    let node = Node::start(&config, Options::default()).await?;
    for address in &node.ws {
        tracing::info!(%address, tls = config.ws.tls.is_some(), "WebSocket door open");
    }
    for bound in &node.fix {
        let (name, gateway) = (bound.name.as_str(), bound.gateway.sub_id().escape_ascii());
        tracing::info!(fix = %bound.address, name, %gateway, tls = bound.tls, "FIX listener open");
    }
    for address in &node.web {
        tracing::info!(web = %address, tls = config.web.tls.is_some(), "portal and console open");
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
    tokio::pin!(told);
    let broken = loop {
        tokio::select! {
            biased;
            () = &mut told => break false,
            () = node.broken() => break true,
            Some(()) = hangup.recv() => {
                tracing::info!("certificates are read again");
                node.renew_certificates();
            }
        }
    };
    tracing::info!("stopping");
    node.stop().await;
    if broken {
        return Err(CliError::refused(
            "the FIX door broke off; start the node again, and report what it printed",
        ));
    }
    Ok(Exit::Done)
}

/// Resolves when the process is told to stop, by SIGTERM or SIGINT. Listens from now on.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| cannot_hear(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| cannot_hear(&error))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn cannot_hear(error: &std::io::Error) -> CliError {
    CliError::refused(format!("signals: {error}"))
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Fault(fault) => Self::refused(fault.to_string()),
            StartError::Config(text) => Self::usage(text),
        }
    }
}
