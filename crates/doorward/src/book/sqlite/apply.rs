//! One record into the tables: the same code while running, at replay and for a rebuild.

use std::collections::BTreeMap;

use doorward_core::audit::{Actor, Entry, Event, Record};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::change::{Change, Target};
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::link::LinkState;
use doorward_core::identity::person::{Person, Standing};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Statement, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::job::Encoded;
use super::logins::Logins;
use super::outbox::Outbox;
use super::read::person_id;
use super::schema::fault;
use super::session::Sessions;
use crate::book::Expect;
use crate::fault::Fault;
use crate::journal::Head;

/// Why a record was not applied.
#[derive(Debug)]
pub(super) enum Refusal {
    /// What it makes is there already.
    Taken(String),
    /// What it changes is not there.
    Missing(String),
    /// The database failed.
    Fault(Fault),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Fault(fault(&error))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// An unsigned number as the database holds it; [`unsigned`] turns it back.
pub(super) const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// A number that [`signed`] was stored as.
pub(super) const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// What an entity's JSON is called in a fault, and the entity.
pub(super) fn parse<T: DeserializeOwned>(what: &str, doc: &str) -> Result<T, Fault> {
    serde_json::from_str(doc)
        .map_err(|error| Fault::Damaged(format!("book.db: {what}: {error}: {}", super::schema::REMEDY)))
}

pub(super) fn to_doc<T: Serialize>(entity: &T) -> Result<String, Fault> {
    serde_json::to_string(entity).map_err(|error| Fault::Book(format!("book.db: no JSON: {error}")))
}

/// The word for a standing in its column.
pub(super) const fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Disabled => "disabled",
    }
}

/// Whether wrong codes have locked somebody's authenticator.
fn is_locked(person: &Person) -> bool {
    match person.authenticator {
        Authenticator::Locked { .. } => true,
        Authenticator::None
        | Authenticator::Pending { .. }
        | Authenticator::Active(_)
        | Authenticator::BackedOff { .. }
        | Authenticator::Revoked { .. } => false,
    }
}

/// The columns of a person's last setup link: hash, state, end.
fn link_columns(person: &Person) -> (Option<String>, Option<&'static str>, Option<i64>) {
    let Some(link) = &person.link else { return (None, None, None) };
    let state = match link.state {
        LinkState::Live => "live",
        LinkState::Used { .. } => "used",
        LinkState::Revoked { .. } => "revoked",
        LinkState::Expired { .. } => "expired",
    };
    (Some(link.hash.to_string()), Some(state), Some(link.expires_at.as_us()))
}

/// The column `name` for a user id that nobody has, of which a record tells only how it begins and its length.
pub(super) fn stranger(begins: &str, chars: usize) -> String {
    format!("{}*{chars}", begins.to_lowercase())
}

/// Columns of an audit row.
const AUDIT_COLUMNS: usize = 11;
/// Audit rows that are dropped in one transaction, at most.
const DROPPED_ROWS: i64 = 1_000;
/// Audit rows that are added with one statement, where there are as many.
const AUDIT_ROWS: usize = 64;
/// What instants are multiplied by to lie all over the ids of people: 2^64 by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn add_audits(rows: usize) -> String {
    let row = format!("({})", ["?"; AUDIT_COLUMNS].join(","));
    let names = "no, at_us, event, outcome, person, subject, name, firm, door, attempt, entry";
    // A failure undoes the whole transaction anyway; FAIL spares SQLite keeping pages aside to undo one statement.
    format!("INSERT OR FAIL INTO audit ({names}) VALUES {}", vec![row; rows].join(","))
}

