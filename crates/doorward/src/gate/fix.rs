//! What the FIX door and the gate say to each other, apart from judging Logons: records to be saved, connections to be
//! ended, numbers to be set, the trading week.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use doorward_core::audit::{Actor, Context, Deny, Door, Entry, Event, Outcome, Record};
use doorward_core::fix::session::Note;
use doorward_core::id::{AccessKeyId, FirmCode, OperatorId, PersonId, SessionId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::{Misuse, fix_session};
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::net::source_group;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use tokio::sync::oneshot;

use super::notes::stays_true;
use super::outbox::has_mail;
use super::{Gate, Origin, error_text, new_attempt};
use crate::book::{Batch, CommitError, Expect};
use crate::fault::Fault;
use crate::metrics;

/// Whose FIX connections are to be ended now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndOf {
    /// All of a FIX session: it was disabled, or an administrator locked or ended it.
    Session(SessionId),
    /// Those of a FIX session that would not be let in as it is from now on.
    Narrowed(Box<FixSession>),
    /// Those that were logged on with a key pair, which was deleted.
    Key(AccessKeyId),
    /// Those of a firm's FIX sessions, which was closed. Its people are named one by one.
    Firm(FirmCode),
    /// Those of a person.
    Person(PersonId),
    /// None: the trading week of this number began, and is written down.
    Week(u32),
}

/// Numbers of a stream as an administrator wants them. What is `None` stays.
#[derive(Debug)]
pub struct SetNext {
    /// The stream.
    pub stream: StreamKey,
    /// MsgSeqNum that the client's next message must have.
    pub next_in: Option<u64>,
    /// MsgSeqNum that our next message gets; never lower than it is, for a number is never used twice.
    pub next_out: Option<u64>,
    /// What is to be saved together with the numbers, before they count.
    pub record: Box<Record>,
}

/// A stream as the FIX thread has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamKey,
    /// Its numbers.
    pub numbers: Numbers,
    /// Messages that wait to be fetched.
    pub undelivered: u64,
    /// The connection that holds it.
    pub live: Option<LiveStream>,
}

/// A connection that holds a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveStream {
    /// From where it came.
    pub source: IpAddr,
    /// Since when it is logged on.
    pub since: Wall,
    /// The operator of its Logon.
    pub operator: Option<OperatorId>,
    /// The key pair that it was logged on with.
    pub access_key: Option<AccessKeyId>,
}

/// What the gate asks of the FIX thread. The calls do not block; the thread answers when it comes to it.
pub trait FixControl: Send + Sync {
    /// Sets the numbers of a stream that no connection holds.
    fn set_next(&self, ask: SetNext, answer: oneshot::Sender<Result<Numbers, Misuse>>);

    /// The streams of a FIX session.
    fn streams(&self, session: SessionId, answer: oneshot::Sender<Vec<StreamInfo>>);
}

/// A record of the FIX door.
#[derive(Debug)]
pub struct LogonSave {
    /// The record.
    pub record: Box<Record>,
    /// The numbers of a stream that become true with it, where they move.
    pub numbers: Option<(StreamKey, Numbers)>,
}

/// The FIX door, as the gate knows it.
#[derive(Default)]
pub(super) struct FixDoor {
    ended: OnceLock<Box<dyn Fn(EndOf) + Send + Sync>>,
    control: OnceLock<Arc<dyn FixControl>>,
}

impl FixDoor {
    pub(super) fn end(&self, what: EndOf) {
        if let Some(ended) = self.ended.get() {
            ended(what);
        }
    }

    pub(super) fn control(&self) -> Option<&Arc<dyn FixControl>> {
        self.control.get()
    }
}

impl Gate {
    /// Who ends FIX connections from now on; it must not block. Set once, before the door opens.
    pub fn on_end(&self, ended: Box<dyn Fn(EndOf) + Send + Sync>) {
        // A second door of this kind would be a mistake of ours; the first one stays.
        let first = self.fix.ended.set(ended).is_ok();
        debug_assert!(first, "set once");
    }

    /// Whom to ask about streams from now on. Set once, before the door opens.
    pub fn fix_control(&self, control: Arc<dyn FixControl>) {
        let first = self.fix.control.set(control).is_ok();
        debug_assert!(first, "set once");
    }

