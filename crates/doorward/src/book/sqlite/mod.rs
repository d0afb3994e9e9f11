//! The embedded store: the journal is the truth, a SQLite database its view.
//!
//! A batch that changes a person, a firm or the venue is checked and applied in an open transaction, appended with one
//! sync, committed, and then answered. All others are answered as soon as they are appended and applied many at a time;
//! a query that would miss them has them applied first. The mark in the database says up to which record it is, in the
//! same transaction as what it shows, so whatever a crash leaves, the journal's records from there on make it whole.

mod apply;
mod aside;
mod committer;
mod job;
mod logins;
mod outbox;
mod read;
mod replay;
mod schema;
mod session;
mod sound;

#[cfg(test)]
mod tests;

use std::fs::DirBuilder;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use doorward_core::audit::{Entry, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::change::{Change, Target};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::mail::MailId;
use doorward_core::identity::person::Person;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use rusqlite::Connection;
use tokio::sync::oneshot;

use self::apply::Writer;
use self::committer::Committer;
use self::job::{Answerer, Called, Dropped, Encoded, Job, Shared, Submitted};
use self::schema::{MIGRATIONS, open_to_read, open_to_write};
use super::{
    Answer, AuditFilter, Batch, Callback, CommitError, LastLogin, Listed, Load, MailFilter, PeopleFilter,
    Queued, Snapshot, Status, Store,
};
use crate::fault::Fault;
use crate::journal::{self, Disk, Hash, Head, Journal, RECORD_BYTES_MAX, SEGMENT_BYTES_DEFAULT};

pub use self::aside::copy_beside;
pub use self::replay::{Rebuilt, rebuild};
pub use self::sound::{Looked, Nameless, look};

/// Name of the database in the data directory.
const FILE: &str = "book.db";
/// One that is being made, to take its place.
const NEW_FILE: &str = "book.db.new";

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of new segments of the journal, in bytes.
    pub segment_bytes: u64,
    /// Batches that may wait before [`Fault::Busy`] is answered.
    pub queue: usize,
    /// Connections for reading that are kept open.
    pub readers: usize,
    /// How often a transaction fails at its end, or at its repetition.
    #[cfg(test)]
    pub(crate) commits_fail: Arc<std::sync::atomic::AtomicU32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            queue: 4_096,
            readers: 4,
            #[cfg(test)]
            commits_fail: Arc::default(),
        }
    }
}

/// The store of [`open`]. Dropping it applies what waits and closes everything.
pub struct SqliteStore {
    node: String,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    jobs: SyncSender<Job>,
    shared: Arc<Shared>,
    readers: Mutex<Vec<Connection>>,
    readers_kept: usize,
    thread: Option<JoinHandle<()>>,
}

/// Opens the book in a directory and the journal on a disk, which this store owns from now on, and applies what the
/// book has missed. What is not there is made.
///
/// [`Fault::Damaged`] where the database is not this journal's, or does not read: `doorward book rebuild` makes it anew.
pub fn open(
    dir: &Path,
    disk: Arc<dyn Disk>,
    node: String,
    settings: &Settings,
) -> Result<SqliteStore, Fault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Fault::disk(dir, &error))?;
    let path = dir.join(FILE);
    let journal = journal::Settings { node: node.clone(), segment_bytes: settings.segment_bytes };
    let (journal, _) = Journal::open(Arc::clone(&disk), journal)?;
    aside::take_if_behind(dir, disk.as_ref())?;
    let conn = open_to_write(&path, MIGRATIONS)?;
    let shared = Arc::new(Shared::new());
    let (jobs, received) = sync_channel(settings.queue);
    let (started, start) = sync_channel(1);
    let owned = Owned {
        conn,
        journal,
        disk: Arc::clone(&disk),
        shared: Arc::clone(&shared),
        #[cfg(test)]
        commits_fail: Arc::clone(&settings.commits_fail),
    };
    let thread = std::thread::Builder::new().name("book".to_owned()).spawn(move || {
        owned.work(&started, &received);
    });
    let thread = thread.map_err(|error| Fault::Book(format!("no thread: {error}")))?;
    start.recv().unwrap_or(Err(Fault::Stopping))?;
    Ok(SqliteStore {
        node,
        path,
        disk,
        jobs,
        shared,
        readers: Mutex::new(Vec::new()),
        readers_kept: settings.readers,
        thread: Some(thread),
    })
}

