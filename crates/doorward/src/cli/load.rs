//! `doorward load`: how much a server of one's own can take.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use doorward_client::totp::Totp;
use doorward_client::ws::{ConnectOptions, resolve, tls_from_ca_file};
use doorward_core::ask::Padding;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::load_fix::{self, LoadFixArgs};
use super::load_users::{Pool, User};
use super::load_ws::{self, Plan};
use super::terminal::{PasswordFrom, secret_env};
use super::{CliError, Exit};

/// Put load on a server of your own
#[derive(Args, Debug)]
pub struct LoadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Connect, log in and hold WebSocket connections; prints rates and latencies
    Ws(LoadWsArgs),
    /// Log on FIX sessions of a ready file; prints rates, latencies and the server's time for each
    Fix(LoadFixArgs),
}

/// What each connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Mode {
    /// Connect, hold, close
    Connect,
    /// Connect, log in, hold, log out
    Login,
    /// Connect and say nothing; all are held at once
    Idle,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Login => "login",
            Self::Idle => "idle",
        }
    }
}

#[derive(Args, Debug)]
struct LoadWsArgs {
    /// Where the WebSocket door is: a loopback address
    #[arg(long, default_value = "ws://127.0.0.1:7402/")]
    url: String,
    /// What each connection does
    #[arg(long, value_enum, default_value = "login")]
    mode: Mode,
    /// Log in as this user; best one with a password alone
    #[arg(long, value_name = "USERID")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// The user's seed is in this environment variable; a code counts once, so this is one login in 30 s
    #[arg(long, value_name = "NAME")]
    seed_env: Option<String>,
    /// Log in as the users of the demo's ready file, in turn
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "password_source", "seed_env"])]
    users_file: Option<PathBuf>,
    /// PKCS1 or OAEP-SHA256 [default: the best that the server offers]
    #[arg(long, value_parser = super::ws::parse_padding)]
    padding: Option<Padding>,
    /// Connections at once, at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Connections to begin in all [default: --connections, or as many as fit into --duration-s]
    #[arg(long)]
    total: Option<u64>,
    /// Connections to begin each second; 0 for as fast as can be
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// How long each connection is held
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    hold_s: u64,
    /// Begin connections for so long; those that are open then still end as they would
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration_s: Option<u64>,
    /// Connect from so many addresses 127.0.0.1, 127.0.0.2, … [default: one for each 20000 connections]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=250))]
    sources: Option<u8>,
    /// Trust the root certificates of this PEM file (needed for wss://)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Allow an address that is not loopback: only for a host that is yours
    #[arg(long)]
    i_own_this_host: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Connections from one source address before another one is used: the kernel offers about 28,000 local ports.
const CONNECTIONS_PER_SOURCE: u32 = 20_000;
/// Open files that are no connections.
pub(super) const FILES_ASIDE: u64 = 64;

pub(super) async fn run(args: LoadArgs) -> Result<Exit, CliError> {
    let args = match args.command {
        Command::Ws(args) => args,
        Command::Fix(args) => return load_fix::run(args).await,
    };
    let json = args.json;
    let plan = plan(args).await?;
    let report = load_ws::run(plan).await;
    let mut out = io::stdout();
    if json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(report.exit())
}

async fn plan(args: LoadWsArgs) -> Result<Plan, CliError> {
    let addresses = resolve(&args.url).await?;
    if !args.i_own_this_host
        && let Some(foreign) = addresses.iter().find(|address| !address.ip().is_loopback())
    {
        let ip = foreign.ip();
        return Err(CliError::usage(format!(
            "--url: {ip} is not loopback; if the host is yours add --i-own-this-host"
        )));
    }
    let pool = if args.mode == Mode::Login { Some(Pool::new(users(&args)?)) } else { None };
    let sources = sources(&args, &addresses)?;
    raise_open_files(u64::from(args.connections) + FILES_ASIDE)?;
    let total = match (args.total, args.duration_s) {
        (Some(total), _) => total,
        (None, Some(_)) if args.mode != Mode::Idle => u64::MAX,
        (None, _) => u64::from(args.connections),
    };
    let options = ConnectOptions {
        tls: args.ca.as_deref().map(tls_from_ca_file).transpose()?,
        padding: args.padding,
        ..ConnectOptions::default()
    };
    Ok(Plan {
        url: args.url,
        mode: args.mode,
        pool,
        at_once: args.connections as usize,
        // In idle mode all are held until the last is open: more than fit at once would wait for ever.
        total: if args.mode == Mode::Idle { total.min(u64::from(args.connections)) } else { total },
        rate: args.rate,
        hold: Duration::from_secs(args.hold_s),
        duration: args.duration_s.map(Duration::from_secs),
        sources,
        options,
    })
}

