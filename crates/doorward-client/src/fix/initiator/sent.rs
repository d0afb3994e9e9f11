//! Application messages that went out, kept for when the server asks for them again.

use std::collections::BTreeMap;

use doorward_core::time::Wall;

/// Most messages that are kept.
const KEPT_MAX: usize = 10_000;
/// Most bytes that are kept.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// One message that went out.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) msg_type: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Its SendingTime (52).
    pub(super) at: Wall,
}

/// The newest messages that went out, by number.
#[derive(Debug)]
pub(super) struct Sent {
    kept: BTreeMap<u64, Kept>,
    bytes: usize,
    /// All messages from here on are kept; of those below it nothing is known.
    known_from: u64,
}

impl Sent {
    /// Nothing went out yet; of what bears a lower number nothing is known.
    pub(super) const fn new(next_out: u64) -> Self {
        Self { kept: BTreeMap::new(), bytes: 0, known_from: next_out }
    }

    pub(super) fn keep(&mut self, number: u64, kept: Kept) {
        self.bytes += kept.body.len();
        self.kept.insert(number, kept);
        while self.kept.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some((number, dropped)) = self.kept.pop_first() else { break };
            self.bytes -= dropped.body.len();
            self.known_from = number + 1;
        }
    }

    /// The kept messages of a range, ascending.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.range(from..=to).map(|(number, kept)| (*number, kept))
    }

    /// The last number of a range that begins at `from` of which nothing is known; `None` where all is known.
    pub(super) fn unknown_to(&self, from: u64, to: u64) -> Option<u64> {
        (from < self.known_from).then(|| to.min(self.known_from - 1))
    }
}
