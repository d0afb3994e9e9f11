//! The byte layout of a segment (table in the module above): writing and reading its three parts.

use super::{Hash, Head};

/// What a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;
pub(crate) const HEADER_BYTES: usize = SECTOR;
pub(crate) const SEAL_BYTES: usize = SECTOR;
pub(crate) const FRAME_HEAD_BYTES: usize = 56;
pub(crate) const RECORD_HEAD_BYTES: usize = 4;
pub(crate) const ALIGN: usize = 8;
pub(super) const NODE_BYTES_MAX: usize = 64;
/// One record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// The smallest segment, in bytes (useful in tests only).
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// The largest segment, in bytes: recovery holds one in memory.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

const VERSION: u16 = 1;
const HEADER_MAGIC: [u8; 8] = *b"\xF5DWJRNL\n";
const SEAL_MAGIC: [u8; 8] = *b"\xF5DWSEAL\n";
/// Its first byte occurs in no UTF-8 text, so no text holds it.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"\xF5DWF";
/// What [`Header::parse`] says of a header that is sound but not ours to read.
pub(crate) const WRONG_VERSION: &str = "the format version is not 1: made by a newer release?";
const CRC_AT: usize = SECTOR - 4;

/// The file name of the segment that begins with record `first`.
pub(super) fn name_of(first: u64) -> String {
    numbered(first, ".seg")
}

/// A file name that is a number of 20 digits and an ending.
pub(crate) fn numbered(number: u64, ending: &str) -> String {
    format!("{number:020}{ending}")
}

/// The number, from 1, in a name that [`numbered`] made; `None` for any other file.
pub(crate) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&first| first > 0)
}

/// What a segment's first sector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) node: String,
    pub(crate) size: u64,
    pub(crate) first: u64,
    /// Hash of the record before the first.
    pub(crate) before: Hash,
}

impl Header {
    /// The sector, and the salt of the segment that it begins.
    pub(crate) fn encode(&self) -> ([u8; SECTOR], u32) {
        let mut out = [0; SECTOR];
        let node = &self.node.as_bytes()[..self.node.len().min(NODE_BYTES_MAX)];
        out[..8].copy_from_slice(&HEADER_MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_be_bytes());
        out[11] = node.len() as u8; // holds: at most 64, cut above
        out[16..24].copy_from_slice(&self.size.to_be_bytes());
        out[24..32].copy_from_slice(&self.first.to_be_bytes());
        out[32..64].copy_from_slice(&self.before);
        out[64..64 + node.len()].copy_from_slice(node);
        let salt = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&salt.to_be_bytes());
        (out, salt)
    }

    /// Reads a sector; the error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, u32), &'static str> {
        let Some(bytes) = bytes.get(..SECTOR) else { return Err("the header is cut off") };
        let salt = stored_salt(bytes);
        if bytes[..8] != HEADER_MAGIC {
            return Err("the header does not begin as one");
        }
        if crc32fast::hash(&bytes[..CRC_AT]) != salt {
            return Err("the header's checksum is wrong");
        }
        if be_u16(bytes, 8) != VERSION {
            return Err(WRONG_VERSION);
        }
        let node = usize::from(be_u16(bytes, 10));
        let (size, first) = (be_u64(bytes, 16), be_u64(bytes, 24));
        let node = bytes[64..128].get(..node).and_then(|name| std::str::from_utf8(name).ok());
        let Some(node) = node.filter(|name| !name.is_empty()) else {
            return Err("the node's name in the header is not one");
        };
        if first == 0 || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size) || size % 512 != 0 {
            return Err("the header's size or first number is out of range");
        }
        Ok((Self { node: node.to_owned(), size, first, before: be_hash(bytes, 32) }, salt))
    }

    /// The head on which this segment follows.
    pub(super) fn head_before(&self) -> Head {
        Head { no: self.first.saturating_sub(1), hash: self.before }
    }
}

/// The salt as the header holds it, whether or not the rest of the header can be trusted.
pub(super) fn stored_salt(header: &[u8]) -> u32 {
    be_u32(header, CRC_AT)
}

/// What the last sector of a full segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) first: u64,
    pub(super) frames: u64,
    /// Offset at which the frames end.
    pub(super) end: u64,
    pub(super) head: Head,
}

impl Seal {
    pub(super) fn encode(&self, salt: u32) -> [u8; SECTOR] {
        let mut out = [0; SECTOR];
        out[..8].copy_from_slice(&SEAL_MAGIC);
        out[8..16].copy_from_slice(&self.first.to_be_bytes());
        out[16..24].copy_from_slice(&self.head.no.to_be_bytes());
        out[24..32].copy_from_slice(&self.frames.to_be_bytes());
        out[32..40].copy_from_slice(&self.end.to_be_bytes());
        out[40..72].copy_from_slice(&self.head.hash);
        let crc = salted(salt, &[&out[..CRC_AT]]);
        out[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// `Ok(None)`: all zero, not sealed yet. The error says what is wrong.
    pub(super) fn parse(bytes: &[u8], salt: u32) -> Result<Option<Self>, &'static str> {
        let Some(bytes) = bytes.get(..SECTOR) else { return Err("the seal is cut off") };
        if bytes.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        if bytes[..8] != SEAL_MAGIC {
            return Err("the seal does not begin as one");
        }
        if salted(salt, &[&bytes[..CRC_AT]]) != be_u32(bytes, CRC_AT) {
            return Err("the seal's checksum is wrong");
        }
        let head = Head { no: be_u64(bytes, 16), hash: be_hash(bytes, 40) };
        Ok(Some(Self { first: be_u64(bytes, 8), frames: be_u64(bytes, 24), end: be_u64(bytes, 32), head }))
    }
}

/// The first 56 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    body: usize,
    crc: u32,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) hash: Hash,
}