    /// The latest numbers of all streams, as far as they are in the journal of decisions.
    pub fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
        self.store.streams()
    }

    /// The record of something that a FIX session saw and nobody decided, to be saved with the Logons of its turn;
    /// `None` where there were too many of its source already (Q10).
    pub fn note_of_session(&self, note: Note, origin: &Origin) -> Option<Record> {
        let bare = note.event == Event::ConnectionRefused;
        if bare && !self.refusals.count(source_group(origin.source), self.clock.now().mono) {
            return None;
        }
        // Refused Logons are counted where they are saved, whoever refused them.
        let refused = bare || note.event == Event::LogonRefused;
        let session = concerned(&note);
        let mut entry = Entry::new(&self.context(origin), note.event, note.actor);
        entry.outcome = if refused { Outcome::Refused } else { Outcome::Allowed };
        entry.reason = note.reason;
        entry.firm = note.firm.or_else(|| Some(self.sessions.read().get(session?)?.session.firm.clone()));
        entry.session = session;
        entry.detail = match (note.stream, note.left) {
            (Some(stream), Some(left)) => Some(format!("{stream}: {left}")),
            (Some(stream), None) => Some(stream.to_string()),
            (None, _) => None,
        };
        Some(Record { entry, changes: Vec::new() })
    }

    /// Saves records of the FIX door, all in one batch; `done` is called on another thread, or on this one where there
    /// is nothing left to write.
    ///
    /// A refusal whose signature was good and whose sequence was not counts towards the lock here; those that
    /// [`Gate::judge_logon`] refused it has counted itself. Of one source's refusals within a minute only the first
    /// ones are written (Q10).
    pub fn save_logons(&self, saves: Vec<LogonSave>, done: impl FnOnce(Result<(), Fault>) + Send + 'static) {
        let now = self.clock.now();
        let mut records = Vec::with_capacity(saves.len());
        for LogonSave { record, numbers } in saves {
            let mut record = *record;
            record.changes.extend(numbers.map(|(stream, numbers)| Change::Stream { stream, numbers }));
            if let Some(session) = struck_late(&record) {
                self.sessions.write().strike(session, now.mono, now.wall);
            }
            let source = record.entry.source.map(source_group).filter(|_| is_bare_refusal(&record));
            if source.is_none_or(|source| self.logon_refusals.count(source, now.mono)) {
                records.push(record);
            }
        }
        let locks = self.sessions.take_unwritten_locks();
        let mut locked = self.lock_records(&locks);
        // A lock is written down whatever becomes of its mail; one that fails leaves the mails' count higher, at most.
        let mailed = self.add_mails(&mut locked);
        if let Err(fault) = &mailed {
            tracing::error!(%fault, "whom to tell of a lock could not be looked up");
        }
        records.extend(locked);
        if records.is_empty() {
            done(Ok(()));
        } else {
            self.submit_logons(records, locks, done);
        }
    }

    fn submit_logons(
        &self,
        records: Vec<Record>,
        locks: BTreeMap<SessionId, Wall>,
        done: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) {
        let events = counted(&records);
        records.iter().for_each(|record| log_logon(&record.entry));
        let notes: Vec<Record> = records.iter().filter(|record| stays_true(record)).cloned().collect();
        let (sessions, clock) = (Arc::clone(&self.sessions), Arc::clone(&self.clock));
        let kept = Arc::clone(&self.notes);
        let batch = Batch { expects: Vec::new(), records };
        let mails = has_mail(&batch).then(|| Arc::clone(&self.outbox));
        let began = clock.now().mono;
        let answered = move |answer: Result<_, CommitError>| {
            metrics::journal_commit_seconds(clock.now().mono.since(began));
            let answer = match answer {
                Ok(_) => Ok(()),
                Err(CommitError::Fault(fault)) => Err(fault),
                // They expect nothing and change nothing versioned.
                Err(error @ CommitError::Conflict(_)) => Err(Fault::Book(error_text(&error))),
            };
            match &answer {
                Ok(()) => {
                    events.iter().for_each(|(event, count)| metrics::event(event.id(), *count));
                    mails.iter().for_each(|mails| mails.notify_one());
                }
                Err(fault) => {
                    tracing::error!(%fault, "records of the FIX door could not be written");
                    sessions.give_back(locks);
                    kept.keep(notes);
                }
            }
            done(answer);
        };
        self.store.submit_then(batch, Box::new(answered));
    }

    /// What is written down of sessions that their refusals have locked.
    fn lock_records(&self, locks: &BTreeMap<SessionId, Wall>) -> Vec<Record> {
        let table = self.sessions.read();
        let record = |(id, at): (&SessionId, &Wall)| {
            let session = &table.get(*id)?.session;
            Some(fix_session::lock_after_refusals(session, &self.node_context(*at)))
        };
        locks.iter().filter_map(record).collect()
    }

    /// The trading week that was rolled to last; 0: none was.
    pub fn week(&self) -> u32 {
        self.week.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Rolls to the week that the calendar says, where it is a later one: one record, once, whatever crashes (T4: not
    /// while the clock is suspect).
    pub(super) async fn roll_week(&self) {
        let now = self.clock.now().wall;
        let (present, due) = (self.week(), self.settings.calendar.week(now));
        if due <= present || !self.clock_good() {
            return;
        }
        let entry = Entry::new(&self.node_context(now), Event::WeekRolled, Actor::Node)
            .with_detail(format!("week {due}"));
        let record = Record { entry, changes: vec![Change::Week { week: due }] };
        let batch = Batch { expects: vec![Expect::Week(present)], records: vec![record] };
        match self.commit(batch).await {
            Ok(_) => {
                self.week.store(due, std::sync::atomic::Ordering::Release);
                self.fix.end(EndOf::Week(due));
            }
            Err(error) => tracing::error!(error = %error_text(&error), "the week could not be rolled"),
        }
    }

    /// Writes down locks whose records were lost with a failed write, or never came to one.
    pub(super) async fn write_locks(&self) {
        let locks = self.sessions.take_unwritten_locks();
        let records = self.lock_records(&locks);
        if records.is_empty() {
            return;
        }
        if let Err(error) = self.commit(Batch { expects: Vec::new(), records }).await {
            tracing::error!(error = %error_text(&error), "a lock could not be written");
            self.sessions.give_back(locks);
        }
    }

    /// Writes down what the FIX door noted and a failed write left behind, as it was noted (Q5).
    pub(super) async fn write_notes(&self) {
        let lost = self.notes.take_beyond();
        if lost > 0 {
            tracing::error!(lost, "records of the FIX door are lost: the journal has failed for too long");
        }
        loop {
            let records = self.notes.take();
            if records.is_empty() {
                return;
            }
            let batch = Batch { expects: Vec::new(), records: records.clone() };
            if let Err(error) = self.commit(batch).await {
                tracing::warn!(error = %error_text(&error), "records of the FIX door still wait");
                return self.notes.give_back(records);
            }
        }
    }

    pub(super) fn node_context(&self, at: Wall) -> Context {
        Context { at, door: Door::Node, source: None, attempt: new_attempt() }
    }
}

/// How many records of each event there are: a batch has few kinds, and looking a measurement up costs more than them.
fn counted(records: &[Record]) -> Vec<(Event, u64)> {
    let mut counts: Vec<(Event, u64)> = Vec::new();
    for record in records {
        let event = record.entry.event;
        match counts.iter_mut().find(|(counted, _)| *counted == event) {
            Some((_, count)) => *count += 1,
            None => counts.push((event, 1)),
        }
    }
    counts
}

/// The FIX session that a note is about.
const fn concerned(note: &Note) -> Option<SessionId> {
    match (&note.stream, &note.actor) {
        (Some(StreamKey::Session { session, .. }), _) => Some(*session),
        (Some(StreamKey::Person(_)), _) => None,
        (None, Actor::FixSession { id, .. }) => Some(*id),
        (
            None,
            Actor::Person { .. } | Actor::Unknown { .. } | Actor::Nobody | Actor::Local { .. } | Actor::Node,
        ) => None,
    }
}

/// The session that a refusal counts for which the machine made after the gate had found the Logon good.
fn struck_late(record: &Record) -> Option<SessionId> {
    let late = matches!(
        record.entry.reason,
        Some(Deny::FirstOfWeek | Deny::ResetNotPermitted | Deny::SequenceTooLow | Deny::InSessionSequence)
    );
    fix_session::struck(record).filter(|_| late)
}

/// Whether a record is of a refusal and of nothing else: then it may become part of a count.
fn is_bare_refusal(record: &Record) -> bool {
    let Record { entry, changes } = record;
    changes.is_empty() && entry.event == Event::LogonRefused && entry.outcome == Outcome::Refused
}

/// One line a refused Logon; those that went well are told only where somebody looks closely, as they are many.
fn log_logon(entry: &Entry) {
    let session = entry.session.map(tracing::field::display);
    let source = entry.source.map(tracing::field::display);
    if entry.outcome == Outcome::Refused {
        let reason = entry.reason.map(Deny::id);
        tracing::info!(attempt = %entry.attempt, session, source, reason, "{}", entry.event);
    } else {
        tracing::debug!(attempt = %entry.attempt, session, source, "{}", entry.event);
    }
}
