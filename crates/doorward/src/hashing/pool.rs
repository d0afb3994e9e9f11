//! Threads that hash, and the queue in front of them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Version};
use aws_lc_rs::rand;
use doorward_core::secret::Secret;
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::oneshot;
use zeroize::{Zeroize, Zeroizing};

use super::fair::{Entered, FairQueue, SourceKey, Ticket};
use super::phc::{HashParams, Phc};
use super::wait::Waiter;
use crate::fault::Fault;
use crate::metrics;
use crate::vault::Vault;

/// Hashes of which [`HashPool::pretend`] takes one.
const SAMPLES: usize = 31;

/// By how much the threads that hash stand behind all others of this machine, in steps of `nice(2)`: a storm of passwords
/// would otherwise hold up FIX for tens of milliseconds where there are few cores.
const NICE: i32 = 10;

/// How long it takes before the first hash.
pub(crate) const PRETENDED_AT_START: Duration = Duration::from_millis(50);

/// Size of the pool.
#[derive(Clone, Copy, Debug)]
pub struct HashSettings {
    /// Threads, each with the memory of one hash: threads times `params.m_kib` is what the pool takes.
    pub threads: usize,
    /// Requests that may wait.
    pub queue_max: usize,
    /// Requests of one source that may wait.
    pub queue_per_source_max: usize,
    /// Longest that one waits before it hears "busy".
    pub queue_deadline: Duration,
    /// For new hashes and for users who do not exist.
    pub params: HashParams,
}

/// What a verification found.
#[derive(Debug)]
pub struct HashOutcome {
    /// Whether the password is right; never without a stored hash.
    pub matches: bool,
    /// How long the hash took, without waiting.
    pub took: Duration,
    /// Whether the password is right and its hash weaker than new ones are: to be hashed anew (P9), once it is
    /// decided that the owner may come in.
    pub needs_rehash: bool,
}

/// Puts the calling thread behind all others.
fn give_way() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "a hashing thread takes as much of the machine as any other");
    }
}

/// Hashes passwords on its own threads, fair by source (S12), bounded in memory and waiting (P10).
pub struct HashPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    waiter: Waiter,
}

struct Shared {
    vault: Arc<dyn Vault>,
    settings: HashSettings,
    queue: Mutex<Queue>,
    wake: Condvar,
    samples: Mutex<VecDeque<Duration>>,
    compared: AtomicU64,
    hashed: AtomicU64,
    dummy: Phc,
}

struct Queue {
    jobs: FairQueue<Job>,
    stopping: bool,
}

enum Job {
    Verify { password: Secret<Vec<u8>>, phc: Option<Phc>, reply: Reply<HashOutcome> },
    Hash { password: Secret<Vec<u8>>, reply: Reply<Phc> },
    Turn { reply: Reply<Instant> },
}

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

impl HashPool {
    /// Starts the threads; works while the vault is down.
    pub fn new(vault: Arc<dyn Vault>, settings: HashSettings) -> Result<Self, Fault> {
        let mut dummy = Phc {
            params: settings.params,
            pepper_key: vault.describe().pepper_key,
            salt: vec![0; 16],
            mac: [0; 32],
        };
        // Not from the vault, which may be down now and back later.
        rand::fill(&mut dummy.salt)
            .and_then(|()| rand::fill(&mut dummy.mac))
            .map_err(|_| Fault::Vault(String::from("no random bytes")))?;
        let jobs = FairQueue::new(settings.queue_max.max(1), settings.queue_per_source_max.max(1));
        let shared = Arc::new(Shared {
            vault,
            settings,
            queue: Mutex::new(Queue { jobs, stopping: false }),
            wake: Condvar::new(),
            samples: Mutex::default(),
            compared: AtomicU64::new(0),
            hashed: AtomicU64::new(0),
            dummy,
        });
        let waiter = Waiter::start()
            .map_err(|error| Fault::Vault(format!("a thread that waits could not be started: {error}")))?;
        let mut pool = Self { shared, workers: Vec::new(), waiter };
        for number in 0..settings.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || {
                    give_way();
                    shared.work();
                })
                .map_err(|error| Fault::Vault(format!("a hashing thread could not be started: {error}")))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Checks a password against a stored hash; `None` stands for a user who does not exist and costs the same
    /// work, the pepper included. [`Fault::Busy`] where the queue is full or the deadline passes.
    pub async fn verify(
        &self,
        source: SourceKey,
        password: Secret<Vec<u8>>,
        phc: Option<Phc>,
    ) -> Result<HashOutcome, Fault> {
        let (reply, answer) = oneshot::channel();
        self.wait(source, Job::Verify { password, phc, reply }, answer).await
    }

