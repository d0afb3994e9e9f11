//! The thread's state and its turns.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::ask::{AskId, Judged};
use doorward_core::calendar::{Calendar, Week};
use doorward_core::fix::session::{Claim, End, ReadRange};
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::{Mono, Now};

use super::authority::Authority;
use super::connection::{Connection, Pool};
use super::listener::Listener;
use super::mailbox::{FixHandle, Mailbox};
use super::seats::Seats;
use super::slab::{GENERATION_MIN, Slab, Token};
use super::timers::Timers;
use crate::backend::{Backend, Replies};
use crate::clock::Clock;
use crate::fault::Fault;
use crate::gate::fix::LogonSave;
use crate::metrics;
use crate::streams::StreamLog;

/// The door's name in measurements.
pub(super) const DOOR: &str = "fix";
/// Bytes that are read at once; one buffer for all connections.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// Events of one turn.
const EVENTS: usize = 1024;
/// The mailbox's token; listeners have those below it.
pub(super) const MAILBOX: mio::Token = mio::Token(((GENERATION_MIN as usize) << 32) - 1);
/// How often the thread measures and looks at the week where nothing else wakes it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often what is too old is dropped from the stream log.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Something to do with another connection than the one that wanted it.
pub(super) enum Job {
    /// A connection wants a stream.
    Claim(Token, AskId, Claim),
    /// A connection may have given its stream back, and has to go.
    Closed(Token),
    /// The machine of a connection broke off.
    Broken(Token),
}

/// A judgement that is held back by a drill.
pub(super) struct Delayed {
    pub(super) due: Mono,
    pub(super) token: Token,
    pub(super) ask: AskId,
    pub(super) judged: Judged,
    /// Another Logon for the stream went first.
    pub(super) overtaken: bool,
}

/// What was counted since the last look; measured together.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) application_in: u64,
    pub(super) application_out: u64,
    pub(super) sent: u64,
    pub(super) resent: u64,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) authority: Arc<dyn Authority>,
    pub(super) handle: FixHandle,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) log: StreamLog,
    /// Why the log takes nothing; it is opened again when `retry_at` has come.
    pub(super) failing: Option<Fault>,
    pub(super) retry_at: Mono,
    /// Streams whose reset could not be written down, with the numbers from before: their clients were not told.
    pub(super) unsaid: Vec<(StreamKey, Numbers)>,
    /// A batch of the log is committed before its turn ends where it grows beyond this.
    pub(super) batch_bytes_max: usize,
    /// The log is being opened again, and the back end told the week again, on a thread of its own.
    pub(super) reopening: Option<std::thread::JoinHandle<()>>,
    /// Numbers were given to the book since that began.
    pub(super) booked_since: bool,
    pub(super) seats: Seats,
    pub(super) backend: Box<dyn Backend>,
    pub(super) replies: Replies,
    /// Logons of this turn, to be written down together.
    pub(super) decided: Vec<LogonSave>,
    pub(super) deciding: Vec<(Token, AskId)>,
    pub(super) jobs: VecDeque<Job>,
    /// Connections that have something to be written or closed.
    pub(super) touched: Vec<Token>,
    /// Of those of this turn, the ones that wait for the commit.
    pub(super) waiting: Vec<Token>,
    /// Connections that have stated numbers in this turn and wait for nothing.
    pub(super) lazily: Vec<Token>,
    pub(super) reads: Vec<(Token, AskId, ReadRange)>,
    pub(super) delay: Duration,
    pub(super) delayed: VecDeque<Delayed>,
    /// Streams whose numbers are being set: nobody gets them until that is durable.
    pub(super) setting: Vec<StreamKey>,
    /// Logons that came while another one for their stream was held back.
    pub(super) overtaken: Vec<Token>,
    /// Buffers of connections that have nothing to write.
    pub(super) pool: Pool,
    pub(super) outbound_bytes_max: usize,
    pub(super) counts: Counts,
    pub(super) scratch: Vec<u8>,
}

