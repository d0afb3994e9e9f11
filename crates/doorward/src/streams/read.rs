//! Reading: stored messages for a resend, and inbound messages in the order in which they came.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use doorward_core::stream::{Epoch, StreamKey};
use doorward_core::time::Wall;

use super::entry::{Direction, Entry, StreamNo};
use super::index::{Merged, Place, within};
use super::log::{Sealed, StreamLog};
use super::segment::{damaged, name_of};
use super::{InboundMessage, StoredMessage, beside};
use crate::fault::Fault;
use crate::journal::parts::{
    FRAME_HEAD_BYTES, Frames, HEADER_BYTES, RECORD_HEAD_BYTES, SEAL_BYTES, be_u32, fault, read_whole,
};
use crate::journal::{Disk, DiskFile};

/// How much of a segment is read at once, in bytes.
const WINDOW_BYTES: usize = 64 * 1024;

impl StreamLog {
    /// The outbound messages of an epoch with numbers in `range`, ascending; those not stored are absent.
    ///
    /// At most `count_max` of them, and no more than `bytes_max` bytes together, but at least one where there is one.
    pub fn read(
        &self,
        stream: &StreamKey,
        epoch: Epoch,
        range: RangeInclusive<u64>,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<StoredMessage>, Fault> {
        let Some(no) = self.streams.no_of(stream) else { return Ok(Vec::new()) };
        let mut merged = Merged::default();
        for (nth, part) in self.parts(no, epoch, &range) {
            if !merged.is_settled(*part.numbers.start(), count_max) {
                let places = self.places(&part, no, epoch)?;
                merged.add(nth, within(&places, &range), count_max);
            }
        }
        let mut messages = Vec::with_capacity(merged.len());
        let (mut window, mut bytes) = (None, 0_usize);
        for (number, nth, offset) in merged.iter() {
            let window = self.window(&mut window, nth)?;
            let message = window.message(&*self.disk, offset, (no, epoch, number))?;
            bytes = bytes.saturating_add(message.bytes.len());
            if bytes > bytes_max && !messages.is_empty() {
                break;
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// How many outbound messages of an epoch are stored with numbers in `range`, those that wait for the commit too.
    pub fn count(&self, stream: &StreamKey, epoch: Epoch, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let Some(no) = self.streams.no_of(stream) else { return Ok(0) };
        let parts: Vec<Part<'_>> = self.parts(no, epoch, &range).map(|(_, part)| part).collect();
        let mut numbers: BTreeSet<u64> = self.waiting((no, epoch), &range).collect();
        let lowest = numbers.first().copied().unwrap_or(u64::MAX);
        let apart = parts.windows(2).all(|pair| pair[0].numbers.end() < pair[1].numbers.start())
            && parts.iter().all(|part| *part.numbers.end() < lowest);
        let mut counted = numbers.len() as u64;
        for part in &parts {
            if let Some(count) = part.whole.filter(|_| apart) {
                counted += count;
                continue;
            }
            let places = self.places(part, no, epoch)?;
            let places = within(&places, &range);
            counted += places.len() as u64;
            // A number may be in two segments: its message was stored again.
            numbers.extend(places.iter().filter(|_| !apart).map(|place| place.number));
        }
        Ok(if apart { counted } else { numbers.len() as u64 })
    }

    /// The epochs of a stream of which outbound messages are there, the earliest first.
    pub fn epochs(&self, stream: &StreamKey) -> Vec<Epoch> {
        let Some(no) = self.streams.no_of(stream) else { return Vec::new() };
        let mut epochs: BTreeSet<Epoch> = self.active.index.epochs(no).collect();
        for sealed in &self.sealed {
            epochs.extend(sealed.summary.epochs(no));
        }
        epochs.into_iter().collect()
    }

    /// Inbound messages that the back end lacks, in the order in which they came; to be given to it after a start.
    ///
    /// Those of earlier epochs too: a reset does not take back what was accepted.
    pub fn unacknowledged(&self) -> InboundReader<'_> {
        let lacked = self.sealed.iter().map(|sealed| sealed.is_lacked(&self.streams)).collect();
        InboundReader::new(self, lacked, Wanted::Unacknowledged)
    }

    /// All inbound messages that are there of this week and later ones, in the order in which they came.
    pub fn replay_inbound(&self, week: u32) -> InboundReader<'_> {
        let has = |sealed: &Sealed| {
            sealed.summary.ranges.iter().any(|range| range.inbound > 0 && range.epoch.week >= week)
        };
        InboundReader::new(self, self.sealed.iter().map(has).collect(), Wanted::SinceWeek(week))
    }

    /// Inbound messages in the order in which they came: all that are there of this week and later ones, that came since
    /// `opened`, or that the back end lacks, and others that lie among them.
    pub fn replay_present(&self, week: u32, opened: Wall) -> InboundReader<'_> {
        let has = |sealed: &Sealed| {
            let is_new = sealed.summary.newest.is_some_and(|newest| newest >= opened);
            let mut ranges = sealed.summary.ranges.iter().filter(|range| range.inbound > 0);
            ranges.any(|range| is_new || range.epoch.week >= week) || sealed.is_lacked(&self.streams)
        };
        InboundReader::new(self, self.sealed.iter().map(has).collect(), Wanted::SinceWeek(0))
    }

    /// The segments that may hold outbound messages of `range`, the oldest first, the active one last.
    fn parts<'l>(
        &'l self,
        no: StreamNo,
        epoch: Epoch,
        range: &RangeInclusive<u64>,
    ) -> impl Iterator<Item = (usize, Part<'l>)> {
        let full = self.sealed.iter().enumerate().filter_map(move |(nth, sealed)| {
            let at = sealed.summary.find(no, epoch)?;
            let of = &sealed.summary.ranges[at]; // holds: `find` answers with a place in it
            let numbers = of.overlap(range)?;
            let whole = (numbers == (of.first..=of.last)).then_some(u64::from(of.outbound));
            Some((nth, Part { numbers, whole, sealed: Some((sealed, at)) }))
        });
        let places = within(self.active.index.outbound(no, epoch), range);
        let ends = places.first().zip(places.last()).map(|(first, last)| first.number..=last.number);
        let whole = Some(places.len() as u64);
        let active = ends.map(|numbers| (self.sealed.len(), Part { numbers, whole, sealed: None }));
        full.chain(active)
    }

