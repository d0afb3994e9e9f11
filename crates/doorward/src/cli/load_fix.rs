//! `doorward load fix`: sessions of the demo's ready file, all at once.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::load::{FILES_ASIDE, raise_open_files};
use super::load_fix_plan::{Mode, Orders, Plan};
use super::load_fix_report::{Report, Tally};
use super::load_fix_seats::{Common, GatewayKind, Ready, load_numbers, save_numbers};
use super::{CliError, Exit, load_fix_ping, load_fix_run};

#[derive(Args, Debug)]
pub(super) struct LoadFixArgs {
    /// What each connection does
    #[arg(long, value_enum, default_value = "cycles")]
    mode: Mode,
    /// The ready file of the server: addresses, sessions and their key pairs
    #[arg(long, value_name = "FILE")]
    ready: PathBuf,
    /// Which gateway of the ready file
    #[arg(long, value_enum, default_value = "cgw")]
    gateway: GatewayKind,
    /// Another server that knows the same sessions: a loopback address
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Sessions at once; in mode cycles those that are logged on at a time [default: 100, or as many as there are]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    sessions: Option<u32>,
    /// In mode cycles: take turns among so many sessions [default: all of the ready file]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    of: Option<u32>,
    /// In mode orders: orders in flight on each session
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    in_flight: u16,
    /// What becomes of the orders
    #[arg(long, value_enum, default_value = "day")]
    orders: Orders,
    /// In mode ping: orders instead of Test Requests
    #[arg(long)]
    ping_orders: bool,
    /// How long to measure; in mode idle how long to stay
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration_s: u64,
    /// Load before the measurement begins
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    warm_up_s: u64,
    /// Stop after so many operations
    #[arg(long)]
    total: Option<u64>,
    /// HeartBtInt (108) of the sessions
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=60))]
    heartbeat_s: u16,
    /// Read time and memory of this process [default: the one of the ready file; 0 for none]
    #[arg(long)]
    pid: Option<u32>,
    /// Keep the sequence numbers of the sessions here between runs [default: beside the ready file]
    #[arg(long, value_name = "FILE")]
    numbers: Option<PathBuf>,
    /// Allow an address that is not loopback: only for a host that is yours
    #[arg(long)]
    i_own_this_host: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

impl LoadFixArgs {
    pub(super) const fn wants_json(&self) -> bool {
        self.json
    }
}

pub(super) async fn run(args: LoadFixArgs) -> Result<Exit, CliError> {
    let json = args.wants_json();
    let (plan, numbers) = plan(&args)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    });
    let (mode, address, pid) = (plan.mode, plan.address.to_string(), plan.pid);
    let mut tally = Tally::new();
    let done = tokio::task::spawn_blocking(move || {
        let seats = match mode {
            Mode::Ping => load_fix_ping::run(plan, &mut tally, &stop),
            Mode::Cycles | Mode::Storm | Mode::Idle | Mode::Orders => {
                load_fix_run::run(plan, &mut tally, &stop)
            }
        };
        (seats, tally)
    });
    let (seats, tally) = done.await.map_err(|error| CliError::unreachable(format!("load: {error}")))?;
    let seats = seats.map_err(|error| CliError::unreachable(format!("load: {error}")))?;
    save_numbers(&numbers, &seats)?;
    let report = Report { mode, address, pid, tally };
    let mut out = io::stdout();
    if json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{}", report.text())?;
    }
    Ok(report.exit())
}

fn plan(args: &LoadFixArgs) -> Result<(Plan, PathBuf), CliError> {
    let ready = Ready::read(&args.ready)?;
    let (host, port, sub_id) = ready.gateway(args.gateway)?;
    let address = match &args.address {
        Some(address) => resolve("--address", address)?,
        None => resolve("--ready", &format!("{host}:{port}"))?,
    };
    if !args.i_own_this_host && !address.ip().is_loopback() {
        let ip = address.ip();
        return Err(CliError::usage(format!(
            "{ip} is not loopback; if the host is yours add --i-own-this-host"
        )));
    }
    let mut seats = ready.seats(&sub_id)?;
    let many = seats.len();
    let wanted = match (args.mode, args.sessions) {
        (Mode::Ping, _) => 1,
        (_, Some(sessions)) => sessions as usize,
        (Mode::Storm | Mode::Idle, None) => many,
        (Mode::Cycles | Mode::Orders, None) => many.min(100),
    };
    if wanted > many {
        return Err(CliError::usage(format!("--sessions: {wanted} wanted, the ready file has {many}")));
    }
    let kept = match (args.mode, args.of) {
        (Mode::Cycles, Some(of)) => (of as usize).clamp(wanted, many),
        (Mode::Cycles, None) => many,
        (Mode::Storm | Mode::Idle | Mode::Orders | Mode::Ping, _) => wanted,
    };
    seats.truncate(kept);
    let numbers = args.numbers.clone().unwrap_or_else(|| ready.numbers_path());
    load_numbers(&numbers, &mut seats);
    raise_open_files(wanted as u64 + FILES_ASIDE)?;
    let plan = Plan {
        mode: args.mode,
        address,
        common: Common { venue: ready.venue(), heartbeat_s: args.heartbeat_s },
        seats,
        at_once: wanted,
        in_flight: args.in_flight.into(),
        orders: args.orders,
        ping_orders: args.ping_orders,
        total: args.total.unwrap_or(u64::MAX),
        duration: Duration::from_secs(args.duration_s),
        warm_up: Duration::from_secs(args.warm_up_s),
        pid: args.pid.or_else(|| ready.pid()).filter(|pid| *pid > 0),
    };
    Ok((plan, numbers))
}

fn resolve(option: &str, text: &str) -> Result<SocketAddr, CliError> {
    let fail = |why: String| CliError::usage(format!("{option}: {text}: {why}"));
    let mut found = text.to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    found.next().ok_or_else(|| fail(String::from("no address")))
}

#[cfg(test)]
#[path = "load_fix_tests.rs"]
mod tests;