/// The statements of the writer, prepared once.
struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    savepoint: Statement<'c>,
    release: Statement<'c>,
    rollback_to: Statement<'c>,
    mark: Statement<'c>,
    set_mark: Statement<'c>,
    venue_version: Statement<'c>,
    set_venue: Statement<'c>,
    firm_version: Statement<'c>,
    set_firm: Statement<'c>,
    person_version: Statement<'c>,
    userid: Statement<'c>,
    person: Statement<'c>,
    people: Statement<'c>,
    add_person: Statement<'c>,
    set_person: Statement<'c>,
    add_token: Statement<'c>,
    drop_tokens: Statement<'c>,
    access: Statement<'c>,
    some_access: Statement<'c>,
    set_access: Statement<'c>,
    drop_access: Statement<'c>,
    add_audit: Statement<'c>,
    add_audits: Statement<'c>,
    week: Statement<'c>,
    set_week: Statement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            rollback: conn.prepare("ROLLBACK")?,
            savepoint: conn.prepare("SAVEPOINT batch")?,
            release: conn.prepare("RELEASE batch")?,
            rollback_to: conn.prepare("ROLLBACK TO batch")?,
            mark: conn.prepare("SELECT no, hash FROM mark")?,
            set_mark: conn.prepare("UPDATE mark SET no = ?1, hash = ?2")?,
            venue_version: conn.prepare("SELECT version FROM venue")?,
            set_venue: conn.prepare("UPDATE venue SET version = ?1, doc = ?2")?,
            firm_version: conn.prepare("SELECT version FROM firm WHERE code = ?1")?,
            set_firm: conn.prepare(
                "INSERT INTO firm (code, version, doc) VALUES (?1, ?2, ?3)
                 ON CONFLICT (code) DO UPDATE SET version = excluded.version, doc = excluded.doc",
            )?,
            person_version: conn.prepare("SELECT version FROM person WHERE id = ?1")?,
            userid: conn.prepare("SELECT 1 FROM person WHERE userid = ?1")?,
            person: conn.prepare("SELECT doc FROM person WHERE id = ?1")?,
            people: conn.prepare("SELECT id FROM person ORDER BY id")?,
            add_person: conn.prepare(
                "INSERT INTO person (standing, registered, locked, link_hash, link_state, link_until_us, version, doc,
                     id, userid, firm, kind, signed_in)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                     EXISTS (SELECT 1 FROM last_login WHERE person = ?9))",
            )?,
            set_person: conn.prepare(
                "UPDATE person SET standing = ?1, registered = ?2, locked = ?3, link_hash = ?4, link_state = ?5,
                     link_until_us = ?6, version = ?7, doc = ?8 WHERE id = ?9",
            )?,
            add_token: conn.prepare("INSERT INTO token (hash, person) VALUES (?1, ?2)")?,
            drop_tokens: conn.prepare("DELETE FROM token WHERE person = ?1")?,
            access: conn.prepare("SELECT doc FROM access WHERE person = ?1")?,
            some_access: conn.prepare(
                "SELECT person, doc FROM access WHERE person = coalesce(
                     (SELECT min(person) FROM access WHERE person >= ?1), (SELECT min(person) FROM access))",
            )?,
            set_access: conn.prepare(
                "INSERT INTO access (person, doc) VALUES (?1, ?2)
                 ON CONFLICT (person) DO UPDATE SET doc = excluded.doc",
            )?,
            drop_access: conn.prepare("DELETE FROM access WHERE person = ?1")?,
            add_audit: conn.prepare(&add_audits(1))?,
            add_audits: conn.prepare(&add_audits(AUDIT_ROWS))?,
            week: conn.prepare("SELECT no FROM week")?,
            set_week: conn.prepare("UPDATE week SET no = ?1")?,
        })
    }
}

