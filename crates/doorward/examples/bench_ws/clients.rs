//! What clients do to a server, and what it costs the server.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use doorward_client::ws::{ConnectOptions, LoginAnswer, WsClient};
use doorward_core::time::Wall;
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::Fallible;
use super::server::{Pinned, Server};
use super::site::{Site, userid};

/// Logins that are under way at one time.
const LOGINS_AT_ONCE: usize = 8;
/// Codes that are under way at one time.
const CODES_AT_ONCE: usize = 64;
/// Connections from which a server's memory is counted: the first ones make what all share.
const FIRST: usize = 100;

/// Logins for so long, each on a connection of its own with handshake, challenge, password, logout; the server's
/// processor milliseconds each. People take turns all over the list.
pub(crate) async fn logins(server: &Server, site: &Site, span: Duration) -> Fallible<f64> {
    let (count, cpu, over) = (Rc::new(Cell::new(0_u64)), server.process.cpu_s()?, Rc::new(Cell::new(false)));
    let clients = LocalSet::new();
    let mut all = Vec::new();
    for client in 0..LOGINS_AT_ONCE as u64 {
        let (count, over) = (Rc::clone(&count), Rc::clone(&over));
        let (url, password, people) = (server.url.clone(), site.password.clone(), site.people);
        all.push(clients.spawn_local(async move {
            let mut turn = client;
            while !over.get() {
                turn += LOGINS_AT_ONCE as u64;
                let mut client = WsClient::connect(&url, &ConnectOptions::default()).await?;
                let who = userid(turn.wrapping_mul(611_953) % people);
                let answer = client.login(&who, &password, None).await?.answer;
                if !matches!(answer, LoginAnswer::In { .. }) {
                    return Err(format!("a login was answered {answer:?}").into());
                }
                count.set(count.get() + 1);
                client.logout().await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        }));
    }
    let measured = clients
        .run_until(async {
            tokio::time::sleep(span).await;
            let measured = server.process.cpu_s().map(|now| (now - cpu) * 1_000.0 / count.get() as f64);
            over.set(true);
            measured
        })
        .await;
    clients.await;
    for client in all {
        client.await??;
    }
    measured
}

/// What checking codes took.
pub(crate) struct Codes {
    pub(crate) cpu_us: f64,
    pub(crate) per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// All with a code log in with the password; then all codes are sent, and that alone is measured.
pub(crate) async fn codes(server: &Server, site: &Site) -> Fallible<Codes> {
    let open = Rc::new(RefCell::new(Vec::new()));
    let turn = Rc::new(Cell::new(0_usize));
    let mut logins = Vec::new();
    for _ in 0..LOGINS_AT_ONCE {
        logins.push(async {
            loop {
                let at = turn.replace(turn.get() + 1);
                let Some(coded) = site.coded.get(at) else {
                    return Ok::<(), Box<dyn std::error::Error + Send + Sync>>(());
                };
                let mut client = WsClient::connect(&server.url, &ConnectOptions::default()).await?;
                let answer = client.login(&coded.userid, &site.password, None).await?.answer;
                if answer != LoginAnswer::CodeRequired {
                    return Err(format!("a password was answered {answer:?}").into());
                }
                open.borrow_mut().push((client, &coded.totp));
            }
        });
    }
    futures_util::future::try_join_all(logins).await?;
    // A code of a step that nobody has used: this one, or the next.
    tokio::time::sleep(Duration::from_secs(1)).await;
    if let Some(coded) = site.coded.first() {
        tokio::time::sleep(coded.totp.good_for(now()?)).await;
    }
    let latency = RefCell::new(Histogram::<u64>::new(3)?);
    let (began, cpu) = (Instant::now(), server.process.cpu_fine_s()?);
    let done = RefCell::new(Vec::new());
    let senders = (0..CODES_AT_ONCE).map(|_| async {
        loop {
            let Some((mut client, totp)) = open.borrow_mut().pop() else {
                return Ok::<(), Box<dyn std::error::Error + Send + Sync>>(());
            };
            let code = totp.code(now()?);
            let began = Instant::now();
            let answer = client.send_code(&code).await?.answer;
            let took = u64::try_from(began.elapsed().as_micros())?;
            if !matches!(answer, LoginAnswer::In { .. }) {
                return Err(format!("a code was answered {answer:?}").into());
            }
            latency.borrow_mut().record(took)?;
            done.borrow_mut().push(client);
        }
    });
    futures_util::future::try_join_all(senders).await?;
    let (took, cpu) = (began.elapsed(), server.process.cpu_fine_s()? - cpu);
    for client in done.into_inner() {
        client.logout().await?;
    }
    let (count, latency) = (site.coded.len() as f64, latency.into_inner());
    Ok(Codes {
        cpu_us: cpu * 1e6 / count,
        per_s: count / took.as_secs_f64(),
        p50_us: latency.value_at_quantile(0.5) as f64,
        p99_us: latency.value_at_quantile(0.99) as f64,
    })
}

fn now() -> Fallible<Wall> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Wall::from_us(i64::try_from(since.as_micros())?))
}

/// Memory of a server in KiB and its processor time in microseconds, for each of so many connections that make the
/// handshake and say nothing.
pub(crate) async fn idle(process: &Pinned, url: &str, count: usize) -> Fallible<(f64, f64)> {
    let mut open = Vec::with_capacity(FIRST + count);
    let connect = || WsClient::connect(url, &IDLE);
    for _ in 0..FIRST {
        open.push(connect().await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (memory, cpu) = (process.memory_kib("RssAnon:")?, process.cpu_s()?);
    for _ in 0..count {
        open.push(connect().await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = |all: f64| all / count as f64;
    let measured = (each(process.memory_kib("RssAnon:")? - memory), each(process.cpu_s()? - cpu) * 1e6);
    drop(open);
    Ok(measured)
}

static IDLE: std::sync::LazyLock<ConnectOptions> = std::sync::LazyLock::new(ConnectOptions::default);
