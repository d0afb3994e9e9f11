//! Whether a book that nobody writes reads from end to end: SQLite has no checksums, so a byte that changed within a document
//! shows only when somebody reads it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use doorward_core::audit::Entry;
use doorward_core::identity::attempt::Access;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::key_pair::LastUse;
use doorward_core::identity::mail::{Mail, MailState};
use doorward_core::identity::person::Person;
use doorward_core::identity::policy::Policy;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::text::percent_encoded;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::de::DeserializeOwned;

use super::aside::mark;
use super::schema::{MIGRATIONS, fault, open_to_read, schema_of};
use crate::fault::Fault;
use crate::journal::Head;

/// Findings that are told of one book, at most.
const FINDINGS_MAX: usize = 20;

/// What a book was found to be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Up to which record it is, where that reads.
    pub mark: Option<Head>,
    /// What of it does not read, in words; none in a good one.
    pub findings: Vec<String>,
}

/// Looks at all of a book that nobody writes: its structure, and every document in it.
///
/// A fault only where it could not be looked at.
pub fn look(path: &Path) -> Result<Looked, Fault> {
    match open(path) {
        Ok(conn) => look_through(&conn),
        Err(error) => noted(Looked::default(), &error),
    }
}

/// A book in a file that has no name any more: it goes with the process, however that ends.
#[derive(Debug)]
pub struct Nameless {
    dir: PathBuf,
    file: File,
    conn: Connection,
}

impl Nameless {
    /// Begins an empty one in a directory; `id` is nobody else's.
    pub fn begin(dir: &Path, id: &str) -> Result<Self, Fault> {
        let path = dir.join(format!(".doorward-{id}-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| no_place(dir, &error))?;
        // As one that grows; nothing is read of it before it is whole.
        let conn = open_to_read(&path);
        fs::remove_file(&path).map_err(|error| Fault::disk(&path, &error))?;
        Ok(Self { dir: dir.to_owned(), file, conn: conn? })
    }

    /// Adds bytes to its end.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(|error| no_place(&self.dir, &error))
    }

    /// Looks at all of it.
    pub fn look(self) -> Result<Looked, Fault> {
        look_through(&self.conn)
    }
}

fn no_place(dir: &Path, error: &std::io::Error) -> Fault {
    let dir = dir.display();
    Fault::Disk(format!(
        "{dir}: {error}: the book is looked at in a file without a name there; the environment's TMPDIR names another place"
    ))
}

/// Opens a file that nobody writes: nothing is made beside it.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match path.to_str() {
        Some(name) => {
            let uri = format!("file:{}?immutable=1", percent_encoded(name));
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        None => Connection::open_with_flags(path, flags),
    }
}

/// An error of SQLite is a finding, unless disk or memory failed.
fn noted(mut looked: Looked, error: &rusqlite::Error) -> Result<Looked, Fault> {
    use ErrorCode::{CannotOpen, DiskFull, OutOfMemory, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(SystemIoFailure | DiskFull | OutOfMemory | CannotOpen) => Err(fault(error)),
        Some(_) | None => {
            looked.findings.push(format!("book.db: {error}"));
            Ok(looked)
        }
    }
}

fn look_through(conn: &Connection) -> Result<Looked, Fault> {
    let mut looked = Looked::default();
    let mut through = || {
        looked.findings = structure(conn)?;
        looked.mark = Some(mark(conn)?);
        documents(conn, &mut looked.findings)
    };
    match through() {
        Ok(()) => Ok(looked),
        Err(error) => noted(looked, &error),
    }
}

/// What SQLite itself finds.
fn structure(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = conn.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let texts: Vec<String> = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(texts.into_iter().filter(|text| text != "ok").map(|text| format!("book.db: {text}")).collect())
}

fn documents(conn: &Connection, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let schema = schema_of(conn)?;
    if schema > MIGRATIONS.len() {
        return Ok(()); // of a newer release: opening it says so
    }
    let mut of = Tables { conn, found, is_old: schema < MIGRATIONS.len() };
    of.each("venue", "doc, ''", |_: &Policy, _| true)?;
    of.each("firm", "doc, code", |firm: &Firm, code| firm.code.as_str() == code)?;
    of.each("person", "doc, userid", |person: &Person, userid| person.userid.as_str() == userid)?;
    of.each("access", "doc, ''", |_: &Access, _| true)?;
    of.each("fix_session", "doc, id", |session: &FixSession, id| session.id.to_string() == id)?;
    of.each("key_use", "doc, ''", |_: &LastUse, _| true)?;
    of.each("stream", "doc, name", |_: &Numbers, name| StreamKey::parse(name).is_some())?;
    of.each("outbox", "doc, ''", |_: &Mail, _| true)?;
    of.each("outbox", "mail_state, ''", |_: &MailState, _| true)?;
    of.each("halt", "doc, scope", |(of, _): &(HaltScope, Halt), scope| of.to_string() == scope)?;
    of.each("audit", "entry, ''", |_: &Entry, _| true)
}

/// Tables with documents.
struct Tables<'c> {
    conn: &'c Connection,
    found: &'c mut Vec<String>,
    /// Whether an older release made them: a table that came later is not there.
    is_old: bool,
}

impl Tables<'_> {
    /// Reads a document and what names it of each row, one row at a time.
    fn each<T: DeserializeOwned>(
        &mut self,
        table: &str,
        columns: &str,
        fits: impl Fn(&T, &str) -> bool,
    ) -> rusqlite::Result<()> {
        let there = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if self.is_old && !self.conn.prepare(there)?.exists([table])? {
            return Ok(());
        }
        let mut query = self.conn.prepare(&format!("SELECT {columns} FROM {table}"))?;
        let mut rows = query.query([])?;
        let mut nth = 0_u64;
        while let Some(row) = rows.next()? {
            nth += 1;
            let read = row.get::<_, String>(0).and_then(|doc| Ok((doc, row.get::<_, String>(1)?)));
            let what = match read {
                Err(error) => error.to_string(),
                Ok((doc, name)) => match serde_json::from_str::<T>(&doc) {
                    Ok(entity) if fits(&entity, &name) => continue,
                    Ok(_) => "it is not what its key says".to_owned(),
                    // Without the text: it may quote what is in the document.
                    Err(error) => format!("no document: at its byte {}", error.column()),
                },
            };
            if self.found.len() < FINDINGS_MAX {
                self.found.push(format!("book.db: table {table}, row {nth}: {what}"));
            }
        }
        Ok(())
    }
}
