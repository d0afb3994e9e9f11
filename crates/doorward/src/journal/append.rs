//! The one owner's side: appending, sealing, beginning the next segment.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, fault};
use super::recover::{Recovery, recover};
use super::retention::remove_oldest;
use super::segment::{
    FRAME_HEAD_BYTES, HEADER_BYTES, Header, NODE_BYTES_MAX, RECORD_BYTES_MAX, SEAL_BYTES, SEGMENT_BYTES_MAX,
    SEGMENT_BYTES_MIN, Seal, encode_frame, frame_bytes, name_of,
};
use super::walk::Frames;
use super::{Head, SEGMENT_BYTES_DEFAULT};
use crate::fault::Fault;

/// What a journal is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name, 1..=64 bytes: a journal belongs to one node.
    pub node: String,
    /// Size of new segments in bytes, rounded up to 512; those that are there keep theirs.
    pub segment_bytes: u64,
}

impl Settings {
    /// Segments of the usual size.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), segment_bytes: SEGMENT_BYTES_DEFAULT }
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let (node, size) = (self.node.len(), self.segment_bytes);
        if node == 0 || node > NODE_BYTES_MAX {
            return Err(Fault::Disk(format!(
                "journal: the node's name has {node} bytes, not 1..={NODE_BYTES_MAX}"
            )));
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size) {
            let range = format!("{SEGMENT_BYTES_MIN}..={SEGMENT_BYTES_MAX}");
            return Err(Fault::Disk(format!(
                "journal: a segment size of {size} bytes is out of range {range}"
            )));
        }
        Ok(())
    }

    pub(super) fn size(&self) -> u64 {
        self.segment_bytes.next_multiple_of(512)
    }
}

/// The segment that is written now.
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) name: String,
    pub(super) first: u64,
    pub(super) salt: u32,
    pub(super) size: u64,
    pub(super) frames: u64,
    /// Where the next frame goes.
    pub(super) at: u64,
}

impl Active {
    pub(super) fn seal_at(&self) -> u64 {
        self.size - SEAL_BYTES as u64
    }
}

/// The journal of a node, open for appending. It has one owner; readers need only the disk.
pub struct Journal {
    disk: Arc<dyn Disk>,
    settings: Settings,
    head: Head,
    active: Active,
    buffer: Vec<u8>,
    stopped: Option<Fault>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, segment) = (self.disk.place(), &self.active.name);
        write!(f, "Journal({place}, head {}, {segment} at {})", self.head, self.active.at)
    }
}

