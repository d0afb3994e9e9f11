//! Runs connections against a WebSocket door and counts what becomes of them.

use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorward_client::ClientError;
use doorward_client::ws::{ConnectOptions, LoginAnswer, Reply, WsClient};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::load::Mode;
use super::load_report::{Report, Tally, count};
use super::load_users::{Pool, Ticket};
use crate::clock::Clock;

/// What to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) mode: Mode,
    /// Who logs in; `None` where nobody does.
    pub(super) pool: Option<Pool>,
    pub(super) at_once: usize,
    pub(super) total: u64,
    /// Connections a second; 0 for no pace.
    pub(super) rate: u32,
    pub(super) hold: Duration,
    pub(super) duration: Option<Duration>,
    /// Local addresses in turn; empty for the system's choice.
    pub(super) sources: Vec<IpAddr>,
    pub(super) options: ConnectOptions,
}

/// The tally, shared by all connections.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Tally>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the plan to its end, or until Ctrl-C; tells the progress on standard error.
pub(super) async fn run(plan: Plan) -> Report {
    let shared = Shared(Arc::new(Mutex::new(Tally::new())));
    let (stop, stopped) = watch::channel(false);
    let begun = Instant::now();
    let (url, mode) = (plan.url.clone(), plan.mode);
    let progress = tokio::spawn(tell_progress(shared.clone(), begun));
    let mut tasks = JoinSet::new();
    tokio::select! {
        () = drive(plan, &shared, &mut tasks, &stopped) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let elapsed = begun.elapsed();
    // Nobody listens any more where every connection has ended already.
    let _ = stop.send(true);
    let limit = ConnectOptions::default().answer_limit;
    if timeout(limit, async { while tasks.join_next().await.is_some() {} }).await.is_err() {
        tasks.shutdown().await;
    }
    progress.abort();
    let tally = std::mem::replace(&mut *shared.lock(), Tally::new());
    let busy = tally.last_success.map_or(elapsed, |last| last - begun);
    Report { url, mode, elapsed, busy, tally }
}

async fn tell_progress(shared: Shared, begun: Instant) {
    loop {
        sleep(Duration::from_secs(1)).await;
        let line = {
            let tally = shared.lock();
            format!(
                "{} s: {} open, {} started, {} ok, {} failed\n",
                begun.elapsed().as_secs(),
                tally.open,
                tally.started,
                tally.succeeded,
                tally.failed
            )
        };
        // Progress that nobody can read is no reason to stop.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Begins connections at the plan's pace, and waits until they are through.
async fn drive(mut plan: Plan, shared: &Shared, tasks: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
    let begun = Instant::now();
    let deadline = plan.duration.map(|duration| begun + duration);
    let slots = Arc::new(Semaphore::new(plan.at_once));
    let clock = Clock::system();
    for n in 0..plan.total {
        if plan.rate > 0 {
            sleep_until(begun + Duration::from_secs(n) / plan.rate).await;
        }
        let Ok(Ok(slot)) = by(deadline, Arc::clone(&slots).acquire_owned()).await else { break };
        let Ok(ticket) = by(deadline, ticket(&mut plan.pool, &clock)).await else { break };
        while tasks.try_join_next().is_some() {}
        let mut options = plan.options.clone();
        if !plan.sources.is_empty() {
            options.source = Some(plan.sources[n as usize % plan.sources.len()]);
        }
        let one = One {
            url: plan.url.clone(),
            options,
            ticket,
            hold: (plan.mode != Mode::Idle).then_some(plan.hold),
            shared: shared.clone(),
            stopped: stopped.clone(),
        };
        shared.lock().started += 1;
        tasks.spawn(async move {
            one.run().await;
            drop(slot);
        });
    }
    if plan.mode == Mode::Idle {
        hold_all(&plan, shared, tasks).await;
    } else {
        while tasks.join_next().await.is_some() {}
    }
}

/// Waits until every connection is open or has failed, then holds them all; ends early where none is left.
async fn hold_all(plan: &Plan, shared: &Shared, tasks: &mut JoinSet<()>) {
    let settled = async {
        loop {
            {
                let tally = shared.lock();
                if tally.connected + tally.failed >= tally.started {
                    return;
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    settled.await;
    let none_left = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(plan.hold, none_left).await;
}

/// Fails where the deadline comes first.
async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, ()> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.map_err(|_| ()),
        None => Ok(work.await),
    }
}

async fn ticket(pool: &mut Option<Pool>, clock: &Clock) -> Option<Ticket> {
    let pool = pool.as_mut()?;
    loop {
        match pool.take(clock.now().wall) {
            Ok(ticket) => return Some(ticket),
            Err(wait) => sleep(wait).await,
        }
    }
}

/// One connection.
struct One {
    url: String,
    options: ConnectOptions,
    /// Who logs in; `None` where nobody does.
    ticket: Option<Ticket>,
    /// How long to stay; `None` until all are stopped.
    hold: Option<Duration>,
    shared: Shared,
    stopped: watch::Receiver<bool>,
}

impl One {
    async fn run(mut self) {
        let begun = Instant::now();
        let mut client = match WsClient::connect(&self.url, &self.options).await {
            Ok(client) => client,
            Err(error) => return self.shared.lock().fail(&error.to_string()),
        };
        self.shared.lock().opened(begun.elapsed());
        let outcome = match self.ticket.take() {
            Some(ticket) => self.log_in(&mut client, &ticket).await,
            None => Ok(()),
        };
        match outcome {
            Ok(()) => {
                self.shared.lock().succeed();
                self.stay(client).await;
            }
            Err(text) => self.shared.lock().fail(&text),
        }
        self.shared.lock().open -= 1;
    }

    async fn log_in(&self, client: &mut WsClient, ticket: &Ticket) -> Result<(), String> {
        let begun = Instant::now();
        client.challenge().await.map_err(|error| error.to_string())?;
        self.shared.lock().challenge.record(begun.elapsed());
        let begun = Instant::now();
        let reply = client.login(&ticket.userid, &ticket.password, ticket.code.as_deref()).await;
        let Reply { answer, raw } = reply.map_err(|error: ClientError| error.to_string())?;
        match answer {
            LoginAnswer::In { .. } => {
                self.shared.lock().login.record(begun.elapsed());
                Ok(())
            }
            LoginAnswer::CodeRequired => Err(String::from("one-time password needed: give --seed-env")),
            LoginAnswer::Refused
            | LoginAnswer::InvalidToken
            | LoginAnswer::RegistrationRequired { .. }
            | LoginAnswer::ChallengeRequired
            | LoginAnswer::Busy { .. }
            | LoginAnswer::TryAgainLater { .. }
            | LoginAnswer::Other(_) => Err(raw["result"].as_str().unwrap_or("no result").to_owned()),
        }
    }

    async fn stay(&mut self, mut client: WsClient) {
        let hold = async {
            match self.hold {
                Some(hold) => sleep(hold).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = hold => None,
            // Fails only where the sender is gone, which is a stop as well.
            _ = self.stopped.wait_for(|stopped| *stopped) => None,
            closing = client.closed() => Some(closing),
        };
        match ended {
            Some(closing) => count(&mut self.shared.lock().closed_by_server, &closing.to_string()),
            None => {
                if let Err(error) = client.logout().await {
                    count(&mut self.shared.lock().closed_by_server, &format!("at logout: {error}"));
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "load_ws_tests.rs"]
mod tests;
