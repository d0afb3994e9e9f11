//! The owner's side: the batch, the commit, the change to the next segment.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;

use super::beside;
use super::entry::{Direction, Entry, Name, StreamNo, write_message};
use super::index::{Index, Summary};
use super::recover::{Found, recover};
use super::segment::{Extent, Segment, name_of};
use super::state::Streams;
use super::worker::{Done, Job, Worker};
use super::{Pruned, Recovered, Settings, Status, StoredMessage};
use crate::fault::Fault;
use crate::journal::parts::{
    ALIGN, FRAME_HEAD_BYTES, HEADER_BYTES, SEAL_BYTES, fault, finish_frame, numbered,
};
use crate::journal::{Disk, Hash, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX};

/// There is no chain.
const NO_HASH: Hash = [0; 32];
/// Room that a batch's buffers keep from one commit to the next, in bytes.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// A segment that is full.
pub(super) struct Sealed {
    pub(super) sequence: u64,
    pub(super) size: u64,
    pub(super) extent: Extent,
    pub(super) summary: Summary,
    /// The whole index, until it is written beside the segment.
    pub(super) whole: Option<Arc<Index>>,
}

/// The segment that is written now.
pub(super) struct Active {
    pub(super) segment: Segment,
    pub(super) frames: u64,
    /// Number of the first entry.
    pub(super) first: u64,
    /// Where the next frame goes.
    pub(super) at: u64,
    pub(super) index: Index,
}

impl Active {
    pub(super) fn new(segment: Segment, first: u64) -> Self {
        Self { segment, frames: 0, first, at: HEADER_BYTES as u64, index: Index::default() }
    }
}

/// The segment after the active one.
enum Spare {
    None,
    Asked,
    Ready(Segment),
    /// It could not be made ahead; the commit that needs it tries again.
    Failed,
}

/// Entries that wait for the next commit, as a frame without its head.
struct Batch {
    frame: Vec<u8>,
    count: u32,
    messages: Vec<(Name, u32)>,
    /// Why it can never be committed.
    refused: Option<Fault>,
}

/// The stream log of a node, open for appending. It has one owner.
///
/// Entries become durable, and messages are found by [`StreamLog::read`], with [`StreamLog::commit`].
pub struct StreamLog {
    pub(super) disk: Arc<dyn Disk>,
    settings: Settings,
    pub(super) streams: Streams,
    pub(super) sealed: Vec<Sealed>,
    pub(super) active: Active,
    next_entry: u64,
    batch: Batch,
    /// The first frame of a segment is put together here.
    first_frame: Vec<u8>,
    spare: Spare,
    worker: Worker,
    stopped: Option<Fault>,
}

impl fmt::Debug for StreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, segment) = (self.disk.place(), name_of(self.active.segment.sequence));
        write!(f, "StreamLog({place}, {segment} at {})", self.active.at)
    }
}

/// A log that is about to be opened again.
pub struct Reopening {
    disk: Arc<dyn Disk>,
    settings: Settings,
    worker: Worker,
}

impl Reopening {
    /// Opens it; waits for the disk, and for what was under way on it.
    ///
    /// # Errors
    /// As of [`StreamLog::open`].
    pub fn open(mut self) -> Result<(StreamLog, Recovered), Fault> {
        self.worker.stop();
        StreamLog::open(self.disk, self.settings)
    }
}

