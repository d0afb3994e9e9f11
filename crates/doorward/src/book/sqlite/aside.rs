//! The book as a file of its own: copied while it is written to (backup), and set aside for records that are dropped.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::apply::{signed, unsigned};
use super::replay::remove_database;
use super::schema::{fault, open_to_read};
use super::{FILE, NEW_FILE};
use crate::fault::Fault;
use crate::journal::{self, Disk, Hash, Head};

/// The copy that is made smaller before it is set aside; one that a crash left is removed with the next.
const COPY_FILE: &str = "book.db.copy";

/// Writes all that `conn` shows at this moment into a new file, durably (mode 0600); up to which record that is.
///
/// The writer goes on meanwhile. A fault leaves the file, which is then none.
pub(super) fn copy(conn: &Connection, to: &Path) -> Result<Head, Fault> {
    // SQLite writes into a file that is there only if it is empty, and leaves it its mode.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| Fault::disk(to, &error))?;
    let Some(name) = to.to_str() else {
        return Err(Fault::Disk(format!("{}: a path for a copy of the book must be UTF-8", to.display())));
    };
    conn.execute("VACUUM INTO ?1", [name]).map_err(|error| fault(&error))?;
    sync(to)?;
    mark(&open_to_read(to)?).map_err(|error| fault(&error))
}

/// The same of the book in `dir`, beside the instance that writes it or without one; `None` where there is no book.
pub fn copy_beside(dir: &Path, to: &Path) -> Result<Option<Head>, Fault> {
    let path = dir.join(FILE);
    if path.exists() { copy(&open_to_read(&path)?, to).map(Some) } else { Ok(None) }
}

/// Makes a file durable, with its name.
fn sync(path: &Path) -> Result<(), Fault> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(path).and_then(|file| file.sync_all()).and_then(|()| File::open(dir)?.sync_all());
    synced.map_err(|error| Fault::disk(path, &error))
}

fn mark(conn: &Connection) -> rusqlite::Result<Head> {
    conn.query_row("SELECT no, hash FROM mark", [], |row| {
        Ok(Head { no: unsigned(row.get(0)?), hash: row.get(1)? })
    })
}

/// Sets aside, on the journal's disk and durably, what the book shows without the records up to `upto`; the SHA-256 of it.
pub(super) fn set_aside(conn: &Connection, dir: &Path, disk: &dyn Disk, upto: u64) -> Result<Hash, Fault> {
    let path = dir.join(COPY_FILE);
    remove_database(&path)?;
    let lay = || {
        copy(conn, &path)?;
        without(&path, upto).map_err(|error| fault(&error))?;
        let mut file = File::open(&path).map_err(|error| Fault::disk(&path, &error))?;
        journal::lay_book(disk, upto, &mut file)
    };
    let laid = lay();
    remove_database(&path)?;
    laid
}

/// Takes the audit rows up to a record out of a copy, so that nothing of them is left in the file.
fn without(path: &Path, upto: u64) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    // Its content is synced when it is laid beside the journal.
    conn.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.execute("DELETE FROM audit WHERE no <= ?1", [signed(upto)])?;
    conn.execute_batch("VACUUM")?;
    conn.close().map_err(|(_, error)| error)
}

/// Lays the book that was set aside, where the journal's first records were dropped, at `path`; whether it did.
///
/// [`Fault::Damaged`] where it is not the one that was signed.
pub(super) fn take(disk: &dyn Disk, path: &Path) -> Result<bool, Fault> {
    if journal::first_record(disk)? <= 1 {
        return Ok(false);
    }
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| Fault::disk(path, &error))?;
    journal::take_book(disk, &mut file).inspect_err(|_| drop(fs::remove_file(path)))?;
    file.sync_all().map_err(|error| Fault::disk(path, &error))?;
    Ok(true)
}

/// Begins the book anew from the one set aside, where it is not there or stands before the journal's first record: a
/// power cut may take its last transactions.
pub(super) fn take_if_behind(dir: &Path, disk: &dyn Disk) -> Result<(), Fault> {
    let first = journal::first_record(disk)?;
    let (path, new) = (dir.join(FILE), dir.join(NEW_FILE));
    if first <= 1 || stands_at(&path)?.is_some_and(|mark| mark.saturating_add(1) >= first) {
        return Ok(());
    }
    remove_database(&new)?;
    take(disk, &new)?;
    tracing::warn!(
        first,
        "the book was not there, or stood before the journal: it begins with the one set aside"
    );
    remove_database(&path)?;
    let renamed = fs::rename(&new, &path).and_then(|()| File::open(dir)?.sync_all());
    renamed.map_err(|error| Fault::disk(&path, &error))
}

/// Up to which record a book is; `None` where there is none, or nothing in it.
fn stands_at(path: &Path) -> Result<Option<u64>, Fault> {
    if !path.exists() {
        return Ok(None);
    }
    let conn = open_to_read(path)?;
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mark'";
    let there = conn.query_row(table, [], |_| Ok(())).optional().map_err(|error| fault(&error))?;
    let mark = there.map(|()| mark(&conn)).transpose().map_err(|error| fault(&error))?;
    Ok(mark.map(|mark| mark.no))
}

/// The last of these heads, one behind another, up to which all records are older than an instant.
pub(super) fn older(conn: &Connection, heads: &[Head], before_us: i64) -> Result<Option<Head>, Fault> {
    let find = || {
        let sql = "SELECT 1 FROM audit WHERE no > ?1 AND no <= ?2 AND at_us >= ?3 LIMIT 1";
        let mut young = conn.prepare(sql)?;
        let mut old = None;
        for head in heads {
            let after = old.map_or(0, |head: Head| head.no);
            if young.exists((signed(after), signed(head.no), before_us))? {
                break;
            }
            old = Some(*head);
        }
        Ok(old)
    };
    find().map_err(|error: rusqlite::Error| fault(&error))
}