impl Journal {
    /// Opens the journal on a disk, or begins one on an empty disk, and recovers what a crash left.
    ///
    /// [`Fault::Damaged`] where something does not read back that no crash leaves: nothing is changed then.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Self, Recovery), Fault> {
        settings.check()?;
        let (recovery, active) = recover(disk.as_ref(), &settings)?;
        let head = recovery.head;
        Ok((Self { disk, settings, head, active, buffer: Vec::new(), stopped: None }, recovery))
    }

    /// Opens the journal anew on the same disk, after a failure.
    ///
    /// A batch whose append failed may turn out to be there whole: compare heads before repeating it.
    pub fn reopen(&mut self) -> Result<Recovery, Fault> {
        let (recovery, active) = recover(self.disk.as_ref(), &self.settings)?;
        self.head = recovery.head;
        self.active = active;
        self.stopped = None;
        Ok(recovery)
    }

    /// The last acknowledged record.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Why nothing more is appended, after a failed write or sync; [`Journal::reopen`] is the way on.
    pub fn stopped(&self) -> Option<&Fault> {
        self.stopped.as_ref()
    }

    /// Gives back the memory that the last append needed; the next one asks for it again.
    pub fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    /// How many of these records, from the first on, one [`Journal::append`] takes; 0 where the first alone is
    /// too large for a segment.
    pub fn fitting<R: AsRef<[u8]>>(&self, records: &[R]) -> usize {
        let room = self.frame_bytes_max();
        let mut bytes = FRAME_HEAD_BYTES;
        let fits = |record: &&R| {
            bytes =
                bytes.saturating_add(frame_bytes(std::iter::once(record.as_ref().len())) - FRAME_HEAD_BYTES);
            bytes <= room
        };
        records.iter().take_while(fits).count()
    }

    /// Appends records durably, as one frame with one sync: all of them or none. The i-th (from 1) gets the
    /// number `head().no + i`; the answer is the new head.
    ///
    /// Records too large, or too many for one segment ([`Journal::fitting`]), are refused and change nothing.
    /// After a failed write or sync all later appends fail, until [`Journal::reopen`].
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Head, Fault> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        if records.is_empty() {
            return Ok(self.head);
        }
        let bytes = self.check(records)?;
        let head = self.write(records, bytes as u64).map_err(|fault| self.stop(&fault))?;
        self.head = head;
        Ok(head)
    }

    /// Removes the oldest segment if it holds only records up to `upto`, which are dropped; whether it did.
    pub fn drop_oldest(&mut self, upto: u64) -> Result<bool, Fault> {
        remove_oldest(self.disk.as_ref(), upto)
    }

    fn frame_bytes_max(&self) -> usize {
        // A segment without frames is never sealed, so what is appended must fit it, if its size is an older one.
        let active = if self.active.frames == 0 { self.active.size } else { u64::MAX };
        self.settings.size().min(active) as usize - HEADER_BYTES - SEAL_BYTES
    }

    fn check<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<usize, Fault> {
        if let Some(bytes) = records.iter().map(|r| r.as_ref().len()).find(|&bytes| bytes > RECORD_BYTES_MAX)
        {
            let limit = RECORD_BYTES_MAX;
            return Err(Fault::Disk(format!(
                "journal: a record of {bytes} bytes is above the limit of {limit}"
            )));
        }
        let bytes = frame_bytes(records.iter().map(|record| record.as_ref().len()));
        let limit = self.frame_bytes_max();
        if bytes > limit {
            let count = records.len();
            return Err(Fault::Disk(format!(
                "journal: {count} records in {bytes} bytes do not fit one segment, which holds {limit}"
            )));
        }
        Ok(bytes)
    }

    fn write<R: AsRef<[u8]>>(&mut self, records: &[R], bytes: u64) -> Result<Head, Fault> {
        if bytes > self.active.seal_at() - self.active.at {
            self.seal()?;
            self.active = begin(self.disk.as_ref(), &self.settings, self.head)?;
        }
        let head = encode_frame(&mut self.buffer, self.head, records, self.active.salt);
        self.put(self.active.at, &self.buffer)?;
        self.active.at += self.buffer.len() as u64;
        self.active.frames += 1;
        Ok(head)
    }

    fn seal(&self) -> Result<(), Fault> {
        let active = &self.active;
        let seal = Seal { first: active.first, frames: active.frames, end: active.at, head: self.head };
        self.put(active.seal_at(), &seal.encode(active.salt))
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let active = &self.active;
        let written = active.file.write_at(offset, bytes).and_then(|()| active.file.sync_data());
        written.map_err(|error| fault(self.disk.as_ref(), &active.name, &error))
    }

    fn stop(&mut self, cause: &Fault) -> Fault {
        let after = self.head.no;
        self.stopped = Some(Fault::Disk(format!(
            "journal: stopped after record {after} ({cause}); nothing is written until it is opened again"
        )));
        cause.clone()
    }
}

/// Makes the segment that follows on `head`: full of zeros, synced, and known to the directory.
pub(super) fn begin(disk: &dyn Disk, settings: &Settings, head: Head) -> Result<Active, Fault> {
    let name = name_of(head.no.saturating_add(1));
    let file = disk.create(&name).map_err(|error| fault(disk, &name, &error))?;
    fill(disk, settings, head, settings.size(), file)
}

/// Fills a segment's file, new or without frames, with its header and zeros.
pub(super) fn fill(
    disk: &dyn Disk,
    settings: &Settings,
    head: Head,
    size: u64,
    file: Box<dyn DiskFile>,
) -> Result<Active, Fault> {
    let first = head.no.saturating_add(1);
    let name = name_of(first);
    let header = Header { node: settings.node.clone(), size, first, before: head.hash };
    let salt = write_blank(disk, &header, file.as_ref()).map_err(|error| fault(disk, &name, &error))?;
    Ok(Active { file, name, first, salt, size, frames: 0, at: Frames::BEGIN as u64 })
}

/// Writes a segment without frames durably, its file being known to the directory then; the answer is its salt.
pub(crate) fn write_blank(disk: &dyn Disk, header: &Header, file: &dyn DiskFile) -> io::Result<u32> {
    let (sector, salt) = header.encode();
    let mut chunk = vec![0; header.size.min(1 << 20) as usize];
    chunk[..HEADER_BYTES].copy_from_slice(&sector);
    let mut at = 0;
    while at < header.size {
        let length = (header.size - at).min(chunk.len() as u64);
        file.write_at(at, &chunk[..length as usize])?;
        chunk[..HEADER_BYTES].fill(0);
        at += length;
    }
    file.sync_data()?;
    disk.sync_dir()?;
    Ok(salt)
}
