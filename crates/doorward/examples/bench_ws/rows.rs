//! The rows, each in rounds.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::clients::{codes, idle, logins};
use super::server::{CLIENT_CORE, Pinned, SERVER_CORE, Server, option};
use super::site::{DOORS, Site};
use super::{Fallible, bare, heading, told};

/// With how many people and records the many are compared.
const FEW: (u64, u64) = (1_000, 10_000);
/// Who logs in with a code.
const CODED: u64 = 1_000;
/// People of row 14.
const START_PEOPLE: u64 = 100_000;
/// What privacyIDEA publishes for one check of a one-time password.
const PRIVACYIDEA_MS: f64 = 96.8;

pub(crate) async fn measure(folder: &Path) -> Fallible<()> {
    let rows = option("--rows", "8,9,10,14,13".to_owned());
    let rounds = option("--rounds", 7_usize);
    let seconds = option("--seconds", 5_u64);
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "{rounds} rounds of {seconds} s; load {} at the start",
        load.split(' ').next().unwrap_or_default()
    );
    for row in rows.split(',') {
        let folder = folder.join(format!("row-{row}"));
        match row {
            "8" => connections(&folder, rounds).await?,
            "9" => passwords(&folder, rounds, seconds).await?,
            "10" => one_time(&folder, rounds).await?,
            "13" => many(&folder, rounds, seconds).await?,
            "14" => start(&folder, rounds).await?,
            _ => return Err(format!("row {row:?} is none of 8, 9, 10, 13, 14").into()),
        }
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(())
}

async fn connections(folder: &Path, rounds: usize) -> Fallible<()> {
    let count = option("--idle", 10_000_usize);
    let modules = option("--node-ws", String::new());
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if !modules.is_empty() {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/idle_ws.cjs");
            let mut process = Pinned::start(SERVER_CORE, ["node", script, &modules], |command| {
                command.stdout(Stdio::piped());
            })?;
            let port = process.lines()?.next().ok_or("node does not listen")?;
            peers.push(idle(&process, &format!("ws://127.0.0.1:{}/", port.trim()), count).await?);
        }
        let server = Server::start(&folder.join(round.to_string()), DOORS)?;
        ours.push(idle(&server.process, &server.url, count).await?);
    }
    heading(&format!("**8** {count} idle connections"));
    for (name, figures) in [("node `ws`", &peers), ("Doorward", &ours)] {
        if !figures.is_empty() {
            told(&format!("{name}, KiB each"), figures.iter().map(|(kib, _)| *kib).collect());
            told(&format!("{name}, processor µs to connect"), figures.iter().map(|(_, us)| *us).collect());
        }
    }
    let pairs = || ours.iter().zip(&peers);
    if !peers.is_empty() {
        told("processor to connect, Doorward / node", pairs().map(|(one, other)| one.1 / other.1).collect());
    }
    Ok(())
}

async fn passwords(folder: &Path, rounds: usize, seconds: u64) -> Fallible<()> {
    let site = Site::make(folder.join("site"), 100, 0, 0).await?;
    let server = Server::start(&site.folder, DOORS)?;
    let (mut limits, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        limits.push(bare::cpu_ms(seconds)?);
        ours.push(logins(&server, &site, Duration::from_secs(seconds)).await?);
    }
    drop(server);
    heading("**9** password logins");
    told("bare RSA-2048 + Argon2id, processor ms", limits.clone());
    told("login, server's processor ms", ours.clone());
    told("bare / login, %", limits.iter().zip(&ours).map(|(bare, login)| 100.0 * bare / login).collect());
    storm(&folder.join("demo"), rounds, seconds)
}

/// The demo on the servers' core, and what the clients need of it.
struct Demo {
    _process: Pinned,
    ready: String,
    url: String,
}

impl Demo {
    fn start(folder: &Path) -> Fallible<Self> {
        std::fs::create_dir_all(folder)?;
        let ready = folder.join("ready.json");
        let (data, file) = (folder.join("data"), ready.to_string_lossy().into_owned());
        let demo = words(&["demo", "--data", &data.to_string_lossy(), "--ready-file", &file])?;
        let process = Pinned::start(SERVER_CORE, demo, |command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        })?;
        let mut tries = 0;
        while !ready.exists() {
            std::thread::sleep(Duration::from_millis(100));
            tries += 1;
            if tries > 600 {
                return Err("the demo does not start".into());
            }
        }
        let about: Value = serde_json::from_slice(&std::fs::read(&ready)?)?;
        let url = about["websocket"].as_str().ok_or("no WebSocket door")?.to_owned();
        Ok(Self { _process: process, ready: file, url })
    }

    /// `doorward load` with arguments, on the clients' core.
    fn load(arguments: &[&str]) -> Fallible<Pinned> {
        let all = words(&[&["load"], arguments, &["--json"]].concat())?;
        Pinned::start(CLIENT_CORE, all, |command| {
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        })
    }

    /// p99 of Test Request to Heartbeat, in milliseconds.
    fn ping_ms(&self, seconds: &str) -> Fallible<f64> {
        let ping =
            ["fix", "--ready", &self.ready, "--mode", "ping", "--duration-s", seconds, "--warm-up-s", "1"];
        let told = told_by(Self::load(&ping)?)?;
        let p99 = told["latency_us"]["ping"]["p99"].as_f64();
        Ok(p99.ok_or_else(|| format!("no p99: {told}"))? / 1_000.0)
    }

    /// Password logins for so long.
    fn logins(&self, seconds: &str) -> Fallible<Pinned> {
        let logins = [
            "ws",
            "--url",
            &self.url,
            "--users-file",
            &self.ready,
            "--connections",
            "8",
            "--duration-s",
            seconds,
        ];
        Self::load(&logins)
    }
}