    /// All places of a stream and epoch in a segment.
    fn places(&self, part: &Part<'_>, no: StreamNo, epoch: Epoch) -> Result<Cow<'_, [Place]>, Fault> {
        let Some((sealed, nth)) = part.sealed else {
            return Ok(Cow::Borrowed(self.active.index.outbound(no, epoch)));
        };
        if let Some(index) = &sealed.whole {
            return Ok(Cow::Owned(index.outbound(no, epoch).to_vec()));
        }
        let (sequence, salt) = (sealed.sequence, sealed.extent.salt);
        beside::places(&*self.disk, sequence, salt, &sealed.summary, nth).map(Cow::Owned)
    }

    /// The window over the nth segment; the active one is the last.
    fn window<'w>(&self, window: &'w mut Option<Window>, nth: usize) -> Result<&'w mut Window, Fault> {
        let (sequence, end) = match self.sealed.get(nth) {
            Some(sealed) => (sealed.sequence, sealed.extent.end),
            None => (self.active.segment.sequence, self.active.at),
        };
        let open = match window.take().filter(|window| window.sequence == sequence) {
            Some(open) => open,
            None => Window::open(&*self.disk, sequence, end)?,
        };
        Ok(window.insert(open))
    }
}

/// What a segment may hold of the numbers asked for.
struct Part<'l> {
    /// The lowest and the highest of them that are in it.
    numbers: RangeInclusive<u64>,
    /// How many, where that is known without its places.
    whole: Option<u64>,
    /// The full segment and which of its ranges; `None`: the active one.
    sealed: Option<(&'l Sealed, usize)>,
}

/// A part of a segment in memory, moved as needed.
struct Window {
    sequence: u64,
    file: Box<dyn DiskFile>,
    /// Where the segment's frames end.
    end: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn open(disk: &dyn Disk, sequence: u64, end: u64) -> Result<Self, Fault> {
        let name = name_of(sequence);
        let file = disk.open(&name).map_err(|error| fault(disk, &name, &error))?;
        Ok(Self { sequence, file, end, at: 0, bytes: Vec::new() })
    }

    /// The bytes `from..from + length`; fewer where the frames end.
    fn bytes(&mut self, disk: &dyn Disk, from: u64, length: usize) -> Result<&[u8], Fault> {
        let held = self.at..self.at + self.bytes.len() as u64;
        if !(held.contains(&from) && from + length as u64 <= held.end) {
            let most = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
            self.bytes.resize(length.max(WINDOW_BYTES).min(most), 0);
            let read = self.file.read_at(from, &mut self.bytes);
            let read = read.map_err(|error| fault(disk, &name_of(self.sequence), &error))?;
            self.bytes.truncate(read);
            self.at = from;
        }
        let held = self.bytes.get((from - self.at) as usize..).unwrap_or_default();
        Ok(&held[..length.min(held.len())])
    }

