//! What the streams are after a start or a failure of the log, and what the back end is told again.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::calendar::Week;
use doorward_core::fix::message::{Fields, Message};
use doorward_core::fix::session::{Note, StreamState};
use doorward_core::stream::{Epoch, LeftBehind, Numbers, StreamKey};
use doorward_core::time::Now;

use super::authority::Authority;
use super::door::Door;
use super::mailbox::Command;
use super::seats::Seat;
use super::slab::Token;
use crate::backend::{Backend, From, Replies};
use crate::fault::Fault;
use crate::gate::fix::LogonSave;
use crate::streams::{InboundMessage, Reopening, StoredMessage, StreamLog};

/// Stored messages that are read at once.
const READ_AT_ONCE: usize = 1_000;
/// The same in bytes.
const READ_BYTES_MAX: usize = 1 << 20;
/// Messages that are carried into another epoch in one batch, in bytes.
const CARRIED_BYTES_MAX: usize = 24 << 20;

/// How the streams go on: of both accounts the later one, raised by the messages that are there, at the ceiling.
pub(super) fn merged(
    log: &BTreeMap<StreamKey, Numbers>,
    booked: impl IntoIterator<Item = (StreamKey, Numbers)>,
) -> BTreeMap<StreamKey, Numbers> {
    let mut all = log.clone();
    for (stream, numbers) in booked {
        all.entry(stream).and_modify(|known| *known = later(*known, numbers)).or_insert(numbers);
    }
    all.values_mut().for_each(|numbers| *numbers = numbers.after_crash());
    all
}

/// Of the log's account of a stream and another one, the one that holds.
pub(super) fn later(one: Numbers, other: Numbers) -> Numbers {
    let (older, newer) = if other.supersedes(&one) { (one, other) } else { (other, one) };
    if older.epoch != newer.epoch {
        return newer;
    }
    // What the log states later holds as it is: it may take a number back that was never used, and every message
    // that raises it is there. A statement of the book knows of no messages behind it.
    if one.supersedes(&other) {
        return one;
    }
    // Within an epoch both numbers only grow; the ceiling comes down where a session ended in order.
    let next_out = newer.next_out.max(older.next_out);
    Numbers {
        next_in: newer.next_in.max(older.next_in),
        next_out,
        ceiling: newer.ceiling.max(next_out),
        ..newer
    }
}

/// A message of the venue that nobody was told of yet.
pub(super) struct Untold {
    pub(super) stream: StreamKey,
    pub(super) msg_type: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// What [`replay`] found: what is to be said, and what is to be acknowledged then.
type Replayed = (Vec<Untold>, Vec<(StreamKey, Epoch, u64)>);

/// Gives the back end every message of the week again, in order. What it says to those that it had not acknowledged
/// comes back, and what is to be acknowledged.
pub(super) fn replay(log: &StreamLog, week: &Week, backend: &mut dyn Backend) -> Result<Replayed, Fault> {
    let name = |message: &InboundMessage| (message.stream, message.epoch, message.number);
    let mut lacked = HashSet::new();
    for message in log.unacknowledged() {
        lacked.insert(name(&message?));
    }
    backend.restart();
    let (mut untold, mut told, mut fields, mut replies) =
        (Vec::new(), Vec::new(), Fields::new(), Replies::default());
    // Streams of people have no weeks.
    for message in log.replay_present(week.number, week.opened) {
        let message = message?;
        let is_lacked = lacked.remove(&name(&message));
        let is_present = match message.stream {
            StreamKey::Session { .. } => message.epoch.week == week.number,
            StreamKey::Person(_) => message.at >= week.opened,
        };
        if !is_present && !is_lacked {
            continue;
        }
        let InboundMessage { stream, epoch, number, at, bytes } = message;
        if let Ok(read) = fields.read(&bytes) {
            backend.deliver(&From { stream: &stream, epoch, number, at }, &read, &mut replies);
        }
        if is_lacked {
            told.push((stream, epoch, number));
            let said = (0..replies.len()).filter_map(|at| replies.at(at));
            untold.extend(said.map(|(stream, msg_type, body)| Untold {
                stream,
                msg_type: msg_type.to_vec(),
                body: body.to_vec(),
            }));
        }
        replies.clear();
    }
    Ok((untold, told))
}

/// What came of opening the log again beside the thread.
pub(super) struct Reopened {
    /// Told the week again where that went well.
    backend: Box<dyn Backend>,
    opened: Result<Opened, Fault>,
}

impl fmt::Debug for Reopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reopened").field("fault", &self.opened.as_ref().err()).finish_non_exhaustive()
    }
}