/// What the thread owns.
struct Owned {
    conn: Connection,
    journal: Journal,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    #[cfg(test)]
    commits_fail: Arc<std::sync::atomic::AtomicU32>,
}

impl Owned {
    fn work(self, started: &SyncSender<Result<(), Fault>>, jobs: &Receiver<Job>) {
        let committer = Writer::new(&self.conn).and_then(|writer| {
            Committer::start(
                writer,
                self.journal,
                self.disk,
                self.shared,
                #[cfg(test)]
                self.commits_fail,
            )
        });
        // Whoever opens the store waits for this answer.
        match committer {
            Ok(committer) => {
                let _ = started.send(Ok(()));
                committer.run(jobs);
            }
            Err(fault) => {
                let _ = started.send(Err(fault));
            }
        }
    }
}

impl SqliteStore {
    /// Ends the thread as a crash of the process would: what waits is not applied.
    #[cfg(test)]
    pub(crate) fn crash(self) {
        let _ = self.jobs.send(Job::Crash);
    }

    /// Hands a batch to the thread.
    fn hand_in(&self, batch: Batch, answer: Answerer) {
        let Batch { expects, records } = batch;
        let eager = records.iter().flat_map(|record| &record.changes).any(is_versioned);
        let mut scratch = Vec::with_capacity(RECORD_USUAL_BYTES);
        let encoded = records.into_iter().map(|record| self.encode(record, eager, &mut scratch)).collect();
        match encoded {
            Ok(records) => {
                match self.jobs.try_send(Job::Commit(Submitted { expects, records, eager, answer })) {
                    Ok(()) => {}
                    Err(TrySendError::Full(job)) => {
                        job.refuse(Fault::Busy("too many commits wait for the disk"));
                    }
                    Err(TrySendError::Disconnected(job)) => job.refuse(Fault::Stopping),
                }
            }
            Err(fault) => answer.answer(Err(CommitError::Fault(fault))),
        }
    }

    /// A record and its bytes. One that does not read back from them must never be written; where nothing versioned is
    /// changed, it holds only types of which tests say so, and is not read back each time.
    fn encode(&self, mut record: Record, eager: bool, scratch: &mut Vec<u8>) -> Result<Encoded, Fault> {
        record.entry.node.clone_from(&self.node);
        scratch.clear();
        let entry = write_json(&record, scratch)?;
        let bytes: Box<[u8]> = scratch.as_slice().into();
        if bytes.len() > RECORD_BYTES_MAX {
            let (event, length) = (record.entry.event, bytes.len());
            return Err(Fault::Book(format!(
                "a record of event {event} has {length} bytes, above the limit of {RECORD_BYTES_MAX}"
            )));
        }
        if eager || cfg!(debug_assertions) {
            let read = serde_json::from_slice(&bytes).map_err(|error| unreadable(&record, &error))?;
            debug_assert!(eager || read == record, "{read:?} is not {record:?}");
            record = read;
        }
        Ok(Encoded { record, bytes, entry })
    }

    /// Has the book brought to the head, if it is not there.
    fn drain(&self) -> Result<(), Fault> {
        if self.shared.read(|state| !state.behind && state.mark == state.head.no) {
            return Ok(());
        }
        let (done, drained) = sync_channel(1);
        self.jobs.send(Job::Drain(done)).map_err(|_| Fault::Stopping)?;
        drained.recv().unwrap_or(Err(Fault::Stopping))
    }

    /// The same only where the book lacks more than attempts and audit rows.
    fn catch_up(&self) -> Result<(), Fault> {
        if self.shared.read(|state| state.behind) { self.drain() } else { Ok(()) }
    }