    fn message(
        &mut self,
        disk: &dyn Disk,
        offset: u32,
        wanted: (StreamNo, Epoch, u64),
    ) -> Result<StoredMessage, Fault> {
        let at = u64::from(offset);
        let length = be_u32(self.bytes(disk, at, RECORD_HEAD_BYTES)?, 0) as usize;
        let record = self.bytes(disk, at + RECORD_HEAD_BYTES as u64, length)?;
        let whole = record.len() == length;
        match Entry::parse(record).filter(|_| whole) {
            Some(Entry::Message { name, bytes })
                if name.direction == Direction::Outbound
                    && (name.stream, name.epoch, name.number) == wanted =>
            {
                Ok(StoredMessage { number: name.number, at: name.at, bytes: bytes.to_vec() })
            }
            _ => {
                let what = format!("message {} does not read back", wanted.2);
                Err(damaged(disk, &name_of(self.sequence), at, &what))
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Wanted {
    Unacknowledged,
    SinceWeek(u32),
}

/// Inbound messages in the order in which they came, one segment in memory at a time.
///
/// Each frame is checked as it is read; after a fault the iterator ends.
pub struct InboundReader<'a> {
    log: &'a StreamLog,
    wanted: Wanted,
    /// Segments to come, by their place in the log, the active one last.
    segments: VecDeque<usize>,
    current: Option<Current>,
    /// Those of the frame that was read last.
    messages: VecDeque<InboundMessage>,
}

struct Current {
    name: String,
    salt: u32,
    bytes: Vec<u8>,
    at: usize,
    end: usize,
}

impl<'a> InboundReader<'a> {
    fn new(log: &'a StreamLog, sealed: Vec<bool>, wanted: Wanted) -> Self {
        let segments = (0..).zip(sealed.into_iter().chain([true]));
        let segments = segments.filter_map(|(nth, needed)| needed.then_some(nth)).collect();
        Self { log, wanted, segments, current: None, messages: VecDeque::new() }
    }

    fn load(&mut self) -> Result<(), Fault> {
        while self.messages.is_empty() {
            let Some(mut current) = self.current.take() else {
                let Some(nth) = self.segments.pop_front() else { return Ok(()) };
                self.current = Some(self.open(nth)?);
                continue;
            };
            if current.at >= current.end {
                continue;
            }
            let disk = &*self.log.disk;
            let frames = Frames::new(&current.bytes, current.salt);
            let (head, records) = frames
                .at(current.at)
                .map_err(|what| damaged(disk, &current.name, current.at as u64, what))?;
            let mut at = current.at + FRAME_HEAD_BYTES;
            for record in records {
                let entry = Entry::parse(record).ok_or_else(|| {
                    damaged(disk, &current.name, at as u64, "an entry that does not read back")
                })?;
                self.messages.extend(self.pick(&entry));
                at += RECORD_HEAD_BYTES + record.len();
            }
            current.at += head.bytes();
            self.current = Some(current);
        }
        Ok(())
    }

    fn open(&self, nth: usize) -> Result<Current, Fault> {
        let (sequence, salt, end) = match self.log.sealed.get(nth) {
            Some(sealed) => (sealed.sequence, sealed.extent.salt, sealed.extent.end),
            None => {
                let active = &self.log.active;
                (active.segment.sequence, active.segment.salt, active.at)
            }
        };
        let name = name_of(sequence);
        // No further than its messages go, with the room behind them that a segment ends with.
        let bytes = read_whole(&*self.log.disk, &name, end + SEAL_BYTES as u64)?;
        Ok(Current { name, salt, bytes, at: HEADER_BYTES, end: end as usize })
    }

    fn pick(&self, entry: &Entry<'_>) -> Option<InboundMessage> {
        let Entry::Message { name, bytes } = entry else { return None };
        let wanted = match self.wanted {
            Wanted::Unacknowledged => self.log.streams.lacks(name.stream, name.epoch, name.number),
            Wanted::SinceWeek(week) => name.epoch.week >= week,
        };
        if name.direction != Direction::Inbound || !wanted {
            return None;
        }
        let stream = self.log.streams.at(name.stream)?.key;
        let (epoch, number, at) = (name.epoch, name.number, name.at);
        Some(InboundMessage { stream, epoch, number, at, bytes: bytes.to_vec() })
    }
}

impl Iterator for InboundReader<'_> {
    type Item = Result<InboundMessage, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(fault) = self.load() {
            (self.current, self.segments) = (None, VecDeque::new());
            return Some(Err(fault));
        }
        self.messages.pop_front().map(Ok)
    }
}