fn users(args: &LoadWsArgs) -> Result<Vec<User>, CliError> {
    if let Some(path) = &args.users_file {
        return User::from_ready_file(path);
    }
    let Some(user) = &args.user else {
        return Err(CliError::usage("somebody must log in: give --user, or --users-file"));
    };
    let Some(password) = args.password.read()? else {
        return Err(CliError::usage("password needed: give --password-file or --password-env"));
    };
    let totp = match &args.seed_env {
        Some(name) => Some(Totp::parse(secret_env("--seed-env", name)?.expose())?),
        None => None,
    };
    Ok(vec![User::new(user.clone(), password, totp)])
}

fn sources(args: &LoadWsArgs, addresses: &[SocketAddr]) -> Result<Vec<IpAddr>, CliError> {
    let many = addresses.iter().all(|address| address.is_ipv4() && address.ip().is_loopback());
    let count = match args.sources {
        Some(count) if many => u32::from(count),
        Some(_) => return Err(CliError::usage("--sources: only for an address in 127.0.0.0/8")),
        None if many => args.connections.div_ceil(CONNECTIONS_PER_SOURCE),
        None => 1,
    };
    if count == 1 {
        return Ok(Vec::new());
    }
    Ok((1..=count).map(|n| IpAddr::V4(Ipv4Addr::from(0x7f00_0000 + n))).collect())
}

/// Raises the limit of open files as far as this run needs it.
pub(super) fn raise_open_files(needed: u64) -> Result<(), CliError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    let within = Rlimit { current: Some(needed), maximum: limit.maximum };
    let beyond = Rlimit { current: Some(needed), maximum };
    if setrlimit(Resource::Nofile, within).is_ok() || setrlimit(Resource::Nofile, beyond).is_ok() {
        return Ok(());
    }
    let most = limit.maximum.or(limit.current).unwrap_or(0);
    Err(CliError::usage(format!(
        "--connections: {needed} open files needed, at most {most} allowed here: ask for fewer or raise 'ulimit -n'"
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LoadArgs,
    }

    async fn planned(words: &[&str]) -> Result<Plan, String> {
        let line = ["load", "ws"].iter().chain(words);
        let Line { args } = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Ws(args) = args.command else { return Err(String::from("not ws")) };
        plan(args).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_loopback_is_loaded_unless_the_host_is_ones_own() {
        let words = ["--mode", "connect", "--url", "ws://192.0.2.1:7402/"];
        assert_eq!(
            planned(&words).await.unwrap_err(),
            "--url: 192.0.2.1 is not loopback; if the host is yours add --i-own-this-host"
        );
        let owned = [&words[..], &["--i-own-this-host"]].concat();
        assert!(planned(&owned).await.is_ok());
        assert!(planned(&["--mode", "connect", "--url", "ws://[::1]:7402/"]).await.is_ok());
    }

    #[tokio::test]
    async fn every_run_is_bounded_in_count_or_time() {
        let plan = planned(&["--mode", "connect", "--connections", "7"]).await.unwrap();
        assert_eq!((plan.total, plan.duration), (7, None));
        let plan = planned(&["--mode", "connect", "--duration-s", "3"]).await.unwrap();
        assert_eq!((plan.total, plan.duration), (u64::MAX, Some(Duration::from_secs(3))));
        let plan = planned(&["--mode", "idle", "--duration-s", "3", "--total", "900"]).await.unwrap();
        assert_eq!(plan.total, 100, "idle holds all at once");
    }

    #[tokio::test]
    async fn many_connections_come_from_several_addresses() {
        let plan = planned(&["--mode", "idle", "--sources", "3"]).await.unwrap();
        let sources: Vec<_> = plan.sources.iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        assert!(planned(&["--mode", "idle"]).await.unwrap().sources.is_empty());
        let error =
            planned(&["--mode", "idle", "--sources", "3", "--url", "ws://[::1]:1/"]).await.unwrap_err();
        assert_eq!(error, "--sources: only for an address in 127.0.0.0/8");
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        assert_eq!(planned(&[]).await.unwrap_err(), "somebody must log in: give --user, or --users-file");
        let error = planned(&["--user", "u"]).await.unwrap_err();
        assert_eq!(error, "password needed: give --password-file or --password-env");
        assert!(planned(&["--connections", "0"]).await.is_err());
        assert!(planned(&["--user", "u", "--users-file", "f"]).await.is_err());
    }
}