impl FrameHead {
    /// Reads the fixed part; `None` where the magic or the numbers cannot be a frame's. `room` is what the
    /// segment has left from the frame's first byte on.
    pub(crate) fn parse(bytes: &[u8], room: usize) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEAD_BYTES)?;
        if bytes[..4] != FRAME_MAGIC {
            return None;
        }
        let head = Self {
            body: be_u32(bytes, 4) as usize,
            crc: be_u32(bytes, 8),
            count: be_u32(bytes, 12),
            first: be_u64(bytes, 16),
            hash: be_hash(bytes, 24),
        };
        let fits = head.bytes() <= room && head.count as usize <= head.body / RECORD_HEAD_BYTES;
        let numbered =
            head.count > 0 && head.first > 0 && head.first.checked_add(u64::from(head.count)).is_some();
        (fits && numbered).then_some(head)
    }

    /// How far the frame that begins here claims to go, without its filling; `None` where that cannot be.
    pub(super) fn extent(bytes: &[u8]) -> Option<usize> {
        let extent = FRAME_HEAD_BYTES + be_u32(bytes, 4) as usize;
        (bytes.starts_with(&FRAME_MAGIC) && extent <= bytes.len()).then_some(extent)
    }

    /// The frame's length with its filling.
    pub(crate) fn bytes(&self) -> usize {
        FRAME_HEAD_BYTES + self.body.next_multiple_of(ALIGN)
    }

    /// The frame's length without its filling.
    pub(crate) fn bytes_used(&self) -> usize {
        FRAME_HEAD_BYTES + self.body
    }

    /// The chain's head after this frame.
    pub(crate) fn head(&self) -> Head {
        Head { no: self.first + u64::from(self.count) - 1, hash: self.hash }
    }

    /// The records of a whole frame; the error says why it is not one.
    pub(crate) fn records<'a>(&self, frame: &'a [u8], salt: u32) -> Result<Records<'a>, &'static str> {
        let Some(frame) = frame.get(..self.bytes()) else { return Err("the batch is cut off") };
        let body = &frame[FRAME_HEAD_BYTES..self.bytes_used()];
        let mut records = Records(body);
        let laid_out = records.by_ref().map(|r| usize::from(r.len() <= RECORD_BYTES_MAX)).sum::<usize>();
        let filled = frame[self.bytes_used()..].iter().all(|&b| b == 0);
        // The cheap test first: this also looks at bytes that only resemble a frame.
        if laid_out != self.count as usize || !records.0.is_empty() || !filled {
            return Err("the batch's records do not fill it");
        }
        if salted(salt, &[&frame[..8], &frame[12..]]) != self.crc {
            return Err("the batch's checksum is wrong");
        }
        Ok(Records(body))
    }
}

/// The records of a frame, in order.
#[derive(Debug, Clone)]
pub(crate) struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<RECORD_HEAD_BYTES>()?;
        let (record, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(record)
    }
}

/// The length of a frame that holds records of these lengths, with its filling.
pub(super) fn frame_bytes(lengths: impl Iterator<Item = usize>) -> usize {
    let body = lengths.fold(0_usize, |sum, length| sum.saturating_add(RECORD_HEAD_BYTES + length));
    FRAME_HEAD_BYTES.saturating_add(body.saturating_add(ALIGN - 1) / ALIGN * ALIGN)
}

/// Writes one frame into `out` (cleared first) and returns the head after it.
///
/// The caller has checked that there are records and that the frame fits a segment.
pub(super) fn encode_frame<R: AsRef<[u8]>>(
    out: &mut Vec<u8>,
    before: Head,
    records: &[R],
    salt: u32,
) -> Head {
    out.clear();
    out.resize(FRAME_HEAD_BYTES, 0);
    let mut head = before;
    for record in records {
        let record = record.as_ref();
        out.extend_from_slice(&(record.len() as u32).to_be_bytes());
        out.extend_from_slice(record);
        head = head.next(record);
    }
    finish_frame(out, before.no.saturating_add(1), records.len() as u32, &head.hash, salt);
    head
}

/// Completes a frame whose records stand in `out` behind room for the head: filling, head, checksum.
pub(crate) fn finish_frame(out: &mut Vec<u8>, first: u64, count: u32, hash: &Hash, salt: u32) {
    let body = out.len() - FRAME_HEAD_BYTES;
    out.resize(FRAME_HEAD_BYTES + body.next_multiple_of(ALIGN), 0);
    out[..4].copy_from_slice(&FRAME_MAGIC);
    out[4..8].copy_from_slice(&(body as u32).to_be_bytes());
    out[12..16].copy_from_slice(&count.to_be_bytes());
    out[16..24].copy_from_slice(&first.to_be_bytes());
    out[24..56].copy_from_slice(hash);
    let crc = salted(salt, &[&out[..8], &out[12..]]);
    out[8..12].copy_from_slice(&crc.to_be_bytes());
}

pub(crate) fn salted(salt: u32, parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_be_bytes());
    for part in parts {
        crc.update(part);
    }
    crc.finalize()
}

// Callers ask for offsets inside a slice whose length they have checked; past its end the answer is zero.
fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn be_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(be(bytes, at))
}

pub(crate) fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(be(bytes, at))
}

pub(crate) fn be_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(be(bytes, at))
}

fn be_hash(bytes: &[u8], at: usize) -> Hash {
    be(bytes, at)
}