/// The writer's side of the database. Every change of the tables goes through it.
pub(super) struct Writer<'c> {
    conn: &'c Connection,
    run: Statements<'c>,
    sessions: Sessions<'c>,
    outbox: Outbox<'c>,
    logins: Logins<'c>,
    /// Attempts that this transaction has touched; written when it ends.
    touched: BTreeMap<PersonId, Access>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(conn: &'c Connection) -> Result<Self, Fault> {
        let run = Statements::prepare(conn).map_err(|error| fault(&error))?;
        let sessions = Sessions::prepare(conn).map_err(|error| fault(&error))?;
        let outbox = Outbox::prepare(conn).map_err(|error| fault(&error))?;
        let logins = Logins::prepare(conn).map_err(|error| fault(&error))?;
        Ok(Self { conn, run, sessions, outbox, logins, touched: BTreeMap::new() })
    }

    /// Up to which record the tables are.
    pub(super) fn mark(&mut self) -> Result<Head, Fault> {
        let mark =
            self.run.mark.query_row([], |row| Ok(Head { no: unsigned(row.get(0)?), hash: row.get(1)? }));
        mark.map_err(|error| fault(&error))
    }

    fn forget(&mut self) {
        self.touched.clear();
        self.sessions.forget();
        self.logins.forget();
    }

    pub(super) fn begin(&mut self) -> Result<(), Fault> {
        self.forget();
        self.run.begin.execute([]).map(drop).map_err(|error| fault(&error))
    }

    /// Ends the transaction: all that it did is in the book, up to `mark`.
    pub(super) fn commit(&mut self, mark: Head) -> Result<(), Fault> {
        for (person, access) in std::mem::take(&mut self.touched) {
            let id = signed(person.as_u64());
            let written = if access == Access::default() {
                self.run.drop_access.execute([id])
            } else {
                self.run.set_access.execute((id, to_doc(&access)?))
            };
            written.map_err(|error| fault(&error))?;
        }
        self.sessions.write()?;
        self.logins.write()?;
        let set = self.run.set_mark.execute((signed(mark.no), mark.hash));
        set.and_then(|_| self.run.commit.execute([])).map(drop).map_err(|error| fault(&error))
    }

    /// Gives back the memory of pages that are not in use.
    pub(super) fn give_back(&self) {
        // It is a hint: where it fails, the memory stays.
        let _ = self.conn.execute_batch("PRAGMA shrink_memory");
    }

    /// Takes the oldest audit rows up to a record out, overwriting them; how many these were, 0 when none is left.
    pub(super) fn drop_audits(&mut self, upto: u64) -> Result<usize, Fault> {
        let drop = || {
            self.conn.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
            let sql =
                "DELETE FROM audit WHERE no IN (SELECT no FROM audit WHERE no <= ?1 ORDER BY no LIMIT ?2)";
            let dropped = self.conn.execute(sql, (signed(upto), DROPPED_ROWS));
            self.conn.pragma_update_and_check(None, "secure_delete", "OFF", |_| Ok(()))?;
            dropped
        };
        drop().map_err(|error: rusqlite::Error| fault(&error))
    }

    /// Undoes the transaction, if one is open.
    pub(super) fn rollback(&mut self) {
        self.forget();
        if !self.conn.is_autocommit() {
            // A failure leaves the transaction open, and the next `begin` reports it.
            let _ = self.run.rollback.execute([]);
        }
    }

    /// What of the expectation does not hold.
    pub(super) fn check(&mut self, expect: &Expect) -> Result<(), Refusal> {
        let there = match expect {
            Expect::Venue(_) => version(&mut self.run.venue_version, [])?,
            Expect::Firm(code, _) | Expect::NoFirm(code) => {
                version(&mut self.run.firm_version, [code.as_str()])?
            }
            Expect::Person(person, _) => version(&mut self.run.person_version, [signed(person.as_u64())])?,
            Expect::NoUserId(userid) => version(&mut self.run.userid, [userid.as_str()])?,
            Expect::FixSession(session, _) | Expect::NoFixSession(session) => {
                self.sessions.version(*session)?
            }
            Expect::Week(_) => version(&mut self.run.week, [])?,
        };
        let (expected, found) = match expect {
            Expect::Venue(version) | Expect::Week(version) => (Some(u64::from(*version)), there),
            Expect::Firm(_, version) | Expect::Person(_, version) | Expect::FixSession(_, version) => {
                (Some(*version), there)
            }
            Expect::NoFirm(_) | Expect::NoUserId(_) | Expect::NoFixSession(_) => (None, there),
        };
        match (expected, found) {
            (expected, found) if expected == found => Ok(()),
            (Some(_), Some(found)) => Err(Refusal::Taken(format!("{expect}: it is at {found}"))),
            (Some(_), None) => Err(Refusal::Taken(format!("{expect}: it is not there"))),
            (None, _) => Err(Refusal::Taken(format!("{expect}: it is there"))),
        }
    }

    /// Applies the changes of versioned entities: all of these records or, where one is refused, none.
    pub(super) fn versioned<'r>(&mut self, records: impl Iterator<Item = &'r Record>) -> Result<(), Refusal> {
        self.run.savepoint.execute([])?;
        let applied = records.flat_map(|record| &record.changes).try_for_each(|c| self.change(c));
        if applied.is_err() {
            self.run.rollback_to.execute([])?;
        }
        self.run.release.execute([])?;
        applied
    }

    /// Applies what no record is refused for: attempts, use of keys, numbers, mails, switches, last logins, and the audit
    /// row, whose JSON is `entry`.
    pub(super) fn rest(&mut self, no: u64, record: &Record, entry: &str) -> Result<(), Fault> {
        self.touch_all(record)?;
        self.audit(no, &record.entry, entry)
    }

    /// The same for many records in a row.
    pub(super) fn rest_of_all(&mut self, records: &[(u64, Encoded)]) -> Result<(), Fault> {
        for (_, encoded) in records {
            self.touch_all(&encoded.record)?;
        }
        let (chunks, rest) = records.as_chunks::<AUDIT_ROWS>();
        chunks.iter().try_for_each(|rows| self.audits(rows))?;
        rest.iter().try_for_each(|(no, encoded)| self.audit(*no, &encoded.record.entry, encoded.entry()))
    }

    fn touch_all(&mut self, record: &Record) -> Result<(), Fault> {
        for change in &record.changes {
            match change.target() {
                Target::Access(person) => self.touch(person)?.apply(change),
                Target::SessionUse(_) | Target::Stream(_) => self.sessions.touch(change),
                Target::Mail(_) | Target::Halt(_) => self.post(change)?,
                Target::Venue
                | Target::Firm(_)
                | Target::Person(_)
                | Target::FixSession(_)
                | Target::Week
                | Target::Everybody => {}
            }
        }
        if is_uncounted_refusal(record) {
            self.touch_somebody(&record.entry);
        }
        self.logins.note(&record.entry);
        Ok(())
    }

    /// Has somebody's attempts written anew as they are: a refused login takes as long where none is counted (S1). Where
    /// that fails nothing is missing.
    fn touch_somebody(&mut self, entry: &Entry) {
        // Spread over all people: the pages of the same few would always be at hand.
        let near = PersonId::from_random(unsigned(entry.at.as_us()).wrapping_mul(SPREAD));
        let row = self
            .run
            .some_access
            .query_row([signed(near.as_u64())], |row| Ok((person_id(row.get(0)?), row.get::<_, String>(1)?)));
        if let Ok((person, doc)) = row
            && let Ok(access) = parse("attempts", &doc)
        {
            self.touched.entry(person).or_insert(access);
        }
    }

    fn post(&mut self, change: &Change) -> Result<(), Fault> {
        match change {
            Change::MailQueued { mail } => self.outbox.queue(mail),
            Change::MailState { mail, state } => self.outbox.set(*mail, state),
            Change::Halt { scope, halt } => self.outbox.halt(scope, halt.as_ref()),
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::PersonAdded { .. }
            | Change::Password { .. }
            | Change::Authenticator { .. }
            | Change::Standing { .. }
            | Change::AuthSystem { .. }
            | Change::Profile { .. }
            | Change::KeyCodes { .. }
            | Change::Link { .. }
            | Change::Recovery { .. }
            | Change::Notices { .. }
            | Change::Tokens { .. }
            | Change::FixSession { .. }
            | Change::SessionLock { .. }
            | Change::KeyUsed { .. }
            | Change::Stream { .. }
            | Change::Week { .. }
            | Change::Attempt { .. }
            | Change::AttemptsForgotten { .. }
            | Change::Restored { .. } => Ok(()),
        }
    }

    fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::VenuePolicy { policy } => {
                self.run.set_venue.execute((policy.version, to_doc(policy)?))?;
            }
            Change::Firm { firm } => self.set_firm(&firm.code, firm)?,
            Change::PersonAdded { person } => self.add_person(person)?,
            Change::Password { person, .. }
            | Change::Authenticator { person, .. }
            | Change::Standing { person, .. }
            | Change::AuthSystem { person, .. }
            | Change::Profile { person, .. }
            | Change::KeyCodes { person, .. }
            | Change::Link { person, .. }
            | Change::Recovery { person, .. }
            | Change::Notices { person, .. }
            | Change::Tokens { person, .. } => self.change_person(*person, change)?,
            Change::MailQueued { .. } | Change::MailState { .. } | Change::Halt { .. } => {}
            Change::FixSession { session } => self.sessions.set(session)?,
            Change::Week { week } => drop(self.run.set_week.execute([*week])?),
            Change::SessionLock { .. } | Change::KeyUsed { .. } | Change::Stream { .. } => {}
            Change::Attempt { .. } | Change::AttemptsForgotten { .. } => {}
            Change::Restored { .. } => self.change_everybody(change)?,
        }
        Ok(())
    }

    /// The same change for all people: as long as it takes, as no node serves meanwhile.
    fn change_everybody(&mut self, change: &Change) -> Result<(), Refusal> {
        let ids: Vec<i64> =
            self.run.people.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        ids.into_iter().try_for_each(|id| self.change_person(person_id(id), change))
    }

    fn set_firm(&mut self, code: &FirmCode, firm: &Firm) -> Result<(), Refusal> {
        self.run.set_firm.execute((code.as_str(), signed(firm.version), to_doc(firm)?))?;
        Ok(())
    }

    fn add_person(&mut self, person: &Person) -> Result<(), Refusal> {
        let (link_hash, link_state, link_until) = link_columns(person);
        let added = self.run.add_person.execute((
            standing_name(person.standing),
            person.authenticator.is_registered(),
            is_locked(person),
            link_hash,
            link_state,
            link_until,
            signed(person.version),
            to_doc(person)?,
            signed(person.id.as_u64()),
            person.userid.as_str(),
            person.firm.as_ref().map(FirmCode::as_str),
            person.kind.id(),
        ));
        match added {
            Ok(_) => Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                let (id, userid) = (person.id, person.userid.as_str());
                Err(Refusal::Taken(format!("person {id} or user id {userid:?} is there already")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn change_person(&mut self, id: PersonId, change: &Change) -> Result<(), Refusal> {
        let doc: Option<String> =
            self.run.person.query_row([signed(id.as_u64())], |row| row.get(0)).optional()?;
        let Some(doc) = doc else { return Err(Refusal::Missing(format!("person {id} is not there"))) };
        let mut person: Person = parse("a person", &doc)?;
        let tokens = person.tokens.clone();
        person.apply(change);
        if person.tokens != tokens {
            self.set_tokens(&person)?;
        }
        let (link_hash, link_state, link_until) = link_columns(&person);
        self.run.set_person.execute((
            standing_name(person.standing),
            person.authenticator.is_registered(),
            is_locked(&person),
            link_hash,
            link_state,
            link_until,
            signed(person.version),
            to_doc(&person)?,
            signed(id.as_u64()),
        ))?;
        Ok(())
    }

    /// By which hashes a person is found.
    fn set_tokens(&mut self, person: &Person) -> Result<(), Refusal> {
        let id = signed(person.id.as_u64());
        self.run.drop_tokens.execute([id])?;
        for token in person.tokens.iter() {
            self.run.add_token.execute((token.hash.to_string(), id))?;
        }
        Ok(())
    }

    fn touch(&mut self, person: PersonId) -> Result<&mut Access, Fault> {
        use std::collections::btree_map::Entry::{Occupied, Vacant};
        match self.touched.entry(person) {
            Occupied(there) => Ok(there.into_mut()),
            Vacant(place) => {
                let id = signed(person.as_u64());
                let doc = self.run.access.query_row([id], |row| row.get::<_, String>(0)).optional();
                let access = match doc.map_err(|error| fault(&error))? {
                    Some(doc) => parse("attempts", &doc)?,
                    None => Access::default(),
                };
                Ok(place.insert(access))
            }
        }
    }

    fn audit(&mut self, no: u64, entry: &Entry, doc: &str) -> Result<(), Fault> {
        let added = bind_audit(&mut self.run.add_audit, 0, no, entry, doc);
        added.and_then(|()| self.run.add_audit.raw_execute()).map(drop).map_err(|error| fault(&error))
    }

    /// Many audit rows with one statement: each of its own would open the same indexes again, and keep the pages aside
    /// that it changes.
    fn audits(&mut self, rows: &[(u64, Encoded)]) -> Result<(), Fault> {
        let add = &mut self.run.add_audits;
        let bound = rows.iter().enumerate().try_for_each(|(nth, (no, encoded))| {
            bind_audit(add, nth * AUDIT_COLUMNS, *no, &encoded.record.entry, encoded.entry())
        });
        bound.and_then(|()| add.raw_execute()).map(drop).map_err(|error| fault(&error))
    }
}

/// Whether a login was refused and nobody's attempts counted: nobody has the user id, or the password was right.
fn is_uncounted_refusal(record: &Record) -> bool {
    record.changes.is_empty() && matches!(record.entry.event, Event::LoginRefused | Event::VerifyRefused)
}

/// Binds one audit row to a statement's parameters behind the first `base`.
fn bind_audit(
    add: &mut Statement<'_>,
    base: usize,
    no: u64,
    entry: &Entry,
    doc: &str,
) -> rusqlite::Result<()> {
    let mut at = base;
    let mut bind = |value: &dyn ToSql| {
        at += 1;
        add.raw_bind_parameter(at, value)
    };
    let stranger_or_session;
    let (person, name) = match &entry.actor {
        Actor::Unknown { begins, chars } => {
            stranger_or_session = Some(stranger(begins, *chars));
            (None, stranger_or_session.as_deref())
        }
        Actor::Person { id, .. } => {
            stranger_or_session = entry.named.as_ref().map(|named| stranger(&named.begins, named.chars));
            (Some(signed(id.as_u64())), stranger_or_session.as_deref().or_else(|| session_name(entry)))
        }
        Actor::FixSession { .. } | Actor::Local { .. } | Actor::Node | Actor::Nobody => {
            (None, session_name(entry))
        }
    };
    bind(&signed(no))?;
    bind(&entry.at.as_us())?;
    bind(&entry.event.id())?;
    bind(&entry.outcome.id())?;
    bind(&person)?;
    bind(&entry.subject.as_ref().map(|subject| signed(subject.id.as_u64())))?;
    bind(&name)?;
    bind(&entry.firm.as_ref().map(FirmCode::as_str))?;
    bind(&entry.door.id())?;
    bind(&signed(entry.attempt.0))?;
    bind(&doc)
}

/// The FIX session that an entry concerns: found by the column that for others holds what a stranger called themselves,
/// which has a `*` in it.
fn session_name(entry: &Entry) -> Option<&str> {
    entry.session.as_ref().and_then(|session| std::str::from_utf8(session.as_bytes()).ok())
}

pub(super) fn version(of: &mut Statement<'_>, key: impl rusqlite::Params) -> rusqlite::Result<Option<u64>> {
    of.query_row(key, |row| row.get(0).map(unsigned)).optional()
}
