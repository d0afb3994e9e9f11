//! The stream log: every message of every FIX stream, the streams' numbers, and what the back end has.
//!
//! One owner, the FIX thread, puts entries into a batch ([`StreamLog::inbound`], [`StreamLog::outbound`],
//! [`StreamLog::numbers`], [`StreamLog::acknowledged`]) and makes it durable with [`StreamLog::commit`]: one
//! write and one sync, all or nothing. [`StreamLog::read`] finds stored messages for a resend.
//!
//! # Format, version 1
//!
//! A log is a directory of segments `<place in the row, 20 digits>.str`, without gaps, the oldest dropped by
//! [`StreamLog::prune`]. A segment is built like one of the journal ([`crate::journal`] has the tables), with
//! these differences:
//!
//! - In the header the number of the first record is the segment's place in the row, and the hash is the text
//!   `doorward: stream log, version 1` and a zero.
//! - There is no chain: the hash in each frame is zero. A record is an entry; entries are numbered from 1
//!   without gaps through all segments.
//! - There is no seal: the last 512 bytes are zero. A segment is full when the next one has a frame.
//! - The first frame of a segment begins with all that is known of every stream: its number, its latest
//!   numbers, what is acknowledged. So the newest segment says all this alone, and no other is needed for it.
//! - The next segment is made ahead, and stays without frames until it is needed.
//!
//! An entry is a byte for its kind, then numbers, then bytes. A number is LEB128 of itself plus one:
//!
//! | kind | entry | numbers | bytes |
//! |-----:|-------|---------|-------|
//! | 1 | stream | number of the stream in this log, from 0 in the order in which they came | its name |
//! | 2 | numbers | stream, week, reset, rev, next in, next out, ceiling, unsent from, unsent to | |
//! | 3 | acknowledged | stream, week, reset, MsgSeqNum | |
//! | 4 | inbound | stream, week, reset, MsgSeqNum, microseconds since 1970 | CRC of all the rest, message |
//! | 5 | outbound | the same | the same |
//!
//! Beside each full segment is its index, `<place in the row>.idx` (table in `beside.rs`): a cache, made anew from
//! the segment where it is not there or does not read back.
//!
//! # What a crash may leave
//!
//! A torn last frame, which is dropped; a next segment that is not finished, or whose first frame is torn, which is
//! removed; an index that is not finished. Anything else that does not read back is damage: it is named, and nothing
//! is changed.

mod beside;
mod entry;
mod index;
mod log;
mod read;
mod recover;
mod segment;
mod state;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;

pub use self::entry::fuzz_entry;
use crate::fault::Fault;
pub use crate::journal::Torn;
use crate::journal::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use log::{Reopening, StreamLog};
pub use read::InboundReader;

/// What a stream log is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name, 1..=64 bytes: a log belongs to one node.
    pub node: String,
    /// Size of new segments in bytes, at most 64 MiB; a batch that needs more makes a larger one.
    pub segment_bytes: u64,
    /// Whether a thread makes the next segment and the index of a full one, so that no commit waits for them.
    pub ahead: bool,
}

impl Settings {
    /// Segments of the usual size, made ahead.
    pub fn new(node: &str) -> Self {
        Self { node: node.to_owned(), segment_bytes: SEGMENT_BYTES_DEFAULT, ahead: true }
    }

    fn check(&self) -> Result<(), Fault> {
        let (node, size) = (self.node.len(), self.segment_bytes);
        if node == 0 || node > 64 {
            return Err(Fault::Disk(format!("stream log: the node's name has {node} bytes, not 1..=64")));
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size) {
            return Err(Fault::Disk(format!(
                "stream log: a segment size of {size} bytes is out of range {SEGMENT_BYTES_MIN}..={SEGMENT_BYTES_MAX}"
            )));
        }
        Ok(())
    }
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// For each stream the latest statement of its numbers. Within its epoch `next_in` and `next_out` are raised by
    /// the messages found and by earlier statements; the rest is as stated.
    pub streams: BTreeMap<StreamKey, Numbers>,
    /// The unfinished end that was dropped.
    pub torn: Option<Torn>,
    /// How many segments there are now.
    pub segments: u64,
    /// How many messages they hold.
    pub messages: u64,
}

/// A message as it was stored for a resend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its MsgSeqNum (34).
    pub number: u64,
    /// When it was stored.
    pub at: Wall,
    /// The whole message.
    pub bytes: Vec<u8>,
}

/// A message from a client, with what identifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundMessage {
    /// The stream on which it came.
    pub stream: StreamKey,
    /// The incarnation of the stream.
    pub epoch: Epoch,
    /// Its MsgSeqNum (34).
    pub number: u64,
    /// When it was stored.
    pub at: Wall,
    /// The whole message.
    pub bytes: Vec<u8>,
}

/// What [`StreamLog::prune`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Segments dropped.
    pub segments: u64,
    /// Their bytes, without their indexes.
    pub bytes: u64,
    /// Messages in them.
    pub messages: u64,
    /// Whether an old enough segment was kept because the back end lacks a message of it.
    pub kept_for_back_end: bool,
}

/// What the log holds, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Segments, with one made ahead.
    pub segments: u64,
    /// Their bytes, without their indexes.
    pub bytes: u64,
    /// Messages stored in them, in both directions.
    pub messages: u64,
    /// Streams ever seen.
    pub streams: u64,
    /// Places of messages that are held in memory.
    pub places: u64,
    /// Ranges of messages that are held in memory: one for each stream and epoch of a full segment.
    pub ranges: u64,
}
