//! Opening: trusts sealed segments by their seal, walks the last one, drops what a crash left unfinished.

use std::io;

use super::append::{Active, Settings, begin, fill};
use super::disk::{Disk, DiskFile, fault, read_whole};
use super::segment::{
    ALIGN, HEADER_BYTES, Header, SEAL_BYTES, SEGMENT_BYTES_MAX, Seal, WRONG_VERSION, name_of, number_of,
};
use super::walk::{Frames, Tail, is_blank, used};
use super::{Head, Torn};
use crate::fault::Fault;

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The last record.
    pub head: Head,
    /// The unfinished end that was dropped.
    pub torn: Option<Torn>,
    /// How many segments there are now.
    pub segments: u64,
}

/// The numbers of the segments' first records, ascending.
pub(super) fn segments(disk: &dyn Disk) -> Result<Vec<u64>, Fault> {
    files(disk, ".seg")
}

/// Whether a journal is on this disk already.
pub fn is_begun(disk: &dyn Disk) -> Result<bool, Fault> {
    Ok(!segments(disk)?.is_empty())
}

/// The numbers of the files with this ending, ascending.
pub(crate) fn files(disk: &dyn Disk, ending: &str) -> Result<Vec<u64>, Fault> {
    let names = disk.list().map_err(|error| fault(disk, "", &error))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name, ending)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Damage, with where and what to do.
pub(super) fn damaged(disk: &dyn Disk, name: &str, offset: u64, what: &str) -> Fault {
    let place = disk.place();
    Fault::Damaged(format!(
        "{place}/{name} at offset {offset}: {what}; nothing was changed: run `doorward audit verify`, keep a \
         copy of the directory, and put the journal back from a good one"
    ))
}

pub(super) fn recover(disk: &dyn Disk, settings: &Settings) -> Result<(Recovery, Active), Fault> {
    let firsts = segments(disk)?;
    let Some((&last, sealed)) = firsts.split_last() else {
        let active = begin(disk, settings, Head::EMPTY)?;
        return Ok((Recovery { head: Head::EMPTY, torn: None, segments: 1 }, active));
    };
    let mut before = None;
    for &first in sealed {
        before = Some(trust_seal(disk, settings, first, before)?);
    }
    let opened = Last::read(disk, settings, last, before)?;
    let (torn, head, active) = if opened.frames == 0 {
        let active = refill(disk, settings, &opened)?;
        (opened.torn, opened.head, active)
    } else {
        opened.settle(disk, settings)?
    };
    let grown = u64::from(active.first != last);
    Ok((Recovery { head, torn, segments: firsts.len() as u64 + grown }, active))
}

/// Reads header and seal of a segment that has a successor; the answer is its last record.
fn trust_seal(disk: &dyn Disk, settings: &Settings, first: u64, before: Option<Head>) -> Result<Head, Fault> {
    let name = name_of(first);
    let parts = || {
        let file = disk.open(&name)?;
        let (mut header, mut seal) = ([0; HEADER_BYTES], [0; SEAL_BYTES]);
        let length = file.len()?;
        let read = file.read_at(0, &mut header)?;
        file.read_at(length.saturating_sub(SEAL_BYTES as u64), &mut seal)?;
        Ok((header[..read].to_vec(), seal, length))
    };
    let (header, seal, length) = parts().map_err(|error| fault(disk, &name, &error))?;
    let (header, salt) = Header::parse(&header).map_err(|what| damaged(disk, &name, 0, what))?;
    check_header(disk, settings, &header, first, before)?;
    if length != header.size {
        return Err(damaged(disk, &name, length, "the segment is not as long as its header says"));
    }
    let seal_at = length - SEAL_BYTES as u64;
    match Seal::parse(&seal, salt) {
        Ok(Some(seal)) if seal.first == first && seal.head.no >= first => Ok(seal.head),
        Ok(Some(_)) => Err(damaged(disk, &name, seal_at, "the seal belongs to other records")),
        Ok(None) => Err(damaged(disk, &name, seal_at, "the segment has no seal, but another one follows it")),
        Err(what) => Err(damaged(disk, &name, seal_at, what)),
    }
}