    /// Makes a hash with the present parameters and a new salt.
    pub async fn hash(&self, source: SourceKey, password: Secret<Vec<u8>>) -> Result<Phc, Fault> {
        let (reply, answer) = oneshot::channel();
        self.wait(source, Job::Hash { password, reply }, answer).await
    }

    /// Takes as long as a verification for this source would now, without hashing: it waits its turn and then for as
    /// long as one of the last 31 hashes took, by chance, so that the times spread alike. For what lock-out or back-off
    /// refuses (S1).
    pub async fn pretend(&self, source: SourceKey) -> Result<(), Fault> {
        let (reply, answer) = oneshot::channel();
        let begun = self.wait(source, Job::Turn { reply }, answer).await?;
        self.waiter.until(begun + self.drawn()).await;
        Ok(())
    }

    /// Waits for so long, to the microsecond.
    pub async fn linger(&self, span: Duration) {
        self.waiter.until(Instant::now() + span).await;
    }

    /// What one of the last hashes took.
    fn drawn(&self) -> Duration {
        let mut chance = [0];
        // Without chance it is always the same one.
        let _ = rand::fill(&mut chance);
        let samples = locked(&self.shared.samples);
        let at = usize::from(chance[0]) % samples.len().max(1);
        samples.get(at).copied().unwrap_or(PRETENDED_AT_START)
    }

    /// How many passwords were compared since the start, with somebody's hash or with nobody's.
    pub fn compared(&self) -> u64 {
        self.shared.compared.load(Ordering::Relaxed)
    }

    /// How many passwords were hashed to be kept since the start.
    pub fn hashed(&self) -> u64 {
        self.shared.hashed.load(Ordering::Relaxed)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        locked(&self.shared.queue).jobs.len()
    }

    /// Refuses what waits and whatever comes, with [`Fault::Stopping`]; what runs is finished.
    pub fn stop(&self) {
        let waiting = {
            let mut queue = locked(&self.shared.queue);
            queue.stopping = true;
            queue.jobs.drain()
        };
        self.shared.wake.notify_all();
        for job in waiting {
            job.refuse(Fault::Stopping);
        }
    }

    /// The parameters of new hashes.
    pub fn params(&self) -> HashParams {
        self.shared.settings.params
    }

    async fn wait<T>(
        &self,
        source: SourceKey,
        job: Job,
        mut answer: oneshot::Receiver<Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let waiting = Waiting { shared: &self.shared, ticket: self.shared.enter(source, job)? };
        let answered = match tokio::time::timeout(self.shared.settings.queue_deadline, &mut answer).await {
            Ok(answered) => answered,
            Err(_) if waiting.withdraw() => {
                metrics::hash_refused("deadline");
                return Err(Fault::Busy("password checks wait too long"));
            }
            // A thread has it already.
            Err(_) => answer.await,
        };
        answered.unwrap_or_else(|_| Err(Fault::Vault(String::from("a password check was broken off"))))
    }
}

impl Drop for HashPool {
    /// Stops, and waits for what runs: one hash at most.
    fn drop(&mut self) {
        self.stop();
        for worker in self.workers.drain(..) {
            // A worker does not panic: what could is caught around the job.
            let _ = worker.join();
        }
    }
}

