//! What administrators do to FIX sessions.

use std::time::Duration;

use doorward_core::audit::{Actor, Factor, Record};
use doorward_core::id::{FirmCode, SessionId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::fix_session::{self, Edit, New};
use doorward_core::identity::decide::{Misuse, key_pair};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::key_pair::Environment;
use doorward_core::identity::person::Standing;
use doorward_core::stream::{Numbers, StreamKey};
use tokio::sync::oneshot;

use super::admin::Refused;
use super::fix::{EndOf, SetNext, StreamInfo};
use super::{Gate, error_text};
use crate::book::{Batch, Expect, Load};
use crate::fault::Fault;

/// How long the FIX thread may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A FIX session as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionNow {
    /// The session.
    pub session: FixSession,
    /// Its lock and the last use of its keys.
    pub usage: SessionUse,
    /// Its firm.
    pub firm: Option<Firm>,
}

impl Gate {
    /// All FIX sessions, by Session ID; of one firm where one is named.
    pub fn fix_sessions(&self, firm: Option<&FirmCode>) -> Result<Vec<(FixSession, SessionUse)>, Fault> {
        let mut sessions = self.store.sessions()?;
        sessions.retain(|(session, _)| firm.is_none_or(|code| session.firm == *code));
        let table = self.sessions.read();
        for (session, usage) in &mut sessions {
            // The table is ahead of the book.
            usage.locked = table.get(session.id).map_or(usage.locked, |held| held.locked);
        }
        Ok(sessions)
    }

    /// A FIX session.
    pub fn fix_session(&self, id: SessionId) -> Result<SessionNow, Refused> {
        let snapshot = self.store.load(&Load::FixSession(id))?;
        let Some(session) = snapshot.session else {
            return Err(Misuse::not_found(format!("FIX session {id} is not known")).into());
        };
        let mut usage = snapshot.session_use.unwrap_or_default();
        usage.locked = self.sessions.read().get(id).map_or(usage.locked, |held| held.locked);
        Ok(SessionNow { session, usage, firm: snapshot.firm })
    }

    /// Adds a FIX session to a firm.
    pub async fn add_fix_session(
        &self,
        code: &FirmCode,
        new: New,
        actor: Actor,
    ) -> Result<SessionNow, Refused> {
        let _edit = self.session_edits.lock().await;
        let firm = self.firm(code)?;
        let id = new.id;
        if new.environment == Environment::Live && !self.vault.describe().hsm {
            tracing::warn!(session = %id, "no HSM: the secret keys of a live FIX session will lie in a sealed file");
        }
        let record = fix_session::add(new, &firm, actor, &self.local_context())?;
        let expects = vec![Expect::NoFixSession(id), Expect::Firm(firm.code, firm.version)];
        self.commit_session(id, expects, vec![record]).await?;
        self.fix_session(id)
    }

    /// Changes a FIX session in a way that may depend on how it is. Disabling it ends its connections; what permits less
    /// ends those that would not be let in any more (S8).
    pub async fn edit_fix_session(
        &self,
        id: SessionId,
        edit: impl FnOnce(&FixSession) -> Result<Edit, Misuse> + Send,
        actor: &Actor,
    ) -> Result<SessionNow, Refused> {
        let _edit = self.session_edits.lock().await;
        let session = self.fix_session(id)?.session;
        let records = fix_session::edit(&session, edit(&session)?, actor, &self.local_context())?;
        if let Some(changed) = last_session(&records) {
            self.commit_session(id, vec![Expect::FixSession(id, session.version)], records).await?;
            match changed.standing {
                Standing::Disabled => self.fix.end(EndOf::Session(id)),
                Standing::Active if permits_less(&session, &changed) => {
                    self.fix.end(EndOf::Narrowed(Box::new(changed)));
                }
                Standing::Active => {}
            }
        }
        self.fix_session(id)
    }

    /// Locks a FIX session, so that nobody logs on with it, and ends its connections.
    pub async fn lock_fix_session(
        &self,
        id: SessionId,
        reason: &str,
        actor: Actor,
    ) -> Result<SessionNow, Refused> {
        self.set_lock(id, reason, actor, true).await
    }

    /// Opens a locked FIX session again; its refused Logons are forgotten.
    pub async fn reopen_fix_session(
        &self,
        id: SessionId,
        reason: &str,
        actor: Actor,
    ) -> Result<SessionNow, Refused> {
        self.set_lock(id, reason, actor, false).await
    }

    async fn set_lock(
        &self,
        id: SessionId,
        reason: &str,
        actor: Actor,
        lock: bool,
    ) -> Result<SessionNow, Refused> {
        let _edit = self.session_edits.lock().await;
        let SessionNow { session, usage, .. } = self.fix_session(id)?;
        let context = self.local_context();
        let record = if lock {
            fix_session::lock(&session, &usage, reason, actor, &context)?
        } else {
            fix_session::reopen(&session, &usage, reason, actor, &context)?
        };
        self.commit_session(id, vec![Expect::FixSession(id, session.version)], vec![record]).await?;
        self.sessions.write().set_locked(id, lock.then_some(context.at));
        if lock {
            self.fix.end(EndOf::Session(id));
        }
        self.fix_session(id)
    }

    /// Ends the connections of a FIX session; it may log on again at once.
    pub async fn end_fix_session(&self, id: SessionId, reason: &str, actor: Actor) -> Result<(), Refused> {
        let session = self.fix_session(id)?.session;
        let record = fix_session::end(&session, reason, actor, &self.local_context())?;
        self.commit_as_local(Vec::new(), record).await?;
        self.fix.end(EndOf::Session(id));
        Ok(())
    }