fn check_header(
    disk: &dyn Disk,
    settings: &Settings,
    header: &Header,
    first: u64,
    before: Option<Head>,
) -> Result<(), Fault> {
    let name = name_of(first);
    if header.node != settings.node {
        let (theirs, ours, place) = (&header.node, &settings.node, disk.place());
        return Err(Fault::Disk(format!(
            "{place}/{name}: the journal of node {theirs:?}, this one is {ours:?}"
        )));
    }
    if header.first != first {
        return Err(damaged(disk, &name, 0, "the file's name does not say the number of its first record"));
    }
    check_link(disk, &name, header.head_before(), before)
}

fn check_link(disk: &dyn Disk, name: &str, link: Head, before: Option<Head>) -> Result<(), Fault> {
    match before {
        Some(before) if before.no != link.no => {
            let (no, first) = (before.no, link.no.saturating_add(1));
            Err(damaged(
                disk,
                name,
                0,
                &format!("begins with record {first}, but the one before ends with {no}"),
            ))
        }
        Some(before) if before.hash != link.hash => {
            Err(damaged(disk, name, 0, "does not follow the one before"))
        }
        Some(_) => Ok(()),
        None if link.no == 0 && link != Head::EMPTY => {
            Err(damaged(disk, name, 0, "record 1 follows on nothing"))
        }
        None => Ok(()),
    }
}

/// The last segment, walked.
struct Last {
    name: String,
    first: u64,
    salt: u32,
    /// The size that its header says, where there is a header.
    size: Option<u64>,
    bytes: Vec<u8>,
    frames: u64,
    /// Where the last frame begins and where the frames end.
    last_at: usize,
    at: usize,
    head: Head,
    seal: Option<Seal>,
    torn: Option<Torn>,
}

impl Last {
    fn read(disk: &dyn Disk, settings: &Settings, first: u64, before: Option<Head>) -> Result<Self, Fault> {
        let name = name_of(first);
        let bytes = read_whole(disk, &name, SEGMENT_BYTES_MAX)?;
        let damaged = |offset: usize, what: &str| Err(damaged(disk, &name, offset as u64, what));
        if bytes.len() as u64 > SEGMENT_BYTES_MAX {
            return damaged(0, "the file is longer than any segment");
        }
        let parsed = Header::parse(&bytes);
        if let Ok((header, _)) = &parsed {
            check_header(disk, settings, header, first, before)?;
        }
        let header = parsed.as_ref().ok().map(|(header, _)| header);
        let blank = is_blank(bytes.get(HEADER_BYTES..).unwrap_or_default());
        let mut last = Self::unfinished(&name, first, &bytes);
        last.size = header.map(|header| header.size);
        let short = last.size.is_none_or(|size| size > bytes.len() as u64);
        if blank && short && parsed.as_ref().err() != Some(&WRONG_VERSION) {
            // A crash while it was made: no frame was ever in it.
            let first_of_all = (first == 1).then_some(Head::EMPTY);
            let Some(head) = before.or(header.map(Header::head_before)).or(first_of_all) else {
                return damaged(0, "no header says what this segment follows on");
            };
            check_link(disk, &name, Head { no: first - 1, hash: head.hash }, Some(head))?;
            last.head = head;
            return Ok(last);
        }
        let (header, salt) = match parsed {
            Ok(parsed) => parsed,
            Err(what) => return damaged(0, what),
        };
        if header.size != bytes.len() as u64 {
            return damaged(bytes.len(), "the segment is not as long as its header says");
        }
        (last.salt, last.head, last.torn, last.bytes) = (salt, header.head_before(), None, bytes);
        if let Err((offset, what)) = last.walk() {
            return damaged(offset, what);
        }
        Ok(last)
    }

    fn unfinished(name: &str, first: u64, bytes: &[u8]) -> Self {
        let torn = Some(Torn { segment: name.to_owned(), offset: 0, bytes: used(bytes) as u64 });
        let at = Frames::BEGIN;
        Self {
            name: name.to_owned(),
            first,
            salt: 0,
            size: None,
            bytes: vec![0; bytes.len()],
            frames: 0,
            last_at: at,
            at,
            head: Head::EMPTY,
            seal: None,
            torn,
        }
    }

    fn seal_at(&self) -> usize {
        self.bytes.len() - SEAL_BYTES // holds: `read` walks only segments as long as a valid header says
    }

