//! One message in flight on one session, over a blocking socket: nothing but the two system calls is in the way.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward_core::fix::tag;

use super::load_fix_plan::{Plan, order};
use super::load_fix_report::Tally;
use super::load_fix_seats::{Seat, Stamp, frame};
use super::server_process::CpuTime;
use crate::clock::Clock;

/// Longest wait for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Tries to log on: the server may name another number.
const LOGONS_MAX: u32 = 3;

struct Link<'a> {
    stream: TcpStream,
    plan: &'a mut Plan,
    clock: Clock,
    stamp: Stamp,
    out: Vec<u8>,
    input: Vec<u8>,
    buffer: Vec<u8>,
    run_id: String,
}

/// Runs the plan to its end; leaves the numbers in the seats.
pub(super) fn run(mut plan: Plan, tally: &mut Tally, stop: &AtomicBool) -> io::Result<Vec<Seat>> {
    let clock = Clock::system();
    let run_id = format!("{:x}", clock.now().wall.as_ms());
    for _ in 0..LOGONS_MAX {
        let began = Instant::now();
        let stream = match TcpStream::connect(plan.address) {
            Ok(stream) => stream,
            Err(error) => {
                tally.fail(&format!("cannot connect: {error}"));
                break;
            }
        };
        tally.started += 1;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut link = Link {
            stream,
            plan: &mut plan,
            clock: Clock::system(),
            stamp: Stamp::new(),
            out: Vec::new(),
            input: Vec::new(),
            buffer: vec![0; 16 * 1024],
            run_id: run_id.clone(),
        };
        match link.log_on() {
            Ok(None) => {
                tally.logon(began.elapsed());
                tally.sessions = 1;
                if let Err(error) = link.ping(tally, stop) {
                    tally.close(&error.to_string());
                }
                link.log_out();
                break;
            }
            Ok(Some(number)) => {
                plan.seats[0].next_out = number;
                tally.renumbered += 1;
            }
            Err(error) => {
                tally.fail(&error.to_string());
                break;
            }
        }
    }
    tally.end();
    Ok(plan.seats)
}