    /// Reads with a connection of the pool.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let kept = self.readers.lock().map(|mut readers| readers.pop()).unwrap_or_default();
        let conn = kept.map_or_else(|| open_to_read(&self.path), Ok)?;
        let result = read(&conn);
        if let Ok(mut readers) = self.readers.lock()
            && readers.len() < self.readers_kept
        {
            readers.push(conn);
        }
        result
    }
}

fn unreadable(record: &Record, error: &serde_json::Error) -> Fault {
    Fault::Book(format!("a record of event {} does not read back: {error}", record.entry.event))
}

/// Room for the JSON of one record as most are, in bytes.
const RECORD_USUAL_BYTES: usize = 2_048;

/// Writes a record's JSON; where in it the entry stands, which the book takes as it is.
fn write_json(record: &Record, bytes: &mut Vec<u8>) -> Result<Range<usize>, Fault> {
    const BEFORE: &[u8] = b"{\"entry\":";
    let failed = |error: serde_json::Error| unreadable(record, &error);
    let Record { entry, changes } = record;
    bytes.extend_from_slice(BEFORE);
    serde_json::to_writer(&mut *bytes, entry).map_err(failed)?;
    let place = BEFORE.len()..bytes.len();
    if !changes.is_empty() {
        bytes.extend_from_slice(b",\"changes\":");
        serde_json::to_writer(&mut *bytes, changes).map_err(failed)?;
    }
    bytes.push(b'}');
    Ok(place)
}

fn is_versioned(change: &Change) -> bool {
    match change.target() {
        Target::Venue
        | Target::Firm(_)
        | Target::Person(_)
        | Target::FixSession(_)
        | Target::Week
        | Target::Everybody => true,
        Target::Access(_) | Target::SessionUse(_) | Target::Stream(_) | Target::Mail(_) | Target::Halt(_) => {
            false
        }
    }
}

impl Store for SqliteStore {
    fn load(&self, what: &Load) -> Result<Snapshot, Fault> {
        self.catch_up()?;
        self.read(|conn| read::snapshot(conn, what))
    }

