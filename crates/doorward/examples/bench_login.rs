//! Logins beside the bare work that a login is made of, and memory for each idle connection.
//!
//! `cargo run --release -p doorward --example bench_login -- [--rounds N] [--seconds N] [--idle N] [--node-ws FOLDER]`
//! after `cargo build --release -p doorward`. See `bench/README.md`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use doorward::doors::admission::raise_descriptors;
use doorward_client::api::AdminClient;
use doorward_client::ws::{ConnectOptions, LoginAnswer, WsClient};
use doorward_core::secret::Secret;
use serde_json::{Value, json};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Kernel ticks a second, in which `/proc` counts processor time (USER_HZ is 100 on Linux).
const TICKS_PER_S: f64 = 100.0;
/// Logins that are under way at one time.
const AT_ONCE: usize = 8;

/// A server process; killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn doorward(folder: &Path) -> Fallible<Self> {
        let text = "data_dir = \"data\"\n[log]\nformat = \"json\"\n[ws]\nlisten = [\"127.0.0.1:0\"]\nlogin_s_max = 600\n\
                    ping_s = 600\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(folder.join("doorward.toml"), text)?;
        let binary = std::env::current_exe()?.with_file_name("../doorward");
        let mut child = Command::new(binary)
            .args(["serve", "--config", "doorward.toml"])
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("its log")?).lines().map_while(Result::ok);
        let mut url = String::new();
        for line in lines.by_ref() {
            let line: Value = serde_json::from_str(&line).map_err(|_| line)?;
            if let Some(address) = line["address"].as_str() {
                url = format!("ws://{address}/");
            }
            if line["metrics"].is_string() {
                break;
            }
        }
        // The log goes on; somebody has to take it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }

    fn node_ws(modules: &str) -> Fallible<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/idle_ws.cjs");
        let mut child = Command::new("node").args([script, modules]).stdout(Stdio::piped()).spawn()?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().ok_or("its output")?).read_line(&mut port)?;
        Ok(Self { child, url: format!("ws://127.0.0.1:{}/", port.trim()) })
    }

    fn cpu_s(&self) -> Fallible<f64> {
        cpu_s(&self.child.id().to_string())
    }

    fn resident_kib(&self) -> Fallible<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("VmRSS")?;
        Ok(line.split_whitespace().nth(1).ok_or("VmRSS")?.parse()?)
    }
}

/// Processor time of a process so far, in user and kernel mode.
fn cpu_s(pid: &str) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("stat")?.1.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_S)
}

/// Rate by the wall clock, and processor milliseconds each.
#[derive(Clone, Copy)]
struct Measured {
    per_s: f64,
    cpu_ms: f64,
}

fn measured(count: u64, began: Instant, cpu: f64) -> Measured {
    #[allow(clippy::cast_precision_loss, reason = "counts of a few thousand")]
    let count = count as f64;
    Measured { per_s: count / began.elapsed().as_secs_f64(), cpu_ms: cpu * 1_000.0 / count }
}

/// The limit: RSA-2048 private operation and Argon2id with the floor's parameters, a thread for each core.
fn bare(span: Duration, threads: usize) -> Fallible<Measured> {
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
    let public = OaepPublicEncryptingKey::new(private.public_key())?;
    let key = Arc::new(OaepPrivateDecryptingKey::new(private)?);
    let mut sealed = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, b"a password of usual length", &mut sealed, None)?;
    let (began, cpu) = (Instant::now(), cpu_s("self")?);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (key, sealed) = (Arc::clone(&key), sealed.clone());
            std::thread::spawn(move || -> Fallible<u64> {
                let params = Params::new(19_456, 2, 1, Some(32)).map_err(|error| error.to_string())?;
                let mut memory = vec![Block::default(); params.block_count()];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let mut count = 0;
                while began.elapsed() < span {
                    let mut opened = vec![0; key.min_output_size()];
                    let password = key.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut opened, None)?;
                    let mut hash = [0; 32];
                    argon2.hash_password_into_with_memory(
                        password,
                        b"sixteen byte salt",
                        &mut hash,
                        &mut memory,
                    )?;
                    std::hint::black_box(hash);
                    count += 1;
                }
                Ok(count)
            })
        })
        .collect();
    let mut count = 0;
    for worker in workers {
        count += worker.join().map_err(|_| "a thread of the bare loop panicked")??;
    }
    Ok(measured(count, began, cpu_s("self")? - cpu))
}