impl Link<'_> {
    /// Logs on; or gives the number that the server wants instead.
    fn log_on(&mut self) -> io::Result<Option<u64>> {
        self.stamp.set(self.clock.now().wall);
        let mut out = std::mem::take(&mut self.out);
        self.plan.seats[0].logon(&mut out, &self.plan.common, &self.stamp);
        self.put_out(out)?;
        let mut refused = None;
        self.read_until(|_, msg_type, text, number| {
            if msg_type == b'5' {
                refused = Some((text.to_owned(), number));
            }
            matches!(msg_type, b'A' | b'5')
        })?;
        let Some((text, number)) = refused else { return Ok(None) };
        let seat = &mut self.plan.seats[0];
        seat.next_out -= 1;
        let new_week = text.starts_with("Failed to reset sequence numbers");
        match number.or(new_week.then_some(1)).filter(|number| *number != seat.next_out) {
            Some(number) => Ok(Some(number)),
            None => Err(io::Error::other(text)),
        }
    }

    fn ping(&mut self, tally: &mut Tally, stop: &AtomicBool) -> io::Result<()> {
        let begun = Instant::now();
        let warm = begun + self.plan.warm_up;
        let mut before = None;
        let mut count = 0_u64;
        loop {
            let now = Instant::now();
            if before.is_none() && now >= warm {
                tally.begin();
                before = Some(self.plan.pid.and_then(CpuTime::of));
            }
            if now >= warm + self.plan.duration
                || tally.done >= self.plan.total
                || stop.load(Ordering::Relaxed)
            {
                break;
            }
            count += 1;
            let sent = self.one(count, tally)?;
            if before.is_some() {
                tally.done(sent.elapsed());
            }
        }
        tally.end();
        if let (Some(pid), Some(Some(before))) = (self.plan.pid, before) {
            tally.cpu = CpuTime::of(pid).map(|after| after.since(before));
        }
        Ok(())
    }

    /// Sends one message and waits for what answers it; gives when it was sent.
    fn one(&mut self, count: u64, tally: &mut Tally) -> io::Result<Instant> {
        self.stamp.set(self.clock.now().wall);
        let mut out = std::mem::take(&mut self.out);
        let (seat, common) = (&mut self.plan.seats[0], &self.plan.common);
        if self.plan.ping_orders {
            order(seat, &mut out, common, &self.stamp, (&self.run_id, count - 1), self.plan.orders);
        } else {
            seat.begin(&mut out, common, b"1", &self.stamp)
                .field(tag::TEST_REQ_ID, count.to_string())
                .finish();
        }
        let sent = Instant::now();
        self.put_out(out)?;
        let orders = self.plan.ping_orders;
        let name = if orders { (count - 1).to_string() } else { count.to_string() };
        self.read_until(|id, msg_type, _, _| {
            if orders {
                tally.reports += u64::from(msg_type == b'8');
                msg_type == b'8' && id.rsplit('-').next() == Some(name.as_str())
            } else {
                msg_type == b'0' && id == name
            }
        })?;
        Ok(sent)
    }

    fn log_out(&mut self) {
        self.stamp.set(self.clock.now().wall);
        let mut out = std::mem::take(&mut self.out);
        self.plan.seats[0].begin(&mut out, &self.plan.common, b"5", &self.stamp).finish();
        // Whether it is confirmed changes nothing for the next run, which the server tells its number.
        let _ = self.put_out(out).and_then(|()| self.read_until(|_, msg_type, _, _| msg_type == b'5'));
    }

    fn put_out(&mut self, mut out: Vec<u8>) -> io::Result<()> {
        self.stream.write_all(&out)?;
        out.clear();
        self.out = out;
        Ok(())
    }

    /// Reads messages until one is it: (TestReqID or ClOrdID, MsgType, Text, NextExpectedMsgSeqNum).
    ///
    /// Test Requests and Resend Requests of the server are answered; a Logout in the session ends it.
    fn read_until(&mut self, mut is_it: impl FnMut(&str, u8, &str, Option<u64>) -> bool) -> io::Result<()> {
        loop {
            let mut taken = 0;
            let mut found = false;
            let mut answers = Vec::new();
            loop {
                let rest = self.input.get(taken..).unwrap_or_default();
                let message = match frame(rest) {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(()) => return Err(io::Error::other("what came is no FIX message")),
                };
                taken += message.bytes.len();
                let seat = &mut self.plan.seats[0];
                seat.last_in = message.number(b"\x0134=").unwrap_or(0).max(seat.last_in);
                let text =
                    |begins: &[u8]| message.value(begins).map(String::from_utf8_lossy).unwrap_or_default();
                match message.msg_type {
                    b'1' => {
                        let id = text(b"\x01112=");
                        let builder = seat.begin(&mut answers, &self.plan.common, b"0", &self.stamp);
                        builder.field(tag::TEST_REQ_ID, id.as_bytes()).finish();
                    }
                    b'2' => {
                        let from = message.number(b"\x017=").unwrap_or(1);
                        seat.fill(&mut answers, &self.plan.common, &self.stamp, from);
                    }
                    msg_type => {
                        let id = if msg_type == b'8' { text(b"\x0111=") } else { text(b"\x01112=") };
                        let said = text(b"\x0158=");
                        if is_it(&id, msg_type, &said, message.number(b"\x01789=")) {
                            found = true;
                        } else if msg_type == b'5' {
                            return Err(io::Error::other(format!("logged out: {said}")));
                        }
                    }
                }
            }
            self.input.drain(..taken);
            if !answers.is_empty() {
                self.stream.write_all(&answers)?;
            }
            if found {
                return Ok(());
            }
            let count = self.stream.read(&mut self.buffer)?;
            if count == 0 {
                return Err(io::Error::other("closed without a Logout"));
            }
            self.input.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
        }
    }
}