/// `doorward` and its arguments.
fn words(arguments: &[&str]) -> Fallible<Vec<std::ffi::OsString>> {
    let binary = std::env::current_exe()?.with_file_name("../doorward").into_os_string();
    Ok(std::iter::once(binary).chain(arguments.iter().map(Into::into)).collect())
}

/// The JSON that a program prints.
fn told_by(mut program: Pinned) -> Fallible<Value> {
    let text: Vec<String> = program.lines()?.collect();
    Ok(serde_json::from_str(&text.join("\n"))?)
}

/// FIX, while nobody logs in with a password and while as many do as can.
fn storm(folder: &Path, rounds: usize, seconds: u64) -> Fallible<()> {
    let demo = Demo::start(folder)?;
    let (span, longer) = (seconds.to_string(), (seconds + 2).to_string());
    let (mut quiet, mut stormy, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        quiet.push(demo.ping_ms(&span)?);
        let logins = demo.logins(&longer)?;
        stormy.push(demo.ping_ms(&span)?);
        rates.push(told_by(logins)?["rate_per_s"].as_f64().unwrap_or_default());
    }
    told("FIX Test Request → Heartbeat, p99 ms, quiet", quiet.clone());
    told("the same beside password logins, p99 ms", stormy.clone());
    told("more, ms", quiet.iter().zip(&stormy).map(|(quiet, storm)| storm - quiet).collect());
    told("logins a second beside it", rates);
    Ok(())
}

async fn one_time(folder: &Path, rounds: usize) -> Fallible<()> {
    let site = Site::make(folder.to_owned(), 100, 0, CODED).await?;
    let server = Server::start(&site.folder, DOORS)?;
    // The first codes confirm.
    codes(&server, &site).await?;
    let mut figures = Vec::new();
    for _ in 0..rounds {
        figures.push(codes(&server, &site).await?);
    }
    heading(&format!("**10** one-time passwords, {CODED} at a time, 64 in flight"));
    told("server's processor µs", figures.iter().map(|codes| codes.cpu_us).collect());
    told("a second", figures.iter().map(|codes| codes.per_s).collect());
    told("p50 ms", figures.iter().map(|codes| codes.p50_us / 1_000.0).collect());
    told("p99 ms", figures.iter().map(|codes| codes.p99_us / 1_000.0).collect());
    let times = figures.iter().map(|codes| PRIVACYIDEA_MS * 1_000.0 / codes.cpu_us);
    told("privacyIDEA's 96.8 ms / processor time of ours", times.collect());
    let times = figures.iter().map(|codes| codes.per_s / 7.5);
    told("rate / privacyIDEA's 7.5 a second", times.collect());
    Ok(())
}

async fn many(folder: &Path, rounds: usize, seconds: u64) -> Fallible<()> {
    let many = (option("--people", 1_000_000_u64), option("--records", 10_000_000_u64));
    let sites = [
        Site::make(folder.join("few"), FEW.0, FEW.1, CODED / 4).await?,
        Site::make(folder.join("many"), many.0, many.1, CODED / 4).await?,
    ];
    let servers = [Server::start(&sites[0].folder, DOORS)?, Server::start(&sites[1].folder, DOORS)?];
    let (mut cpu, mut fine) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    // The first round warms up, and its codes confirm.
    for round in 0..=rounds {
        for no in [0, 1] {
            let login = logins(&servers[no], &sites[no], Duration::from_secs(seconds)).await?;
            let code = codes(&servers[no], &sites[no]).await?.cpu_us;
            if round > 0 {
                cpu[no].push(login);
                fine[no].push(code);
            }
        }
    }
    heading(&format!("**13** {} people, {} records beside {} and {}", many.0, many.1, FEW.0, FEW.1));
    for (no, name) in [(0, "few"), (1, "many")] {
        told(&format!("{name}: login, server's processor ms"), cpu[no].clone());
        told(&format!("{name}: one-time password alone, server's processor µs"), fine[no].clone());
    }
    let ratio = |of: &[Vec<f64>; 2]| of[1].iter().zip(&of[0]).map(|(many, few)| many / few).collect();
    told("login, many / few", ratio(&cpu));
    told("one-time password, many / few", ratio(&fine));
    Ok(())
}

async fn start(folder: &Path, rounds: usize) -> Fallible<()> {
    let site = Site::make(PathBuf::from(folder), START_PEOPLE, START_PEOPLE, 0).await?;
    let (mut after, mut anon, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::start(&site.folder, DOORS)?;
        after.push(server.listening_after.as_secs_f64());
        anon.push(server.process.memory_kib("RssAnon:")? / 1_024.0);
        resident.push(server.process.memory_kib("VmRSS:")? / 1_024.0);
        server.process.stop()?;
    }
    heading(&format!("**14** start with {START_PEOPLE} people and as many records"));
    told("until all doors listen, s", after);
    told("resident before the first hash, MiB", resident);
    told("of it not backed by a file, MiB", anon);
    Ok(())
}
