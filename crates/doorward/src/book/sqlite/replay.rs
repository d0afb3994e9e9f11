//! What the book has missed, read from the journal; and a book made anew.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use doorward_core::audit::Record;

use super::apply::{Refusal, Writer, to_doc};
use super::schema::{MIGRATIONS, REMEDY, open_to_write};
use super::{FILE, NEW_FILE, Settings, aside};
use crate::fault::Fault;
use crate::journal::{self, Disk, Head, Journal, read_from};

/// How many records one transaction of a replay holds.
const CHUNK: usize = 1_000;

/// What `doorward book rebuild` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// Up to which record of the journal the new book is.
    pub head: Head,
    /// How many records it was made from.
    pub records: u64,
    /// Where older records were dropped: up to which record the book that was set aside for it already was.
    pub set_aside: Option<u64>,
}

/// Makes the book in `dir` anew from the journal on `disk`, which nobody else may have open.
///
/// The database of before stays until the new one is complete; a crash leaves one of them, or none, which opening
/// takes as an empty one.
pub fn rebuild(
    dir: &Path,
    disk: &Arc<dyn Disk>,
    node: String,
    settings: &Settings,
) -> Result<Rebuilt, Fault> {
    let (journal, _) =
        Journal::open(Arc::clone(disk), journal::Settings { node, segment_bytes: settings.segment_bytes })?;
    let head = journal.head();
    let (new, old) = (dir.join(NEW_FILE), dir.join(FILE));
    remove_database(&new)?;
    let taken = aside::take(disk.as_ref(), &new)?;
    let conn = open_to_write(&new, MIGRATIONS)?;
    let mut writer = Writer::new(&conn)?;
    let set_aside = if taken { Some(writer.mark()?.no) } else { None };
    let records = replay(&mut writer, disk, head)?;
    drop(writer);
    conn.close().map_err(|(_, error)| super::schema::fault(&error))?;
    let synced = File::open(&new).and_then(|file| file.sync_all());
    synced.map_err(|error| Fault::disk(&new, &error))?;
    // A log of the old database must never be found beside the new one.
    remove_database(&old)?;
    let renamed = fs::rename(&new, &old).and_then(|()| File::open(dir)?.sync_all());
    renamed.map_err(|error| Fault::disk(&old, &error))?;
    Ok(Rebuilt { head, records, set_aside })
}

/// Removes a database file and what belongs to it.
pub(super) fn remove_database(path: &Path) -> Result<(), Fault> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::disk(Path::new(&name), &error)),
        }
    }
    Ok(())
}

/// Applies the journal's records from behind the mark up to `head`; the answer is how many they were.
pub(super) fn replay(writer: &mut Writer<'_>, disk: &Arc<dyn Disk>, head: Head) -> Result<u64, Fault> {
    writer.rollback();
    let mark = writer.mark()?;
    if mark.no > head.no || (mark.no == head.no && mark.hash != head.hash) {
        return Err(foreign(mark, head));
    }
    let mut at = mark;
    let mut entries = read_from(Arc::clone(disk), mark.no.saturating_add(1), head.no);
    while at.no < head.no {
        at = chunk(writer, &mut entries, at).inspect_err(|_| writer.rollback())?;
    }
    Ok(head.no - mark.no)
}

/// One transaction of a replay; the answer is the mark after it.
fn chunk(writer: &mut Writer<'_>, entries: &mut journal::Reader, mark: Head) -> Result<Head, Fault> {
    writer.begin()?;
    let mut at = mark;
    for entry in entries.by_ref().take(CHUNK) {
        let entry = entry?;
        let next = at.next(&entry.bytes);
        if (next.no, next.hash) != (entry.no, entry.hash) {
            return Err(foreign(at, Head { no: entry.no, hash: entry.hash }));
        }
        apply(writer, entry.no, &entry.bytes)?;
        at = next;
    }
    if at == mark {
        return Err(Fault::Damaged(format!("journal: no record follows on {}", at.no)));
    }
    writer.commit(at)?;
    Ok(at)
}

fn apply(writer: &mut Writer<'_>, no: u64, bytes: &[u8]) -> Result<(), Fault> {
    let damaged = |what: String| Fault::Damaged(format!("journal: record {no} cannot be applied: {what}"));
    let record: Record = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    match writer.versioned(std::iter::once(&record)) {
        Ok(()) => writer.rest(no, &record, &to_doc(&record.entry)?),
        Err(Refusal::Taken(what) | Refusal::Missing(what)) => Err(damaged(what)),
        Err(Refusal::Fault(fault)) => Err(fault),
    }
}

fn foreign(mark: Head, journal: Head) -> Fault {
    Fault::Damaged(format!(
        "book.db: it stands at record {} of a journal that is not this one, which has {}: put the right journal back, \
         or {REMEDY}",
        mark.no, journal.no
    ))
}
