//! The book as a file of its own: copied while it is written to (backup), and set aside for records that are dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorward_core::text::percent_encoded;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::apply::{signed, unsigned};
use super::replay::remove_database;
use super::schema::{fault, open_to_read};
use super::{FILE, NEW_FILE};
use crate::fault::Fault;
use crate::journal::{self, Disk, Hash, Head, free_bytes_at, room_for};

/// The copy that is set aside, while it is made; one that a crash left is removed with the next.
const COPY_FILE: &str = "book.db.copy";
/// Numbers of audit rows that are copied between two looks at what there is to heed.
const PIECE: u64 = 10_000;
/// The longest time between two records that counts as lived.
const STOOD_STILL_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Writes all that `conn` shows at this moment into a new file, durably (mode 0600); up to which record that is.
///
/// The writer goes on meanwhile. A fault leaves the file, which is then none; where there is no room for it, none is made.
pub(super) fn copy(conn: &Connection, to: &Path) -> Result<Head, Fault> {
    let dir = folder_of(to);
    let free = free_bytes_at(dir).map_err(|error| Fault::disk(dir, &error))?;
    room_for(&dir.display().to_string(), free, bytes_of(conn, "main").map_err(|error| fault(&error))?)?;
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
    let dir = folder_of(path);
    let synced = File::open(path).and_then(|file| file.sync_all()).and_then(|()| File::open(dir)?.sync_all());
    synced.map_err(|error| Fault::disk(path, &error))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How long a copy of a database is at most, in bytes.
fn bytes_of(conn: &Connection, schema: &str) -> rusqlite::Result<u64> {
    let pragma = |name: &str| {
        conn.query_row(&format!("PRAGMA {schema}.{name}"), [], |row| row.get::<_, i64>(0)).map(unsigned)
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}

pub(super) fn mark(conn: &Connection) -> rusqlite::Result<Head> {
    conn.query_row("SELECT no, hash FROM mark", [], |row| {
        Ok(Head { no: unsigned(row.get(0)?), hash: row.get(1)? })
    })
}

/// Sets aside, on the journal's disk and durably, what the book in `dir` shows without the records up to `upto`; the
/// SHA-256 of it.
///
/// It is made without them, not made smaller: nothing of them is in it, and there is no file elsewhere.
pub(super) fn set_aside(dir: &Path, disk: &dyn Disk, upto: u64, stop: &AtomicBool) -> Result<Hash, Fault> {
    let path = dir.join(COPY_FILE);
    remove_database(&path)?;
    let lay = || {
        build_without(dir, &path, upto, stop)?;
        let failed = |error: io::Error| Fault::disk(&path, &error);
        let file = File::open(&path).map_err(failed)?;
        let free = disk.free_bytes().map_err(|error| Fault::disk(Path::new(&disk.place()), &error))?;
        room_for(&disk.place(), free, file.metadata().map_err(failed)?.len())?;
        let laid = journal::lay_book(disk, upto, &mut Until { file, stop });
        laid.map_err(|fault| if stop.load(Ordering::Relaxed) { Fault::Stopping } else { fault })
    };
    let laid = lay();
    remove_database(&path)?;
    laid
}

/// A file that is read until there is something else to do.
struct Until<'s> {
    file: File,
    stop: &'s AtomicBool,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            Err(io::Error::other("stopping"))
        } else {
            self.file.read(buffer)
        }
    }
}

/// Makes a database at `path` of the book in `dir`, as it is at this moment, without its audit rows up to one.
fn build_without(dir: &Path, path: &Path, upto: u64, stop: &AtomicBool) -> Result<(), Fault> {
    // SQLite writes into a file that is there only if it is empty, and leaves it its mode.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| Fault::disk(path, &error))?;
    let failed = |error: rusqlite::Error| fault(&error);
    let conn = open_beside(dir, path).map_err(failed)?;
    conn.execute_batch("BEGIN").map_err(failed)?;
    let tables = lay_schema(&conn).map_err(failed)?;
    let heed = || {
        if stop.load(Ordering::Relaxed) {
            return Err(Fault::Stopping);
        }
        let free = free_bytes_at(dir).map_err(|error| Fault::disk(dir, &error))?;
        // How much is left without the old rows shows only when it is made.
        room_for(&dir.display().to_string(), free, 0)
    };
    for table in tables.iter().filter(|table| *table != "audit") {
        heed()?;
        conn.execute(&format!("INSERT INTO main.{table} SELECT * FROM book.{table}"), []).map_err(failed)?;
    }
    let last = "SELECT coalesce(max(no), 0) FROM book.audit";
    let last = conn.query_row(last, [], |row| row.get(0)).map(unsigned).map_err(failed)?;
    let mut done = upto;
    while done < last {
        heed()?;
        let to = done.saturating_add(PIECE);
        let piece = "INSERT INTO main.audit SELECT * FROM book.audit WHERE no > ?1 AND no <= ?2";
        conn.execute(piece, (signed(done), signed(to))).map_err(failed)?;
        done = to;
    }
    conn.execute_batch("COMMIT; DETACH book").map_err(failed)?;
    conn.close().map_err(|(_, error)| failed(error))
}

