//! A segment as a file: its name, its header, its entries walked.

use super::entry::Entry;
use super::{Settings, Torn};
use crate::fault::Fault;
use crate::journal::parts::{
    FRAME_HEAD_BYTES, Frames, HEADER_BYTES, Header, RECORD_HEAD_BYTES, SEAL_BYTES, Tail, fault, numbered,
    write_blank,
};
use crate::journal::{Disk, DiskFile};

/// Ending of a segment's file name.
pub(super) const ENDING: &str = ".str";
/// In the header where a segment of the journal has the hash on which it follows.
const KIND: [u8; 32] = *b"doorward: stream log, version 1\0";

pub(super) fn name_of(sequence: u64) -> String {
    numbered(sequence, ENDING)
}

/// A segment open for writing.
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) salt: u32,
    pub(super) size: u64,
}

impl Segment {
    /// Makes a segment full of zeros, durably, in place of one that was not finished.
    pub(super) fn prepare(disk: &dyn Disk, node: &str, sequence: u64, size: u64) -> Result<Self, Fault> {
        let name = name_of(sequence);
        let header = Header { node: node.to_owned(), size, first: sequence, before: KIND };
        let made = || {
            if disk.list()?.contains(&name) {
                disk.remove(&name)?;
            }
            let file = disk.create(&name)?;
            write_blank(disk, &header, file.as_ref()).map(|salt| Self { sequence, file, salt, size })
        };
        made().map_err(|error| fault(disk, &name, &error))
    }

    /// Bytes that frames may take.
    pub(super) fn frames_end(&self) -> u64 {
        self.size - SEAL_BYTES as u64 // holds: Header::parse and Settings::check keep every size above it
    }

    pub(super) fn put(&self, disk: &dyn Disk, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_at(offset, bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| fault(disk, &name_of(self.sequence), &error))
    }
}

/// Damage, with where and what to do.
pub(super) fn damaged(disk: &dyn Disk, name: &str, offset: u64, what: &str) -> Fault {
    let place = disk.place();
    Fault::Damaged(format!(
        "{place}/{name} at offset {offset}: {what}; nothing was changed: keep a copy of the directory, and put \
         the stream log back from a good one"
    ))
}

/// Checks that a header is of this log's segment `sequence`.
pub(super) fn check_header(
    disk: &dyn Disk,
    settings: &Settings,
    header: &Header,
    sequence: u64,
) -> Result<(), Fault> {
    let name = name_of(sequence);
    if header.before != KIND {
        return Err(damaged(disk, &name, 0, "not a segment of a stream log of version 1"));
    }
    if header.node != settings.node {
        let (theirs, ours, place) = (&header.node, &settings.node, disk.place());
        return Err(Fault::Disk(format!(
            "{place}/{name}: the stream log of node {theirs:?}, this one is {ours:?}"
        )));
    }
    if header.first != sequence {
        return Err(damaged(disk, &name, 0, "the file's name does not say the segment's place"));
    }
    Ok(())
}

/// Which entries a segment holds, and where its frames end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) salt: u32,
    /// Numbers of the first and the last entry; entries are numbered from 1 without gaps.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) end: u64,
}

/// What a walk over all frames found.
#[derive(Debug)]
pub(super) struct Walked {
    /// Where the frames end and the last one begins.
    pub(super) end: usize,
    pub(super) last_at: usize,
    pub(super) frames: u64,
    /// Numbers of the first and the last entry, where there are frames.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) torn: Option<Torn>,
}

/// Walks a whole segment and shows each entry with the offset of its record; the error says where and what.
///
/// `before` is the number of the last entry before the segment, where that is known.
pub(super) fn walk(
    bytes: &[u8],
    (sequence, salt): (u64, u32),
    before: Option<u64>,
    mut visit: impl FnMut(u32, Entry<'_>) -> Result<(), &'static str>,
) -> Result<Walked, (usize, &'static str)> {
    let frames = Frames::new(bytes, salt);
    let mut walked =
        Walked { end: HEADER_BYTES, last_at: HEADER_BYTES, frames: 0, first: 0, last: 0, torn: None };
    let mut before = before;
    while let Ok((head, records)) = frames.at(walked.end) {
        if before.is_some_and(|before| before.checked_add(1) != Some(head.first)) {
            return Err((walked.end, "the batch's number does not follow the one before"));
        }
        let mut at = walked.end + FRAME_HEAD_BYTES;
        for record in records {
            let entry = Entry::parse(record).ok_or((at, "an entry that is none of this version"))?;
            visit(at as u32, entry).map_err(|what| (at, what))?; // holds: a segment has at most 64 MiB
            at += RECORD_HEAD_BYTES + record.len();
        }
        walked.first = if walked.frames == 0 { head.first } else { walked.first };
        walked.last = head.head().no;
        before = Some(walked.last);
        (walked.last_at, walked.end) = (walked.end, walked.end + head.bytes());
        walked.frames += 1;
    }
    let reserved = bytes.len().saturating_sub(SEAL_BYTES);
    match frames.tail(walked.end) {
        Tail::Clean => {}
        Tail::Torn { bytes } => {
            let (segment, offset) = (name_of(sequence), walked.end as u64);
            walked.torn = Some(Torn { segment, offset, bytes: bytes as u64 });
        }
        Tail::Damaged { why, .. } => return Err((walked.end, why)),
    }
    if bytes[reserved..].iter().any(|&b| b != 0) {
        return Err((reserved, "bytes where the segment has none"));
    }
    Ok(walked)
}