/// The thread of the FIX door.
pub(super) struct Door {
    pub(super) poll: mio::Poll,
    pub(super) clock: Arc<Clock>,
    pub(super) calendar: Arc<Calendar>,
    pub(super) listeners: Vec<Listener>,
    pub(super) connections: Slab<Connection>,
    pub(super) timers: Timers,
    /// Connections whose TLS handshake goes on, the one that waits longest first.
    pub(super) shaking: VecDeque<Token>,
    /// Connections with more to be read.
    pub(super) again: Vec<Token>,
    pub(super) mailbox: Mailbox,
    pub(super) shared: Shared,
    pub(super) counts: Counts,
    pub(super) buffer: Vec<u8>,
    pub(super) week: Week,
    /// The week was told to be over.
    pub(super) told_closed: bool,
    pub(super) look_at: Mono,
    pub(super) prune_at: Mono,
    pub(super) keep: Duration,
    /// Something that cannot be made good: the thread ends, and with it the process.
    pub(super) is_broken: bool,
    /// Everybody has been logged out; the thread ends then at the latest.
    pub(super) stopping: Option<Mono>,
}

impl Door {
    /// Turns until everybody has gone after a stop. Returns whether it was told to.
    pub(super) fn run(mut self) -> bool {
        let mut events = mio::Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the FIX door cannot wait for its connections and ends");
                    break;
                }
            }
            let now = self.clock.now();
            self.turn(&events, now);
            if self.is_broken {
                break;
            }
            if self.stopping.is_some_and(|until| self.connections.len() == 0 || now.mono >= until) {
                break;
            }
        }
        let told = self.stopping.is_some() && !self.is_broken;
        self.end();
        told
    }

    pub(super) fn turn(&mut self, events: &mio::Events, now: Now) {
        self.look_at_week(now);
        let mut again = std::mem::take(&mut self.again);
        for event in events {
            let token = event.token();
            if token.0 < self.listeners.len() {
                self.listeners[token.0].ready = true;
            } else if token != MAILBOX {
                self.connection_event(Token::from_poller(token), event, now);
                self.settle_if_much(now);
            }
        }
        for token in again.drain(..) {
            if let Some(connection) = self.connections.get_mut(token) {
                connection.again = false;
                self.read(token, now);
                self.settle_if_much(now);
            }
        }
        if self.again.is_empty() {
            self.again = again;
        }
        self.shake_hands(now);
        self.take_connections(now);
        self.open_mailbox(now);
        self.timers(now);
        self.look(now);
        self.settle(now);
    }

    /// How long nothing has to be done.
    fn patience(&self) -> Option<Duration> {
        let mut soonest = self.look_at;
        let pauses = self.listeners.iter().filter(|listener| listener.ready).map(|l| l.paused_until);
        for pause in pauses {
            match pause {
                None => return Some(Duration::ZERO),
                Some(until) => soonest = soonest.min(until),
            }
        }
        // Those who asked for stored messages and do not read are told of by the poller.
        if !self.again.is_empty() || !self.shaking.is_empty() {
            return Some(Duration::ZERO);
        }
        let delayed = self.shared.delayed.front().map(|delayed| delayed.due);
        for at in [self.timers.next(), delayed, self.stopping].into_iter().flatten() {
            soonest = soonest.min(at);
        }
        let until = self.clock.until(soonest);
        // In whole milliseconds and never too early.
        Some(if until.is_zero() { until } else { until + Duration::from_millis(1) })
    }

    fn timers(&mut self, now: Now) {
        while let Some((at, token)) = self.timers.due(now.mono) {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            if connection.armed != Some(at) {
                continue;
            }
            connection.armed = None;
            if connection.session.deadline().is_some_and(|deadline| deadline <= now.mono) {
                connection.tell(|session| session.timeout(now));
                self.drain(token, now);
            } else if connection.deadline().is_some_and(|deadline| deadline <= now.mono) {
                self.stage_over(token, now);
            }
            self.arm(token);
        }
        while self.shared.delayed.front().is_some_and(|delayed| delayed.due <= now.mono) {
            let Some(delayed) = self.shared.delayed.pop_front() else { break };
            if delayed.overtaken {
                self.shared.overtaken.push(delayed.token);
            }
            let connection = self.connections.get_mut(delayed.token);
            match connection.filter(|connection| connection.session.awaits(delayed.ask)) {
                Some(connection) => {
                    connection.tell(|session| session.judged(delayed.ask, delayed.judged, now));
                    self.drain(delayed.token, now);
                }
                None => self.shared.write_down(delayed.judged),
            }
        }
    }

    /// Before anything else of a turn, so that nothing of it belongs to a week that is over.
    fn look_at_week(&mut self, now: Now) {
        let over = self.week.closes.filter(|_| !self.told_closed);
        if now.wall >= over.unwrap_or(self.week.next_open) {
            self.week_changes(now);
        }
    }

    /// What is done about once a second: measurements, the log.
    fn look(&mut self, now: Now) {
        if now.mono < self.look_at {
            return;
        }
        self.look_at = now.mono + LOOK_EVERY;
        self.measure();
        if self.shared.failing.is_some() && now.mono >= self.shared.retry_at {
            self.reopen();
        }
        if now.mono >= self.prune_at && self.shared.failing.is_none() {
            self.prune_at = now.mono + PRUNE_EVERY;
            match self.shared.log.prune(now.wall - self.keep) {
                Ok(pruned) if pruned.segments > 0 => {
                    tracing::info!(
                        segments = pruned.segments,
                        messages = pruned.messages,
                        "old FIX messages dropped"
                    );
                }
                Ok(_) => {}
                Err(fault) => tracing::warn!(%fault, "old FIX messages stay"),
            }
        }
    }

    /// The week closes: everybody is logged out. Or another one opens: those are who are still in an earlier one.
    fn week_changes(&mut self, now: Now) {
        // T4: not by a clock that may be wrong.
        if !self.shared.authority.clock_good() {
            return;
        }
        let week = self.calendar.week_at(now.wall);
        let rolls = week.number != self.week.number;
        self.week = week;
        self.told_closed = !week.is_open(now.wall);
        for token in self.connections.tokens() {
            let Some(connection) = self.connections.get_mut(token) else { continue };
            let is_earlier = |numbers: Numbers| numbers.epoch.week < week.number;
            if self.told_closed || connection.session.numbers().is_some_and(is_earlier) {
                connection.session.end(End::WeekClosed, now);
                self.drain(token, now);
            }
        }
        if rolls {
            self.shared.backend.restart();
            tracing::info!(week = week.number, "a trading week begins");
            self.roll_undelivered(now);
        }
    }

    fn measure(&mut self) {
        let counts = [&mut self.counts, &mut self.shared.counts];
        for counts in counts {
            let Counts { accepted, application_in, application_out, sent, resent } = std::mem::take(counts);
            metrics::connections_accepted(DOOR, accepted);
            metrics::fix_application_messages("in", application_in);
            metrics::fix_application_messages("out", application_out);
            metrics::fix_sent(sent);
            metrics::fix_resent(resent);
        }
        let silent: usize = self.listeners.iter().map(|listener| listener.silent.count()).sum();
        let open = self.connections.len();
        metrics::connections(DOOR, open as u64);
        metrics::connections_silent(DOOR, silent as u64);
        metrics::sessions(DOOR, open.saturating_sub(silent) as u64);
        metrics::fix_streams(self.shared.seats.len() as u64);
        let status = self.shared.log.status();
        metrics::fix_log_segments(status.segments);
        metrics::fix_log_bytes(status.bytes);
        metrics::fix_log_up(u64::from(self.shared.failing.is_none()));
    }

    /// Wakes for a connection when its machine wants it.
    pub(super) fn arm(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            let deadline = connection.deadline();
            self.timers.arm(token, deadline, &mut connection.armed);
        }
    }

    /// Lets go of a connection for good.
    pub(super) fn forget(&mut self, token: Token, now: Now) {
        let Some(mut connection) = self.connections.remove(token) else { return };
        let left = if connection.is_broken { None } else { connection.session.release() };
        if let Some((stream, state)) = left {
            self.pass_on(stream, state, now);
        } else if let Some(stream) = connection.stream {
            self.free_orphan(&stream, connection.stated, now);
        }
        let listener = &mut self.listeners[connection.listener];
        listener.silent.leave(connection.rank);
        listener.paused_until = None;
        if connection.asked {
            self.shared.authority.left(&connection.origin);
        }
        if let Some(watch) = connection.watch.take() {
            watch.abort();
        }
        self.shared.pool.give(std::mem::take(&mut connection.out));
    }

    fn end(&mut self) {
        if let Some(reopening) = self.shared.reopening.take() {
            // Nobody else may open the log before; how it ended is nobody's business any more.
            let _ = reopening.join();
        }
        if self.connections.len() > 0 {
            let now = self.clock.now();
            for token in self.connections.tokens() {
                if let Some(connection) = self.connections.get_mut(token) {
                    connection.session.closed_by_peer(now);
                    self.drain(token, now);
                }
            }
            self.settle(now);
        }
        if let Err(fault) = self.shared.log.commit() {
            tracing::error!(%fault, "the last numbers of FIX streams could not be written");
        }
        self.measure();
    }
}
