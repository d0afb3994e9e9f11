//! The one place where identity is decided: doors, the API and timers all go through it.
//!
//! Load a snapshot, gather facts from the vault and the hash pool, decide in the core, commit changes and audit record
//! as one (Q5). The gate never sees a socket or a field of a message.

mod acting;
#[cfg(test)]
mod acting_tests;
pub mod admin;
mod attempts;
mod breach;
mod challenge;
mod checkpoints;
mod facts;
pub mod fix;
#[cfg(test)]
mod halt_tests;
mod halts;
#[cfg(test)]
mod key_tests;
pub mod keys;
mod live;
mod login;
mod logon;
#[cfg(test)]
mod logon_tests;
mod notes;
mod outbox;
mod password;
mod refusals;
mod restored;
mod retention;
#[cfg(test)]
mod rival;
mod room;
#[cfg(test)]
mod rule_tests;
mod seen;
pub mod session_admin;
mod sessions;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
mod trader;
#[cfg(test)]
mod trader_tests;
pub mod web;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use doorward_core::ask::{Ask, Verdict};
use doorward_core::audit::{Actor, AttemptId, Context, Deny, Door, Entry, Event, Outcome, Record};
use doorward_core::calendar::{Calendar, Hours, Mode};
use doorward_core::id::{PersonId, SessionId};
use doorward_core::identity::net::source_group;
use doorward_core::identity::policy::Effective;
use doorward_core::limits::Limit;
use doorward_core::machine::Note;
use doorward_core::time::{ClockGuard, Now, Wall};

pub use attempts::Attempts;
pub use breach::BreachList;
pub use live::{Connection, ConnectionNo, Live, Seat};
pub use outbox::{MailLink, link_hash};
pub use restored::UnsurePairs;

use crate::book::{AuditFilter, Batch, CommitError, Committed, Expect, Load, Snapshot, Store};
pub use crate::book::{MailFilter, MailStage, Queued as QueuedMail};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::hashing::HashPool;
use crate::metrics;
use crate::vault::{MacKey, Vault};

/// When to try again where the hash queue is full, in milliseconds.
const BUSY_RETRY_MS: u32 = 500;
/// When to try again where vault or store are down, in milliseconds.
const FAULT_RETRY_MS: u32 = 2_000;
/// Records in which a clock that was set back is seen.
const NEWEST: usize = 1_000;
/// Locks that serialise decisions about one person on this node; people share them by their id.
const STRIPES: usize = 256;

/// What differs between sites.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether the site accepts PKCS#1 v1.5 at all (E5).
    pub pkcs1: bool,
    /// Where somebody registers an authenticator.
    pub register_url: Option<String>,
    /// Names that a password must not hold (P5).
    pub product_names: Vec<String>,
    /// Most bytes of a password that the challenge key carries with either padding.
    pub password_bytes_max: u64,
    /// The name in authenticator apps.
    pub issuer: String,
    /// Where the portal is reached, without a slash at the end.
    pub portal_url: Option<String>,
    /// For how long a token is good that a program has made.
    pub token_valid: Duration,
    /// Whether mails can be sent; where not, none is queued.
    pub mail: bool,
    /// When the market opens and closes, and with it the making of key pairs.
    pub calendar: Arc<Calendar>,
    /// How long records are kept at least; `None`: for ever.
    pub keep_records: Option<Duration>,
    /// Each decision waits so long first (drills only).
    pub delay: Duration,
    /// The wall clock is a demo's, which may begin anywhere: it was not set back by mistake.
    pub demo_clock: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pkcs1: true,
            register_url: None,
            product_names: Vec::new(),
            password_bytes_max: Limit::PasswordBytes.max(),
            issuer: "Doorward".to_owned(),
            portal_url: None,
            token_valid: Duration::from_secs(12 * 3_600),
            mail: false,
            calendar: Arc::new(never_closed()),
            keep_records: None,
            delay: Duration::ZERO,
            demo_clock: false,
        }
    }
}

/// Where an ask comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The door.
    pub door: Door,
    /// The peer's address.
    pub source: IpAddr,
    /// Ties the records, logs and answers of this connection's asks together.
    pub attempt: AttemptId,
    /// The connection, which the gate can end.
    pub connection: Arc<Connection>,
}