    /// The streams of a FIX session with the connections that hold them; from the book where no FIX door is open.
    pub async fn fix_streams(&self, id: SessionId) -> Result<Vec<StreamInfo>, Refused> {
        self.fix_session(id)?;
        if let Some(control) = self.fix.control() {
            let (answer, answered) = oneshot::channel();
            control.streams(id, answer);
            return Ok(self.answered(answered).await?);
        }
        let of = |stream: &StreamKey| matches!(stream, StreamKey::Session { session, .. } if *session == id);
        let known = self.store.streams()?.into_iter().filter(|(stream, _)| of(stream));
        let info = |(stream, numbers): (StreamKey, Numbers)| {
            let undelivered = numbers.unfetched().map_or(0, |left| left.count);
            StreamInfo { stream, numbers, undelivered, live: None }
        };
        Ok(known.map(info).collect())
    }

    /// Sets the numbers of a stream that no connection holds.
    pub async fn set_next(
        &self,
        id: SessionId,
        stream: StreamKey,
        (next_in, next_out): (Option<u64>, Option<u64>),
        reason: &str,
        actor: Actor,
    ) -> Result<Numbers, Refused> {
        let session = self.fix_session(id)?.session;
        let context = self.local_context();
        let mut record =
            fix_session::set_next(&session, &stream, next_in, next_out, reason, actor, &context)?;
        record.entry.factor = Factor::LocalUser;
        let Some(control) = self.fix.control() else {
            let text = format!(
                "{stream}: no FIX listener is open on this node; see the section fix of its configuration"
            );
            return Err(Misuse::conflict("stream", text).into());
        };
        let (answer, answered) = oneshot::channel();
        control.set_next(SetNext { stream, next_in, next_out, record: Box::new(record) }, answer);
        Ok(self.answered(answered).await??)
    }

    async fn answered<T>(&self, answered: oneshot::Receiver<T>) -> Result<T, Fault> {
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Fault::Stopping),
            Err(_) => Err(Fault::Busy("the FIX door does not answer")),
        }
    }

    /// Commits records of a session and, before anybody hears of it, brings the table in memory up to them.
    pub(super) async fn commit_session(
        &self,
        id: SessionId,
        expects: Vec<Expect>,
        mut records: Vec<Record>,
    ) -> Result<(), Refused> {
        for record in &mut records {
            if record.entry.factor == Factor::Nothing {
                record.entry.factor = Factor::LocalUser;
            }
        }
        let last = last_session(&records);
        match self.commit(Batch { expects, records }).await {
            Ok(_) => {
                if let Some(session) = last {
                    self.sessions.set(&*self.vault, session);
                }
                Ok(())
            }
            Err(error) => {
                // It may be in the journal all the same.
                self.unsure().insert(id);
                Err(error.into())
            }
        }
    }

    fn unsure(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<SessionId>> {
        self.unsure.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Reads sessions again of which a write failed, and opens secrets that did not open.
    pub(super) async fn settle_sessions(&self) {
        let unsure = std::mem::take(&mut *self.unsure());
        for id in unsure {
            let _edit = self.session_edits.lock().await;
            match self.store.load(&Load::FixSession(id)) {
                Ok(snapshot) => {
                    let locked = snapshot.session_use.and_then(|usage| usage.locked);
                    if let Some(session) = snapshot.session {
                        self.sessions.set(&*self.vault, session.clone());
                        self.fix.end(EndOf::Narrowed(Box::new(session)));
                    }
                    // The table is ahead of the book, but for a lock whose write seemed to fail.
                    let is_locked = self.sessions.read().get(id).is_none_or(|held| held.locked.is_some());
                    if locked.is_some() && !is_locked {
                        self.sessions.write().set_locked(id, locked);
                        self.fix.end(EndOf::Session(id));
                    }
                }
                Err(_) => drop(self.unsure().insert(id)), // the store is down: the next second tries again
            }
        }
        self.sessions.open_missing(&*self.vault);
    }

    /// Tells of key pairs that end soon or have ended, each notice once (T4: not while the clock is suspect).
    pub(super) async fn tell_of_key_ends(&self) {
        let now = self.clock.now().wall;
        if !self.clock_good() {
            return;
        }
        let is_due = |session: &FixSession| key_pair::next_notice(session).is_some_and(|at| at <= now);
        let due: Vec<SessionId> = {
            let table = self.sessions.read();
            table.iter().map(|held| &held.session).filter(|session| is_due(session)).map(|s| s.id).collect()
        };
        for id in due {
            let _edit = self.session_edits.lock().await;
            let Ok(SessionNow { session, .. }) = self.fix_session(id) else { continue };
            let records = key_pair::notices(&session, &self.node_context(now));
            if records.is_empty() {
                continue;
            }
            let last = last_session(&records);
            let batch = Batch { expects: vec![Expect::FixSession(id, session.version)], records };
            match (self.commit(batch).await, last) {
                (Ok(_), Some(session)) => self.sessions.set(&*self.vault, session),
                (Ok(_), None) => {}
                (Err(error), _) => {
                    self.unsure().insert(id);
                    tracing::error!(session = %id, error = %error_text(&error), "ends of key pairs could not be told");
                }
            }
        }
    }
}

/// Whether somebody who may log on with a session before may not any more.
fn permits_less(before: &FixSession, after: &FixSession) -> bool {
    !after.sender_comp_ids.is_superset(&before.sender_comp_ids)
        || !after.operator_ids.is_superset(&before.operator_ids)
        || after.sources != before.sources
}

/// The session as the last of these records leaves it.
pub(super) fn last_session(records: &[Record]) -> Option<FixSession> {
    let set = |change: &Change| match change {
        Change::FixSession { session } => Some(session.as_ref().clone()),
        _ => None, // all others are changes of something else
    };
    records.iter().flat_map(|record| &record.changes).rev().find_map(set)
}
