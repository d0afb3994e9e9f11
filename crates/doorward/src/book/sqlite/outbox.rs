//! The tables of mails and of emergency switches. Nothing here is versioned: only the sender changes a mail once it is
//! queued, and of two words about a switch the last one holds.

use std::time::Duration;

use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::mail::{Mail, MailId, MailState};
use doorward_core::time::Wall;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Statement};

use super::apply::{parse, signed, to_doc, unsigned};
use super::read::{Conditions, limit_of, list};
use super::schema::fault;
use crate::book::{MailFilter, MailStage, Queued};
use crate::fault::Fault;

/// How long mails are kept once they are sent or given up.
const KEPT: Duration = Duration::from_secs(31 * 86_400);

/// The writer's side of these tables.
pub(super) struct Outbox<'c> {
    queue: Statement<'c>,
    set: Statement<'c>,
    forget_token: Statement<'c>,
    forget_done: Statement<'c>,
    throw: Statement<'c>,
    take_back: Statement<'c>,
}

impl<'c> Outbox<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            // An id is queued once: whatever became of the mail stays so.
            queue: conn.prepare(
                "INSERT INTO outbox (id, state, next_us, queued_us, firm, about, doc, mail_state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING",
            )?,
            set: conn.prepare("UPDATE outbox SET state = ?1, next_us = ?2, mail_state = ?3 WHERE id = ?4")?,
            forget_token: conn
                .prepare("UPDATE outbox SET doc = json_remove(doc, '$.secret') WHERE id = ?1")?,
            // Nothing waits for so long: all that is older is done, and the audit trail has what came of it.
            forget_done: conn.prepare("DELETE FROM outbox WHERE queued_us < ?1 AND next_us IS NULL")?,
            throw: conn.prepare(
                "INSERT INTO halt (scope, doc) VALUES (?1, ?2)
                 ON CONFLICT (scope) DO UPDATE SET doc = excluded.doc",
            )?,
            take_back: conn.prepare("DELETE FROM halt WHERE scope = ?1")?,
        })
    }

    /// Takes a mail in. It may be sent at once.
    pub(super) fn queue(&mut self, mail: &Mail) -> Result<(), Fault> {
        let state = MailState::Waiting { tries: 0, next_us: mail.queued_at, error: None };
        let (stage, next) = stage(&state);
        let row = (
            signed(mail.id.as_u64()),
            stage.id(),
            next,
            mail.queued_at.as_us(),
            mail.firm.as_ref().map(FirmCode::as_str),
            mail.about.map(|person| signed(person.as_u64())),
            to_doc(mail)?,
            to_doc(&state)?,
        );
        self.queue.execute(row).map(drop).map_err(|error| fault(&error))
    }

    /// Notes what became of a mail. A link's token is of no use once nothing is to be sent. What was done long before
    /// goes along: by the record's own times, so that a book built anew is the same.
    pub(super) fn set(&mut self, mail: MailId, state: &MailState) -> Result<(), Fault> {
        let (stage, next) = stage(state);
        let id = signed(mail.as_u64());
        let set = self.set.execute((stage.id(), next, to_doc(state)?, id));
        let set = match state {
            MailState::Waiting { .. } => set,
            MailState::Sent { at_us } | MailState::GivenUp { at_us, .. } => set
                .and_then(|_| self.forget_token.execute([id]))
                .and_then(|_| self.forget_done.execute([(*at_us - KEPT).as_us()])),
        };
        set.map(drop).map_err(|error| fault(&error))
    }

    /// Throws a switch or takes it back.
    pub(super) fn halt(&mut self, scope: &HaltScope, halt: Option<&Halt>) -> Result<(), Fault> {
        let name = scope.to_string();
        let done = match halt {
            Some(halt) => self.throw.execute((name, to_doc(&(scope, halt))?)),
            None => self.take_back.execute([name]),
        };
        done.map(drop).map_err(|error| fault(&error))
    }
}