/// The wall clock as it is watched, and whether what was last written down of it was good.
struct Guard {
    clock: ClockGuard,
    announced: bool,
}

/// Decisions under way.
#[derive(Default)]
struct Work {
    under_way: std::sync::atomic::AtomicUsize,
    done: tokio::sync::Notify,
}

/// A decision under way, until dropped.
pub struct Working(Arc<Work>);

impl Drop for Working {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, std::sync::atomic::Ordering::AcqRel) == 1 {
            self.0.done.notify_waiters();
        }
    }
}

/// The gate of one node.
pub struct Gate {
    store: Arc<dyn Store>,
    vault: Arc<dyn Vault>,
    hashes: HashPool,
    clock: Arc<Clock>,
    settings: Settings,
    attempts: Attempts,
    breached: BreachList,
    live: Live,
    refusals: refusals::Refusals,
    logon_refusals: refusals::Refusals,
    scarce: std::sync::atomic::AtomicBool,
    sessions: Arc<sessions::Sessions>,
    seen: seen::Seen,
    checkpoints: Arc<checkpoints::Checkpoints>,
    notes: Arc<notes::Notes>,
    /// Wakes the sender of mails.
    outbox: Arc<tokio::sync::Notify>,
    /// What stands in for the secret of a key that nobody has.
    nobodys_key: MacKey,
    fix: fix::FixDoor,
    halts: halts::Halts,
    /// One change of FIX sessions at a time. Taken after the lock of a person, never before it.
    session_edits: tokio::sync::Mutex<()>,
    /// Sessions of which a write failed: the table in memory may be behind the book.
    unsure: Mutex<BTreeSet<SessionId>>,
    week: std::sync::atomic::AtomicU32,
    /// Since when Logons are taken, in microseconds.
    listening_since: std::sync::atomic::AtomicI64,
    /// No Logon that was signed before is good, by what was written down before the start.
    good_from: Wall,
    /// When the newest record of before the start was made, and when the start was; not with a demo's clock.
    lived_from: Option<Now>,
    guard: Mutex<Guard>,
    work: Arc<Work>,
    stripes: Vec<tokio::sync::Mutex<()>>,
    web: web::Web,
}

