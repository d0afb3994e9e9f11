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
    /// Back up a node's data into one sealed file, while it runs or without it
    Backup(cli::BackupArgs),
    /// Restore a backup into a new data directory
    Restore(Box<cli::RestoreArgs>),
    /// Firms, on a running node
    Firm(cli::FirmArgs),
    /// People and programs, on a running node
    User(cli::UserArgs),
    /// The emergency switch, on a running node
    Halt(cli::HaltArgs),
    /// FIX sessions, on a running node
    Session(cli::SessionArgs),
    /// Key pairs of FIX sessions, on a running node
    Key(cli::KeyArgs),
    /// The policy of the venue or of a firm, on a running node
    Policy(cli::PolicyArgs),
    /// What was decided, and whether the journal is as it was written
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// How a running node is
    Status(cli::StatusArgs),
    /// The venue behind the FIX door, on a running node
    Venue(cli::VenueArgs),
    /// The wall clock of a running demo
    DemoClock(cli::DemoClockArgs),
    /// The WebSocket door, as a client
    Ws(cli::WsArgs),
    /// The FIX door, as a client
    Fix(Box<cli::FixArgs>),
    /// Sign a FIX Logon
    Sign(cli::SignArgs),
    /// One-time passwords
    Totp(cli::TotpArgs),
    /// Load on a door of this machine
    Load(cli::LoadArgs),
}

#[derive(Subcommand)]
enum Audit {
    /// List decisions of a running node, newest first
    List(cli::AuditListArgs),
    /// Verify the journal's chain, beside a running node or without one
    Verify(cli::VerifyArgs),
    /// Write decisions from the journal as lines of JSON or as CSV
    Export(cli::ExportArgs),
    /// Print the public keys that verify the journal's signed heads
    Key(cli::AuditKeyArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misread(&error),
    };
    match run(cli.command).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("doorward: {error}");
            error.exit().into()
        }
    }
}

/// Help, or what is wrong with the arguments. `audit verify` leaves with 2 where it found something, and only there.
fn misread(error: &clap::Error) -> ExitCode {
    // Nobody reads it then.
    let _ = error.print();
    let verifies = std::env::args().skip(1).take(2).eq(["audit", "verify"]);
    match (error.use_stderr(), verifies) {
        (false, _) => ExitCode::SUCCESS,
        (true, true) => Exit::Refused.into(),
        (true, false) => Exit::Usage.into(),
    }
}

async fn run(command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => cli::run_serve(&args).await,
        Command::Init(args) => cli::run_init(&args),
        Command::Demo(args) => cli::run_demo(args).await,
        Command::Config(args) => cli::run_config(&args),
        Command::Book(args) => cli::run_book(&args),
        Command::Backup(args) => cli::run_backup(&args),
        Command::Restore(args) => cli::run_restore(&args),
        Command::Firm(args) => cli::run_firm(args).await,
        Command::User(args) => cli::run_user(args).await,
        Command::Halt(args) => cli::run_halt(args).await,
        Command::Session(args) => cli::run_session(args).await,
        Command::Key(args) => cli::run_key(args).await,
        Command::Policy(args) => cli::run_policy(args).await,
        Command::Audit { command: Audit::List(args) } => cli::run_audit_list(args).await,
        Command::Audit { command: Audit::Verify(args) } => cli::run_audit_verify(&args),
        Command::Audit { command: Audit::Export(args) } => cli::run_audit_export(&args),
        Command::Audit { command: Audit::Key(args) } => cli::run_audit_key(&args),
        Command::Status(args) => cli::run_status(args).await,
        Command::Venue(args) => cli::run_venue(&args).await,
        Command::DemoClock(args) => cli::run_demo_clock(args).await,
        Command::Ws(args) => cli::run_ws(args).await,
        Command::Fix(args) => cli::run_fix(*args).await,
        Command::Sign(args) => cli::run_sign(&args),
        Command::Totp(args) => cli::run_totp(&args),
        Command::Load(args) => cli::run_load(args).await,
    }
}