struct Opened {
    log: StreamLog,
    streams: BTreeMap<StreamKey, Numbers>,
    /// The week that the back end was told.
    week: u32,
    replayed: Replayed,
}

/// The one place where a reopening waits for disks.
fn opened(
    log: Reopening,
    authority: &dyn Authority,
    week: &Week,
    backend: &mut dyn Backend,
) -> Result<Opened, Fault> {
    let (log, recovered) = log.open()?;
    let streams = merged(&recovered.streams, authority.streams()?);
    let replayed = replay(&log, week, backend)?;
    Ok(Opened { log, streams, week: week.number, replayed })
}

/// Stands in for the back end while it is told the week again: nothing is delivered while the log fails.
struct Away;

impl Backend for Away {
    fn deliver(&mut self, from: &From<'_>, _: &Message<'_>, _: &mut Replies) {
        tracing::error!(stream = %from.stream, "a FIX message came while the back end was told the week again");
    }

    fn left_behind(&mut self, stream: &StreamKey, left: &LeftBehind) {
        tracing::error!(%stream, count = left.count, "messages are left behind while the back end is told the week again");
    }

    fn restart(&mut self) {}
}

impl Door {
    /// Has the log opened again after a failure, and the back end told the week again, on a thread of its own: whoever
    /// is logged on does not wait for it.
    pub(super) fn reopen(&mut self) {
        if self.shared.reopening.is_some() {
            return;
        }
        self.shared.booked_since = false;
        let log = self.shared.log.reopening();
        let backend = Arc::new(Mutex::new(Some(std::mem::replace(&mut self.shared.backend, Box::new(Away)))));
        let (lent, handle, week) = (Arc::clone(&backend), self.shared.handle.clone(), self.week);
        let authority = Arc::clone(&self.shared.authority);
        let work = move || {
            let worked = catch_unwind(AssertUnwindSafe(|| {
                let mut backend = lent.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                let opened = opened(log, &*authority, &week, &mut *backend);
                Some(Box::new(Reopened { backend, opened }))
            }));
            // The door may have closed meanwhile.
            let _ = handle.tell(worked.ok().flatten().map_or(Command::Broken, Command::Reopened));
        };
        match std::thread::Builder::new().name("fix-reopen".to_owned()).spawn(work) {
            Ok(thread) => self.shared.reopening = Some(thread),
            Err(error) => {
                tracing::error!(%error, "no thread to open the stream log again");
                if let Some(backend) = backend.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    self.shared.backend = backend;
                }
            }
        }
    }

    /// The streams go on as they were written down, and so does the back end.
    pub(super) fn reopened(&mut self, Reopened { backend, opened }: Reopened, now: Now) {
        self.shared.reopening = None;
        self.shared.backend = backend;
        match opened.and_then(|opened| self.take_over(opened, now)) {
            Ok(()) => {
                self.shared.failing = None;
                self.shared.handle.set_storing(true);
                tracing::warn!("FIX messages are stored again");
            }
            Err(fault) => {
                self.shared.retry_at = now.mono + super::settle::REOPEN_AFTER;
                tracing::debug!(%fault, "the stream log stays closed");
                self.shared.failing = Some(fault);
            }
        }
        self.settle(now);
    }

    fn take_over(&mut self, opened: Opened, now: Now) -> Result<(), Fault> {
        let Opened { log, mut streams, week, replayed } = opened;
        self.shared.log = log;
        if week != self.week.number || self.shared.booked_since {
            return Err(Fault::Busy("the streams moved on while the stream log was opened again"));
        }
        self.undo_unsaid(&mut streams)?;
        self.forget_unwritten(&streams);
        for (stream, numbers) in streams {
            if let Some(Seat::Free(state)) = self.shared.seats.get_mut(&stream) {
                state.numbers = numbers;
            }
        }
        // What those who stayed had stated may be lost.
        let held: Vec<(StreamKey, Numbers)> = self
            .connections
            .tokens()
            .into_iter()
            .filter_map(|token| {
                let connection = self.connections.get(token)?;
                Some((connection.stream?, connection.session.numbers()?))
            })
            .collect();
        for (stream, numbers) in held {
            self.shared.log.numbers(&stream, &numbers);
        }
        self.shared.log.commit()?;
        // From here on the log takes what is said.
        self.shared.failing = None;
        self.shared.unsaid.clear();
        self.say_untold(replayed, now)
    }

    /// Nothing was ever written down of these: nobody was told of anything either.
    fn forget_unwritten(&mut self, known: &BTreeMap<StreamKey, Numbers>) {
        let seats = self.shared.seats.iter();
        let free =
            seats.filter(|(stream, seat)| matches!(seat, Seat::Free(_)) && !known.contains_key(stream));
        let unwritten: Vec<StreamKey> = free.map(|(stream, _)| *stream).collect();
        for stream in unwritten {
            if let Some(settings) = self.settings_of(&stream) {
                self.shared.seats.keep(stream, StreamState::new(settings.week(self.week.number)));
            }
        }
    }

    /// A reset whose commit failed may be there all the same. Its client was not told and goes on in the old series:
    /// so do we, in an epoch behind it, so that the reset never holds again.
    fn undo_unsaid(&mut self, streams: &mut BTreeMap<StreamKey, Numbers>) -> Result<(), Fault> {
        for (stream, old) in self.shared.unsaid.clone() {
            let Some(numbers) = streams.get_mut(&stream) else { continue };
            let Epoch { week, reset } = numbers.epoch;
            if week != old.epoch.week || reset <= old.epoch.reset {
                continue;
            }
            let old = old.after_crash();
            let (stored, _) = self.stored(&stream, old.epoch, 1..=old.next_out.saturating_sub(1))?;
            *numbers = Numbers { epoch: Epoch { week, reset: reset + 1 }, rev: 1, ..old };
            self.shared.log.state_with(&stream, numbers, &stored);
        }
        Ok(())
    }

    /// Stored messages of an epoch that are carried into another one, so that the client can still ask for them, and
    /// whether these are all: of more than one batch takes, only the latest ones.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(super) fn stored(
        &self,
        stream: &StreamKey,
        epoch: Epoch,
        numbers: RangeInclusive<u64>,
    ) -> Result<(Vec<StoredMessage>, bool), Fault> {
        let (mut stored, mut bytes, mut whole) = (VecDeque::<StoredMessage>::new(), 0, true);
        let (mut next, last) = numbers.into_inner();
        while next <= last {
            let some = self.shared.log.read(stream, epoch, next..=last, READ_AT_ONCE, READ_BYTES_MAX)?;
            let Some(latest) = some.last() else { break };
            next = latest.number + 1;
            for message in some {
                bytes += message.bytes.len();
                stored.push_back(message);
            }
            while bytes > CARRIED_BYTES_MAX
                && let Some(oldest) = stored.pop_front()
            {
                bytes -= oldest.bytes.len();
                whole = false;
            }
        }
        Ok((stored.into(), whole))
    }

    /// Goes on where the node was left.
    pub(super) fn begin(&mut self, now: Now) -> Result<(), Fault> {
        self.tell_backend(now)?;
        self.roll_undelivered(now);
        self.settle(now);
        Ok(())
    }

    /// Has the back end begin anew from the journal, and sends what it had not said yet.
    pub(super) fn tell_backend(&mut self, now: Now) -> Result<(), Fault> {
        let replayed = replay(&self.shared.log, &self.week, &mut *self.shared.backend)?;
        self.say_untold(replayed, now)
    }

    fn say_untold(&mut self, (untold, told): Replayed, now: Now) -> Result<(), Fault> {
        for Untold { stream, msg_type, body } in &untold {
            if self.send(stream, msg_type, body, now).is_none() {
                tracing::warn!(%stream, "a message of the venue has no listener to be sent by");
            }
        }
        for (stream, epoch, number) in &told {
            self.shared.log.acknowledged(stream, *epoch, *number);
        }
        self.settle(now);
        self.shared.failing.clone().map_or(Ok(()), Err)
    }

    /// A machine broke off: its connection ends without a word, and its stream goes on as after a crash.
    pub(super) fn broke_off(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let (source, who) = (connection.origin.source, connection.logging_on.as_deref());
        tracing::error!(%source, "a FIX connection ends by a fault of the server");
        let actor = match who.and_then(|who| who.session.map(|id| (id, who))) {
            Some((id, who)) => Actor::FixSession {
                id,
                sender_comp_id: who.comp,
                operator: who.operator.clone(),
                access_key: who.access_key,
            },
            None => Actor::Nobody,
        };
        let note = Note {
            event: if connection.counted { Event::LoggedOut } else { Event::ConnectionRefused },
            actor,
            firm: who.and_then(|who| who.firm.clone()),
            stream: connection.stream,
            reason: Some(Deny::ServerFault),
            left: None,
        };
        if let Some(record) = self.shared.authority.record(note, &connection.origin) {
            self.shared.decided.push(LogonSave { record: Box::new(record), numbers: None });
        }
        self.forget(token, now);
    }
}