impl Gate {
    /// A gate over a store, a vault and a hash pool; takes the counts of attempts from the store.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<dyn Vault>,
        hashes: HashPool,
        clock: Arc<Clock>,
        breached: BreachList,
        settings: Settings,
    ) -> Result<Self, Fault> {
        let attempts = Attempts::restored(store.accesses()?);
        let sessions = sessions::Sessions::restored(&*vault, store.sessions()?, &store.firms()?);
        let nobodys_key = logon::nobodys_key(&*vault)?;
        let week = store.week()?.into();
        let halts = halts::Halts::restored(&*store)?;
        let stripes = (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect();
        let mut guard = Guard { clock: ClockGuard::default(), announced: true };
        let clock_now = clock.now();
        guard.clock.look(clock_now);
        let newest = if settings.demo_clock { 0 } else { NEWEST };
        let newest = store.audit(&AuditFilter::default(), None, newest)?;
        let good_from = seen::good_from(newest.iter().map(|(_, entry)| entry.at), clock_now.wall);
        let lived_from = newest.first().map(|(_, entry)| Now { wall: entry.at, mono: clock_now.mono });
        Ok(Self {
            store,
            vault,
            hashes,
            clock,
            settings,
            attempts,
            breached,
            live: Live::default(),
            refusals: refusals::Refusals::default(),
            logon_refusals: refusals::Refusals::default(),
            scarce: std::sync::atomic::AtomicBool::default(),
            sessions: Arc::new(sessions),
            seen: seen::Seen::default(),
            checkpoints: Arc::default(),
            notes: Arc::default(),
            outbox: Arc::default(),
            nobodys_key,
            fix: fix::FixDoor::default(),
            halts,
            session_edits: tokio::sync::Mutex::default(),
            unsure: Mutex::default(),
            week,
            listening_since: good_from.as_us().into(),
            good_from,
            lived_from,
            guard: Mutex::new(guard),
            work: Arc::default(),
            stripes,
            web: web::Web::new()?,
        })
    }

    /// Decides what a door asks.
    pub async fn ask(&self, ask: Ask, origin: &Origin) -> Verdict {
        let began = self.clock.now().mono;
        let delayed = origin.door != Door::Node && !matches!(ask, Ask::ChallengeKey);
        if delayed && !self.settings.delay.is_zero() {
            tokio::time::sleep(self.settings.delay).await;
        }
        match ask {
            Ask::ChallengeKey => self
                .challenge_when_made()
                .await
                .map_or_else(|fault| verdict_of(&fault), Verdict::ChallengeKey),
            Ask::Login { userid, password, code } => {
                let verdict = self.login(&userid, &password, code, origin).await;
                metrics::login_seconds(origin.door.id(), self.clock.now().mono.since(began));
                verdict
            }
            Ask::Code { person, code } => self.code(person, &code, origin).await,
            Ask::PasswordChange { person, present, new } => {
                self.change_password(person, &present, &new, origin).await
            }
            Ask::TokenLogin { userid, token } => self.login_by_token(&userid, &token, origin).await,
            Ask::Verify(asked) => self.verify_login(&asked, origin).await,
            Ask::Token { asker, token, userid, revoke } => {
                self.token(asker, &token, userid.as_deref(), revoke, origin).await
            }
            Ask::Person { asker, userid } => self.see_person(asker, userid.as_deref(), origin).await,
            Ask::AddTrader(new) => self.add_trader_for(&new, origin).await,
            Ask::ChangeTrader(wanted) => self.change_trader_for(&wanted, origin).await,
        }
    }

    /// Writes down what a machine saw and nobody decided.
    pub async fn note(&self, note: Note, origin: &Origin) {
        let context = self.context(origin);
        let actor = match &note.who {
            Some((id, userid)) => Actor::Person { id: *id, userid: userid.clone() },
            None => Actor::Nobody,
        };
        // Whatever ended a login is no refusal.
        let refused = note.event == Event::ConnectionRefused;
        if refused && !self.refusals.count(source_group(origin.source), self.clock.now().mono) {
            return;
        }
        let outcome = if refused { Outcome::Refused } else { Outcome::Allowed };
        // Whose firm it concerns, so that the firm's own administrator finds it; without, it is still written down.
        let firm =
            note.who.as_ref().and_then(|(id, _)| self.store.load(&Load::Person(*id)).ok()?.person?.firm);
        let entry = Entry { outcome, reason: note.reason, firm, ..Entry::new(&context, note.event, actor) };
        let record = Record { entry, changes: Vec::new() };
        if let Err(error) = self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            tracing::error!(attempt = %origin.attempt, error = %error_text(&error), "a note could not be written");
        }
    }

    /// Somebody's connection has gone.
    pub fn left(&self, origin: &Origin) {
        self.live.leave(&origin.connection);
    }

    /// What the node does each second: keys, clock, counts that are over.
    pub async fn tick(&self) {
        self.turn_keys_over().await;
        self.keep_up().await;
    }

    /// What is due by now but for challenge keys; to be called before the doors open.
    pub async fn keep_up(&self) {
        let now = self.clock.now();
        let good = self.clock_good();
        metrics::clock_good(u64::from(good));
        let news = {
            let mut guard = self.guard();
            std::mem::replace(&mut guard.announced, good) != good
        };
        if news {
            tracing::warn!(good, "the wall clock stepped or agrees again");
            self.record_of_node(if good { Event::ClockGood } else { Event::ClockSuspect }, None).await;
        }
        self.write_counts(self.refusals.take_over(now.mono)).await;
        self.write_counts(self.logon_refusals.take_over(now.mono)).await;
        self.write_locks().await;
        self.write_notes().await;
        self.settle_sessions().await;
        self.settle_halts().await;
        self.roll_week().await;
        self.tell_of_key_ends().await;
        self.sweep_browser_sessions().await;
        self.expire_links().await;
        self.tell_of_more(false).await;
        self.checkpoint(false).await;
        self.live.end_over(now.wall);
        self.live.tidy();
        self.measure();
    }

    /// Moves the wall clock forward, as agreed (demo only).
    pub fn advance_clock(&self, span: Duration) {
        let mut guard = self.guard();
        self.clock.advance(span);
        guard.clock.agree(self.clock.now());
    }

    /// Takes a move of the wall clock as agreed (demo only).
    pub fn clock_moved(&self) {
        self.guard().clock.agree(self.clock.now());
    }

    /// Writes down that the node opened its doors, or closes them: with the last counts, and a signed head.
    pub async fn record_start(&self, started: bool) {
        self.tell_of_more(true).await;
        self.write_counts(self.refusals.take_all()).await;
        self.write_counts(self.logon_refusals.take_all()).await;
        self.write_notes().await;
        self.record_of_node(if started { Event::ServerStarted } else { Event::ServerStopped }, None).await;
        self.checkpoint(true).await;
    }

    async fn write_counts(&self, counted: Vec<refusals::Counted>) {
        for counted in counted {
            let detail = match counted.source {
                Some(_) => format!("{} more within a minute", counted.more),
                None => format!("{} more within a minute, from further sources", counted.more),
            };
            self.record_of_node(Event::RefusalsCounted, Some((counted.source, detail))).await;
        }
    }

    async fn record_of_node(&self, event: Event, more: Option<(Option<IpAddr>, String)>) {
        let context =
            Context { at: self.clock.now().wall, door: Door::Node, source: None, attempt: new_attempt() };
        let mut entry = Entry::new(&context, event, Actor::Node);
        if let Some((source, detail)) = more {
            entry.source = source;
            entry.detail = Some(detail);
        }
        let record = Record { entry, changes: Vec::new() };
        if let Err(error) = self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            tracing::error!(error = %error_text(&error), event = event.id(), "an event could not be written");
        }
    }

    /// Stops the hash pool: what waits is refused.
    pub fn stop(&self) {
        self.hashes.stop();
    }

    /// Whether the vault answers and the clock is good; what `/readyz` says. The text names what is not.
    pub fn ready(&self) -> Result<(), String> {
        self.vault.probe().map_err(|fault| format!("vault degraded: {fault}"))?;
        if !self.clock_good() {
            return Err("clock suspect: one-time passwords are not checked".to_owned());
        }
        let status = self.store.status().map_err(|fault| fault.to_string())?;
        status.failing.map_or(Ok(()), |fault| Err(format!("journal degraded: {fault}")))
    }

    /// How many connections have somebody logged in.
    pub fn sessions(&self) -> usize {
        self.live.count()
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Looks at the clock now: a step is seen by the very next decision.
    pub fn clock_good(&self) -> bool {
        let mut guard = self.guard();
        // Read under the lock, so that no agreed move lies between reading and looking.
        guard.clock.look(self.clock.now())
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self) {
        metrics::hash_queue(self.hashes.waiting() as u64);
        let browsers = self.web.sessions.signed_in();
        metrics::sessions(Door::Portal.id(), browsers as u64);
        metrics::sessions(Door::WebSocket.id(), self.live.count().saturating_sub(browsers) as u64);
        metrics::vault_up(u64::from(self.vault.probe().is_ok()));
        metrics::vault_hardware(u64::from(self.vault.describe().hsm));
        if let Ok(status) = self.store.status() {
            metrics::journal_head(status.head.no);
            metrics::book_mark(status.mark);
            metrics::journal_segments(status.segments);
            if let Some(free) = status.free_bytes {
                self.spare(free);
            }
        }
    }

    /// Says that a decision is under way; the node waits for it before it writes down its end.
    pub fn begin(&self) -> Working {
        self.work.under_way.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        Working(Arc::clone(&self.work))
    }

    /// Waits until no decision is under way.
    pub async fn idle(&self) {
        loop {
            let done = self.work.done.notified();
            if self.work.under_way.load(std::sync::atomic::Ordering::Acquire) == 0 {
                return;
            }
            done.await;
        }
    }

    fn context(&self, origin: &Origin) -> Context {
        Context {
            at: self.clock.now().wall,
            door: origin.door,
            source: Some(origin.source),
            attempt: origin.attempt,
        }
    }

    /// Commits a batch with the mails that its records bring about (Q5).
    async fn commit(&self, mut batch: Batch) -> Result<Committed, CommitError> {
        let taken = self.add_mails(&mut batch.records)?;
        let entries: Vec<Entry> = batch.records.iter().map(|record| record.entry.clone()).collect();
        let began = self.clock.now().mono;
        let has_mail = outbox::has_mail(&batch);
        let changed = acting::changed_people(&batch);
        let committed = match self.store.commit(batch).await {
            Ok(committed) => committed,
            Err(error) => {
                self.web.mails.give_back(taken);
                return Err(error);
            }
        };
        self.wake_outbox(has_mail);
        self.end_by_token(&changed);
        let took = self.clock.now().mono.since(began);
        metrics::journal_commit_seconds(took);
        self.refusals.written_in(took, entries.len());
        for (no, entry) in (committed.first..).zip(&entries) {
            metrics::event(entry.event.id(), 1);
            log(no, entry);
        }
        Ok(committed)
    }

    /// As [`Self::person_lock`], for a user id that nobody has.
    async fn nobody_lock(&self, userid: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let sum = userid.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.stripes[sum % STRIPES].lock().await
    }

    async fn person_lock(&self, person: PersonId) -> tokio::sync::MutexGuard<'_, ()> {
        let stripe = usize::try_from(person.as_u64()).unwrap_or(0) % STRIPES;
        self.stripes[stripe].lock().await
    }
}

