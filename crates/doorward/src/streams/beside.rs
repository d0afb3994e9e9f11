//! The index of a full segment, in a file beside it: made from the segment, and made anew if it is lost.
//!
//! All integers are big-endian; CRC is CRC-32 over the segment's salt and the bytes named.
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 8 | magic: `F5` `DWSIDX` `0A` |
//! | 8 | 4 | salt of the segment |
//! | 12 | 4 | count of ranges |
//! | 16 | 8 | number of the first entry |
//! | 24 | 8 | number of the last entry |
//! | 32 | 8 | offset at which the segment's frames end |
//! | 40 | 8 | instant of the newest message in microseconds, plus one; 0: no message |
//! | 48 | 8 | count of messages |
//! | 56 | 4 | CRC of the bytes 0..56, 60..64 and all ranges |
//! | 60 | 4 | reserved |
//! | 64 | | ranges, 48 bytes each, by stream and epoch |
//! | | | for each range the CRC (4 bytes) of its places, then these, by number |
//!
//! A range: stream (4), week (4), reset (4), count of inbound messages (4), the last inbound number (8), count of
//! outbound messages (4), reserved (4), the first and the last outbound number (8 each). A place: number (8),
//! offset in the segment (4).

use doorward_core::stream::Epoch;
use doorward_core::time::Wall;

use super::index::{Index, Place, Range, Summary};
use super::segment::{Extent, damaged};
use crate::fault::Fault;
use crate::journal::Disk;
use crate::journal::parts::{be_u32, be_u64, fault, numbered, salted};

/// Ending of the file's name.
pub(super) const ENDING: &str = ".idx";
const MAGIC: [u8; 8] = *b"\xF5DWSIDX\n";
const HEAD_BYTES: usize = 64;
const CRC_AT: usize = 56;
const RANGE_BYTES: usize = 48;
const CRC_BYTES: usize = 4;
const PLACE_BYTES: usize = 12;

/// Writes the file durably, in place of one that does not read back. What begins it is written last, so that a crash
/// leaves no beginning whose rest is missing.
pub(super) fn write(disk: &dyn Disk, sequence: u64, extent: &Extent, index: &Index) -> Result<(), Fault> {
    let name = numbered(sequence, ENDING);
    let (head, places) = encode(extent, index);
    let written = || {
        if disk.list()?.contains(&name) {
            disk.remove(&name)?;
        }
        let file = disk.create(&name)?;
        file.write_at(head.len() as u64, &places)?;
        file.sync_data()?;
        file.write_at(0, &head)?;
        file.sync_data()?;
        disk.sync_dir()
    };
    written().map_err(|error| fault(disk, &name, &error))
}