    fn walk(&mut self) -> Result<(), (usize, &'static str)> {
        let frames = Frames::new(&self.bytes, self.salt);
        while let Ok((head, mut records)) = frames.at(self.at) {
            let expected = self.head.no + 1; // holds: a frame's last number fits, FrameHead::parse saw to it
            if head.first != expected {
                return Err((self.at, "the batch's number does not follow the one before"));
            }
            self.head = records.by_ref().fold(self.head, |chain, record| chain.next(record));
            if self.head != head.head() {
                return Err((self.at, "the batch does not follow the hash chain"));
            }
            (self.last_at, self.at) = (self.at, self.at + head.bytes());
            self.frames += 1;
        }
        let seal_at = self.bytes.len() - SEAL_BYTES;
        let tail = frames.tail(self.at);
        let seal = Seal::parse(&self.bytes[seal_at..], self.salt);
        let (offset, bytes) = match (tail, seal) {
            (Tail::Clean, Ok(None)) => return Ok(()),
            (Tail::Clean, Ok(Some(seal))) => {
                let walked =
                    Seal { first: self.first, frames: self.frames, end: self.at as u64, head: self.head };
                if seal != walked || self.frames == 0 {
                    return Err((seal_at, "the seal does not say what the segment holds"));
                }
                self.seal = Some(seal);
                return Ok(());
            }
            (Tail::Damaged { why, .. }, _) => return Err((self.at, why)),
            (Tail::Torn { bytes }, Ok(None)) => (self.at, bytes),
            (Tail::Torn { .. }, _) => return Err((self.at, "an unfinished batch in a sealed segment")),
            (Tail::Clean, Err(_)) if self.frames > 0 => (seal_at, SEAL_BYTES),
            (Tail::Clean, Err(what)) => return Err((seal_at, what)),
        };
        self.torn = Some(Torn { segment: self.name.clone(), offset: offset as u64, bytes: bytes as u64 });
        Ok(())
    }

    /// Makes durable what was found, and goes on from there.
    ///
    /// The last frame or the seal is written again, not only synced: if this machine's last sync failed, the
    /// disk may lack what reads back well.
    fn settle(self, disk: &dyn Disk, settings: &Settings) -> Result<(Option<Torn>, Head, Active), Fault> {
        let seal_at = self.seal_at();
        let write = || {
            let file = disk.open(&self.name)?;
            file.write_at(self.last_at as u64, &self.bytes[self.last_at..self.at])?;
            if let Some(torn) = &self.torn {
                wipe(file.as_ref(), torn)?;
            }
            if self.seal.is_some() {
                file.write_at(seal_at as u64, &self.bytes[seal_at..])?;
            }
            file.sync_data()?;
            disk.sync_dir()?;
            Ok(file)
        };
        let file = write().map_err(|error| fault(disk, &self.name, &error))?;
        let active = Active {
            file,
            name: self.name,
            first: self.first,
            salt: self.salt,
            size: self.bytes.len() as u64,
            frames: self.frames,
            at: self.at as u64,
        };
        let active = if self.seal.is_some() { begin(disk, settings, self.head)? } else { active };
        Ok((self.torn, self.head, active))
    }
}

/// Zeroes a torn end, what begins it last: cut short itself, what is left still reads as a torn end.
pub(crate) fn wipe(file: &dyn DiskFile, torn: &Torn) -> io::Result<()> {
    let beginning = torn.bytes.min(ALIGN as u64);
    if torn.bytes > beginning {
        file.write_at(torn.offset + beginning, &vec![0; (torn.bytes - beginning) as usize])?;
        file.sync_data()?;
    }
    file.write_at(torn.offset, &[0; ALIGN][..beginning as usize])
}

/// Fills a last segment without frames anew: whether it was ever synced cannot be told.
///
/// In place, so that a journal of this one segment never forgets what it follows on.
fn refill(disk: &dyn Disk, settings: &Settings, last: &Last) -> Result<Active, Fault> {
    let length = (last.bytes.len() as u64).next_multiple_of(512);
    let size = last.size.unwrap_or_else(|| settings.size().max(length));
    let wiped = || {
        let file = disk.open(&last.name)?;
        if let Some(torn) = last.torn.as_ref().filter(|torn| torn.offset > 0) {
            wipe(file.as_ref(), torn)?;
        }
        Ok(file)
    };
    let file = wiped().map_err(|error| fault(disk, &last.name, &error))?;
    fill(disk, settings, last.head, size, file)
}