impl StreamLog {
    /// Opens the log on a disk, or begins one on an empty disk, and recovers what a crash left.
    ///
    /// [`Fault::Damaged`] where something does not read back that no crash leaves: nothing is changed then.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings) -> Result<(Self, Recovered), Fault> {
        settings.check()?;
        let Found { streams, sealed, active, next_entry, torn } = recover(&*disk, &settings)?;
        let worker = Worker::new(&disk, settings.ahead);
        let log = Self {
            disk,
            settings,
            streams,
            sealed,
            active,
            next_entry,
            batch: Batch::new(),
            first_frame: Vec::new(),
            spare: Spare::None,
            worker,
            stopped: None,
        };
        let Status { segments, messages, .. } = log.status();
        let recovered = Recovered { streams: log.streams.numbers(), torn, segments, messages };
        Ok((log, recovered))
    }

    /// Opens the log anew on the same disk, after a failure. Entries that wait for a commit are forgotten.
    ///
    /// A batch whose commit failed may turn out to be there whole: the answer says so by its numbers, and storing
    /// the same messages again does no harm.
    pub fn reopen(&mut self) -> Result<Recovered, Fault> {
        let (log, recovered) = self.reopening().open()?;
        *self = log;
        Ok(recovered)
    }

    /// [`Self::reopen`] in two steps, the second of which may be done on another thread: what that opens takes the
    /// place of this log, which is only read meanwhile.
    pub fn reopening(&mut self) -> Reopening {
        if self.stopped.is_none() {
            self.stopped = Some(Fault::Disk("stream log: being opened again".to_owned()));
        }
        let idle = Worker::new(&self.disk, false);
        let worker = std::mem::replace(&mut self.worker, idle);
        Reopening { disk: Arc::clone(&self.disk), settings: self.settings.clone(), worker }
    }

    /// Why nothing more is committed, after a failed write or sync; [`StreamLog::reopen`] is the way on.
    pub fn stopped(&self) -> Option<&Fault> {
        self.stopped.as_ref()
    }

    /// Stores an application message from the client.
    pub fn inbound(&mut self, stream: &StreamKey, epoch: Epoch, number: u64, at: Wall, message: &[u8]) {
        self.message(Direction::Inbound, stream, (epoch, number, at), message);
    }

    /// Stores an application message to the client. Of two with one number in an epoch the later is read.
    pub fn outbound(&mut self, stream: &StreamKey, epoch: Epoch, number: u64, at: Wall, message: &[u8]) {
        self.message(Direction::Outbound, stream, (epoch, number, at), message);
    }

    /// States a stream's numbers. Within an epoch neither number goes back; an earlier statement changes nothing.
    pub fn numbers(&mut self, stream: &StreamKey, numbers: &Numbers) {
        let no = self.stream(stream);
        self.batch.push(&Entry::Numbers { stream: no, numbers: *numbers });
        self.streams.change(no, |stream| stream.state(numbers));
    }

    /// States a stream's numbers in another epoch together with messages to the client that go on in it.
    pub fn state_with(&mut self, stream: &StreamKey, numbers: &Numbers, messages: &[StoredMessage]) {
        self.numbers(stream, numbers);
        for message in messages {
            self.outbound(stream, numbers.epoch, message.number, message.at, &message.bytes);
        }
    }

    /// A stream's numbers: the latest statement, raised by its messages, committed or not.
    pub fn numbers_of(&self, stream: &StreamKey) -> Option<Numbers> {
        self.streams.at(self.streams.no_of(stream)?)?.numbers
    }

    /// Notes that the back end has this inbound message of a stream, and all before it.
    pub fn acknowledged(&mut self, stream: &StreamKey, epoch: Epoch, number: u64) {
        let no = self.stream(stream);
        self.batch.push(&Entry::Acknowledged { stream: no, epoch, number });
        self.streams.change(no, |stream| stream.acknowledge(epoch, number));
    }

    /// Whether no entry waits for a commit.
    pub fn is_empty(&self) -> bool {
        self.batch.count == 0 && self.batch.refused.is_none()
    }

    /// Bytes of the entries that wait for a commit; one takes less than a segment of 64 MiB.
    pub fn waiting_bytes(&self) -> usize {
        self.batch.frame.len() - FRAME_HEAD_BYTES
    }

    /// Numbers of the outbound messages of a stream and epoch that wait for a commit.
    pub(super) fn waiting(
        &self,
        of: (StreamNo, Epoch),
        range: &RangeInclusive<u64>,
    ) -> impl Iterator<Item = u64> {
        let is_wanted = move |name: &Name| {
            name.direction == Direction::Outbound
                && (name.stream, name.epoch) == of
                && range.contains(&name.number)
        };
        self.batch
            .messages
            .iter()
            .map(|(name, _)| name)
            .filter(move |name| is_wanted(name))
            .map(|name| name.number)
    }

    /// Makes all entries durable that came since the last commit: all of them or none.
    ///
    /// After a failure all later commits fail, and entries are forgotten, until [`StreamLog::reopen`].
    pub fn commit(&mut self) -> Result<(), Fault> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        if self.is_empty() {
            return Ok(());
        }
        self.hear(false);
        let written = match self.batch.refused.take() {
            Some(refused) => Err(refused),
            None => self.write(),
        };
        self.batch.clear();
        if let Err(cause) = written {
            self.stopped = Some(Fault::Disk(format!(
                "stream log: stopped ({cause}); nothing is written until it is opened again"
            )));
            return Err(cause);
        }
        self.prepare_ahead();
        Ok(())
    }

    fn message(
        &mut self,
        direction: Direction,
        stream: &StreamKey,
        (epoch, number, at): (Epoch, u64, Wall),
        message: &[u8],
    ) {
        let name = Name { direction, stream: self.stream(stream), epoch, number, at };
        self.batch.push_message(name, message);
        self.streams.change(name.stream, |stream| stream.raise(&name));
    }

    fn stream(&mut self, key: &StreamKey) -> StreamNo {
        if let Some(no) = self.streams.look_up(key) {
            return no;
        }
        let no = self.streams.add(*key);
        self.batch.push(&Entry::Stream { no, key: *key });
        no
    }

    fn write(&mut self) -> Result<(), Fault> {
        let bytes = self.batch.frame.len().next_multiple_of(ALIGN) as u64;
        let active = &mut self.active;
        if active.at + bytes > active.segment.frames_end() {
            return self.write_into_next();
        }
        finish_frame(&mut self.batch.frame, self.next_entry, self.batch.count, &NO_HASH, active.segment.salt);
        active.segment.put(&*self.disk, active.at, &self.batch.frame)?;
        active.note(&self.batch.messages, 0);
        active.at += bytes;
        active.frames += 1;
        self.next_entry += u64::from(self.batch.count);
        Ok(())
    }

    /// Begins the next segment with all that is known of the streams, and the batch behind it in the same frame.
    fn write_into_next(&mut self) -> Result<(), Fault> {
        let mut frame = std::mem::take(&mut self.first_frame);
        frame.clear();
        frame.resize(FRAME_HEAD_BYTES, 0);
        let known = self.streams.write(&mut frame);
        let moved = frame.len() - FRAME_HEAD_BYTES;
        frame.extend_from_slice(&self.batch.frame[FRAME_HEAD_BYTES..]);
        let count = known.saturating_add(self.batch.count);
        let segment = self.next_segment(frame.len().next_multiple_of(ALIGN) as u64)?;
        let mut next = Active::new(segment, self.next_entry);
        finish_frame(&mut frame, self.next_entry, count, &NO_HASH, next.segment.salt);
        next.segment.put(&*self.disk, next.at, &frame)?;
        next.note(&self.batch.messages, moved as u32); // holds: a segment has at most 64 MiB
        next.at += frame.len() as u64;
        next.frames = 1;
        let full = std::mem::replace(&mut self.active, next);
        if full.frames > 0 {
            self.seal(full);
        }
        self.next_entry += u64::from(count);
        self.first_frame = frame;
        self.first_frame.clear();
        self.first_frame.shrink_to(BUFFER_BYTES_KEPT);
        Ok(())
    }

    /// The segment after the active one, with room for a frame of so many bytes.
    fn next_segment(&mut self, frame_bytes: u64) -> Result<Segment, Fault> {
        while matches!(self.spare, Spare::Asked) {
            if !self.hear(true) {
                self.spare = Spare::Failed;
            }
        }
        if let Spare::Ready(segment) = std::mem::replace(&mut self.spare, Spare::None)
            && frame_bytes <= segment.frames_end() - HEADER_BYTES as u64
        {
            return Ok(segment);
        }
        let needed = frame_bytes + (HEADER_BYTES + SEAL_BYTES) as u64;
        if needed > SEGMENT_BYTES_MAX {
            return Err(Fault::Disk(format!(
                "stream log: a batch of {frame_bytes} bytes does not fit one segment of at most {SEGMENT_BYTES_MAX}"
            )));
        }
        // An active segment without frames, which is the first, was too small for its first.
        let sequence = self.active.segment.sequence + u64::from(self.active.frames > 0);
        Segment::prepare(
            &*self.disk,
            &self.settings.node,
            sequence,
            self.size().max(needed.next_multiple_of(512)),
        )
    }

    /// The size of the next segment: what is known of the streams takes at most a quarter of it.
    fn size(&self) -> u64 {
        let least = self.streams.bytes_max().saturating_mul(4).min(SEGMENT_BYTES_MAX);
        self.settings.segment_bytes.max(least).next_multiple_of(512)
    }

    fn seal(&mut self, full: Active) {
        let Active { segment, first, at, index, .. } = full;
        let extent = Extent { salt: segment.salt, first, last: self.next_entry - 1, end: at };
        let (sequence, size, summary) = (segment.sequence, segment.size, index.summary());
        let index = Arc::new(index);
        self.sealed.push(Sealed { sequence, size, extent, summary, whole: Some(Arc::clone(&index)) });
        self.worker.give(Job::Index { sequence, extent, index });
        self.hear(false);
    }

    /// Has the next segment made as soon as the active one is half full.
    fn prepare_ahead(&mut self) {
        if matches!(self.spare, Spare::None) && self.active.at > self.active.segment.size / 2 {
            let (node, sequence) = (self.settings.node.clone(), self.active.segment.sequence + 1);
            self.spare = Spare::Asked;
            self.worker.give(Job::Prepare { node, sequence, size: self.size() });
            self.hear(false);
        }
    }

    /// Takes what the worker has done; `wait`: at least one outcome, if any will come. Whether there was one.
    fn hear(&mut self, wait: bool) -> bool {
        let mut heard = false;
        while let Some(done) = self.worker.take(wait && !heard) {
            heard = true;
            match done {
                Done::Prepared(Ok(segment)) => self.spare = Spare::Ready(segment),
                Done::Prepared(Err(_)) => self.spare = Spare::Failed,
                Done::Indexed { sequence, result: Ok(()) } => {
                    let sealed = self.sealed.iter_mut().find(|sealed| sealed.sequence == sequence);
                    if let Some(sealed) = sealed {
                        sealed.whole = None;
                    }
                }
                // It stays in memory, and the next opening writes it.
                Done::Indexed { result: Err(_), .. } => {}
            }
        }
        heard
    }

    /// Drops full segments, the oldest first, whose newest message is older than `before`.
    ///
    /// It ends at the first that is not, of which the back end lacks a message, or which is still worked at.
    pub fn prune(&mut self, before: Wall) -> Result<Pruned, Fault> {
        self.hear(false);
        let mut pruned = Pruned::default();
        while let Some(oldest) = self.sealed.first() {
            if oldest.summary.newest.is_some_and(|newest| newest >= before) {
                break;
            }
            // Its index is being written; the next call finds it done.
            if oldest.whole.is_some() && self.worker.is_busy() {
                break;
            }
            if oldest.is_lacked(&self.streams) {
                pruned.kept_for_back_end = true;
                break;
            }
            let name = name_of(oldest.sequence);
            // One after the other, so that a crash leaves no gap.
            let removed = self.disk.remove(&name).and_then(|()| self.disk.sync_dir());
            removed.map_err(|error| fault(&*self.disk, &name, &error))?;
            let oldest = self.sealed.remove(0);
            // One that stays is removed by the next opening.
            let _ = self.disk.remove(&numbered(oldest.sequence, beside::ENDING));
            pruned.segments += 1;
            pruned.bytes += oldest.size;
            pruned.messages += oldest.summary.messages;
        }
        Ok(pruned)
    }

    /// What the log holds now.
    pub fn status(&self) -> Status {
        let spare = match &self.spare {
            Spare::Ready(segment) => Some(segment.size),
            Spare::None | Spare::Asked | Spare::Failed => None,
        };
        let mut status = Status {
            segments: self.sealed.len() as u64 + 1 + u64::from(spare.is_some()),
            bytes: self.active.segment.size + spare.unwrap_or(0),
            messages: self.active.index.messages(),
            streams: self.streams.len() as u64,
            places: self.active.index.places(),
            ranges: 0,
        };
        for sealed in &self.sealed {
            status.bytes += sealed.size;
            status.messages += sealed.summary.messages;
            status.places += sealed.whole.as_ref().map_or(0, |index| index.places());
            status.ranges += sealed.summary.ranges.len() as u64;
        }
        status
    }
}