/// Head with ranges, and the places.
fn encode(extent: &Extent, index: &Index) -> (Vec<u8>, Vec<u8>) {
    let summary = index.summary();
    let mut out = Vec::with_capacity(HEAD_BYTES + summary.ranges.len() * (RANGE_BYTES + CRC_BYTES));
    let newest = summary.newest.map_or(0, |at| u64::try_from(at.as_us()).unwrap_or(0).saturating_add(1));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&extent.salt.to_be_bytes());
    out.extend_from_slice(&(summary.ranges.len() as u32).to_be_bytes());
    for number in [extent.first, extent.last, extent.end, newest, summary.messages, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    for range in &summary.ranges {
        for small in [range.stream, range.epoch.week, range.epoch.reset, range.inbound] {
            out.extend_from_slice(&small.to_be_bytes());
        }
        out.extend_from_slice(&range.inbound_last.to_be_bytes());
        out.extend_from_slice(&range.outbound.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&range.first.to_be_bytes());
        out.extend_from_slice(&range.last.to_be_bytes());
    }
    let crc = salted(extent.salt, &[&out[..CRC_AT], &out[CRC_AT + CRC_BYTES..]]);
    out[CRC_AT..CRC_AT + CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    let head = std::mem::take(&mut out);
    for places in index.places_in_order() {
        let crc_at = out.len();
        out.extend_from_slice(&[0; CRC_BYTES]);
        for place in places {
            out.extend_from_slice(&place.number.to_be_bytes());
            out.extend_from_slice(&place.offset.to_be_bytes());
        }
        let crc = salted(extent.salt, &[&out[crc_at + CRC_BYTES..]]);
        out[crc_at..crc_at + CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    }
    (head, out)
}

/// Reads all but the places; `None` where the file is not there or does not read back.
pub(super) fn read(disk: &dyn Disk, sequence: u64, salt: u32) -> Option<(Extent, Summary)> {
    let file = disk.open(&numbered(sequence, ENDING)).ok()?;
    let mut head = [0; HEAD_BYTES];
    if file.read_at(0, &mut head).ok()? < HEAD_BYTES || head[..8] != MAGIC || be_u32(&head, 8) != salt {
        return None;
    }
    let length = (be_u32(&head, 12) as usize).checked_mul(RANGE_BYTES)?;
    let whole = file.len().ok()?;
    if (HEAD_BYTES + length) as u64 > whole {
        return None;
    }
    let mut ranges = vec![0; length];
    let read = file.read_at(HEAD_BYTES as u64, &mut ranges).ok()?;
    let crc = salted(salt, &[&head[..CRC_AT], &head[CRC_AT + CRC_BYTES..], &ranges]);
    if read < length || crc != be_u32(&head, CRC_AT) {
        return None;
    }
    let extent = Extent { salt, first: be_u64(&head, 16), last: be_u64(&head, 24), end: be_u64(&head, 32) };
    let newest = be_u64(&head, 40).checked_sub(1).and_then(|us| i64::try_from(us).ok());
    let ranges: Vec<Range> = ranges.chunks_exact(RANGE_BYTES).map(range).collect();
    let summary = Summary { newest: newest.map(Wall::from_us), messages: be_u64(&head, 48), ranges };
    (place_of(&summary, summary.ranges.len()) == whole).then_some((extent, summary))
}

fn range(bytes: &[u8]) -> Range {
    Range {
        stream: be_u32(bytes, 0),
        epoch: Epoch { week: be_u32(bytes, 4), reset: be_u32(bytes, 8) },
        inbound: be_u32(bytes, 12),
        inbound_last: be_u64(bytes, 16),
        outbound: be_u32(bytes, 24),
        first: be_u64(bytes, 32),
        last: be_u64(bytes, 40),
    }
}

/// Where the places of the nth range begin in the file.
fn place_of(summary: &Summary, nth: usize) -> u64 {
    let before = summary.ranges.iter().take(nth);
    let places = before.map(|range| CRC_BYTES as u64 + u64::from(range.outbound) * PLACE_BYTES as u64);
    places.sum::<u64>() + (HEAD_BYTES + summary.ranges.len() * RANGE_BYTES) as u64
}

/// Reads the places of the nth range.
pub(super) fn places(
    disk: &dyn Disk,
    sequence: u64,
    salt: u32,
    summary: &Summary,
    nth: usize,
) -> Result<Vec<Place>, Fault> {
    let (name, at) = (numbered(sequence, ENDING), place_of(summary, nth));
    let count = summary.ranges.get(nth).map_or(0, |range| range.outbound as usize);
    let mut bytes = vec![0; CRC_BYTES + count * PLACE_BYTES];
    let read = disk.open(&name).and_then(|file| file.read_at(at, &mut bytes));
    let read = read.map_err(|error| fault(disk, &name, &error))?;
    let (crc, places) = bytes.split_at(CRC_BYTES);
    if read < bytes.len() || salted(salt, &[places]) != be_u32(crc, 0) {
        let what = "the index does not read back (it is made anew from the segment when it is not there)";
        return Err(damaged(disk, &name, at, what));
    }
    let place = |bytes: &[u8]| Place { number: be_u64(bytes, 0), offset: be_u32(bytes, 8) };
    Ok(places.chunks_exact(PLACE_BYTES).map(place).collect())
}