/// A request in the queue; leaves it when whoever waits is gone.
struct Waiting<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Waiting<'_> {
    fn withdraw(&self) -> bool {
        locked(&self.shared.queue).jobs.withdraw(self.ticket).is_some()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl Job {
    fn refuse(self, fault: Fault) {
        // Whoever asked may be gone.
        let _ = match self {
            Self::Verify { reply, .. } => reply.send(Err(fault)).is_ok(),
            Self::Hash { reply, .. } => reply.send(Err(fault)).is_ok(),
            Self::Turn { reply } => reply.send(Err(fault)).is_ok(),
        };
    }
}

impl Shared {
    fn enter(&self, source: SourceKey, job: Job) -> Result<Ticket, Fault> {
        const FULL: Fault = Fault::Busy("too many password checks wait");
        let mut queue = locked(&self.queue);
        if queue.stopping {
            return Err(Fault::Stopping);
        }
        let ticket = match queue.jobs.enter(source, job) {
            Entered::Waiting(ticket) => ticket,
            Entered::Displaced(ticket, other) => {
                metrics::hash_refused("full");
                other.refuse(FULL);
                ticket
            }
            Entered::Full(_) => {
                metrics::hash_refused("full");
                return Err(FULL);
            }
        };
        drop(queue);
        self.wake.notify_one();
        Ok(ticket)
    }

    /// The next job, or `None` when the pool stops.
    fn next(&self) -> Option<Job> {
        let mut queue = locked(&self.queue);
        loop {
            if queue.stopping {
                return None;
            }
            if let Some(job) = queue.jobs.take() {
                return Some(job);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn work(&self) {
        let len = self.settings.params.m_kib() as usize;
        // Kept from hash to hash: new pages would cost a third of the time.
        let mut blocks = vec![Block::new(); len];
        while let Some(job) = self.next() {
            // A panic drops the reply, which whoever waits hears as a refusal; the thread goes on.
            let _ = catch_unwind(AssertUnwindSafe(|| self.run(&mut blocks, job)));
            // A stored hash may have needed more than new ones do.
            if blocks.len() > len {
                blocks.truncate(len);
                blocks.shrink_to_fit();
            }
        }
        blocks.iter_mut().for_each(Zeroize::zeroize);
    }

    fn run(&self, blocks: &mut Vec<Block>, job: Job) {
        // Whoever asked may be gone.
        let _ = match job {
            Job::Verify { password, phc, reply } => {
                reply.send(self.verify(blocks, password.expose(), phc)).is_ok()
            }
            Job::Hash { password, reply } => reply.send(self.hash(blocks, password.expose())).is_ok(),
            Job::Turn { reply } => reply.send(Ok(Instant::now())).is_ok(),
        };
    }

    fn verify(
        &self,
        blocks: &mut Vec<Block>,
        password: &[u8],
        phc: Option<Phc>,
    ) -> Result<HashOutcome, Fault> {
        let known = Choice::from(u8::from(phc.is_some()));
        let phc = phc.unwrap_or_else(|| self.dummy.clone());
        let begun = Instant::now();
        let hash = argon2id(blocks, phc.params, password, &phc.salt)?;
        let mac = Zeroizing::new(self.vault.pepper_with(&phc.pepper_key, &*hash)?);
        let took = begun.elapsed();
        let matches = bool::from(mac.ct_eq(&phc.mac) & known);
        self.sample(took);
        self.compared.fetch_add(1, Ordering::Relaxed);
        metrics::hash_seconds(took);
        let needs_rehash =
            matches && phc.needs_rehash(self.settings.params, &self.vault.describe().pepper_key);
        Ok(HashOutcome { matches, took, needs_rehash })
    }

    fn hash(&self, blocks: &mut Vec<Block>, password: &[u8]) -> Result<Phc, Fault> {
        let params = self.settings.params;
        let mut salt = vec![0; 16];
        self.vault.random(&mut salt)?;
        let hash = argon2id(blocks, params, password, &salt)?;
        let peppered = self.vault.pepper(&*hash)?;
        self.hashed.fetch_add(1, Ordering::Relaxed);
        Ok(Phc { params, pepper_key: peppered.key, salt, mac: peppered.mac })
    }

    fn sample(&self, took: Duration) {
        let mut samples = locked(&self.samples);
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back(took);
    }
}

/// Argon2id in memory that is kept; it is enlarged where it is too small.
pub(super) fn argon2id(
    blocks: &mut Vec<Block>,
    params: HashParams,
    password: &[u8],
    salt: &[u8],
) -> Result<Zeroizing<[u8; 32]>, Fault> {
    let failed = |error: argon2::Error| Fault::Damaged(format!("argon2id {params}: {error}"));
    let params = params.argon2().map_err(failed)?;
    if blocks.len() < params.block_count() {
        blocks.resize(params.block_count(), Block::new());
    }
    let mut out = Zeroizing::new([0_u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, &mut *out, &mut blocks[..])
        .map_err(failed)?;
    Ok(out)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
