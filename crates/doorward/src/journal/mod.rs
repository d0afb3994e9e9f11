//! The journal: the append-only truth of a node, in hash-chained, gapless, checksummed segments.
//!
//! One owner appends ([`Journal::append`]: one frame, one sync, all or nothing); others read what was
//! acknowledged ([`read_from`]); [`verify`] walks everything and tells a torn tail from tampering. Heads that the node
//! signed from time to time lie beside the segments ([`Heads`]); [`verify_anchored`] holds the chain to them.
//!
//! # Format, version 1
//!
//! A journal is a directory of segments named `<number of the first record, 20 digits>.seg`. All integers are
//! big-endian; CRC is CRC-32 (IEEE 802.3); reserved bytes are zero. A segment is written full of zeros and
//! synced before its first frame, so an append changes no length.
//!
//! **Header**, the first 512 bytes:
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 8 | magic: `F5` `DWJRNL` `0A` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | length of the node's name, 1..=64 |
//! | 12 | 4 | reserved |
//! | 16 | 8 | size of the segment in bytes, a multiple of 512 |
//! | 24 | 8 | number of the first record |
//! | 32 | 32 | hash of the record before the first; zeros before record 1 |
//! | 64 | 64 | the node's name, UTF-8, filled with zeros |
//! | 128 | 380 | reserved |
//! | 508 | 4 | CRC of the bytes 0..508: the **salt** of this segment |
//!
//! **Frames** follow from offset 512 without gaps, each at a multiple of 8. The frames end where the bytes are
//! zero, or at the seal's place when they fill the segment:
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 4 | magic: `F5` `DWF` |
//! | 4 | 4 | length of the records part, without the filling |
//! | 8 | 4 | CRC of: the salt (4 bytes), the frame's bytes 0..8, the frame's bytes 12.. with the filling |
//! | 12 | 4 | count of records, at least 1 |
//! | 16 | 8 | number of the first record |
//! | 24 | 32 | hash of the last record (the chain's head after this frame) |
//! | 56 | | records: each 4 bytes of length (at most 1 MiB), then its bytes |
//! | | 0-7 | filling with zeros to a multiple of 8 |
//!
//! The salt binds a frame to its segment: a frame moved from elsewhere does not pass, and whoever chooses a
//! record's content cannot make part of it look like a frame.
//!
//! **Seal**, the last 512 bytes, zero until no further frame fits:
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 8 | magic: `F5` `DWSEAL` `0A` |
//! | 8 | 8 | number of the first record |
//! | 16 | 8 | number of the last record |
//! | 24 | 8 | count of frames |
//! | 32 | 8 | offset at which the frames end |
//! | 40 | 32 | hash of the last record |
//! | 72 | 436 | reserved for a signature over the bytes 0..72 |
//! | 508 | 4 | CRC of: the salt (4 bytes), the seal's bytes 0..508 |
//!
//! **Chain**: records are numbered from 1 without gaps, and
//! `hash(n) = SHA-256(hash(n-1) ‖ n as 8 bytes ‖ bytes of record n)`, `hash(0)` being 32 zero bytes.
//!
//! # What a crash may leave
//!
//! At most one thing is ever unsynced: the last frame, the last seal or a whole new segment. So after a crash
//! only these may be torn, each at the very end, and recovery drops them by itself. Anything else that does
//! not read back is damage, and is never cut silently.

mod anchor;
mod append;
mod disk;
mod heads;
mod lock;
mod power_disk;
mod read;
mod recover;
mod retention;
mod segment;
mod verify;
mod walk;

#[cfg(test)]
mod heads_tests;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::digest;

pub use anchor::{Anchoring, Noted, holds, verify_anchored};
pub use append::{Journal, Settings};
pub use disk::{Disk, DiskFile, FullDisk, RealDisk, free_bytes_at, room_for};
pub use heads::{
    Checkpoint, HEAD_KEYS_FILE, HEADS_FILE, HeadKey, HeadKind, Heads, SignedHead, fuzz_heads, has_head,
};
pub use lock::DirLock;
pub use power_disk::PowerDisk;
pub use read::{Entry, Reader, read_from};
pub use recover::{Recovery, is_begun};
pub use retention::{
    check_book, first_record, last_dropped, lay_book, remove_books_before, segment_ends, take_book,
};
pub use segment::{RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use verify::{Finding, FindingKind, Report, fuzz_frames, verify};

/// What the stream log shares: segments of the same build, without the chain.
pub(crate) mod parts {
    pub(crate) use super::append::write_blank;
    pub(crate) use super::disk::{fault, read_whole};
    pub(crate) use super::heads::LINE_BYTES_MAX;
    pub(crate) use super::recover::{files, wipe};
    pub(crate) use super::segment::{
        ALIGN, FRAME_HEAD_BYTES, HEADER_BYTES, Header, RECORD_HEAD_BYTES, SEAL_BYTES, WRONG_VERSION, be_u32,
        be_u64, finish_frame, numbered, salted,
    };
    pub(crate) use super::walk::{Frames, Tail, is_blank};
}

/// Size of a segment unless configured otherwise, in bytes.
pub const SEGMENT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;

/// A SHA-256 in the chain.
pub type Hash = [u8; 32];

/// Where a chain stands: the number of a record and its hash, which stands for all records up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the record; 0 before the first.
    pub no: u64,
    /// Hash of that record; zeros before the first.
    pub hash: Hash,
}

impl Head {
    /// The head of a journal without records.
    pub const EMPTY: Self = Self { no: 0, hash: [0; 32] };

    /// Reads what [`Display`](fmt::Display) wrote, such as a noted head; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (no, hash) = text.trim().split_once(':')?;
        let hash = data_encoding::HEXLOWER.decode(hash.as_bytes()).ok()?;
        Some(Self { no: no.parse().ok()?, hash: hash.try_into().ok()? })
    }

    /// The head after one more record.
    pub fn next(&self, record: &[u8]) -> Self {
        let no = self.no.saturating_add(1);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.hash);
        context.update(&no.to_be_bytes());
        context.update(record);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self { no, hash }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.no, data_encoding::HEXLOWER.encode(&self.hash))
    }
}

/// An unfinished end that a crash left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// File name of the segment.
    pub segment: String,
    /// Where the unfinished part begins; 0 when the segment itself was still being made.
    pub offset: u64,
    /// How many bytes from there to the last one that is not zero.
    pub bytes: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unfinished end of {} bytes at offset {}", self.segment, self.bytes, self.offset)
    }
}