/// Opens an empty database with the book in `dir` beside it, which is only read.
fn open_beside(dir: &Path, path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    // Its content is synced when it is laid beside the journal.
    conn.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cache_size", -32_768)?;
    let book = dir.join(FILE);
    let Some(book) = book.to_str() else { return Err(rusqlite::Error::InvalidPath(book)) };
    conn.execute("ATTACH ?1 AS book", [format!("file:{}?mode=ro", percent_encoded(book))])?;
    Ok(conn)
}

/// Makes the book's tables and indexes; the names of the tables. Indexes first: one that is made over rows sorts them in a
/// file of its own.
fn lay_schema(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT type, name, sql FROM book.sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' \
               ESCAPE '\\' ORDER BY rowid";
    let mut query = conn.prepare(sql)?;
    let parts = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let parts: Vec<(String, String, String)> = parts.collect::<rusqlite::Result<_>>()?;
    for (_, _, sql) in &parts {
        conn.execute_batch(sql)?;
    }
    Ok(parts.into_iter().filter(|(kind, _, _)| kind == "table").map(|(_, name, _)| name).collect())
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

/// The last of these heads, one behind another, up to which all records are older than an instant, and behind which the
/// node has lived for so long.
pub(super) fn older(
    conn: &Connection,
    heads: &[Head],
    before_us: i64,
    lived: Duration,
    stop: &AtomicBool,
) -> Result<Option<Head>, Fault> {
    let find = || {
        let sql = "SELECT 1 FROM audit WHERE no > ?1 AND no <= ?2 AND at_us >= ?3 LIMIT 1";
        let mut young = conn.prepare(sql)?;
        let (mut old, mut after) = (0, 0);
        for head in heads {
            if stop.load(Ordering::Relaxed) || young.exists((signed(after), signed(head.no), before_us))? {
                break;
            }
            (old, after) = (old + 1, head.no);
        }
        lived_through(conn, &heads[..old], lived, stop)
    };
    let found = find().map_err(|error: rusqlite::Error| fault(&error))?;
    if stop.load(Ordering::Relaxed) { Err(Fault::Stopping) } else { Ok(found) }
}

/// The last of these heads since which so much time has passed from record to record.
///
/// A wall clock that is wrong says so in the records that it made, and with the next start they are the newest: by them
/// alone all others would be old. Where it jumped, no more than [`STOOD_STILL_MAX`] counts, nor than a quarter of what is
/// asked for: where that is a few days, a jump would be all of it.
fn lived_through(
    conn: &Connection,
    heads: &[Head],
    lived: Duration,
    stop: &AtomicBool,
) -> rusqlite::Result<Option<Head>> {
    let (Some(first), false) = (heads.first(), lived.is_zero()) else { return Ok(heads.last().copied()) };
    let most = i64::try_from(STOOD_STILL_MAX.min(lived / 4).as_micros()).unwrap_or(i64::MAX);
    let mut query = conn.prepare("SELECT no, at_us FROM audit WHERE no >= ?1 ORDER BY no")?;
    let mut rows = query.query([signed(first.no)])?;
    let (mut passed_us, mut last_us, mut next) = (0_i64, None, heads.iter().copied().peekable());
    // How much had passed at each head.
    let mut at_heads = Vec::new();
    while let Some(row) = rows.next()? {
        let (no, at_us): (i64, i64) = (row.get(0)?, row.get(1)?);
        let step_us = at_us.saturating_sub(last_us.replace(at_us).unwrap_or(at_us));
        passed_us = passed_us.saturating_add(step_us.clamp(0, most));
        while let Some(head) = next.next_if(|head| head.no <= unsigned(no)) {
            at_heads.push((head, passed_us));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let lived_us = i64::try_from(lived.as_micros()).unwrap_or(i64::MAX);
    let through = at_heads.into_iter().rev().find(|(_, at)| passed_us.saturating_sub(*at) >= lived_us);
    Ok(through.map(|(head, _)| head))
}
