//! The one binary of Doorward: server, demo, administration and clients.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use doorward::cli::{self, CliError, Exit};

/// A self-hosted logon gateway for trading venues and brokers: one place that decides who comes in.
#[derive(Parser)]
#[command(
    name = "doorward",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node from its configuration
    Serve(cli::ServeArgs),
    /// Make a configuration, the vault's keys, and hashing parameters for this machine
    Init(cli::InitArgs),
    /// Run everything on loopback with sample people
    Demo(cli::DemoArgs),
    /// Look at a configuration
    Config(cli::ConfigArgs),
    /// Rebuild the book (the database) from the journal
    Book(cli::BookArgs),
    /// The WebSocket door, as a client
    Ws(cli::WsArgs),
    /// One-time passwords
    Totp(cli::TotpArgs),
    /// Load on a door of this machine
    Load(cli::LoadArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("doorward: {error}");
            error.exit().into()
        }
    }
}

async fn run(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => cli::run_serve(&args).await,
        Command::Init(args) => cli::run_init(&args),
        Command::Demo(args) => cli::run_demo(args).await,
        Command::Config(args) => cli::run_config(&args),
        Command::Book(args) => cli::run_book(&args),
        Command::Ws(args) => cli::run_ws(args).await,
        Command::Totp(args) => cli::run_totp(&args),
        Command::Load(args) => cli::run_load(args).await,
    }
}
