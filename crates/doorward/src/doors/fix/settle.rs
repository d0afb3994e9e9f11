//! The end of a turn: what was decided is made durable, then said.

use doorward_core::ask::AskId;
use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::fix::session::{End, Note, ReadRange};
use doorward_core::stream::{LeftBehind, StreamKey};
use doorward_core::time::Now;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{Stage, Wrote};
use super::door::{Door, Shared};
use super::mailbox::Command;
use super::seats::Seat;
use super::slab::Token;
use crate::fault::Fault;
use crate::gate::fix::LogonSave;
use crate::gate::{Connection as GateConnection, Origin, new_attempt};
use crate::metrics;

/// How long the peer has to read our last words and to close.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// A resend goes on once less than this waits to be written, in bytes.
const RESEND_BELOW_BYTES: usize = 64 * 1024;
/// Stored messages that are read at once, in bytes.
const RESEND_BYTES_MAX: usize = 256 * 1024;
/// How long after a failure the log is opened again.
pub(super) const REOPEN_AFTER: Duration = Duration::from_secs(1);

impl Door {
    /// Writes what waits for nothing, makes the rest durable, and writes it; until nothing is left to be done.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            let mut touched = std::mem::take(&mut self.shared.touched);
            let mut waiting = std::mem::take(&mut self.shared.waiting);
            for token in touched.drain(..) {
                if self.connections.get(token).is_some_and(|connection| connection.waits) {
                    waiting.push(token);
                } else {
                    self.write(token, now);
                }
            }
            // What was touched by that comes in the next round; only the memory is kept.
            touched.append(&mut self.shared.touched);
            self.shared.touched = touched;
            self.save_logons();
            let lazily = std::mem::take(&mut self.shared.lazily);
            if !waiting.is_empty() || (!self.shared.log.is_empty() && self.shared.failing.is_none()) {
                self.commit(&waiting, &lazily, now);
            }
            for token in waiting.drain(..) {
                self.write(token, now);
            }
            self.shared.waiting = waiting;
            self.read_stored(now);
            // What a failure left in the log's batch goes when it is opened again.
            let stored = self.shared.log.is_empty() || self.shared.failing.is_some();
            if self.shared.touched.is_empty() && stored && self.shared.decided.is_empty() {
                return;
            }
        }
    }

    /// Settles before the turn ends where so much has come together that one batch would not take it all.
    pub(super) fn settle_if_much(&mut self, now: Now) {
        if self.shared.log.waiting_bytes() > self.shared.batch_bytes_max && self.shared.failing.is_none() {
            self.settle(now);
        }
    }

    /// All Logons of the turn as one batch.
    fn save_logons(&mut self) {
        if self.shared.decided.is_empty() {
            return;
        }
        let decided = std::mem::take(&mut self.shared.decided);
        let whose = std::mem::take(&mut self.shared.deciding);
        self.shared.booked_since |= decided.iter().any(|save| save.numbers.is_some());
        let handle = self.shared.handle.clone();
        let done = move |ok| {
            // The door may have closed meanwhile.
            let _ = handle.tell(Command::Saved(whose, ok));
        };
        self.shared.authority.save(decided, Box::new(done));
    }

    /// `lazily`: those who wait for nothing, but have stated numbers that they count on from the next turn.
    fn commit(&mut self, waiting: &[Token], lazily: &[Token], now: Now) {
        let began = self.clock.now().mono;
        let result = match &self.shared.failing {
            Some(fault) => Err(fault.clone()),
            None => self.shared.log.commit(),
        };
        match result {
            Ok(()) => {
                metrics::fix_commit_seconds(self.clock.now().mono.since(began));
                for token in waiting {
                    if let Some(connection) = self.connections.get_mut(*token) {
                        connection.waits = false;
                        connection.before = None;
                    }
                }
            }
            Err(fault) => {
                self.not_saved(waiting, fault.clone(), now);
                self.not_saved(lazily, fault, now);
            }
        }
    }

    /// The log failed: whoever depends on it is closed without a word of what was not written.
    fn not_saved(&mut self, waiting: &[Token], fault: Fault, now: Now) {
        if self.shared.failing.is_none() {
            tracing::error!(%fault, "FIX messages cannot be stored; Logons are refused until they can");
            self.shared.retry_at = now.mono + REOPEN_AFTER;
            self.shared.handle.set_storing(false);
        }
        // First: who waits for the stream of one that ends here must not get it with numbers that are not stored.
        self.shared.failing = Some(fault);
        for token in waiting {
            if let Some(connection) = self.connections.get_mut(*token) {
                connection.out.clear();
                connection.written = 0;
                connection.waits = false;
                if let (Some(stream), Some(before)) = (connection.stream, connection.before.take()) {
                    self.shared.unsaid.push((stream, *before));
                }
                connection.session.end(End::NotSaved, now);
            }
            self.drain(*token, now);
            if let Some(connection) = self.connections.get_mut(*token) {
                connection.out.clear();
                connection.waits = false;
            }
        }
    }

    /// Writes what a connection has to say, and ends it where nothing follows.
    fn write(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.touched = false;
        if connection.waits {
            // Something was said meanwhile that has to be durable first.
            return self.touch(token);
        }
        let wrote = connection.write();
        let waiting = connection.waiting();
        let closing = connection.closing;
        match wrote {
            Err(_) => {
                connection.session.closed_by_peer(now);
                self.drain(token, now);
                self.close(token, false, now);
            }
            Ok(Wrote::All) => {
                let spare = std::mem::take(&mut connection.out);
                self.shared.pool.give(spare);
                self.want_write(token, false);
                if let Some(lingers) = closing {
                    self.close(token, lingers, now);
                }
            }
            Ok(Wrote::Some) if waiting > self.shared.outbound_bytes_max && closing.is_none() => {
                connection.session.fail(Deny::NotReading, now);
                self.drain(token, now);
                self.close(token, false, now);
            }
            Ok(Wrote::Some) => {
                if closing.is_some() && !matches!(connection.stage, Stage::Lingering) {
                    connection.stage = Stage::Lingering;
                    connection.stage_until = now.mono + LINGER_MAX;
                }
                self.want_write(token, true);
            }
        }
        self.arm(token);
    }

    /// Ends a connection whose last words are written.
    fn close(&mut self, token: Token, lingers: bool, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if connection.waits {
            self.touch(token);
            return;
        }
        match connection.stage {
            // What it has not read yet would be lost by a close while something of it lies unread here.
            Stage::Open if lingers && !connection.read_closed => {
                connection.transport.end();
                connection.stage = Stage::Lingering;
                connection.stage_until = now.mono + LINGER_MAX;
                connection.closing = None;
                self.arm(token);
            }
            Stage::Proxy(_) | Stage::Handshake | Stage::Open | Stage::Lingering => {
                self.release(token, now);
                self.forget(token, now);
            }
        }
    }

    /// Reads stored messages for those who asked for them again, as fast as they read.
    fn read_stored(&mut self, now: Now) {
        let mut reads = std::mem::take(&mut self.shared.reads);
        let mut later = Vec::new();
        for (token, ask, range) in reads.drain(..) {
            match self.connections.get_mut(token) {
                None => {}
                Some(connection) if connection.waiting() >= RESEND_BELOW_BYTES => {
                    later.push((token, ask, range));
                }
                Some(_) => self.give_stored(token, ask, range, now),
            }
        }
        if self.shared.reads.is_empty() {
            self.shared.reads = later;
        } else {
            self.shared.reads.append(&mut later);
        }
    }

    fn give_stored(&mut self, token: Token, ask: AskId, range: ReadRange, now: Now) {
        let ReadRange { stream, epoch, from, to, count_max } = range;
        let read = self.shared.log.read(&stream, epoch, from..=to, count_max as usize, RESEND_BYTES_MAX);
        let Some(connection) = self.connections.get_mut(token) else { return };
        match read {
            Ok(stored) => {
                self.shared.counts.resent += stored.len() as u64;
                let mut bytes = stored.iter().map(|message| message.bytes.as_slice());
                connection.tell(|session| session.stored(ask, &mut bytes, now));
            }
            Err(fault) => {
                tracing::error!(%fault, %stream, "stored FIX messages cannot be read");
                connection.session.end(End::NotSaved, now);
            }
        }
        self.drain(token, now);
    }

    /// Tells of messages that a client did not fetch before its numbers began anew.
    pub(super) fn left_behind(&mut self, stream: &StreamKey, left: Vec<LeftBehind>) {
        for left in left {
            let Some(left) = self.shared.tell_left_behind(stream, left) else { continue };
            let note = Note {
                event: Event::UndeliveredLeft,
                actor: Actor::Node,
                firm: None,
                stream: Some(*stream),
                reason: None,
                left: Some(left),
            };
            let origin = Origin {
                door: doorward_core::audit::Door::Node,
                source: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
                attempt: new_attempt(),
                connection: Arc::new(GateConnection::default()),
            };
            if let Some(record) = self.shared.authority.record(note, &origin) {
                self.shared.decided.push(LogonSave { record: Box::new(record), numbers: None });
            }
        }
    }

    /// Has the streams follow into a week that hold something of an earlier one, so that it is told of.
    pub(super) fn roll_undelivered(&mut self, now: Now) {
        let waits = |seat: &Seat| match seat {
            Seat::Free(state) => state.numbers.unfetched().is_some(),
            Seat::Held { .. } => false,
        };
        let streams = self.shared.seats.iter().filter(|(_, seat)| waits(seat)).map(|(stream, _)| *stream);
        for stream in streams.collect::<Vec<_>>() {
            let Some(settings) = self.settings_of(&stream) else { continue };
            let week = settings.week(self.week.number);
            if self.shared.setting.contains(&stream) || self.shared.failing.is_some() {
                continue;
            }
            let Some(Seat::Free(state)) = self.shared.seats.get_mut(&stream) else { continue };
            if state.roll(week) {
                let (numbers, left) = (state.numbers, state.take_left_behind());
                self.shared.log.numbers(&stream, &numbers);
                self.left_behind(&stream, left);
                self.settle_if_much(now);
            }
        }
    }
}

impl Shared {
    /// Counts what a client did not fetch, and reports it to the back end. `None` where nothing of it is a message.
    pub(super) fn tell_left_behind(&mut self, stream: &StreamKey, left: LeftBehind) -> Option<LeftBehind> {
        let LeftBehind { epoch, first, last, count } = left;
        let count = self.log.count(stream, epoch, first..=last).unwrap_or_else(|fault| {
            tracing::error!(%fault, %stream, "stored FIX messages cannot be counted");
            count
        });
        let left = LeftBehind { count, ..left };
        if count == 0 {
            return None;
        }
        self.backend.left_behind(stream, &left);
        Some(left)
    }
}
