//! What is known of every stream: its number in the log, its latest numbers, what the back end has.

use std::collections::{BTreeMap, HashMap};

use doorward_core::stream::{Epoch, Numbers, StreamKey};

use super::entry::{Direction, Entry, Name, StreamNo};

/// A stream as the entries so far tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    /// The latest statement, raised by the messages of its epoch.
    pub(super) numbers: Option<Numbers>,
    /// The back end has every inbound message up to this one.
    pub(super) acknowledged: Option<(Epoch, u64)>,
}

/// All streams, in the order in which they first came.
#[derive(Debug, Default)]
pub(super) struct Streams {
    list: Vec<Stream>,
    by_key: HashMap<StreamKey, StreamNo>,
    /// The one that was asked for last: a message and its answer are of one stream.
    recent: StreamNo,
}

impl Streams {
    pub(super) fn no_of(&self, key: &StreamKey) -> Option<StreamNo> {
        self.by_key.get(key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn at(&self, no: StreamNo) -> Option<&Stream> {
        self.list.get(no as usize)
    }

    /// Like [`Streams::no_of`], and remembers it.
    pub(super) fn look_up(&mut self, key: &StreamKey) -> Option<StreamNo> {
        if self.at(self.recent).is_some_and(|stream| stream.key == *key) {
            return Some(self.recent);
        }
        let no = self.no_of(key)?;
        self.recent = no;
        Some(no)
    }

    /// Gives a stream that was not there the next number.
    pub(super) fn add(&mut self, key: StreamKey) -> StreamNo {
        let no = self.list.len() as StreamNo; // holds: a segment of at most 64 MiB declares each of them
        self.list.push(Stream { key, numbers: None, acknowledged: None });
        self.by_key.insert(key, no);
        no
    }

    /// Takes an entry as read; the error says why it cannot be one of this log.
    pub(super) fn apply(&mut self, entry: &Entry<'_>) -> Result<(), &'static str> {
        match entry {
            Entry::Stream { no, key } => {
                let known = self.no_of(key);
                if known.unwrap_or(self.len() as StreamNo) != *no {
                    return Err("a stream is declared twice, or out of order");
                }
                if known.is_none() {
                    self.add(*key);
                }
            }
            Entry::Numbers { stream, numbers } => self.known(*stream)?.state(numbers),
            Entry::Acknowledged { stream, epoch, number } => {
                self.known(*stream)?.acknowledge(*epoch, *number);
            }
            Entry::Message { name, .. } => self.known(name.stream)?.raise(name),
        }
        Ok(())
    }

    fn known(&mut self, no: StreamNo) -> Result<&mut Stream, &'static str> {
        self.list.get_mut(no as usize).ok_or("an entry of a stream that was not declared")
    }

    /// Changes a stream whose number this table gave; others are left alone.
    pub(super) fn change(&mut self, no: StreamNo, change: impl FnOnce(&mut Stream)) {
        if let Some(stream) = self.list.get_mut(no as usize) {
            change(stream);
        }
    }

    /// Whether the back end lacks an inbound message of this place.
    pub(super) fn lacks(&self, no: StreamNo, epoch: Epoch, number: u64) -> bool {
        self.at(no).is_some_and(|stream| stream.acknowledged < Some((epoch, number)))
    }

    /// Writes all that is known as entries, into a segment's first frame; the answer is how many.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> u32 {
        let mut count = 0;
        for (no, stream) in (0..).zip(&self.list) {
            let declared = Some(Entry::Stream { no, key: stream.key });
            let numbers = stream.numbers.map(|numbers| Entry::Numbers { stream: no, numbers });
            let acknowledged =
                stream.acknowledged.map(|(epoch, number)| Entry::Acknowledged { stream: no, epoch, number });
            for entry in [declared, numbers, acknowledged].iter().flatten() {
                entry.write(out);
                count += 1;
            }
        }
        count
    }

    /// More bytes than [`Streams::write`] needs.
    pub(super) fn bytes_max(&self) -> u64 {
        const STREAM_BYTES_MAX: u64 = 192;
        self.list.len() as u64 * STREAM_BYTES_MAX
    }

    pub(super) fn numbers(&self) -> BTreeMap<StreamKey, Numbers> {
        self.list.iter().filter_map(|stream| Some((stream.key, stream.numbers?))).collect()
    }
}

impl Stream {
    /// Takes a statement, unless a later one is known. Within an epoch neither number goes back.
    pub(super) fn state(&mut self, numbers: &Numbers) {
        let mut next = *numbers;
        if let Some(old) = self.numbers {
            if old.supersedes(&next) {
                return;
            }
            if old.epoch == next.epoch {
                next.next_in = next.next_in.max(old.next_in);
                next.next_out = next.next_out.max(old.next_out);
            }
        }
        self.numbers = Some(next);
    }

