//! A store beside which somebody else is always faster, and which then cannot be read: for tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::mail::MailId;
use doorward_core::identity::person::Person;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use tokio::sync::oneshot;

use crate::book::{
    Answer, AuditFilter, Batch, Callback, CommitError, Hash, Head, LastLogin, Listed, Load, MailFilter,
    PeopleFilter, Queued, Snapshot, Status, Store,
};
use crate::fault::Fault;

/// What a test does to the store, and sees of it.
#[derive(Default)]
pub(super) struct Rival {
    /// Whether the next commit meets a conflict.
    pub(super) planted: AtomicBool,
    /// How often somebody was looked up.
    pub(super) people: AtomicU64,
}

/// Another store; once a rival is planted, the next commit meets a conflict and every look-up behind it fails.
pub(super) struct RivalledStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) rival: Arc<Rival>,
    pub(super) struck: AtomicBool,
}

impl RivalledStore {
    pub(super) fn new(inner: Arc<dyn Store>, rival: &Arc<Rival>) -> Self {
        Self { inner, rival: Arc::clone(rival), struck: AtomicBool::new(false) }
    }
}

impl Store for RivalledStore {
    fn load(&self, what: &Load) -> Result<Snapshot, Fault> {
        if self.struck.swap(false, Ordering::Relaxed) {
            return Err(Fault::Book("planted".to_owned()));
        }
        if matches!(what, Load::Person(_) | Load::UserId(_)) {
            self.rival.people.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.load(what)
    }

    fn submit(&self, batch: Batch) -> Answer {
        if !self.rival.planted.swap(false, Ordering::Relaxed) {
            return self.inner.submit(batch);
        }
        self.struck.store(true, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        drop(answer.send(Err(CommitError::Conflict("planted".to_owned()))));
        answered
    }

    fn submit_then(&self, batch: Batch, done: Callback) {
        self.inner.submit_then(batch, done);
    }

    fn accesses(&self) -> Result<Vec<(PersonId, Access)>, Fault> {
        self.inner.accesses()
    }

    fn sessions(&self) -> Result<Vec<(FixSession, SessionUse)>, Fault> {
        self.inner.sessions()
    }

    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
        self.inner.streams()
    }

    fn week(&self) -> Result<u32, Fault> {
        self.inner.week()
    }

    fn firms(&self) -> Result<Vec<Firm>, Fault> {
        self.inner.firms()
    }

    fn firms_unserved(&self, limit: usize) -> Result<Vec<FirmCode>, Fault> {
        self.inner.firms_unserved(limit)
    }

    fn people(
        &self,
        filter: &PeopleFilter,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Listed>, Fault> {
        self.inner.people(filter, after, limit)
    }

    fn people_count(&self, filter: &PeopleFilter, most: usize) -> Result<usize, Fault> {
        self.inner.people_count(filter, most)
    }

    fn last_login(&self, person: PersonId) -> Result<Option<LastLogin>, Fault> {
        self.inner.last_login(person)
    }

    fn administrators(&self, firm: Option<&FirmCode>) -> Result<Vec<Person>, Fault> {
        self.inner.administrators(firm)
    }

    fn links_past(&self, now: Wall, limit: usize) -> Result<Vec<PersonId>, Fault> {
        self.inner.links_past(now, limit)
    }

    fn mails_due(&self, now: Wall, limit: usize) -> Result<Vec<Queued>, Fault> {
        self.inner.mails_due(now, limit)
    }

    fn next_mail_due(&self) -> Result<Option<Wall>, Fault> {
        self.inner.next_mail_due()
    }

    fn mails_waiting(&self) -> Result<u64, Fault> {
        self.inner.mails_waiting()
    }

    fn mail(&self, id: MailId) -> Result<Option<Queued>, Fault> {
        self.inner.mail(id)
    }

    fn mails(
        &self,
        filter: &MailFilter,
        before: Option<(Wall, MailId)>,
        limit: usize,
    ) -> Result<Vec<Queued>, Fault> {
        self.inner.mails(filter, before, limit)
    }

    fn halts(&self) -> Result<Vec<(HaltScope, Halt)>, Fault> {
        self.inner.halts()
    }

    fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, doorward_core::audit::Entry)>, Fault> {
        self.inner.audit(filter, before, limit)
    }

    fn audit_after(
        &self,
        filter: &AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, doorward_core::audit::Entry)>, Fault> {
        self.inner.audit_after(filter, after, limit)
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn reached(&self, no: u64) -> tokio::sync::oneshot::Receiver<()> {
        self.inner.reached(no)
    }

    fn snapshot(&self, to: &Path) -> Result<Head, Fault> {
        self.inner.snapshot(to)
    }

    fn droppable(
        &self,
        before: Wall,
        lived: std::time::Duration,
        stop: &AtomicBool,
    ) -> Result<Option<Head>, Fault> {
        self.inner.droppable(before, lived, stop)
    }

    fn set_aside(&self, upto: u64, stop: &AtomicBool) -> Result<Hash, Fault> {
        self.inner.set_aside(upto, stop)
    }

    fn drop_to(&self, upto: u64, book: &Hash, stop: &AtomicBool) -> Result<u64, Fault> {
        self.inner.drop_to(upto, book, stop)
    }

    fn status(&self) -> Result<Status, Fault> {
        self.inner.status()
    }
}