    fn submit(&self, batch: Batch) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.hand_in(batch, Answerer::Waiting(answer));
        answered
    }

    fn submit_then(&self, batch: Batch, done: Callback) {
        self.hand_in(batch, Answerer::Called(Called::new(done)));
    }

    fn accesses(&self) -> Result<Vec<(PersonId, Access)>, Fault> {
        self.drain()?;
        self.read(read::accesses)
    }

    fn sessions(&self) -> Result<Vec<(FixSession, SessionUse)>, Fault> {
        self.drain()?;
        self.read(read::sessions)
    }

    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
        self.drain()?;
        self.read(read::streams)
    }

    fn week(&self) -> Result<u32, Fault> {
        self.catch_up()?;
        self.read(read::week)
    }

    fn firms(&self) -> Result<Vec<Firm>, Fault> {
        self.catch_up()?;
        self.read(read::firms)
    }

    fn firms_unserved(&self, limit: usize) -> Result<Vec<FirmCode>, Fault> {
        self.drain()?;
        self.read(|conn| read::firms_unserved(conn, limit))
    }

    fn people(
        &self,
        filter: &PeopleFilter,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        self.drain()?;
        self.read(|conn| read::people(conn, filter, after, limit))
    }

    fn people_count(&self, filter: &PeopleFilter, most: usize) -> Result<usize, Fault> {
        self.drain()?;
        self.read(|conn| read::people_count(conn, filter, most))
    }

    fn last_login(&self, person: PersonId) -> Result<Option<LastLogin>, Fault> {
        self.drain()?;
        self.read(|conn| read::last_login(conn, person))
    }

    fn administrators(&self, firm: Option<&FirmCode>) -> Result<Vec<Person>, Fault> {
        self.catch_up()?;
        self.read(|conn| read::administrators(conn, firm))
    }

    fn links_past(&self, now: Wall, limit: usize) -> Result<Vec<PersonId>, Fault> {
        self.catch_up()?;
        self.read(|conn| read::links_past(conn, now, limit))
    }

    fn mails_due(&self, now: Wall, limit: usize) -> Result<Vec<Queued>, Fault> {
        self.drain()?;
        self.read(|conn| outbox::due(conn, now, limit))
    }

    fn next_mail_due(&self) -> Result<Option<Wall>, Fault> {
        self.drain()?;
        self.read(outbox::next_due)
    }

    fn mails_waiting(&self) -> Result<u64, Fault> {
        self.drain()?;
        self.read(outbox::waiting)
    }

    fn mail(&self, id: MailId) -> Result<Option<Queued>, Fault> {
        self.drain()?;
        self.read(|conn| outbox::mail(conn, id))
    }

    fn mails(
        &self,
        filter: &MailFilter,
        before: Option<(Wall, MailId)>,
        limit: usize,
    ) -> Result<Vec<Queued>, Fault> {
        self.drain()?;
        self.read(|conn| outbox::mails(conn, filter, before, limit))
    }

    fn halts(&self) -> Result<Vec<(HaltScope, Halt)>, Fault> {
        self.drain()?;
        self.read(outbox::halts)
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, Fault> {
        self.drain()?;
        self.read(|conn| read::audit(conn, filter, read::Way::Down { before }, limit))
    }

    fn audit_after(
        &self,
        filter: &AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, Fault> {
        self.drain()?;
        self.read(|conn| read::audit(conn, filter, read::Way::Up { after }, limit))
    }

    fn head(&self) -> Head {
        self.shared.read(|state| state.head)
    }

    fn reached(&self, no: u64) -> oneshot::Receiver<()> {
        self.shared.reached(no)
    }

    fn snapshot(&self, to: &Path) -> Result<Head, Fault> {
        self.drain()?;
        self.read(|conn| aside::copy(conn, to))
    }

    fn droppable(&self, before: Wall, lived: Duration, stop: &AtomicBool) -> Result<Option<Head>, Fault> {
        self.drain()?;
        let ends = journal::segment_ends(self.disk.as_ref())?;
        self.read(|conn| aside::older(conn, &ends, before.as_us(), lived, stop))
    }

    fn set_aside(&self, upto: u64, stop: &AtomicBool) -> Result<Hash, Fault> {
        self.drain()?;
        aside::set_aside(self.path.parent().unwrap_or(Path::new(".")), self.disk.as_ref(), upto, stop)
    }

    fn drop_to(&self, upto: u64, book: &Hash, stop: &AtomicBool) -> Result<u64, Fault> {
        journal::check_book(self.disk.as_ref(), upto, book, stop)?;
        let mut segments = 0;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Fault::Stopping);
            }
            let (done, dropped) = sync_channel(1);
            self.jobs.send(Job::Drop { upto, done }).map_err(|_| Fault::Stopping)?;
            match dropped.recv().unwrap_or(Err(Fault::Stopping))? {
                Dropped::Segment => segments += 1,
                Dropped::Rows => {}
                Dropped::All => break,
            }
        }
        journal::remove_books_before(self.disk.as_ref(), upto)?;
        Ok(segments)
    }

    fn status(&self) -> Result<Status, Fault> {
        let names = self.disk.list().map_err(|error| Fault::disk(Path::new(&self.disk.place()), &error))?;
        let segments = names.iter().filter(|name| name.ends_with(".seg")).count() as u64;
        let state = self.shared.read(Clone::clone);
        let waiting = state.head.no.saturating_sub(state.mark);
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let failing =
            state.failing.or_else(|| ended.then(|| Fault::Book("the store's thread has ended".to_owned())));
        let free_bytes = self.disk.free_bytes().ok();
        Ok(Status { head: state.head, mark: state.mark, waiting, segments, free_bytes, failing })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer closes last: only it can bring SQLite's own log into the file.
        if let Ok(mut readers) = self.readers.lock() {
            readers.clear();
        }
        // The thread may be gone already; then there is nothing left to stop.
        let _ = self.jobs.send(Job::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
