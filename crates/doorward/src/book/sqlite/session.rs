//! The tables of FIX sessions: the versioned document, and what Logons write over and over.

use std::collections::BTreeMap;

use doorward_core::id::{AccessKeyId, SessionId};
use doorward_core::identity::change::Change;
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::key_pair::LastUse;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use rusqlite::{Connection, OptionalExtension, Statement};

use super::apply::{Refusal, signed, to_doc, version};
use super::schema::fault;
use crate::fault::Fault;

/// The writer's side of these tables.
pub(super) struct Sessions<'c> {
    version: Statement<'c>,
    set: Statement<'c>,
    key_session: Statement<'c>,
    add_key: Statement<'c>,
    lock: Statement<'c>,
    unlock: Statement<'c>,
    use_key: Statement<'c>,
    set_stream: Statement<'c>,
    // What this transaction has touched; written when it ends, however often it was touched.
    locks: BTreeMap<SessionId, Option<Wall>>,
    uses: BTreeMap<AccessKeyId, (SessionId, LastUse)>,
    streams: BTreeMap<StreamKey, Numbers>,
}

impl<'c> Sessions<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            version: conn.prepare("SELECT version FROM fix_session WHERE id = ?1")?,
            set: conn.prepare(
                "INSERT INTO fix_session (id, firm, version, doc) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET firm = excluded.firm, version = excluded.version, doc = excluded.doc",
            )?,
            key_session: conn.prepare("SELECT session FROM access_key WHERE id = ?1")?,
            add_key: conn.prepare("INSERT INTO access_key (id, session) VALUES (?1, ?2)")?,
            lock: conn.prepare(
                "INSERT INTO session_lock (session, locked_us) VALUES (?1, ?2)
                 ON CONFLICT (session) DO UPDATE SET locked_us = excluded.locked_us",
            )?,
            unlock: conn.prepare("DELETE FROM session_lock WHERE session = ?1")?,
            use_key: conn.prepare(
                "INSERT INTO key_use (access_key, session, doc) VALUES (?1, ?2, ?3)
                 ON CONFLICT (access_key) DO UPDATE SET session = excluded.session, doc = excluded.doc",
            )?,
            set_stream: conn.prepare(
                "INSERT INTO stream (name, week, reset, rev, doc) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE
                 SET week = excluded.week, reset = excluded.reset, rev = excluded.rev, doc = excluded.doc
                 WHERE (excluded.week, excluded.reset, excluded.rev) > (week, reset, rev)",
            )?,
            locks: BTreeMap::new(),
            uses: BTreeMap::new(),
            streams: BTreeMap::new(),
        })
    }

    pub(super) fn forget(&mut self) {
        self.locks.clear();
        self.uses.clear();
        self.streams.clear();
    }

    pub(super) fn version(&mut self, session: SessionId) -> rusqlite::Result<Option<u64>> {
        version(&mut self.version, [session.to_string()])
    }

    /// Sets a session as a whole. A key pair that ever belonged to another session is refused.
    pub(super) fn set(&mut self, session: &FixSession) -> Result<(), Refusal> {
        let id = session.id.to_string();
        self.set.execute((&id, session.firm.as_str(), signed(session.version), to_doc(session)?))?;
        for pair in &session.pairs {
            let key = pair.id.to_string();
            let owner: Option<String> = self.key_session.query_row([&key], |row| row.get(0)).optional()?;
            match owner {
                None => drop(self.add_key.execute((&key, &id))?),
                Some(owner) if owner == id => {}
                Some(owner) => {
                    return Err(Refusal::Taken(format!("access key {key} is one of session {owner}")));
                }
            }
        }
        Ok(())
    }

    /// Notes a change that is not versioned.
    pub(super) fn touch(&mut self, change: &Change) {
        match change {
            Change::SessionLock { session, locked } => {
                self.locks.insert(*session, *locked);
            }
            Change::KeyUsed { session, access_key, used } => {
                self.uses.insert(*access_key, (*session, *used));
            }
            Change::Stream { stream, numbers } => {
                self.streams
                    .entry(*stream)
                    .and_modify(|there| {
                        if numbers.supersedes(there) {
                            *there = *numbers;
                        }
                    })
                    .or_insert(*numbers);
            }
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::PersonAdded { .. }
            | Change::Password { .. }
            | Change::Authenticator { .. }
            | Change::Standing { .. }
            | Change::AuthSystem { .. }
            | Change::Profile { .. }
            | Change::KeyCodes { .. }
            | Change::FixSession { .. }
            | Change::Week { .. }
            | Change::Link { .. }
            | Change::Recovery { .. }
            | Change::Notices { .. }
            | Change::Tokens { .. }
            | Change::MailQueued { .. }
            | Change::MailState { .. }
            | Change::Halt { .. }
            | Change::Attempt { .. }
            | Change::AttemptsForgotten { .. }
            | Change::Restored { .. } => {}
        }
    }

    /// Writes what was touched.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        let failed = |error: rusqlite::Error| fault(&error);
        for (session, locked) in std::mem::take(&mut self.locks) {
            match locked {
                Some(at) => self.lock.execute((session.to_string(), at.as_us())),
                None => self.unlock.execute([session.to_string()]),
            }
            .map_err(failed)?;
        }
        for (key, (session, used)) in std::mem::take(&mut self.uses) {
            let row = (key.to_string(), session.to_string(), to_doc(&used)?);
            self.use_key.execute(row).map_err(failed)?;
        }
        for (stream, numbers) in std::mem::take(&mut self.streams) {
            let Numbers { epoch, rev, .. } = numbers;
            let row = (stream.to_string(), epoch.week, epoch.reset, rev, to_doc(&numbers)?);
            self.set_stream.execute(row).map_err(failed)?;
        }
        Ok(())
    }
}
