//! The emergency switch: for the venue, a firm or a FIX session nobody is let in any more, and where it is asked for,
//! whoever is there is put out. It is in memory, so that judging a Logon sees it; the book has it for the next start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use doorward_core::audit::{Actor, Context, Factor};
use doorward_core::id::{FirmCode, SessionId};
use doorward_core::identity::decide::{Misuse, Reason, halt};
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::person::{Kind, Person};

use super::admin::Refused;
use super::fix::EndOf;
use super::{Gate, error_text};
use crate::book::{Batch, CommitError, Load, Store};
use crate::fault::Fault;

/// The switches that are thrown.
#[derive(Default)]
pub(super) struct Halts {
    thrown: RwLock<BTreeMap<HaltScope, Halt>>,
    /// Whether there is any: all that a Logon pays for as long as there is none.
    is_any: AtomicBool,
    /// A write failed: the book may have another word.
    is_unsure: AtomicBool,
    /// One change of a switch at a time.
    edits: tokio::sync::Mutex<()>,
}

impl Halts {
    /// As the book has them.
    pub(super) fn restored(store: &dyn Store) -> Result<Self, Fault> {
        let halts = Self::default();
        halts.replace(store.halts()?);
        Ok(halts)
    }

    fn replace(&self, all: Vec<(HaltScope, Halt)>) {
        let mut thrown = self.write();
        *thrown = all.into_iter().collect();
        self.is_any.store(!thrown.is_empty(), Ordering::Release);
    }

    fn set(&self, scope: HaltScope, halt: Option<Halt>) {
        let mut thrown = self.write();
        match halt {
            Some(halt) => drop(thrown.insert(scope, halt)),
            None => drop(thrown.remove(&scope)),
        }
        self.is_any.store(!thrown.is_empty(), Ordering::Release);
    }

    fn covers(&self, covers: impl Fn(&HaltScope) -> bool) -> bool {
        self.is_any.load(Ordering::Acquire) && self.read().keys().any(covers)
    }

    /// Whether somebody is kept out.
    pub(super) fn covers_person(&self, person: &Person) -> bool {
        self.covers(|scope| scope.covers_person(person))
    }