/// One line a decision, as it was written down.
fn log(no: u64, entry: &Entry) {
    let who = match &entry.actor {
        Actor::Person { userid, .. } => userid.as_str(),
        Actor::Unknown { .. } | Actor::FixSession { .. } | Actor::Nobody => "-",
        Actor::Local { .. } => "local",
        Actor::Node => "node",
    };
    tracing::info!(
        no,
        attempt = %entry.attempt,
        door = entry.door.id(),
        source = entry.source.map(tracing::field::display),
        who,
        outcome = entry.outcome.id(),
        reason = entry.reason.map(Deny::id),
        "{}",
        entry.event
    );
}

/// A market that never closes, for whoever did not say more.
pub(crate) fn never_closed() -> Calendar {
    let hours = Hours { mode: Mode::Always, time_zone: "UTC".to_owned(), ..Hours::default() };
    Calendar::new(hours).expect("a calendar in UTC") // holds: UTC needs no database, the rest is the default
}

/// The policy in force for whoever a snapshot is of.
fn effective(snapshot: &Snapshot) -> Effective {
    Effective::of(&snapshot.venue, snapshot.firm.as_ref().map(|firm| &firm.policy))
}

/// What a commit expects where it changes a person.
fn expect_person(snapshot: &Snapshot) -> Vec<Expect> {
    snapshot.person.iter().map(|person| Expect::Person(person.id, person.version)).collect()
}

