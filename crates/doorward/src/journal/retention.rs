//! Dropping whole segments (Q9): the book is set aside, then the dropping is signed, then the segments go, the oldest first.
//!
//! # Order
//!
//! 1. `<number of the last record that goes, 20 digits>.book`: the book without what is dropped, written and synced. A
//!    rebuilt book begins with it.
//! 2. A `dropped-to` line in `heads`, with that number, its hash and the SHA-256 of the file of step 1.
//! 3. The dropping is written down as a record.
//! 4. Segments are removed one by one, the directory synced after each, so that what is left is always one chain.
//! 5. Books that were set aside for earlier droppings are removed.
//!
//! A crash leaves any of these unfinished: before the line nothing was dropped; behind it the next run ends the work.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::anchor::read_pieces;
use super::disk::{Disk, fault};
use super::heads::{HeadKind, Line, SignedHead, line_of};
use super::recover::{damaged, files, segments};
use super::segment::{HEADER_BYTES, Header, name_of, numbered};
use super::{Hash, Head};
use crate::fault::Fault;

/// How the name of a book that was set aside ends.
pub(super) const BOOK: &str = ".book";
/// How much is copied at a time, in bytes.
const CHUNK: usize = 1 << 18;

pub(super) fn book_name(upto: u64) -> String {
    numbered(upto, BOOK)
}

/// Number of the first record that the journal's first segment holds, or would; 1 in an empty journal.
pub fn first_record(disk: &dyn Disk) -> Result<u64, Fault> {
    Ok(segments(disk)?.first().copied().unwrap_or(1))
}

/// The heads with which all segments but the last end, as the segments behind them say.
pub fn segment_ends(disk: &dyn Disk) -> Result<Vec<Head>, Fault> {
    segments(disk)?.iter().skip(1).map(|&first| head_before(disk, first)).collect()
}

/// The head on which a segment follows.
pub(super) fn head_before(disk: &dyn Disk, first: u64) -> Result<Head, Fault> {
    let parsed = read_header(disk, first)?;
    parsed.map(|header| header.head_before()).map_err(|what| damaged(disk, &name_of(first), 0, what))
}

/// A segment's header; `None` where it does not read back.
pub(super) fn header_of(disk: &dyn Disk, first: u64) -> Result<Option<Header>, Fault> {
    Ok(read_header(disk, first)?.ok())
}

fn read_header(disk: &dyn Disk, first: u64) -> Result<Result<Header, &'static str>, Fault> {
    let name = name_of(first);
    let mut header = [0; HEADER_BYTES];
    let read = disk.open(&name).and_then(|file| file.read_at(0, &mut header));
    let read = read.map_err(|error| fault(disk, &name, &error))?;
    Ok(Header::parse(&header[..read]).map(|(header, _)| header))
}

/// The last line that says what was dropped.
pub fn last_dropped(disk: &dyn Disk) -> Result<Option<SignedHead>, Fault> {
    let mut last = None;
    read_pieces(disk, |_, piece| {
        // The file has a line for every minute: most need not be read.
        let kind = piece.split(|&b| b == b' ').nth(3).unwrap_or_default();
        if kind.starts_with(b"dropped-to:")
            && let Line::Head(signed) = line_of(piece)
        {
            last = Some(*signed);
        }
    })?;
    Ok(last)
}

/// Writes a book that is set aside for dropping all records up to one, durably; the SHA-256 of it.
///
/// One that an earlier try left under this name is replaced: it was never signed for a dropping that is still to come.
pub fn lay_book(disk: &dyn Disk, upto: u64, from: &mut dyn Read) -> Result<Hash, Fault> {
    let name = book_name(upto);
    let mut lay = || {
        match disk.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = disk.create(&name)?;
        let (mut context, mut chunk, mut at) = (Context::new(&SHA256), vec![0; CHUNK], 0);
        loop {
            let read = from.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            context.update(&chunk[..read]);
            file.write_at(at, &chunk[..read])?;
            at += read as u64;
        }
        file.sync_data()?;
        disk.sync_dir()?;
        Ok(hash(context))
    };
    lay().map_err(|error| {
        // The disk may be full: what is half written must not keep it so.
        let _ = disk.remove(&name);
        fault(disk, &name, &error)
    })
}

