//! The loop of `doorward load fix`: one thread, one poll, all connections.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward_core::fix::tag;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::load_fix_plan::{Mode, Plan, order};
use super::load_fix_report::Tally;
use super::load_fix_seats::{Frame, Seat, Stamp, frame};
use super::server_process::{CpuTime, memory_bytes};
use crate::clock::Clock;

/// Longest wait for any answer of the server.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Longest time that all sessions together take to log on before the rest is given up.
const LOGON_LIMIT: Duration = Duration::from_secs(120);
/// Longest time for what is in flight, and for logouts, at the end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Refusals of one seat that are followed by a try with another number.
const RENUMBERED_MAX: u8 = 2;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Connecting,
    LoggingOn,
    On,
    LoggingOut,
    /// The Logout is confirmed; the server closes.
    Closing,
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    seat: usize,
    step: Step,
    began: Instant,
    /// When something was last sent.
    sent: Instant,
    /// When something last came.
    heard: Instant,
    partial: Vec<u8>,
    out: Vec<u8>,
    /// When each order in flight was sent; `None` for one that is answered.
    flight: VecDeque<Option<Instant>>,
    /// ClOrdID (11) of the first of them.
    flight_first: u64,
    open: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Sessions log on; in cycles everything is this one and [`Self::Measured`].
    Filling,
    WarmUp,
    Measured,
    /// Nothing new begins.
    Ending,
}

pub(super) struct Run<'a> {
    plan: Plan,
    tally: &'a mut Tally,
    poll: Poll,
    conns: Vec<Option<Conn>>,
    /// Seats that nobody has, the longest unused first.
    free: VecDeque<usize>,
    renumbered: Vec<u8>,
    /// Seats that cannot be logged on.
    lost: usize,
    stamp: Stamp,
    clock: Clock,
    phase: Phase,
    phase_began: Instant,
    /// Sessions that are logged on.
    on: usize,
    /// Connections.
    live: usize,
    cpu_before: Option<CpuTime>,
    run_id: String,
}

/// Runs a plan with one thread to its end, or until it is told to stop; leaves the numbers in the seats.
pub(super) fn run(plan: Plan, tally: &mut Tally, stop: &AtomicBool) -> io::Result<Vec<Seat>> {
    let now = Instant::now();
    let seats = plan.seats.len();
    let mut run = Run {
        poll: Poll::new()?,
        conns: (0..plan.at_once).map(|_| None).collect(),
        free: (0..seats).collect(),
        renumbered: vec![0; seats],
        lost: 0,
        stamp: Stamp::new(),
        clock: Clock::system(),
        phase: Phase::Filling,
        phase_began: now,
        on: 0,
        live: 0,
        cpu_before: None,
        run_id: String::new(),
        plan,
        tally,
    };
    run.run_id = format!("{:x}", run.clock.now().wall.as_ms());
    run.begin()?;
    run.turn(stop)?;
    Ok(run.plan.seats)
}