/// Whole logins, each on a connection of its own: handshake, challenge, login, logout.
async fn logins(server: &Server, password: &str, span: Duration) -> Fallible<Measured> {
    let count = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let (began, cpu) = (Instant::now(), server.cpu_s()?);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (url, password) = (server.url.clone(), Secret::new(password.to_owned()));
        let (count, over) = (Arc::clone(&count), Arc::clone(&over));
        clients.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let mut client = WsClient::connect(&url, &ConnectOptions::default()).await?;
                let answer = client.login("bench", &password, None).await?.answer;
                if answer != (LoginAnswer::In { must_change: false }) {
                    return Err(format!("a login was answered {answer:?}").into());
                }
                count.fetch_add(1, Ordering::Relaxed);
                client.logout().await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    tokio::time::sleep(span).await;
    let done = measured(count.load(Ordering::Relaxed), began, server.cpu_s()? - cpu);
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(done)
}

/// Resident memory of the server and its processor time, for each of `count` connections that say nothing.
async fn idle(server: &Server, count: usize) -> Fallible<(f64, f64)> {
    // The first ones make what all share.
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(WsClient::connect(&server.url, &ConnectOptions::default()).await?);
    }
    let (before, cpu) = (server.resident_kib()?, server.cpu_s()?);
    for _ in 0..count {
        open.push(WsClient::connect(&server.url, &ConnectOptions::default()).await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    #[allow(clippy::cast_precision_loss, reason = "ten thousand")]
    let each =
        ((server.resident_kib()? - before) / count as f64, (server.cpu_s()? - cpu) * 1e6 / count as f64);
    drop(open);
    Ok(each)
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn told(what: &str, values: Vec<f64>) {
    let (median, least, most) = median(values);
    println!("{what:<44} {median:>8.2}   ({least:.2} to {most:.2})");
}

fn option<T: std::str::FromStr>(name: &str, preset: T) -> T {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(preset)
}

#[tokio::main]
async fn main() -> Fallible<()> {
    let (rounds, idle_count) = (option("--rounds", 7_usize), option("--idle", 10_000_usize));
    let span = Duration::from_secs(option("--seconds", 5));
    let threads = std::thread::available_parallelism()?.get();
    println!("{threads} cores, {rounds} rounds of {} s each, {AT_ONCE} logins at once", span.as_secs());
    raise_descriptors();
    let folder = std::env::temp_dir().join(format!("doorward-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let server = Server::doorward(&folder)?;
    let grant = json!({ "firms": [], "rights": [], "sources": ["127.0.0.0/8"] });
    let new = json!({ "userid": "bench", "kind": "service", "initial": false, "grant": grant });
    let added = AdminClient::new(folder.join("data/admin.sock")).post("/api/v1/people", &new).await?;
    let password = added["password"].as_str().ok_or("a password")?;

    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let limit = tokio::task::spawn_blocking(move || bare(span, threads)).await??;
        pairs.push((limit, logins(&server, password, span).await?));
    }
    let each = |of: fn(&(Measured, Measured)) -> f64| pairs.iter().map(of).collect::<Vec<_>>();
    println!("{:<44} {:>8}   (least to most)", "", "median");
    told("bare RSA-2048 + Argon2id, a second", each(|(bare, _)| bare.per_s));
    told("logins, a second (client on the same cores)", each(|(_, login)| login.per_s));
    told("bare, processor ms each", each(|(bare, _)| bare.cpu_ms));
    told("login, server's processor ms each", each(|(_, login)| login.cpu_ms));
    told("rate, login / bare, %", each(|(bare, login)| 100.0 * login.per_s / bare.per_s));
    told("processor, bare / login, %", each(|(bare, login)| 100.0 * bare.cpu_ms / login.cpu_ms));

    let (kib, us) = idle(&server, idle_count).await?;
    println!(
        "idle connections: {idle_count}; doorward: {kib:.2} KiB each, {us:.0} us of processor to connect"
    );
    let modules = option("--node-ws", String::new());
    if !modules.is_empty() {
        let (kib, us) = idle(&Server::node_ws(&modules)?, idle_count).await?;
        println!(
            "idle connections: {idle_count}; node ws:  {kib:.2} KiB each, {us:.0} us of processor to connect"
        );
    }
    drop(server);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
