//! Opening: trusts full segments by their index, walks the newest one, drops what a crash left unfinished.

use std::io;
use std::sync::Arc;

use super::beside;
use super::entry::Entry;
use super::index::Index;
use super::log::{Active, Sealed};
use super::segment::{ENDING, Extent, Segment, Walked, check_header, damaged, name_of, walk};
use super::state::Streams;
use super::{Settings, Torn};
use crate::fault::Fault;
use crate::journal::parts::{
    HEADER_BYTES, Header, WRONG_VERSION, fault, files, is_blank, numbered, read_whole, wipe,
};
use crate::journal::{Disk, SEGMENT_BYTES_MAX};

/// What a log goes on from.
pub(super) struct Found {
    pub(super) streams: Streams,
    pub(super) sealed: Vec<Sealed>,
    pub(super) active: Active,
    pub(super) next_entry: u64,
    pub(super) torn: Option<Torn>,
}

pub(super) fn recover(disk: &dyn Disk, settings: &Settings) -> Result<Found, Fault> {
    let sequences = files(disk, ENDING)?;
    if let Some(pair) = sequences.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        let name = name_of(pair[0] + 1);
        return Err(damaged(disk, &name, 0, "the segment is not there, but others before and after it are"));
    }
    let Some((&last, before)) = sequences.split_last() else {
        return begin(disk, settings, None);
    };
    // The last one may have been made ahead, or a crash may have cut short the first frame in it.
    let newest = Newest::read(disk, settings, last)?;
    if newest.frames() > 0 {
        return go_on(disk, settings, newest, before, None);
    }
    let torn = newest.walked.and_then(|walked| walked.torn);
    let Some((&newest, before)) = before.split_last() else {
        if last > 1 {
            return Err(damaged(
                disk,
                &name_of(last - 1),
                0,
                "the segments before the last one are not there",
            ));
        }
        return begin(disk, settings, Some(torn));
    };
    let newest = Newest::read(disk, settings, newest)?;
    if newest.frames() == 0 {
        return Err(damaged(
            disk,
            &newest.name,
            HEADER_BYTES as u64,
            "no batch, but another segment follows",
        ));
    }
    if newest.is_torn() && torn.is_some() {
        return Err(damaged(
            disk,
            &newest.name,
            newest.end(),
            "an unfinished batch, but another one follows",
        ));
    }
    let mut found = go_on(disk, settings, newest, before, Some(last))?;
    found.torn = found.torn.or(torn);
    Ok(found)
}

/// A log without entries; `Some`: in place of a first segment without frames.
fn begin(disk: &dyn Disk, settings: &Settings, torn: Option<Option<Torn>>) -> Result<Found, Fault> {
    check_none_after(disk, 1)?;
    let size = settings.segment_bytes.next_multiple_of(512);
    let segment = Segment::prepare(disk, &settings.node, 1, size)?;
    let (streams, sealed) = (Streams::default(), Vec::new());
    Ok(Found { streams, sealed, active: Active::new(segment, 1), next_entry: 1, torn: torn.flatten() })
}

/// Judges all that is there, and only then changes anything.
fn go_on(
    disk: &dyn Disk,
    settings: &Settings,
    newest: Newest,
    before: &[u64],
    spare: Option<u64>,
) -> Result<Found, Fault> {
    check_none_after(disk, newest.sequence)?;
    let mut sealed = Vec::new();
    let mut anew = Vec::new();
    for &sequence in before {
        let segment = full(disk, settings, sequence, &newest.streams)?;
        check_row(disk, sequence, segment.extent.first, sealed.last())?;
        if let Some(index) = &segment.whole {
            anew.push((sequence, segment.extent, Arc::clone(index)));
        }
        sealed.push(segment);
    }
    check_row(disk, newest.sequence, newest.first(), sealed.last())?;
    let next_entry = newest.last() + 1; // holds: a frame's last number fits, FrameHead::parse saw to it
    let (streams, active, torn) = newest.settle(disk)?;
    if let Some(spare) = spare {
        let name = name_of(spare);
        disk.remove(&name).map_err(|error| fault(disk, &name, &error))?;
    }
    drop_orphans(disk, before, u64::from(spare.is_some()))?;
    for (sequence, extent, index) in anew {
        beside::write(disk, sequence, &extent, &index)?;
    }
    for segment in &mut sealed {
        segment.whole = None;
    }
    Ok(Found { streams, sealed, active, next_entry, torn })
}