impl Run<'_> {
    fn begin(&mut self) -> io::Result<()> {
        self.tally.memory_before = self.plan.pid.and_then(memory_bytes);
        if self.plan.mode == Mode::Cycles {
            self.enter(if self.plan.warm_up.is_zero() { Phase::Measured } else { Phase::WarmUp });
        }
        if matches!(self.plan.mode, Mode::Storm | Mode::Idle) {
            self.measure();
        }
        for slot in 0..self.conns.len() {
            self.connect(slot)?;
        }
        Ok(())
    }

    fn turn(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; READ_BYTES];
        let mut looked = Instant::now();
        loop {
            match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.stamp.set(self.clock.now().wall);
            for event in &events {
                self.ready(event, &mut buffer)?;
            }
            let now = Instant::now();
            if self.phase != Phase::Ending && stop.load(Ordering::Relaxed) {
                self.finish();
            }
            self.advance(now);
            if now - looked > Duration::from_millis(500) {
                looked = now;
                self.look(now)?;
            }
            if self.phase == Phase::Ending && (self.live == 0 || now - self.phase_began > END_LIMIT) {
                return Ok(());
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.phase_began = Instant::now();
        // Where sessions only log on, all of that is measured.
        if phase == Phase::Measured && self.plan.mode != Mode::Idle {
            self.measure();
        }
    }

    /// The measurement begins.
    fn measure(&mut self) {
        self.tally.begin();
        self.cpu_before = self.plan.pid.and_then(CpuTime::of);
    }

    /// The measurement ends, and all that runs is brought to an end.
    fn finish(&mut self) {
        self.tally.end();
        if let (Some(pid), Some(before)) = (self.plan.pid, self.cpu_before) {
            self.tally.cpu = CpuTime::of(pid).map(|after| after.since(before));
            self.tally.memory_after = memory_bytes(pid);
        }
        self.tally.sessions = self.on as u64;
        self.enter(Phase::Ending);
        for slot in 0..self.conns.len() {
            let Some(conn) = &self.conns[slot] else { continue };
            match conn.step {
                Step::On if conn.open == 0 => self.log_out(slot),
                Step::Connecting => self.drop_conn(slot),
                Step::On | Step::LoggingOn | Step::LoggingOut | Step::Closing => {}
            }
        }
    }

    /// Goes from one phase to the next where it is time.
    fn advance(&mut self, now: Instant) {
        let spent = now - self.phase_began;
        let measured = self.phase == Phase::Measured;
        match self.plan.mode {
            Mode::Cycles => {
                if self.phase == Phase::WarmUp && spent >= self.plan.warm_up {
                    self.enter(Phase::Measured);
                } else if measured && (spent >= self.plan.duration || self.tally.done >= self.plan.total) {
                    self.finish();
                }
            }
            Mode::Storm => {
                if self.phase == Phase::Filling && (self.is_full() || spent > LOGON_LIMIT) {
                    self.finish();
                }
            }
            Mode::Idle => {
                if self.phase == Phase::Filling && (self.is_full() || spent > LOGON_LIMIT) {
                    self.enter(Phase::Measured);
                } else if measured && spent >= self.plan.duration {
                    self.finish();
                }
            }
            // A ping has a loop of its own.
            Mode::Ping => self.finish(),
            Mode::Orders => {
                if self.phase == Phase::Filling && (self.is_full() || spent > LOGON_LIMIT) {
                    self.enter(if self.plan.warm_up.is_zero() { Phase::Measured } else { Phase::WarmUp });
                    for slot in 0..self.conns.len() {
                        self.send_orders(slot);
                    }
                } else if self.phase == Phase::WarmUp && spent >= self.plan.warm_up {
                    self.enter(Phase::Measured);
                } else if measured && (spent >= self.plan.duration || self.tally.done >= self.plan.total) {
                    self.finish();
                }
            }
        }
        if self.live == 0 && self.phase != Phase::Ending {
            self.finish();
        }
    }

    /// Whether every session that can be is logged on.
    fn is_full(&self) -> bool {
        self.on + self.lost >= self.conns.len()
    }

    fn connect(&mut self, slot: usize) -> io::Result<()> {
        let Some(seat) = self.free.pop_front() else { return Ok(()) };
        let now = Instant::now();
        self.stamp.set(self.clock.now().wall);
        let mut stream = match TcpStream::connect(self.plan.address) {
            Ok(stream) => stream,
            Err(error) => {
                self.free.push_back(seat);
                self.lost += 1;
                self.tally.fail(&format!("cannot connect: {error}"));
                return Ok(());
            }
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(slot), interest)?;
        self.tally.started += 1;
        self.live += 1;
        self.conns[slot] = Some(Conn {
            stream,
            seat,
            step: Step::Connecting,
            began: now,
            sent: now,
            heard: now,
            partial: Vec::new(),
            out: Vec::new(),
            flight: VecDeque::new(),
            flight_first: 0,
            open: 0,
        });
        Ok(())
    }

    fn ready(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        let slot = event.token().0;
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return Ok(()) };
        if conn.step == Step::Connecting {
            if let Ok(Some(error)) | Err(error) = conn.stream.take_error() {
                return self.broke(slot, &format!("cannot connect: {error}"));
            }
            if conn.stream.peer_addr().is_err() {
                return Ok(());
            }
            let _ = conn.stream.set_nodelay(true);
            conn.step = Step::LoggingOn;
            let seat = conn.seat;
            let mut out = std::mem::take(&mut conn.out);
            self.plan.seats[seat].logon(&mut out, &self.plan.common, &self.stamp);
            self.put_out(slot, out);
        }
        if event.is_writable() {
            self.write(slot);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(slot, buffer, event.is_read_closed())?;
        }
        Ok(())
    }

    /// Gives bytes back to a connection, and sends them.
    fn put_out(&mut self, slot: usize, out: Vec<u8>) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        conn.out = out;
        conn.sent = Instant::now();
        self.write(slot);
    }

    fn write(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        let mut written = 0;
        while written < conn.out.len() {
            match conn.stream.write(&conn.out[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The rest goes out with the next event; a broken connection is seen when it is read.
                Err(_) => break,
            }
        }
        conn.out.drain(..written);
    }

    fn read(&mut self, slot: usize, buffer: &mut [u8], closed: bool) -> io::Result<()> {
        loop {
            let Some(conn) = self.conns[slot].as_mut() else { return Ok(()) };
            let count = match conn.stream.read(buffer) {
                Ok(0) => return self.broke(slot, "closed without a Logout"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.broke(slot, &error.to_string()),
            };
            conn.heard = Instant::now();
            if !self.take_in(slot, &buffer[..count]) {
                return self.broke(slot, "what came is no FIX message");
            }
            // A read that did not fill the buffer has taken all there was.
            if count < buffer.len() && !closed {
                return Ok(());
            }
        }
    }

    /// Takes bytes; false where they are no messages.
    fn take_in(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let Some(conn) = self.conns[slot].as_mut() else { return true };
        let mut partial = std::mem::take(&mut conn.partial);
        let joined = !partial.is_empty();
        if joined {
            partial.extend_from_slice(bytes);
        }
        let mut rest: &[u8] = if joined { &partial } else { bytes };
        let fine = loop {
            match frame(rest) {
                Ok(None) => break true,
                Err(()) => break false,
                Ok(Some(message)) => {
                    rest = &rest[message.bytes.len()..];
                    self.message(slot, &message);
                }
            }
        };
        let left = rest.to_vec();
        if let Some(conn) = self.conns[slot].as_mut() {
            conn.partial = left;
        }
        self.send_orders(slot);
        fine
    }

    fn message(&mut self, slot: usize, message: &Frame<'_>) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        let seat = &mut self.plan.seats[conn.seat];
        if self.plan.mode != Mode::Orders || message.msg_type != b'8' {
            seat.last_in = message.number(b"\x0134=").unwrap_or(0).max(seat.last_in);
        }
        match (conn.step, message.msg_type) {
            (Step::LoggingOn, b'A') => self.logged_on(slot),
            (Step::LoggingOn, b'5') => self.refused(slot, message),
            (Step::On, b'5') => {
                let text = message.value(b"\x0158=").unwrap_or(b"Logout");
                let text = format!("logged out: {}", String::from_utf8_lossy(text));
                self.tally.close(&text);
                self.on -= 1;
                self.log_out(slot);
            }
            (Step::LoggingOut, b'5') => {
                conn.step = Step::Closing;
                if self.plan.mode == Mode::Cycles {
                    let took = conn.began.elapsed();
                    self.tally.done(took);
                }
            }
            (Step::On, b'1') if self.plan.mode != Mode::Storm => {
                let id = message.value(b"\x01112=").unwrap_or_default();
                let mut out = std::mem::take(&mut conn.out);
                seat.begin(&mut out, &self.plan.common, b"0", &self.stamp)
                    .field(tag::TEST_REQ_ID, id)
                    .finish();
                self.put_out(slot, out);
            }
            (Step::On, b'2') => {
                let from = message.number(b"\x017=").unwrap_or(1);
                let mut out = std::mem::take(&mut conn.out);
                seat.fill(&mut out, &self.plan.common, &self.stamp, from);
                self.put_out(slot, out);
            }
            (Step::On, b'8' | b'D') => self.reported(slot, message),
            (Step::On, b'3' | b'j') => {
                let text = message.value(b"\x0158=").unwrap_or(b"Reject");
                self.tally.close(&format!("rejected: {}", String::from_utf8_lossy(text)));
            }
            _ => {}
        }
    }

    fn logged_on(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        conn.step = Step::On;
        self.tally.logon(conn.began.elapsed());
        self.on += 1;
        self.renumbered[conn.seat] = 0;
        if self.plan.mode == Mode::Cycles || self.phase == Phase::Ending {
            self.on -= 1;
            self.log_out(slot);
        }
    }

    /// The server refused: it may have named the number that it wants.
    fn refused(&mut self, slot: usize, message: &Frame<'_>) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        conn.step = Step::Closing;
        let number = conn.seat;
        let seat = &mut self.plan.seats[number];
        seat.next_out -= 1;
        let text = String::from_utf8_lossy(message.value(b"\x0158=").unwrap_or(b"Logout")).into_owned();
        let wanted = if text.starts_with("Failed to reset sequence numbers") {
            Some(1)
        } else {
            let told = text.split("expecting ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
            message.number(b"\x01789=").or(told).filter(|wanted| *wanted != seat.next_out)
        };
        match wanted {
            Some(wanted) if self.renumbered[number] < RENUMBERED_MAX => {
                seat.next_out = wanted;
                self.renumbered[number] += 1;
                self.tally.renumbered += 1;
            }
            Some(_) | None => {
                self.renumbered[number] = u8::MAX;
                self.tally.fail(&text);
            }
        }
    }

    fn log_out(&mut self, slot: usize) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        conn.step = Step::LoggingOut;
        let mut out = std::mem::take(&mut conn.out);
        self.plan.seats[conn.seat].begin(&mut out, &self.plan.common, b"5", &self.stamp).finish();
        self.put_out(slot, out);
    }

    /// A connection is gone, as it should be or not.
    fn broke(&mut self, slot: usize, why: &str) -> io::Result<()> {
        let Some(conn) = &self.conns[slot] else { return Ok(()) };
        let (seat, step) = (conn.seat, conn.step);
        match step {
            Step::Closing => {}
            Step::Connecting | Step::LoggingOn => {
                self.renumbered[seat] = u8::MAX;
                self.tally.fail(why);
                if step == Step::LoggingOn {
                    self.plan.seats[seat].next_out -= 1;
                }
            }
            Step::On => {
                self.on -= 1;
                self.tally.close(why);
            }
            Step::LoggingOut => self.tally.close(why),
        }
        self.drop_conn(slot);
        let given_up = self.renumbered[seat] == u8::MAX;
        let again = match self.plan.mode {
            Mode::Cycles => !given_up,
            // A seat that was refused for its number tries another one; others stay where they are.
            Mode::Storm | Mode::Idle | Mode::Orders | Mode::Ping => !given_up && self.renumbered[seat] > 0,
        };
        if given_up {
            self.free.retain(|free| *free != seat);
            self.lost += 1;
        }
        if self.phase != Phase::Ending && (again || self.plan.mode == Mode::Cycles) {
            self.connect(slot)?;
        }
        Ok(())
    }

    fn drop_conn(&mut self, slot: usize) {
        if let Some(mut conn) = self.conns[slot].take() {
            self.live -= 1;
            // A closed socket leaves the poll by itself.
            let _ = self.poll.registry().deregister(&mut conn.stream);
            self.free.push_back(conn.seat);
        }
    }

    /// Ends what takes too long, and says Heartbeat where nothing else was said.
    fn look(&mut self, now: Instant) -> io::Result<()> {
        let quiet = Duration::from_secs(u64::from(self.plan.common.heartbeat_s) * 3 / 4);
        for slot in 0..self.conns.len() {
            let Some(conn) = self.conns[slot].as_mut() else { continue };
            let waits = conn.step != Step::On || conn.open > 0;
            let since = if conn.step == Step::On { conn.heard.max(conn.sent) } else { conn.began };
            if waits && now - since > ANSWER_LIMIT {
                let text = format!("no answer within {} s", ANSWER_LIMIT.as_secs());
                self.broke(slot, &text)?;
            } else if conn.step == Step::On && now - conn.sent > quiet {
                let mut out = std::mem::take(&mut conn.out);
                self.plan.seats[conn.seat].begin(&mut out, &self.plan.common, b"0", &self.stamp).finish();
                self.put_out(slot, out);
            }
        }
        Ok(())
    }

    /// Sends orders until enough are in flight.
    fn send_orders(&mut self, slot: usize) {
        let sending = matches!(self.phase, Phase::WarmUp | Phase::Measured);
        if !sending || self.plan.mode != Mode::Orders {
            return;
        }
        let Some(conn) = self.conns[slot].as_mut() else { return };
        if conn.step != Step::On || conn.open >= self.plan.in_flight || !conn.out.is_empty() {
            return;
        }
        let mut out = std::mem::take(&mut conn.out);
        let now = Instant::now();
        let seat = &mut self.plan.seats[conn.seat];
        while conn.open < self.plan.in_flight {
            let id = conn.flight_first + conn.flight.len() as u64;
            order(seat, &mut out, &self.plan.common, &self.stamp, (&self.run_id, id), self.plan.orders);
            conn.flight.push_back(Some(now));
            conn.open += 1;
        }
        self.put_out(slot, out);
    }

    /// A report came: the first one of an order ends it.
    fn reported(&mut self, slot: usize, message: &Frame<'_>) {
        let Some(conn) = self.conns[slot].as_mut() else { return };
        self.tally.reports += 1;
        if message.value(b"\x0139=") == Some(b"8") {
            self.tally.rejected += 1;
        }
        let id = message.value(b"\x0111=").unwrap_or_default();
        let id =
            id.rsplit(|byte| *byte == b'-').next().and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        let at = id.and_then(|id: u64| usize::try_from(id.checked_sub(conn.flight_first)?).ok());
        let Some(sent) = at.and_then(|at| conn.flight.get_mut(at)?.take()) else { return };
        conn.open -= 1;
        while conn.flight.front().is_some_and(Option::is_none) {
            conn.flight.pop_front();
            conn.flight_first += 1;
        }
        if self.phase == Phase::Measured {
            self.tally.done(sent.elapsed());
        } else if self.phase == Phase::Ending && conn.open == 0 {
            self.on = self.on.saturating_sub(1);
            self.log_out(slot);
        }
    }
}