/// What the columns say of a state: its stage, and when the mail is due, if it is to be sent.
fn stage(state: &MailState) -> (MailStage, Option<i64>) {
    match state {
        MailState::Waiting { tries: 0, next_us, .. } => (MailStage::Waiting, Some(next_us.as_us())),
        MailState::Waiting { next_us, .. } => (MailStage::Delayed, Some(next_us.as_us())),
        MailState::Sent { .. } => (MailStage::Sent, None),
        MailState::GivenUp { .. } => (MailStage::GivenUp, None),
    }
}

const QUEUED: &str = "SELECT doc, mail_state FROM outbox";

pub(super) fn due(conn: &Connection, now: Wall, limit: usize) -> Result<Vec<Queued>, Fault> {
    queued(conn, &due_sql(), vec![Value::Integer(now.as_us()), limit_of(limit)])
}

pub(super) fn due_sql() -> String {
    format!("{QUEUED} WHERE next_us IS NOT NULL AND next_us <= ? ORDER BY next_us, id LIMIT ?")
}

pub(super) fn next_due(conn: &Connection) -> Result<Option<Wall>, Fault> {
    let sql = "SELECT next_us FROM outbox WHERE next_us IS NOT NULL ORDER BY next_us LIMIT 1";
    let next = conn.query_row(sql, [], |row| row.get(0)).optional();
    Ok(next.map_err(|error| fault(&error))?.map(Wall::from_us))
}

pub(super) fn waiting(conn: &Connection) -> Result<u64, Fault> {
    let sql = "SELECT count(*) FROM outbox WHERE next_us IS NOT NULL";
    conn.query_row(sql, [], |row| row.get(0).map(unsigned)).map_err(|error| fault(&error))
}

pub(super) fn mail(conn: &Connection, id: MailId) -> Result<Option<Queued>, Fault> {
    let found = queued(conn, &format!("{QUEUED} WHERE id = ?"), vec![signed(id.as_u64()).into()])?;
    Ok(found.into_iter().next())
}

pub(super) fn mails(
    conn: &Connection,
    filter: &MailFilter,
    before: Option<(Wall, MailId)>,
    limit: usize,
) -> Result<Vec<Queued>, Fault> {
    let (sql, mut values) = mails_sql(filter, before);
    values.push(limit_of(limit));
    queued(conn, &sql, values)
}

/// The statement for a page of mails, with its values but for the last, the limit.
pub(super) fn mails_sql(filter: &MailFilter, before: Option<(Wall, MailId)>) -> (String, Vec<Value>) {
    let MailFilter { firm, about, stage, unsent, failed } = filter;
    let mut when = Conditions::default();
    when.and_text("firm = ?", firm.as_ref().map(FirmCode::as_str));
    when.and("about = ?", about.map(|person: PersonId| signed(person.as_u64())));
    when.and_text("state = ?", stage.map(MailStage::id));
    if *unsent || *failed {
        // What the indexes of unsent mails say of themselves, word by word.
        when.say("state IN ('waiting', 'delayed', 'given-up')");
    }
    if *failed {
        when.say("state <> 'waiting'");
    }
    if let Some((queued, id)) = before {
        when.and_two("(queued_us, id) < (?, ?)", [queued.as_us(), signed(id.as_u64())]);
    }
    (format!("{QUEUED}{} ORDER BY queued_us DESC, id DESC LIMIT ?", when.sql()), when.into_values())
}

fn queued(conn: &Connection, sql: &str, values: Vec<Value>) -> Result<Vec<Queued>, Fault> {
    let rows: Vec<(String, String)> = list(conn, sql, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.iter()
        .map(|(mail, state)| {
            Ok(Queued { mail: parse("a mail", mail)?, state: parse("the state of a mail", state)? })
        })
        .collect()
}

pub(super) fn halts(conn: &Connection) -> Result<Vec<(HaltScope, Halt)>, Fault> {
    let doc = |row: &Row<'_>| row.get(0);
    let rows: Vec<String> = list(conn, "SELECT doc FROM halt ORDER BY scope", Vec::new(), doc)?;
    rows.iter().map(|doc| parse("an emergency switch", doc)).collect()
}