/// What the peer hears of a fault.
fn verdict_of(fault: &Fault) -> Verdict {
    match fault {
        Fault::Busy(_) => Verdict::Busy { retry_ms: BUSY_RETRY_MS },
        Fault::Disk(_) | Fault::Damaged(_) | Fault::Book(_) | Fault::Vault(_) | Fault::Stopping => {
            Verdict::TryAgainLater { retry_ms: FAULT_RETRY_MS }
        }
    }
}

fn error_text(error: &CommitError) -> String {
    match error {
        CommitError::Conflict(what) => format!("changed meanwhile: {what}"),
        CommitError::Fault(fault) => fault.to_string(),
    }
}

/// A fresh id for an attempt or a request. Later ones are greater, so that the book's index of them grows at its end
/// only; a peer sees one on a page that tells of an error, at most.
pub fn new_attempt() -> AttemptId {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    // Above what any earlier process has given out, unless it gave out a thousand million a second.
    let first = || AtomicU64::new(std::time::UNIX_EPOCH.elapsed().map_or(0, |span| span.as_secs()) << 30);
    AttemptId(NEXT.get_or_init(first).fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        // The operating system's source never fails once it has begun; an id of the clock is still unique.
        Err(_) => {
            u64::from(std::process::id()) << 32
                | u64::from(std::time::UNIX_EPOCH.elapsed().map_or(0, |span| span.subsec_nanos()))
        }
    }
}
