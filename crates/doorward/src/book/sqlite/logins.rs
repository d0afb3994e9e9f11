//! When somebody was let in last: made of audit entries, so it costs a login no change of its own.

use std::collections::BTreeMap;

use doorward_core::audit::{Actor, Door, Entry, Event, Outcome};
use doorward_core::id::PersonId;
use doorward_core::time::Wall;
use rusqlite::{Connection, Statement};

use super::apply::signed;
use super::schema::fault;
use crate::fault::Fault;

/// The writer's side of the last logins.
pub(super) struct Logins<'c> {
    set: Statement<'c>,
    mark: Statement<'c>,
    /// Who was let in within this transaction; written when it ends.
    let_in: BTreeMap<PersonId, (Wall, Door)>,
}

impl<'c> Logins<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            set: conn.prepare(
                "INSERT INTO last_login (person, at_us, door) VALUES (?1, ?2, ?3)
                 ON CONFLICT (person) DO UPDATE SET at_us = excluded.at_us, door = excluded.door",
            )?,
            mark: conn.prepare("UPDATE person SET signed_in = 1 WHERE id = ?1 AND signed_in = 0")?,
            let_in: BTreeMap::new(),
        })
    }

    pub(super) fn forget(&mut self) {
        self.let_in.clear();
    }

    /// Notes an entry, if somebody was let in by it.
    pub(super) fn note(&mut self, entry: &Entry) {
        if let Actor::Person { id, .. } = &entry.actor
            && entry.outcome == Outcome::Allowed
            && lets_in(entry.event)
        {
            self.let_in.insert(*id, (entry.at, entry.door));
        }
    }

    /// Writes what was noted.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        for (person, (at, door)) in std::mem::take(&mut self.let_in) {
            let id = signed(person.as_u64());
            let set = self.set.execute((id, at.as_us(), door.id()));
            set.and_then(|_| self.mark.execute([id])).map_err(|error| fault(&error))?;
        }
        Ok(())
    }
}

/// Whether somebody is in behind an event; the first good code of an authenticator lets its owner in at once.
fn lets_in(event: Event) -> bool {
    matches!(event, Event::LoginGranted | Event::AuthenticatorConfirmed | Event::RecoveryCodeUsed)
}