    /// Whether a FIX session is kept out.
    pub(super) fn covers_session(&self, session: &FixSession) -> bool {
        self.covers(|scope| scope.covers_session(session))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<HaltScope, Halt>> {
        self.thrown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<HaltScope, Halt>> {
        self.thrown.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who throws a switch or takes it back, and why.
pub(super) struct Word<'a> {
    pub(super) reason: &'a Reason,
    pub(super) actor: Actor,
    pub(super) factor: Factor,
    pub(super) context: Context,
}

impl Gate {
    /// The emergency switches that are thrown, by scope.
    pub fn halts(&self) -> Vec<(HaltScope, Halt)> {
        self.halts.read().iter().map(|(scope, halt)| (scope.clone(), halt.clone())).collect()
    }

    /// Throws the emergency switch from the node's machine: no new logons; with `end_all` an end to all that is open,
    /// but for the desk's.
    pub async fn throw_halt(
        &self,
        scope: HaltScope,
        reason: &str,
        end_all: bool,
        actor: Actor,
    ) -> Result<Halt, Refused> {
        let reason = Reason::parse(reason)?;
        self.throw_as(scope, end_all, self.local_word(&reason, actor)).await
    }

    /// Takes the emergency switch back from the node's machine.
    pub async fn lift_halt(&self, scope: HaltScope, reason: &str, actor: Actor) -> Result<(), Refused> {
        let reason = Reason::parse(reason)?;
        self.lift_as(scope, self.local_word(&reason, actor)).await
    }

    fn local_word<'a>(&self, reason: &'a Reason, actor: Actor) -> Word<'a> {
        Word { reason, actor, factor: Factor::LocalUser, context: self.local_context() }
    }

    pub(super) async fn throw_as(
        &self,
        scope: HaltScope,
        end_all: bool,
        word: Word<'_>,
    ) -> Result<Halt, Refused> {
        let _edit = self.halts.edits.lock().await;
        let firm = self.firm_of(&scope)?;
        let present = self.halts.read().get(&scope).cloned();
        let Word { reason, actor, factor, context } = word;
        let mut record =
            halt::throw(scope.clone(), firm, present.as_ref(), reason, end_all, actor, &context)?;
        record.entry.factor = factor;
        let since = present.map_or(context.at, |present| present.since);
        let thrown = Halt { since, reason: reason.as_str().to_owned() };
        self.commit_halt(record).await?;
        self.halts.set(scope.clone(), Some(thrown.clone()));
        if end_all {
            self.end_all(&scope);
            // Who was let in just before this is among the live ones once the decision under way is over.
            for stripe in &self.stripes {
                drop(stripe.lock().await);
            }
            self.end_all(&scope);
        }
        Ok(thrown)
    }

    pub(super) async fn lift_as(&self, scope: HaltScope, word: Word<'_>) -> Result<(), Refused> {
        let _edit = self.halts.edits.lock().await;
        let firm = self.firm_of(&scope)?;
        let present = self.halts.read().get(&scope).cloned();
        let Word { reason, actor, factor, context } = word;
        let mut record = halt::take_back(scope.clone(), firm, present.as_ref(), reason, actor, &context)?;
        record.entry.factor = factor;
        self.commit_halt(record).await?;
        self.halts.set(scope, None);
        Ok(())
    }

    async fn commit_halt(&self, record: doorward_core::audit::Record) -> Result<(), Refused> {
        match self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // It may be in the journal all the same.
                self.halts.is_unsure.store(true, Ordering::Release);
                Err(error.into())
            }
        }
    }

    /// Whose a scope is; there must be such a firm or session.
    fn firm_of(&self, scope: &HaltScope) -> Result<Option<FirmCode>, Refused> {
        match scope {
            HaltScope::Venue => Ok(None),
            HaltScope::Firm(code) => Ok(Some(self.firm(code)?.code)),
            HaltScope::Session(id) => {
                let table = self.sessions.read();
                let held = table.get(*id);
                let found = held.map(|held| held.session.firm.clone());
                let missing = || Misuse::not_found(format!("FIX session {id} is not known"));
                Ok(Some(found.ok_or_else(missing)?))
            }
        }
    }

    /// Ends what is open of whoever a switch keeps out.
    fn end_all(&self, scope: &HaltScope) {
        for (person, firm) in self.live.everybody() {
            let is_meant = match scope {
                HaltScope::Venue => firm.is_some() || !self.is_desk(person),
                HaltScope::Firm(code) => firm.as_ref() == Some(code),
                HaltScope::Session(_) => false,
            };
            if is_meant {
                self.end_person(person);
            }
        }
        match scope {
            HaltScope::Venue => {
                let table = self.sessions.read();
                let all: Vec<SessionId> = table.iter().map(|held| held.session.id).collect();
                drop(table);
                all.into_iter().for_each(|id| self.fix.end(EndOf::Session(id)));
            }
            HaltScope::Firm(code) => self.fix.end(EndOf::Firm(code.clone())),
            HaltScope::Session(id) => self.fix.end(EndOf::Session(*id)),
        }
    }

    /// Where it cannot be found out, nobody is: an operator signs in again.
    fn is_desk(&self, person: doorward_core::id::PersonId) -> bool {
        let found = self.store.load(&Load::Person(person)).ok().and_then(|snapshot| snapshot.person);
        found.is_some_and(|person| person.kind == Kind::Desk)
    }

    /// Reads the switches again, where a write failed.
    pub(super) async fn settle_halts(&self) {
        if !self.halts.is_unsure.load(Ordering::Acquire) {
            return;
        }
        let _edit = self.halts.edits.lock().await;
        match self.store.halts() {
            Ok(all) => {
                self.halts.replace(all);
                self.halts.is_unsure.store(false, Ordering::Release);
            }
            Err(fault) => {
                let error = error_text(&CommitError::Fault(fault));
                tracing::error!(error, "the emergency switches could not be read");
            }
        }
    }
}