/// Reads what was set aside into `to`, a chunk at a time; the SHA-256 of it, `None` where there is nothing.
fn read_book(disk: &dyn Disk, upto: u64, to: &mut dyn Write) -> Result<Option<Hash>, Fault> {
    let name = book_name(upto);
    let mut read = || {
        let file = match disk.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let (mut context, mut chunk, mut at) = (Context::new(&SHA256), vec![0; CHUNK], 0);
        loop {
            let read = file.read_at(at, &mut chunk)?;
            if read == 0 {
                return Ok(Some(hash(context)));
            }
            context.update(&chunk[..read]);
            to.write_all(&chunk[..read])?;
            at += read as u64;
        }
    };
    read().map_err(|error| fault(disk, &name, &error))
}

fn hash(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The SHA-256 of a book that was set aside; `None` where it is not there.
pub(super) fn book_hash(disk: &dyn Disk, upto: u64) -> Result<Option<Hash>, Fault> {
    read_book(disk, upto, &mut io::sink())
}

/// Whether the book that was set aside for dropping the records up to one is the one that was signed with it.
///
/// [`Fault::Damaged`] where it is not, [`Fault::Stopping`] soon after `stop` is set.
pub fn check_book(disk: &dyn Disk, upto: u64, signed: &Hash, stop: &AtomicBool) -> Result<(), Fault> {
    let found = read_book(disk, upto, &mut Nowhere(stop));
    if stop.load(Ordering::Relaxed) {
        return Err(Fault::Stopping);
    }
    match found? {
        Some(hash) if hash == *signed => Ok(()),
        Some(_) => Err(damaged(disk, &book_name(upto), 0, "is not the book that was signed")),
        None => {
            Err(damaged(disk, &book_name(upto), 0, "is not there, which was set aside for dropping records"))
        }
    }
}

/// Takes all, until there is something else to do.
struct Nowhere<'s>(&'s AtomicBool);

impl Write for Nowhere<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("stopping")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies the book that was set aside when the journal's first records were dropped.
///
/// [`Fault::Damaged`] where no head says that they were, or the book is not the one that was signed with it.
pub fn take_book(disk: &dyn Disk, to: &mut dyn Write) -> Result<(), Fault> {
    let first = first_record(disk)?;
    let lost = |what: &str| damaged(disk, &name_of(first), 0, what);
    let said = last_dropped(disk)?.and_then(|signed| Some((signed.checkpoint.head.no, signed.book()?)));
    let Some((upto, signed)) = said.filter(|(upto, _)| upto.saturating_add(1) >= first) else {
        return Err(lost("no signed head says that the records before it were dropped"));
    };
    match read_book(disk, upto, to)? {
        Some(hash) if hash == signed => Ok(()),
        Some(_) => Err(damaged(disk, &book_name(upto), 0, "is not the book that was signed")),
        None => Err(lost(&format!("{} is not there, which was set aside for it", book_name(upto)))),
    }
}

/// Removes the oldest segment if all of its records are dropped; whether it did.
pub(super) fn remove_oldest(disk: &dyn Disk, upto: u64) -> Result<bool, Fault> {
    let firsts = segments(disk)?;
    let [oldest, next, ..] = firsts[..] else { return Ok(false) };
    if next.saturating_sub(1) > upto {
        return Ok(false);
    }
    let name = name_of(oldest);
    // Synced each time: two that went in any order might leave a hole between what is left.
    let removed = disk.remove(&name).and_then(|()| disk.sync_dir());
    removed.map_err(|error| fault(disk, &name, &error))?;
    Ok(true)
}

/// Removes the books that were set aside for earlier droppings.
pub fn remove_books_before(disk: &dyn Disk, upto: u64) -> Result<(), Fault> {
    for earlier in files(disk, BOOK)?.into_iter().filter(|&no| no < upto) {
        let name = book_name(earlier);
        disk.remove(&name).map_err(|error| fault(disk, &name, &error))?;
    }
    disk.sync_dir().map_err(|error| fault(disk, BOOK, &error))
}

impl SignedHead {
    /// The SHA-256 of the book that was set aside, where this tells of a dropping.
    pub fn book(&self) -> Option<Hash> {
        match self.checkpoint.kind {
            HeadKind::At => None,
            HeadKind::DroppedTo { book } => Some(book),
        }
    }
}
