//! The book: what is known, to be queried. It decides nothing.
//!
//! A [`Store`] loads snapshots and commits batches. The embedded one ([`sqlite`]) keeps the truth in the journal and
//! shows it in SQLite; whatever else comes is judged by the same conformance suite.

pub mod sqlite;

#[cfg(test)]
pub(crate) mod conformance;

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use doorward_core::audit::{AttemptId, Door, Entry, Event, Outcome, Record};
use doorward_core::id::{AccessKeyId, FirmCode, PersonId, SessionId, UserId};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::mail::{Mail, MailId, MailState};
use doorward_core::identity::person::{Kind, Person, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};
use doorward_core::identity::token::TokenHash;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use tokio::sync::oneshot;

use crate::fault::Fault;
pub use crate::journal::{Hash, Head};

/// What is loaded for one decision, all of one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// The venue's policy.
    pub venue: Policy,
    /// The firm asked for, or the person's, or the FIX session's.
    pub firm: Option<Firm>,
    /// The person asked for.
    pub person: Option<Person>,
    /// Where nobody has the user id asked for: somebody else, on whom what follows takes as long (S1).
    pub instead: Option<PersonId>,
    /// The attempts on that person, where there is something to remember; may lag behind what was committed.
    pub access: Option<Access>,
    /// The FIX session asked for.
    pub session: Option<FixSession>,
    /// Its lock and the last use of its keys; may lag behind what was committed.
    pub session_use: Option<SessionUse>,
}

/// What to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Load {
    /// The venue alone.
    Venue,
    /// A firm.
    Firm(FirmCode),
    /// Whoever has a user id, with the firm.
    UserId(UserId),
    /// A person, with the firm.
    Person(PersonId),
    /// The person whose last setup link has this hash, with the firm.
    Link(LinkHash),
    /// The person who has a token of this hash, with the firm.
    Token(TokenHash),
    /// A FIX session, with its firm.
    FixSession(SessionId),
    /// The FIX session that has, or had, a key pair, with its firm.
    AccessKey(AccessKeyId),
}

/// What must still hold when a batch is committed. Versions are those that were loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// The version of the venue's policy.
    Venue(u32),
    /// A firm and its version.
    Firm(FirmCode, u64),
    /// A person and their version.
    Person(PersonId, u64),
    /// There is no firm of this code.
    NoFirm(FirmCode),
    /// Nobody has this user id.
    NoUserId(UserId),
    /// A FIX session and its version.
    FixSession(SessionId, u64),
    /// There is no such FIX session.
    NoFixSession(SessionId),
    /// The trading week that was rolled to last; 0: none was.
    Week(u32),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Venue(version) => write!(f, "venue policy at version {version}"),
            Self::Firm(code, version) => write!(f, "firm {code} at version {version}"),
            Self::Person(person, version) => write!(f, "person {person} at version {version}"),
            Self::NoFirm(code) => write!(f, "no firm {code}"),
            Self::NoUserId(userid) => write!(f, "nobody named {userid:?}"),
            Self::FixSession(session, version) => write!(f, "FIX session {session} at version {version}"),
            Self::NoFixSession(session) => write!(f, "no FIX session {session}"),
            Self::Week(week) => write!(f, "trading week {week}"),
        }
    }
}

/// Records that become true together, while all that is expected holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    /// What must hold. With a change to a versioned entity, its version belongs here.
    pub expects: Vec<Expect>,
    /// What is written down and done, in order. [`Entry::node`] is set by the store.
    pub records: Vec<Record>,
}

/// The numbers that the records of a batch got. A batch without records has `last == first - 1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Of the first record.
    pub first: u64,
    /// Of the last record.
    pub last: u64,
}

/// Why a batch was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Something expected does not hold (any more); the text says what. Nothing of the batch exists. Load and decide
    /// again.
    #[error("conflict: {0}")]
    Conflict(String),
    /// It could not be done. After a failed write the batch may still turn out to be there, whole: load again before
    /// it is repeated.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The answer to a batch, once it is durable.
pub type Answer = oneshot::Receiver<Result<Committed, CommitError>>;

/// Hears the answer to a batch, on the store's own thread: it must not block. It is called once whatever happens,
/// with [`Fault::Stopping`] where the store ends before it gave an answer.
pub type Callback = Box<dyn FnOnce(Result<Committed, CommitError>) + Send>;