    /// A message uses its number up; one of a later epoch begins that.
    pub(super) fn raise(&mut self, name: &Name) {
        let numbers = self.numbers.get_or_insert_with(|| Numbers::new(name.epoch));
        if numbers.epoch > name.epoch {
            return;
        }
        if numbers.epoch < name.epoch {
            *numbers = Numbers::new(name.epoch);
        }
        let next = match name.direction {
            Direction::Inbound => &mut numbers.next_in,
            Direction::Outbound => &mut numbers.next_out,
        };
        *next = (*next).max(name.number.saturating_add(1));
    }

    pub(super) fn acknowledge(&mut self, epoch: Epoch, number: u64) {
        self.acknowledged = self.acknowledged.max(Some((epoch, number)));
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::time::Wall;

    use super::*;

    fn epoch(week: u32, reset: u32) -> Epoch {
        Epoch { week, reset }
    }

    fn message(direction: Direction, epoch: Epoch, number: u64) -> Name {
        Name { direction, stream: 0, epoch, number, at: Wall::from_s(0) }
    }

    #[test]
    fn f8_numbers_never_go_back_within_an_epoch() {
        let mut stream =
            Stream { key: StreamKey::parse("cgw/ABC/001").unwrap(), numbers: None, acknowledged: None };
        let stated = Numbers { rev: 3, next_in: 5, next_out: 8, ceiling: 70, ..Numbers::new(epoch(7, 0)) };
        stream.state(&stated);
        stream.raise(&message(Direction::Inbound, epoch(7, 0), 9));
        stream.raise(&message(Direction::Outbound, epoch(7, 0), 3));
        assert_eq!(stream.numbers, Some(Numbers { next_in: 10, ..stated }));
        stream.state(&Numbers { rev: 2, ceiling: 900, ..stated });
        assert_eq!(stream.numbers, Some(Numbers { next_in: 10, ..stated }), "an earlier statement");
        let orderly = Numbers { rev: 4, next_in: 6, next_out: 12, ceiling: 12, ..stated };
        stream.state(&orderly);
        assert_eq!(stream.numbers, Some(Numbers { next_in: 10, ..orderly }), "its ceiling comes down");
        stream.raise(&message(Direction::Outbound, epoch(6, 9), 500));
        assert_eq!(stream.numbers, Some(Numbers { next_in: 10, ..orderly }), "an earlier epoch");
        stream.raise(&message(Direction::Outbound, epoch(7, 1), 2));
        assert_eq!(stream.numbers, Some(Numbers { next_out: 3, ..Numbers::new(epoch(7, 1)) }));
        stream.state(&orderly);
        assert_eq!(stream.numbers, Some(Numbers { next_out: 3, ..Numbers::new(epoch(7, 1)) }));
    }

    #[test]
    fn what_is_written_is_read_back_and_fits_what_was_foretold() {
        let mut streams = Streams::default();
        for nth in 0..50_u64 {
            let person = doorward_core::id::PersonId::from_random(u64::MAX - 2 * nth);
            let no = streams.add(StreamKey::Person(person));
            let most = Numbers {
                epoch: epoch(u32::MAX, u32::MAX),
                rev: u32::MAX,
                next_in: u64::MAX - 1,
                next_out: u64::MAX - 1,
                ceiling: u64::MAX - 1,
                unsent_from: u64::MAX - 1,
                unsent_to: u64::MAX - 1,
            };
            streams.change(no, |stream| stream.state(&most));
            streams.change(no, |stream| stream.acknowledge(epoch(u32::MAX, u32::MAX), u64::MAX - 1));
        }
        let mut out = Vec::new();
        assert_eq!(streams.write(&mut out), 150);
        assert!(out.len() as u64 <= streams.bytes_max(), "{} bytes", out.len());
        let mut read = Streams::default();
        let mut rest = out.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (record, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            read.apply(&Entry::parse(record).unwrap()).unwrap();
            rest = behind;
        }
        assert_eq!(read.list, streams.list);
        assert!(read.apply(&Entry::Acknowledged { stream: 50, epoch: epoch(1, 0), number: 1 }).is_err());
        let again = Entry::Stream { no: 3, key: read.list[4].key };
        assert!(read.apply(&again).is_err());
    }
}
