//! Queries, each one statement, so that each sees one moment.

use std::collections::BTreeMap;

use doorward_core::audit::{Door, Entry, Event};
use doorward_core::id::{AccessKeyId, FirmCode, PersonId, SessionId, UserId};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::key_pair::LastUse;
use doorward_core::identity::person::{Kind, Person, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::Wall;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::de::DeserializeOwned;

use super::apply::{parse, signed, stranger, unsigned};
use super::schema::{REMEDY, fault};
use crate::book::{AuditFilter, LastLogin, LinkIs, Listed, Load, PeopleFilter, Snapshot};
use crate::fault::Fault;

const VENUE: &str = "SELECT doc, NULL, NULL, NULL FROM venue";
const FIRM: &str = "SELECT v.doc, f.doc, NULL, NULL FROM venue v LEFT JOIN firm f ON f.code = ?1";
// Where nobody has the user id the next one's row is read, by the same steps, and thrown away again: a login is not to show
// by its time whether there is such a user (S1).
pub(super) const BY_USERID: &str = "SELECT v.doc, f.doc, p.doc, a.doc FROM venue v
     LEFT JOIN person p ON p.id = coalesce(
         (SELECT id FROM person WHERE userid >= ?1 ORDER BY userid LIMIT 1), (SELECT min(id) FROM person))
     LEFT JOIN firm f ON f.code = p.firm LEFT JOIN access a ON a.person = p.id";
// The last link that a person was given; it alone can be live (K2).
const BY_LINK: &str = "SELECT v.doc, f.doc, p.doc, a.doc FROM venue v
     LEFT JOIN person p ON p.link_hash = ?1 LEFT JOIN firm f ON f.code = p.firm LEFT JOIN access a ON a.person = p.id";
const BY_TOKEN: &str = "SELECT v.doc, f.doc, p.doc, a.doc FROM venue v
     LEFT JOIN token t ON t.hash = ?1 LEFT JOIN person p ON p.id = t.person LEFT JOIN firm f ON f.code = p.firm
     LEFT JOIN access a ON a.person = p.id";
const BY_PERSON: &str = "SELECT v.doc, f.doc, p.doc, a.doc FROM venue v
     LEFT JOIN person p ON p.id = ?1 LEFT JOIN firm f ON f.code = p.firm LEFT JOIN access a ON a.person = p.id";

pub(super) fn snapshot(conn: &Connection, what: &Load) -> Result<Snapshot, Fault> {
    let row = match what {
        Load::Venue => conn.query_row(VENUE, [], docs),
        Load::Firm(code) => conn.query_row(FIRM, [code.as_str()], docs),
        Load::UserId(userid) => conn.query_row(BY_USERID, [userid.as_str()], docs),
        Load::Link(hash) => conn.query_row(BY_LINK, [hash.to_string()], docs),
        Load::Token(hash) => conn.query_row(BY_TOKEN, [hash.to_string()], docs),
        Load::Person(person) => conn.query_row(BY_PERSON, [signed(person.as_u64())], docs),
        Load::FixSession(session) => return session_snapshot(conn, BY_SESSION, &session.to_string()),
        Load::AccessKey(key) => return session_snapshot(conn, BY_ACCESS_KEY, &key.to_string()),
    };
    let (venue, firm, person, access) = row.map_err(|error| fault(&error))?;
    let snapshot = Snapshot {
        venue: parse("the venue's policy", &venue)?,
        firm: parse_some("a firm", firm)?,
        person: parse_some("a person", person)?,
        access: parse_some("attempts", access)?,
        ..Snapshot::default()
    };
    let is_another = |person: &&Person| matches!(what, Load::UserId(userid) if person.userid != *userid);
    let instead = snapshot.person.as_ref().filter(is_another).map(|person| person.id);
    if instead.is_some() {
        return Ok(Snapshot { venue: snapshot.venue, instead, ..Snapshot::default() });
    }
    Ok(snapshot)
}

const BY_SESSION: &str = "SELECT v.doc, f.doc, s.doc, l.locked_us,
     (SELECT json_group_object(u.access_key, json(u.doc)) FROM key_use u WHERE u.session = s.id) FROM venue v
     LEFT JOIN fix_session s ON s.id = ?1 LEFT JOIN firm f ON f.code = s.firm
     LEFT JOIN session_lock l ON l.session = s.id";
const BY_ACCESS_KEY: &str = "SELECT v.doc, f.doc, s.doc, l.locked_us,
     (SELECT json_group_object(u.access_key, json(u.doc)) FROM key_use u WHERE u.session = s.id) FROM venue v
     LEFT JOIN access_key k ON k.id = ?1 LEFT JOIN fix_session s ON s.id = k.session
     LEFT JOIN firm f ON f.code = s.firm LEFT JOIN session_lock l ON l.session = s.id";

fn session_snapshot(conn: &Connection, sql: &str, id: &str) -> Result<Snapshot, Fault> {
    type Row = (String, Option<String>, Option<String>, Option<i64>, Option<String>);
    let row = conn
        .query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    let (venue, firm, session, locked, keys): Row = row.map_err(|error| fault(&error))?;
    let session: Option<FixSession> = parse_some("a FIX session", session)?;
    let keys = parse_some("uses of key pairs", keys)?.unwrap_or_default();
    let session_use = session.is_some().then_some(SessionUse { locked: locked.map(Wall::from_us), keys });
    Ok(Snapshot {
        venue: parse("the venue's policy", &venue)?,
        firm: parse_some("a firm", firm)?,
        session,
        session_use,
        ..Snapshot::default()
    })
}

pub(super) fn sessions(conn: &Connection) -> Result<Vec<(FixSession, SessionUse)>, Fault> {
    let sql = "SELECT s.doc, l.locked_us FROM fix_session s LEFT JOIN session_lock l ON l.session = s.id ORDER BY s.id";
    let rows: Vec<(String, Option<i64>)> = list(conn, sql, Vec::new(), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let uses: Vec<(String, String, String)> =
        list(conn, "SELECT session, access_key, doc FROM key_use", Vec::new(), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let mut keys: BTreeMap<SessionId, BTreeMap<AccessKeyId, LastUse>> = BTreeMap::new();
    for (session, key, doc) in uses {
        let id = SessionId::parse(session.as_bytes()).zip(AccessKeyId::parse(key.as_bytes()));
        let (session, key) = id.ok_or_else(|| odd("use of a key pair", &key))?;
        keys.entry(session).or_default().insert(key, parse("the use of a key pair", &doc)?);
    }
    rows.iter()
        .map(|(doc, locked)| {
            let session: FixSession = parse("a FIX session", doc)?;
            let keys = keys.remove(&session.id).unwrap_or_default();
            Ok((session, SessionUse { locked: locked.map(Wall::from_us), keys }))
        })
        .collect()
}

pub(super) fn streams(conn: &Connection) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
    let rows: Vec<(String, String)> =
        list(conn, "SELECT name, doc FROM stream ORDER BY name", Vec::new(), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    rows.iter()
        .map(|(name, doc)| {
            let stream = StreamKey::parse(name).ok_or_else(|| odd("stream", name))?;
            Ok((stream, parse("the numbers of a stream", doc)?))
        })
        .collect()
}

pub(super) fn week(conn: &Connection) -> Result<u32, Fault> {
    conn.query_row("SELECT no FROM week", [], |row| row.get(0)).map_err(|error| fault(&error))
}

fn odd(what: &str, name: &str) -> Fault {
    Fault::Damaged(format!("book.db: a {what} has the odd name {name:?}: {REMEDY}"))
}

type Docs = (String, Option<String>, Option<String>, Option<String>);

fn docs(row: &Row<'_>) -> rusqlite::Result<Docs> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn parse_some<T: DeserializeOwned>(what: &str, doc: Option<String>) -> Result<Option<T>, Fault> {
    doc.map(|doc| parse(what, &doc)).transpose()
}

pub(super) fn accesses(conn: &Connection) -> Result<Vec<(PersonId, Access)>, Fault> {
    let rows: Vec<(i64, String)> =
        list(conn, "SELECT person, doc FROM access ORDER BY person", Vec::new(), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    rows.iter().map(|(person, doc)| Ok((person_id(*person), parse("attempts", doc)?))).collect()
}

pub(super) fn firms(conn: &Connection) -> Result<Vec<Firm>, Fault> {
    let rows: Vec<String> = list(conn, "SELECT doc FROM firm ORDER BY code", Vec::new(), |row| row.get(0))?;
    rows.iter().map(|doc| parse("a firm", doc)).collect()
}

pub(super) fn people(
    conn: &Connection,
    filter: &PeopleFilter,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<Listed>, Fault> {
    let (sql, mut values) = people_sql(filter, after);
    values.push(limit_of(limit));
    type Row = (String, Option<i64>, Option<String>);
    let rows: Vec<Row> = list(conn, &sql, values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.iter()
        .map(|(doc, at, door)| {
            let last_login = at.zip(door.as_deref()).map(|(at, door)| login(at, door)).transpose()?;
            Ok(Listed { person: parse("a person", doc)?, last_login })
        })
        .collect()
}

/// The statement for a page of people, with its values but for the last, the limit.
pub(super) fn people_sql(filter: &PeopleFilter, after: Option<&UserId>) -> (String, Vec<Value>) {
    let mut when = conditions(filter);
    when.and_text("userid > ?", after.map(UserId::as_str));
    let sql = format!(
        "SELECT p.doc, l.at_us, l.door FROM person p LEFT JOIN last_login l ON l.person = p.id{}
         ORDER BY userid LIMIT ?",
        when.sql()
    );
    (sql, when.values)
}

/// Counted up to `most`: a count of very many would be read through to its end.
pub(super) fn people_count(conn: &Connection, filter: &PeopleFilter, most: usize) -> Result<usize, Fault> {
    let (sql, mut values) = people_count_sql(filter);
    values.push(limit_of(most));
    let count: i64 = conn
        .prepare(&sql)
        .and_then(|mut query| query.query_row(params_from_iter(values), |row| row.get(0)))
        .map_err(|error| fault(&error))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The statement for a count, with its values but for the last, the most that is counted.
pub(super) fn people_count_sql(filter: &PeopleFilter) -> (String, Vec<Value>) {
    let when = conditions(filter);
    (format!("SELECT count(*) FROM (SELECT 1 FROM person p{} LIMIT ?)", when.sql()), when.values)
}

/// What a filter says, where it can in the words of the index that holds its few among the many.
fn conditions(filter: &PeopleFilter) -> Conditions {
    let PeopleFilter { firm, kind, standing, text, auth_system, registered, locked, never_signed_in, link } =
        filter;
    let mut when = Conditions::default();
    when.and_text("firm = ?", firm.as_ref().map(FirmCode::as_str));
    // Nearly all are traders: where another filter picks out few, its index is the better one, and `+` says so.
    let few = *locked
        || *never_signed_in
        || *registered == Some(false)
        || *standing == Some(Standing::Disabled)
        || matches!(link, Some((LinkIs::Live | LinkIs::Expired, _)));
    let of_kind = if few && *kind == Some(Kind::Trader) { "+kind = ?" } else { "kind = ?" };
    when.and_text(of_kind, kind.map(Kind::id));
    match standing {
        Some(Standing::Disabled) => when.say("standing = 'disabled'"),
        Some(Standing::Active) => when.say("standing = 'active'"),
        None => {}
    }
    when.and_text("doc ->> 'auth_system' = ?", auth_system.map(AuthSystem::name));
    match registered {
        Some(true) => when.say("registered = 1"),
        Some(false) => when.say("registered = 0"),
        None => {}
    }
    if *locked {
        when.say("locked = 1");
    }
    if *never_signed_in {
        when.say("signed_in = 0");
    }
    match link {
        Some((LinkIs::Live, now)) => {
            when.say("link_state IN ('live', 'expired')");
            when.and("link_state = 'live' AND link_until_us > ?", Some(now.as_us()));
        }
        Some((LinkIs::Expired, now)) => {
            when.say("link_state IN ('live', 'expired')");
            when.and("(link_state = 'expired' OR link_until_us <= ?)", Some(now.as_us()));
        }
        Some((LinkIs::None, _)) => when.say("(link_state IS NULL OR link_state IN ('used', 'revoked'))"),
        None => {}
    }
    let begins = text.as_deref().map(canonical);
    when.and("userid < ?", begins.as_deref().and_then(behind_all_that_begin));
    when.and("userid >= ?", begins);
    when
}

pub(super) fn last_login(conn: &Connection, person: PersonId) -> Result<Option<LastLogin>, Fault> {
    let sql = "SELECT at_us, door FROM last_login WHERE person = ?1";
    let row = conn
        .query_row(sql, [signed(person.as_u64())], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional();
    row.map_err(|error| fault(&error))?.map(|(at, door)| login(at, &door)).transpose()
}

fn login(at: i64, door: &str) -> Result<LastLogin, Fault> {
    let known = Door::from_id(door).ok_or_else(|| odd("door", door))?;
    Ok(LastLogin { at: Wall::from_us(at), door: known })
}

pub(super) fn firms_unserved(conn: &Connection, limit: usize) -> Result<Vec<FirmCode>, Fault> {
    let sql = "SELECT code FROM firm f WHERE NOT EXISTS
               (SELECT 1 FROM person WHERE firm = f.code AND kind = 'admin') ORDER BY code LIMIT ?";
    let rows: Vec<String> = list(conn, sql, vec![limit_of(limit)], |row| row.get(0))?;
    rows.iter().map(|code| FirmCode::parse(code).map_err(|_| odd("firm", code))).collect()
}

pub(super) fn administrators(conn: &Connection, firm: Option<&FirmCode>) -> Result<Vec<Person>, Fault> {
    let (sql, values) = match firm {
        Some(code) => (
            "SELECT doc FROM person WHERE firm = ? AND kind = 'admin' ORDER BY userid",
            vec![Value::Text(code.as_str().to_owned())],
        ),
        None => ("SELECT doc FROM person WHERE kind = 'desk' ORDER BY userid", Vec::new()),
    };
    let rows: Vec<String> = list(conn, sql, values, |row| row.get(0))?;
    rows.iter().map(|doc| parse("a person", doc)).collect()
}

pub(super) fn links_past(conn: &Connection, now: Wall, limit: usize) -> Result<Vec<PersonId>, Fault> {
    let sql = "SELECT id FROM person WHERE link_state = 'live' AND link_until_us <= ? ORDER BY link_until_us LIMIT ?";
    let rows: Vec<i64> =
        list(conn, sql, vec![Value::Integer(now.as_us()), limit_of(limit)], |row| row.get(0))?;
    Ok(rows.into_iter().map(person_id).collect())
}

/// A person's id from its column. Its top bit is always 0, so shifting it out and in again changes nothing.
pub(super) fn person_id(number: i64) -> PersonId {
    PersonId::from_random(unsigned(number) << 1)
}

/// Which way the audit is walked, and from where.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Newest first, from before a number on.
    Down { before: Option<u64> },
    /// Oldest first, from behind a number on.
    Up { after: u64 },
}

impl Way {
    const fn order(self) -> &'static str {
        match self {
            Self::Down { .. } => "DESC",
            Self::Up { .. } => "ASC",
        }
    }
}

pub(super) fn audit(
    conn: &Connection,
    filter: &AuditFilter,
    way: Way,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, Fault> {
    let Some((sql, mut values)) = audit_sql(conn, filter, way, limit)? else { return Ok(Vec::new()) };
    values.push(limit_of(limit));
    let rows: Vec<(i64, String)> = list(conn, &sql, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.iter().map(|(no, doc)| Ok((unsigned(*no), parse("an audit record", doc)?))).collect()
}

/// The statement for a page of records, with its values but for the last, the limit; `None`: there are none.
pub(super) fn audit_sql(
    conn: &Connection,
    filter: &AuditFilter,
    way: Way,
    limit: usize,
) -> Result<Option<(String, Vec<Value>)>, Fault> {
    let AuditFilter { person, userid, firm, session, event, outcome, door, attempt, since, until } = filter;
    let mut when = Conditions::default();
    match way {
        Way::Down { before } => when.and("no < ?", before.map(signed)),
        Way::Up { after } => when.and("no > ?", Some(signed(after))),
    }
    // A person has fewer records than a firm: the plus keeps the firm's index out of it.
    let is_narrow = person.is_some() || userid.is_some() || session.is_some() || attempt.is_some();
    when.and_text(if is_narrow { "+firm = ?" } else { "firm = ?" }, firm.as_ref().map(FirmCode::as_str));
    when.and("name = ?", session.map(|session| session.to_string()));
    when.and_text("event = ?", event.map(doorward_core::audit::Event::id));
    if event.is_some_and(|event| !matches!(event, Event::LogonGranted | Event::LogonRefused)) {
        // What the index of events says of itself, word by word.
        when.say("event NOT IN ('logon-granted', 'logon-refused')");
    }
    when.and_text("outcome = ?", outcome.map(doorward_core::audit::Outcome::id));
    when.and_text("door = ?", door.map(doorward_core::audit::Door::id));
    when.and("attempt = ?", attempt.map(|attempt| signed(attempt.0)));
    when.and("at_us >= ?", since.map(doorward_core::time::Wall::as_us));
    when.and("at_us < ?", until.map(doorward_core::time::Wall::as_us));
    let named = match userid {
        Some(text) => Some(who_is(conn, text)?),
        None => None,
    };
    let branches = match (person, named) {
        (None, None) => vec![when],
        (Some(person), None) => when.by_or_on(signed(person.as_u64())),
        (None, Some((id, name))) => {
            let mut branches = id.map(|id| when.clone().by_or_on(id)).unwrap_or_default();
            branches.push(when.with("name = ?", name));
            branches
        }
        (Some(person), Some((id, _))) if id == Some(signed(person.as_u64())) => {
            when.by_or_on(signed(person.as_u64()))
        }
        // Two people: a record may concern both, one as the other's administrator.
        (Some(person), Some((Some(id), _))) => {
            let person = signed(person.as_u64());
            vec![
                when.clone().with("person = ?", person).with("subject = ?", id),
                when.with("subject = ?", person).with("person = ?", id),
            ]
        }
        (Some(_), Some((None, _))) => return Ok(None),
    };
    Ok(Some(walk(branches, way, limit)))
}

/// The first records over all branches, each of which an index walks from one end.
fn walk(branches: Vec<Conditions>, way: Way, limit: usize) -> (String, Vec<Value>) {
    let (mut parts, mut values, order) = (Vec::new(), Vec::new(), way.order());
    for branch in branches {
        let when = branch.sql();
        parts.push(format!("SELECT * FROM (SELECT no, entry FROM audit{when} ORDER BY no {order} LIMIT ?)"));
        values.extend(branch.values);
        values.push(limit_of(limit));
    }
    (format!("{} ORDER BY no {order} LIMIT ?", parts.join(" UNION ")), values)
}

/// The person with a user id, if there is one, and how a record names it if nobody had it.
fn who_is(conn: &Connection, text: &str) -> Result<(Option<i64>, String), Fault> {
    let name = stranger(&text.chars().take(3).collect::<String>(), text.chars().count());
    let Ok(userid) = UserId::parse(text) else { return Ok((None, name)) };
    let sql = "SELECT id FROM person WHERE userid = ?1";
    let id = conn.query_row(sql, [userid.as_str()], |row| row.get(0)).optional();
    Ok((id.map_err(|error| fault(&error))?, name))
}

/// Conditions that all hold, with their values.
#[derive(Default, Clone)]
pub(super) struct Conditions {
    texts: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    pub(super) fn and(&mut self, text: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.texts.push(text);
            self.values.push(value.into());
        }
    }

    pub(super) fn and_text(&mut self, text: &'static str, value: Option<&str>) {
        self.and(text, value.map(str::to_owned));
    }

    /// A condition that has no value.
    pub(super) fn say(&mut self, text: &'static str) {
        self.texts.push(text);
    }

    pub(super) fn and_two(&mut self, text: &'static str, values: [i64; 2]) {
        self.texts.push(text);
        self.values.extend(values.map(Value::Integer));
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }

    fn with(mut self, text: &'static str, value: impl Into<Value>) -> Self {
        self.and(text, Some(value));
        self
    }

    /// By somebody, or on them.
    fn by_or_on(self, id: i64) -> Vec<Self> {
        vec![self.clone().with("person = ?", id), self.with("subject = ?", id)]
    }

    pub(super) fn sql(&self) -> String {
        if self.texts.is_empty() { String::new() } else { format!(" WHERE {}", self.texts.join(" AND ")) }
    }
}

pub(super) fn limit_of(limit: usize) -> Value {
    Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The beginning of a user id in the form in which user ids are kept.
fn canonical(text: &str) -> String {
    UserId::parse(text).map_or_else(|_| text.to_lowercase(), String::from)
}

/// The least text behind all that begin with `prefix`, in the order of code points; `None` where there is none.
fn behind_all_that_begin(prefix: &str) -> Option<String> {
    let mut kept: Vec<char> = prefix.chars().collect();
    while let Some(last) = kept.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

pub(super) fn list<T>(
    conn: &Connection,
    sql: &str,
    values: Vec<Value>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Fault> {
    let rows = || -> rusqlite::Result<Vec<T>> {
        conn.prepare(sql)?.query_map(params_from_iter(values), read)?.collect()
    };
    rows().map_err(|error| fault(&error))
}