/// Waits for the answer to a batch; [`Fault::Stopping`] where the store ended before it gave one.
#[derive(Debug)]
pub struct Commit(Answer);

impl Future for Commit {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(CommitError::Fault(Fault::Stopping))))
    }
}

/// Which people to list; what is absent does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeopleFilter {
    /// Of this firm.
    pub firm: Option<FirmCode>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this standing.
    pub standing: Option<Standing>,
    /// Whose user id begins so, whatever the case.
    pub text: Option<String>,
    /// For whom this was chosen to prove themselves.
    pub auth_system: Option<AuthSystem>,
    /// Who have, or do not have, a registered authenticator.
    pub registered: Option<bool>,
    /// Only those whose authenticator wrong codes have locked.
    pub locked: bool,
    /// Only those who were never let in at any door.
    pub never_signed_in: bool,
    /// Whose last setup link stands so, at an instant.
    pub link: Option<(LinkIs, Wall)>,
}

/// Where the last setup link of somebody stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkIs {
    /// It can be used.
    Live,
    /// It came to its end unused, written down or not.
    Expired,
    /// There never was one, or it was used or taken back.
    None,
}

/// Somebody in a list.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    /// Who.
    pub person: Person,
    /// When they were let in last, if ever.
    pub last_login: Option<LastLogin>,
}

/// When somebody was let in, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastLogin {
    /// When.
    pub at: Wall,
    /// At which door.
    pub door: Door,
}

/// How far a mail has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailStage {
    /// It was not tried yet.
    Waiting,
    /// It was tried, and is tried again.
    Delayed,
    /// The mail server has taken it.
    Sent,
    /// It will not be sent.
    GivenUp,
}

impl MailStage {
    /// The word for it, as the book and people have it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Sent => "sent",
            Self::GivenUp => "given-up",
        }
    }
}

/// Which mails to list; what is absent does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailFilter {
    /// That concern this firm.
    pub firm: Option<FirmCode>,
    /// About this person.
    pub about: Option<PersonId>,
    /// That have come so far.
    pub stage: Option<MailStage>,
    /// Only those that were not sent: waiting, delayed or given up.
    pub unsent: bool,
    /// Only those that did not go through: delayed or given up.
    pub failed: bool,
}

/// A mail and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// As it was queued; without the token once it is sent or given up.
    pub mail: Mail,
    /// Where it stands.
    pub state: MailState,
}

/// Which audit records to list; what is absent does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// By this person or on them.
    pub person: Option<PersonId>,
    /// By whoever has this user id or on them; also by nobody, if this was tried as a user id.
    pub userid: Option<String>,
    /// That concern this firm.
    pub firm: Option<FirmCode>,
    /// That concern this FIX session.
    pub session: Option<SessionId>,
    /// Of this event.
    pub event: Option<Event>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// That came in at this door.
    pub door: Option<Door>,
    /// Of this attempt.
    pub attempt: Option<AttemptId>,
    /// Not before.
    pub since: Option<Wall>,
    /// Before.
    pub until: Option<Wall>,
}

/// How a store is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// The last acknowledged record.
    pub head: Head,
    /// The last record that the book shows.
    pub mark: u64,
    /// How many acknowledged records are not yet in the book.
    pub waiting: u64,
    /// How many segments the journal has.
    pub segments: u64,
    /// Room left on the journal's disk, in bytes, where the disk says it.
    pub free_bytes: Option<u64>,
    /// Why commits fail at present.
    pub failing: Option<Fault>,
}