/// The streams as nobody holds them yet.
pub(super) fn states(
    streams: BTreeMap<StreamKey, Numbers>,
) -> impl Iterator<Item = (StreamKey, StreamState)> {
    streams.into_iter().map(|(stream, numbers)| (stream, StreamState::with(numbers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_the_later_account_of_a_stream_holds_raised_by_what_the_other_knows() {
        let stream = StreamKey::parse("cgw/ABC/001").unwrap();
        let epoch = Epoch { week: 5, reset: 0 };
        let book = Numbers { rev: 9, next_in: 4, next_out: 3, ceiling: 66, ..Numbers::new(epoch) };
        let log = Numbers { rev: 8, next_in: 7, next_out: 5, ceiling: 5, ..Numbers::new(epoch) };
        let both = merged(&BTreeMap::from([(stream, log)]), [(stream, book)]);
        let numbers = both[&stream];
        assert_eq!((numbers.rev, numbers.next_in, numbers.next_out, numbers.ceiling), (9, 7, 66, 66));
        let refused = Numbers { rev: 10, next_in: 3, ..log };
        let both_now = merged(&BTreeMap::from([(stream, refused)]), [(stream, book)])[&stream];
        assert_eq!((both_now.next_in, both_now.ceiling), (3, 5), "a Logon that was refused moves no number");
        let next_week = Numbers::new(Epoch { week: 6, reset: 0 });
        assert_eq!(merged(&both, [(stream, next_week)])[&stream], next_week);
        let over = Numbers { rev: 10, next_in: 7, next_out: 8, ceiling: 8, ..Numbers::new(epoch) };
        assert_eq!(
            merged(&BTreeMap::from([(stream, over)]), [(stream, book)])[&stream].next_out,
            8,
            "in order"
        );
        let exact = Numbers { next_out: 66, ..book };
        assert_eq!(merged(&BTreeMap::new(), [(stream, exact)])[&stream], exact, "nothing is left out");
    }
}