impl Sealed {
    /// Whether the back end lacks a message of it.
    pub(super) fn is_lacked(&self, streams: &Streams) -> bool {
        let some = self.summary.ranges.iter().filter(|range| range.inbound > 0);
        some.into_iter().any(|range| streams.lacks(range.stream, range.epoch, range.inbound_last))
    }
}

impl Active {
    /// Notes the messages of a frame that was written at its end; `moved`: how far from where they stood.
    fn note(&mut self, messages: &[(Name, u32)], moved: u32) {
        let base = self.at as u32 + moved; // holds: a segment has at most 64 MiB
        for (name, offset) in messages {
            self.index.add(name, base + offset);
        }
    }
}

impl Batch {
    fn new() -> Self {
        Self { frame: vec![0; FRAME_HEAD_BYTES], count: 0, messages: Vec::new(), refused: None }
    }

    fn push(&mut self, entry: &Entry<'_>) {
        entry.write(&mut self.frame);
        self.count = self.count.saturating_add(1);
    }

    fn push_message(&mut self, name: Name, bytes: &[u8]) {
        let offset = self.frame.len();
        write_message(&mut self.frame, &name, bytes);
        self.count = self.count.saturating_add(1);
        self.messages.push((name, u32::try_from(offset).unwrap_or(u32::MAX)));
        let length = self.frame.len() - offset;
        if length > RECORD_BYTES_MAX {
            self.refused = Some(Fault::Disk(format!(
                "stream log: a message of {} bytes is above the limit of {RECORD_BYTES_MAX} with its head",
                bytes.len()
            )));
        }
    }

    fn clear(&mut self) {
        self.frame.truncate(FRAME_HEAD_BYTES);
        self.frame.shrink_to(BUFFER_BYTES_KEPT);
        self.count = 0;
        self.messages.clear();
    }
}