/// Where the truth is kept. The calls block for as long as a look-up takes; [`Store::submit`] does not block.
pub trait Store: Send + Sync + 'static {
    /// Loads what one decision needs. What was answered as committed is in it, but for [`Snapshot::access`].
    fn load(&self, what: &Load) -> Result<Snapshot, Fault>;

    /// Hands a batch in; the answer comes when it is durable or refused. [`Fault::Busy`] when too many wait.
    fn submit(&self, batch: Batch) -> Answer;

    /// Hands a batch in and waits for the answer.
    fn commit(&self, batch: Batch) -> Commit {
        Commit(self.submit(batch))
    }

    /// The same as [`Self::submit`] with a call instead of something to wait for.
    fn submit_then(&self, batch: Batch, done: Callback);

    /// All attempts that are remembered, up to the head; in order of persons.
    fn accesses(&self) -> Result<Vec<(PersonId, Access)>, Fault>;

    /// All FIX sessions up to the head, by Session ID.
    fn sessions(&self) -> Result<Vec<(FixSession, SessionUse)>, Fault>;

    /// The latest numbers of all streams up to the head.
    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault>;

    /// The trading week that was rolled to last; 0: none was.
    fn week(&self) -> Result<u32, Fault>;

    /// All firms, by code.
    fn firms(&self) -> Result<Vec<Firm>, Fault>;

    /// Firms that have no administrator, by code, at most `limit`.
    fn firms_unserved(&self, limit: usize) -> Result<Vec<FirmCode>, Fault>;

    /// People by user id, from behind `after` on, at most `limit`.
    fn people(
        &self,
        filter: &PeopleFilter,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault>;

    /// How many people there are, counted up to `most`.
    fn people_count(&self, filter: &PeopleFilter, most: usize) -> Result<usize, Fault>;

    /// When somebody was let in last, if ever.
    fn last_login(&self, person: PersonId) -> Result<Option<LastLogin>, Fault>;

    /// All administrators of a firm or, without one, all operators of the desk, disabled or not; by user id.
    fn administrators(&self, firm: Option<&FirmCode>) -> Result<Vec<Person>, Fault>;

    /// People whose setup link has come to its end, which nobody has written down yet; the longest past first.
    fn links_past(&self, now: Wall, limit: usize) -> Result<Vec<PersonId>, Fault>;

    /// Mails that are to be sent at an instant, the longest due first.
    fn mails_due(&self, now: Wall, limit: usize) -> Result<Vec<Queued>, Fault>;

    /// When the next mail is to be sent, if one waits.
    fn next_mail_due(&self) -> Result<Option<Wall>, Fault>;

    /// How many mails wait to be sent.
    fn mails_waiting(&self) -> Result<u64, Fault>;

    /// A mail.
    fn mail(&self, id: MailId) -> Result<Option<Queued>, Fault>;

    /// Mails, newest first, from before the one of this time and id on, at most `limit`.
    fn mails(
        &self,
        filter: &MailFilter,
        before: Option<(Wall, MailId)>,
        limit: usize,
    ) -> Result<Vec<Queued>, Fault>;

    /// The emergency switches that are thrown.
    fn halts(&self) -> Result<Vec<(HaltScope, Halt)>, Fault>;

    /// Audit records up to the head with their numbers, newest first, from before `before` on, at most `limit`.
    fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, Fault>;

    /// The same from behind `after` on, oldest first.
    fn audit_after(&self, filter: &AuditFilter, after: u64, limit: usize)
    -> Result<Vec<(u64, Entry)>, Fault>;

    /// The last acknowledged record.
    fn head(&self) -> Head;

    /// Resolves when a record of this number, or a later one, is acknowledged. One waits at a time: whoever asked before
    /// hears an error, as when the store ends.
    fn reached(&self, no: u64) -> oneshot::Receiver<()>;

    /// Writes the book, as it is now, into a new file, durably (mode 0600), while everything goes on; up to which record
    /// it is. With the journal up to that record or beyond it is all that this store knows.
    fn snapshot(&self, to: &Path) -> Result<Head, Fault>;

    /// The last record that may be dropped, where any may be: with it a segment ends, up to it all are older than `before`,
    /// and from there to the newest `lived` has passed, of which no more than a week, or a quarter of it, counts from one
    /// record to the next.
    ///
    /// This and what follows breaks off with [`Fault::Stopping`] soon after `stop` is set.
    fn droppable(&self, before: Wall, lived: Duration, stop: &AtomicBool) -> Result<Option<Head>, Fault>;

    /// Sets aside, durably, all that the book shows without the records up to `upto`, which are to be dropped; the SHA-256
    /// of it, to be signed before they are. Nothing is left behind where there is no room for it.
    fn set_aside(&self, upto: u64, stop: &AtomicBool) -> Result<Hash, Fault>;

    /// Drops the records up to `upto`, from journal and book, for which a book of this SHA-256 was set aside; how many
    /// segments went. [`Fault::Damaged`] where it is not there, and nothing is dropped then. What was begun, the next call
    /// ends.
    fn drop_to(&self, upto: u64, book: &Hash, stop: &AtomicBool) -> Result<u64, Fault>;

    /// How the store is doing; does not wait for anything.
    fn status(&self) -> Result<Status, Fault>;
}