/// Removes indexes without a full segment.
fn drop_orphans(disk: &dyn Disk, full: &[u64], removed: u64) -> Result<(), Fault> {
    let mut removed = removed;
    for sequence in files(disk, beside::ENDING)? {
        if full.binary_search(&sequence).is_err() {
            let name = numbered(sequence, beside::ENDING);
            disk.remove(&name).map_err(|error| fault(disk, &name, &error))?;
            removed += 1;
        }
    }
    if removed > 0 {
        disk.sync_dir().map_err(|error| fault(disk, "", &error))?;
    }
    Ok(())
}

/// A segment's index is written only when the next one has a frame: none may be there for the newest.
fn check_none_after(disk: &dyn Disk, newest: u64) -> Result<(), Fault> {
    match files(disk, beside::ENDING)?.last() {
        Some(&last) if last >= newest => {
            let what = "the segment is not there, but the one before it has an index";
            Err(damaged(disk, &name_of(last.saturating_add(1)), 0, what))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_row(disk: &dyn Disk, sequence: u64, first: u64, before: Option<&Sealed>) -> Result<(), Fault> {
    let expected = before.map(|before| before.extent.last.saturating_add(1)).or((sequence == 1).then_some(1));
    match expected {
        Some(expected) if expected != first => {
            let what = format!("begins with entry {first}, but {expected} is due");
            Err(damaged(disk, &name_of(sequence), HEADER_BYTES as u64, &what))
        }
        Some(_) | None => Ok(()),
    }
}

/// A segment that others follow: by its index, or walked where that does not read back.
fn full(disk: &dyn Disk, settings: &Settings, sequence: u64, streams: &Streams) -> Result<Sealed, Fault> {
    let name = name_of(sequence);
    let parts = || -> io::Result<_> {
        let file = disk.open(&name)?;
        let mut header = [0; HEADER_BYTES];
        let read = file.read_at(0, &mut header)?;
        Ok((header[..read].to_vec(), file.len()?))
    };
    let (header, length) = parts().map_err(|error| fault(disk, &name, &error))?;
    let (header, salt) = Header::parse(&header).map_err(|what| damaged(disk, &name, 0, what))?;
    check_header(disk, settings, &header, sequence)?;
    if length != header.size {
        return Err(damaged(disk, &name, length, "the segment is not as long as its header says"));
    }
    let size = header.size;
    let sealed = match beside::read(disk, sequence, salt) {
        Some((extent, summary)) => Sealed { sequence, size, extent, summary, whole: None },
        None => walk_full(disk, sequence, salt, size)?,
    };
    let declared = |stream| streams.at(stream).is_some();
    if sealed.summary.ranges.iter().all(|range| declared(range.stream)) {
        return Ok(sealed);
    }
    Err(damaged(disk, &name, 0, "messages of a stream that the newest segment does not know"))
}

fn walk_full(disk: &dyn Disk, sequence: u64, salt: u32, size: u64) -> Result<Sealed, Fault> {
    let name = name_of(sequence);
    let bytes = read_whole(disk, &name, SEGMENT_BYTES_MAX)?;
    let mut index = Index::default();
    let walked = walk(&bytes, (sequence, salt), None, |offset, entry| {
        if let Entry::Message { name, .. } = entry {
            index.add(&name, offset);
        }
        Ok(())
    });
    let walked = walked.map_err(|(offset, what)| damaged(disk, &name, offset as u64, what))?;
    if let Some(torn) = walked.torn {
        return Err(damaged(disk, &name, torn.offset, "an unfinished batch, but another segment follows"));
    }
    if walked.frames == 0 {
        return Err(damaged(disk, &name, HEADER_BYTES as u64, "no batch, but another segment follows"));
    }
    let extent = Extent { salt, first: walked.first, last: walked.last, end: walked.end as u64 };
    let summary = index.summary();
    Ok(Sealed { sequence, size, extent, summary, whole: Some(Arc::new(index)) })
}

/// One of the last two segments, walked where it has a header.
struct Newest {
    name: String,
    sequence: u64,
    salt: u32,
    bytes: Vec<u8>,
    streams: Streams,
    index: Index,
    /// `None`: it was still being made.
    walked: Option<Walked>,
}

impl Newest {
    fn read(disk: &dyn Disk, settings: &Settings, sequence: u64) -> Result<Self, Fault> {
        let name = name_of(sequence);
        let bytes = read_whole(disk, &name, SEGMENT_BYTES_MAX)?;
        let (mut streams, mut index) = (Streams::default(), Index::default());
        let damaged = |offset: usize, what: &str| damaged(disk, &name, offset as u64, what);
        if bytes.len() as u64 > SEGMENT_BYTES_MAX {
            return Err(damaged(0, "the file is longer than any segment"));
        }
        let parsed = Header::parse(&bytes);
        if let Ok((header, _)) = &parsed {
            check_header(disk, settings, header, sequence)?;
        }
        let blank = is_blank(bytes.get(HEADER_BYTES..).unwrap_or_default());
        let whole = parsed.as_ref().is_ok_and(|(header, _)| header.size == bytes.len() as u64);
        if blank && !whole && !parsed.as_ref().is_err_and(|what| *what == WRONG_VERSION) {
            return Ok(Self { name, sequence, salt: 0, bytes, streams, index, walked: None });
        }
        let (_, salt) = parsed.map_err(|what| damaged(0, what))?;
        if !whole {
            return Err(damaged(bytes.len(), "the segment is not as long as its header says"));
        }
        let walked = walk(&bytes, (sequence, salt), None, |offset, entry| {
            if let Entry::Message { name, .. } = &entry {
                index.add(name, offset);
            }
            streams.apply(&entry)
        });
        let walked = Some(walked.map_err(|(offset, what)| damaged(offset, what))?);
        Ok(Self { name, sequence, salt, bytes, streams, index, walked })
    }

    fn frames(&self) -> u64 {
        self.walked.as_ref().map_or(0, |walked| walked.frames)
    }

    fn first(&self) -> u64 {
        self.walked.as_ref().map_or(0, |walked| walked.first)
    }

    fn last(&self) -> u64 {
        self.walked.as_ref().map_or(0, |walked| walked.last)
    }

    fn end(&self) -> u64 {
        self.walked.as_ref().map_or(0, |walked| walked.end as u64)
    }

    fn is_torn(&self) -> bool {
        self.walked.as_ref().is_some_and(|walked| walked.torn.is_some())
    }

    /// Makes durable what was found, and goes on from there.
    ///
    /// The last frame is written again, not only synced: if this machine's last sync failed, the disk may lack what
    /// reads back well.
    fn settle(self, disk: &dyn Disk) -> Result<(Streams, Active, Option<Torn>), Fault> {
        let (last_at, end) = self.walked.as_ref().map_or((0, 0), |walked| (walked.last_at, walked.end));
        let torn = self.walked.as_ref().and_then(|walked| walked.torn.clone());
        let write = || {
            let file = disk.open(&self.name)?;
            file.write_at(last_at as u64, &self.bytes[last_at..end])?;
            if let Some(torn) = &torn {
                wipe(file.as_ref(), torn)?;
            }
            file.sync_data()?;
            disk.sync_dir()?;
            Ok(file)
        };
        let file = write().map_err(|error| fault(disk, &self.name, &error))?;
        let size = self.bytes.len() as u64;
        let (frames, first) = (self.frames(), self.first());
        let segment = Segment { sequence: self.sequence, file, salt: self.salt, size };
        let active = Active { segment, frames, first, at: end as u64, index: self.index };
        Ok((self.streams, active, torn))
    }
}
