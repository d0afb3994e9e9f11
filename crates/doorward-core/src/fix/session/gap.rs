//! A gap in the client's series: what was asked for again, and what waits behind it.

use std::collections::BTreeMap;

use crate::limits::Limit;
use crate::time::Mono;

/// A gap that was asked for.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Gap {
    /// The last number that was asked for.
    pub(super) to: u64,
    /// When.
    pub(super) asked: Mono,
    /// Messages behind the gap by MsgSeqNum; an empty one was dealt with and only counts.
    queue: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

/// What waits under a number.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Nothing: it is missing.
    Nothing,
    /// A message that was dealt with when it came.
    Done,
    /// A message that is to be dealt with now.
    Message(Box<[u8]>),
}

impl Gap {
    /// A gap up to `to`, asked for now.
    pub(super) const fn new(to: u64, asked: Mono) -> Self {
        Self { to, asked, queue: BTreeMap::new(), bytes: 0 }
    }

    /// Keeps a message that lies behind the gap. Where there is no room it is dropped, and asked for later.
    pub(super) fn keep(&mut self, number: u64, message: &[u8]) {
        let bytes = self.bytes + message.len();
        let fits =
            (self.queue.len() as u64) < Limit::FixQueued.max() && bytes as u64 <= Limit::FixQueuedBytes.max();
        if fits && !self.queue.contains_key(&number) {
            self.queue.insert(number, message.into());
            self.bytes = bytes;
        }
    }

    /// Takes what waits under the next number; what lies before it is not needed any more.
    pub(super) fn take(&mut self, next: u64) -> Waiting {
        while let Some(entry) = self.queue.first_entry()
            && *entry.key() < next
        {
            self.bytes -= entry.remove().len();
        }
        match self.queue.remove(&next) {
            None => Waiting::Nothing,
            Some(message) if message.is_empty() => Waiting::Done,
            Some(message) => {
                self.bytes -= message.len();
                Waiting::Message(message)
            }
        }
    }

    /// The lowest number that waits.
    pub(super) fn first(&self) -> Option<u64> {
        self.queue.keys().next().copied()
    }
}
