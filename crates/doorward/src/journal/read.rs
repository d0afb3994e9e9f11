//! Reading what was acknowledged, one frame in memory at a time, beside the owner or without it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, fault};
use super::recover::{damaged, segments};
use super::segment::{FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header, SEAL_BYTES, name_of};
use super::{Hash, Head};
use crate::fault::Fault;

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub no: u64,
    /// Its hash in the chain.
    pub hash: Hash,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// The records `no..=upto`, in order.
///
/// `upto` must be acknowledged already ([`super::Journal::head`], as its owner passed it on): nothing behind
/// it is looked at, so the owner may go on appending. The checksum and the chain of each frame read are
/// checked; [`Fault::Damaged`] also where a record is not there (any more), and then the iterator ends.
pub fn read_from(disk: Arc<dyn Disk>, no: u64, upto: u64) -> Reader {
    Reader { disk, next: no.max(1), upto, segment: None, entries: VecDeque::new(), failed: false }
}

/// The iterator of [`read_from`].
pub struct Reader {
    disk: Arc<dyn Disk>,
    next: u64,
    upto: u64,
    segment: Option<Segment>,
    /// What is left of the frame read last.
    entries: VecDeque<Entry>,
    failed: bool,
}

/// A segment being read, at a frame's place.
struct Segment {
    file: Box<dyn DiskFile>,
    name: String,
    salt: u32,
    seal_at: u64,
    at: u64,
    /// The record before the frame at `at`.
    before: Head,
}

impl Reader {
    /// Reads on to a later number, once it is acknowledged, without looking for the place again.
    pub fn extend(&mut self, upto: u64) {
        self.upto = self.upto.max(upto);
    }

    fn load(&mut self) -> Result<(), Fault> {
        while self.entries.is_empty() {
            let mut segment = match self.segment.take() {
                Some(segment) => segment,
                None => self.seek()?,
            };
            self.segment = match segment.frame_head(&*self.disk)? {
                Some(head) => {
                    if head.head().no >= self.next {
                        self.entries = segment.entries(&*self.disk, &head, self.next)?;
                    }
                    segment.at += head.bytes() as u64;
                    segment.before = head.head();
                    Some(segment)
                }
                None => Some(self.follow(&segment)?),
            };
        }
        Ok(())
    }

    /// The segment that holds the next record.
    fn seek(&self) -> Result<Segment, Fault> {
        let firsts = segments(&*self.disk)?;
        match firsts.iter().rev().find(|&&first| first <= self.next) {
            Some(&first) => Segment::open(&*self.disk, first),
            None => Err(self.missing()),
        }
    }

    fn follow(&self, segment: &Segment) -> Result<Segment, Fault> {
        let first = segment.before.no.saturating_add(1);
        if name_of(first) == segment.name {
            return Err(self.missing());
        }
        let next = Segment::open(&*self.disk, first)?;
        if next.before != segment.before {
            return Err(damaged(&*self.disk, &next.name, 0, "does not follow the one before"));
        }
        Ok(next)
    }

    fn missing(&self) -> Fault {
        let (place, no) = (self.disk.place(), self.next);
        Fault::Damaged(format!("{place}: record {no} is not there: dropped by retention, or lost"))
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.next > self.upto {
            return None;
        }
        if let Err(fault) = self.load() {
            self.failed = true;
            return Some(Err(fault));
        }
        let entry = self.entries.pop_front()?;
        self.next = entry.no.saturating_add(1);
        Some(Ok(entry))
    }
}

impl Segment {
    fn open(disk: &dyn Disk, first: u64) -> Result<Self, Fault> {
        let name = name_of(first);
        let read = || {
            let file = disk.open(&name)?;
            let mut header = [0; HEADER_BYTES];
            let read = file.read_at(0, &mut header)?;
            Ok((file, header[..read].to_vec()))
        };
        let (file, header) = read().map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => damaged(disk, &name, 0, "the segment is not there"),
            _ => fault(disk, &name, &error),
        })?;
        let (header, salt) = Header::parse(&header).map_err(|what| damaged(disk, &name, 0, what))?;
        if header.first != first {
            return Err(damaged(
                disk,
                &name,
                0,
                "the file's name does not say the number of its first record",
            ));
        }
        let seal_at = header.size - SEAL_BYTES as u64;
        Ok(Self { file, name, salt, seal_at, at: HEADER_BYTES as u64, before: header.head_before() })
    }

    /// The fixed part of the frame here; `None` at the end of the frames.
    fn frame_head(&self, disk: &dyn Disk) -> Result<Option<FrameHead>, Fault> {
        let room = self.seal_at.saturating_sub(self.at);
        if room < FRAME_HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEAD_BYTES];
        self.fill(disk, &mut bytes)?;
        if bytes.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        let head = FrameHead::parse(&bytes, usize::try_from(room).unwrap_or(usize::MAX));
        let head = head.ok_or_else(|| damaged(disk, &self.name, self.at, "no batch begins here"))?;
        if head.first != self.before.no.saturating_add(1) {
            return Err(damaged(
                disk,
                &self.name,
                self.at,
                "the batch's number does not follow the one before",
            ));
        }
        Ok(Some(head))
    }

    /// The records of the frame here, from `from` on.
    fn entries(&self, disk: &dyn Disk, head: &FrameHead, from: u64) -> Result<VecDeque<Entry>, Fault> {
        let mut bytes = vec![0; head.bytes()];
        self.fill(disk, &mut bytes)?;
        let records = head.records(&bytes, self.salt);
        let records = records.map_err(|what| damaged(disk, &self.name, self.at, what))?;
        let mut chain = self.before;
        let mut entries = VecDeque::new();
        for record in records {
            chain = chain.next(record);
            if chain.no >= from {
                entries.push_back(Entry { no: chain.no, hash: chain.hash, bytes: record.to_vec() });
            }
        }
        if chain != head.head() {
            return Err(damaged(disk, &self.name, self.at, "the batch does not follow the hash chain"));
        }
        Ok(entries)
    }

    fn fill(&self, disk: &dyn Disk, bytes: &mut [u8]) -> Result<(), Fault> {
        let read = self.file.read_at(self.at, bytes).map_err(|error| fault(disk, &self.name, &error))?;
        if read < bytes.len() {
            return Err(damaged(disk, &self.name, self.at, "the segment is cut off"));
        }
        Ok(())
    }
}
