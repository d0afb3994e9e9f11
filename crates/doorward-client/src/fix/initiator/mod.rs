//! The machine of an initiator: bytes and time go in; numbers to keep, bytes to send and events come out.
//!
//! It touches neither socket nor clock nor file. After each input [`Initiator::poll`] is called until it gives
//! `None`, and each output is carried out before the next one is taken: that is what makes the numbers right after a
//! kill. Messages are taken out of the bytes one at a time, as outputs are taken, so that memory is bounded by what was
//! given to [`Initiator::receive`] at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::Fields;
use doorward_core::fix::tag;
use doorward_core::time::{Mono, Now};

use super::message::{Body, Inbound};
use super::settings::{Credentials, Settings};
use super::store::Numbers;
use super::wire::{Stamp, Wire};
use super::{Ending, Misuse, PeerFault};

mod inbound;
mod sent;
#[cfg(test)]
mod tests;

use sent::{Kept, Sent};

/// What the session has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The server let us in.
    LoggedOn {
        /// SenderCompID (49) in force.
        comp_id: String,
        /// SessionStatus (1409) where the server gave one: what became of a new password.
        session_status: Option<u64>,
    },
    /// An application message, in the order of its number and each number once.
    ///
    /// It counts as received once the next output is asked for: a program that is killed before hears it again, with
    /// PossDupFlag (43) = Y.
    Message(Inbound),
    /// The server rejected a message of ours at session level (35=3).
    Rejected(Inbound),
    /// The server asked for messages of ours again, and they were passed over: application messages with these numbers
    /// have not reached it and will not.
    NotResent {
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
    },
    /// Both sequences began anew, as asked for with [`Initiator::reset`].
    Reset,
    /// The session is over; nothing follows.
    Ended(Ending),
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// These numbers are to be kept before anything else is done.
    Save(Numbers),
    /// Bytes for the server.
    Send(Vec<u8>),
    /// Something for the user.
    Event(Event),
    /// A message of the server as it came, before anything else of it: only where [`Initiator::show_received`] asks.
    Received(Vec<u8>),
}

/// Garbled messages in a row that are borne.
const GARBLED_MAX: u32 = 10;
/// How often missing messages are asked for.
const GAP_TRIES: u32 = 3;

/// One session of an initiator, over any number of connections one after another.
#[derive(Debug)]
pub struct Initiator {
    settings: Settings,
    wire: Wire,
    numbers: Numbers,
    sent: Sent,
    state: State,
    cutter: Cutter,
    garbled: u32,
    fields: Fields,
    input: Vec<u8>,
    /// Bytes at the front of `input` that are done with.
    taken: usize,
    /// Why the connection is gone, told once the input is done with.
    gone: Option<String>,
    show_received: bool,
    now: Now,
    out: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    /// Before a Logon, and after the end.
    Off,
    /// Our Logon is out.
    LoggingOn {
        since: Mono,
    },
    On(Box<On>),
}

/// A session that is logged on.
#[derive(Debug)]
struct On {
    last_in: Mono,
    last_out: Mono,
    /// When a Test Request went out for which nothing came yet.
    probed: Option<Mono>,
    gap: Option<Gap>,
    ahead: Ahead,
    phase: Phase,
}

/// Missing messages that were asked for.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The last one that was asked for.
    to: u64,
    /// When it was, or when the last of them came.
    since: Mono,
    tries: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// Before a reset: a Test Request is out.
    Probing {
        id: String,
        answered: bool,
        since: Mono,
    },
    /// The Logon that resets is out.
    Resetting {
        since: Mono,
    },
    LoggingOut {
        since: Mono,
    },
}

/// Messages behind a gap.
#[derive(Debug, Default)]
struct Ahead {
    /// By number; `None` for one that is done with already.
    messages: BTreeMap<u64, Option<Inbound>>,
    bytes: usize,
    /// The highest number seen, kept or not.
    highest: u64,
}

impl Initiator {
    /// A session that goes on with these numbers.
    ///
    /// # Errors
    /// [`Misuse::Setting`].
    pub fn new(settings: Settings, numbers: Numbers) -> Result<Self, Misuse> {
        settings.check()?;
        let numbers = Numbers { next_out: numbers.next_out.max(1), next_in: numbers.next_in.max(1) };
        Ok(Self {
            wire: Wire::new(&settings.credentials),
            cutter: Cutter::new(settings.message_bytes_max),
            settings,
            sent: Sent::new(numbers.next_out),
            numbers,
            state: State::Off,
            garbled: 0,
            fields: Fields::new(),
            input: Vec::new(),
            taken: 0,
            gone: None,
            show_received: false,
            now: Now::default(),
            out: VecDeque::new(),
        })
    }

    /// Whether each message of the server comes out as [`Output::Received`] as well.
    pub const fn show_received(&mut self, show: bool) {
        self.show_received = show;
    }

    /// The numbers as they stand.
    pub const fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Goes on with other numbers; between connections only, else it does nothing.
    pub fn set_numbers(&mut self, numbers: Numbers) {
        if matches!(self.state, State::Off) {
            self.numbers = numbers;
            self.sent = Sent::new(numbers.next_out);
            self.out.push_back(Output::Save(numbers));
        }
    }

    /// Changes what a later Logon is made of, such as a one-time password; between connections only.
    ///
    /// # Errors
    /// [`Misuse`] where a setting is out of range, or the session is not over.
    pub fn set_credentials(&mut self, credentials: Credentials) -> Result<(), Misuse> {
        if !matches!(self.state, State::Off) {
            return Err(Misuse::UnderWay("session"));
        }
        let settings = Settings { credentials, ..self.settings.clone() };
        settings.check()?;
        self.settings = settings;
        Ok(())
    }

    /// Sends a Logon over a new connection.
    pub fn log_on(&mut self, now: Now) {
        self.now = now;
        self.wire = Wire::new(&self.settings.credentials);
        self.cutter = Cutter::new(self.settings.message_bytes_max);
        (self.garbled, self.taken, self.gone) = (0, 0, None);
        self.input.clear();
        let reset = match &self.settings.credentials {
            Credentials::Secure(_) => false,
            Credentials::Trader(trader) => trader.reset,
        };
        let number = if reset { 1 } else { self.numbers.next_out };
        let processed = if reset { 0 } else { self.numbers.next_in.saturating_sub(1) };
        let stamp = Stamp { number, processed, at: now.wall, first_at: None };
        let logon = self.wire.logon(&self.settings, stamp, reset);
        // Not counted before it is answered: a refused Logon moves no number.
        self.out.push_back(Output::Send(logon));
        self.state = State::LoggingOn { since: now.mono };
    }

    /// Takes bytes from the server.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        self.now = now;
        self.input.drain(..self.taken);
        self.taken = 0;
        if !matches!(self.state, State::Off) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Takes notice that the connection is gone; empty where the server closed it.
    pub fn closed(&mut self, why: &str, now: Now) {
        self.now = now;
        self.gone.get_or_insert_with(|| why.to_owned());
    }

    /// Sends an application message and gives its MsgSeqNum (34).
    ///
    /// # Errors
    /// [`Misuse`] where it cannot be sent, or not now; nothing has changed then.
    pub fn send(&mut self, msg_type: &[u8], body: &Body, now: Now) -> Result<u64, Misuse> {
        let fits = (1..=8).contains(&msg_type.len()) && msg_type.iter().all(u8::is_ascii_alphanumeric);
        if !fits || matches!(msg_type, b"A" | b"0" | b"1" | b"2" | b"3" | b"4" | b"5") {
            return Err(Misuse::MsgType);
        }
        let bytes = body.checked()?;
        if bytes.len() > self.settings.message_bytes_max {
            return Err(Misuse::TooLong { bytes: bytes.len(), limit: self.settings.message_bytes_max });
        }
        self.open()?;
        self.now = now;
        let number = self.numbers.next_out;
        let kept = Kept { msg_type: msg_type.to_vec(), body: bytes.to_vec(), at: now.wall };
        self.sent.keep(number, kept);
        self.emit(msg_type, |builder| builder.raw(bytes));
        Ok(number)
    }

    /// Sends a Test Request; an answer is a sign of life and nothing else.
    ///
    /// # Errors
    /// [`Misuse`] where that is not possible now.
    pub fn test(&mut self, now: Now) -> Result<(), Misuse> {
        self.open()?;
        self.now = now;
        self.probe(now.mono);
        Ok(())
    }

    /// Begins both sequences anew (in-session Logon): a Test Request, then, with no gap open, a Logon with 141=Y.
    ///
    /// What was not received before cannot be had any more. [`Event::Reset`] follows.
    ///
    /// # Errors
    /// [`Misuse`] where that is not possible now.
    pub fn reset(&mut self, now: Now) -> Result<(), Misuse> {
        self.open()?;
        self.now = now;
        let id = format!("reset-{}", self.numbers.next_out);
        self.emit(b"1", |builder| builder.field(tag::TEST_REQ_ID, &id));
        if let State::On(on) = &mut self.state {
            on.phase = Phase::Probing { id, answered: false, since: now.mono };
        }
        Ok(())
    }

    /// Sends a Logout; events go on until [`Event::Ended`].
    pub fn log_out(&mut self, now: Now) {
        self.now = now;
        match &self.state {
            State::Off => {}
            State::LoggingOn { .. } => self.end(Ending::Unconfirmed),
            State::On(on) if matches!(on.phase, Phase::LoggingOut { .. }) => {}
            State::On(_) => {
                self.emit(b"5", |builder| builder);
                if let State::On(on) = &mut self.state {
                    on.phase = Phase::LoggingOut { since: now.mono };
                }
            }
        }
    }

    /// When [`Self::timeout`] is to be called.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Off => None,
            State::LoggingOn { since } => Some(*since + self.settings.answer_limit),
            State::On(on) => {
                let heartbeat = on.last_out + self.heartbeat();
                let silence = on.probed.unwrap_or(on.last_in) + self.patience();
                let gap = on.gap.map(|gap| gap.since + self.heartbeat());
                let answer = on.phase.since().map(|since| since + self.settings.answer_limit);
                [Some(heartbeat), Some(silence), gap, answer].into_iter().flatten().min()
            }
        }
    }

    /// Does what is due.
    pub fn timeout(&mut self, now: Now) {
        self.now = now;
        let (heartbeat, patience, limit) = (self.heartbeat(), self.patience(), self.settings.answer_limit);
        let due = |since: Mono, span: Duration| now.mono >= since + span;
        match &mut self.state {
            State::Off => {}
            State::LoggingOn { since } => {
                if due(*since, limit) {
                    self.end(Ending::NoAnswer);
                }
            }
            State::On(on) => {
                if let Some(since) = on.phase.since()
                    && due(since, limit)
                {
                    let unconfirmed = matches!(on.phase, Phase::LoggingOut { .. });
                    return self.end(if unconfirmed { Ending::Unconfirmed } else { Ending::NoAnswer });
                }
                match on.probed {
                    Some(probed) if due(probed, patience) => return self.end(Ending::Silent),
                    None if due(on.last_in, patience) => self.probe(now.mono),
                    Some(_) | None => {}
                }
                self.ask_again(now.mono);
                if let State::On(on) = &self.state
                    && due(on.last_out, heartbeat)
                {
                    self.emit(b"0", |builder| builder);
                }
            }
        }
    }

    /// The next thing to do; `None` when all is done.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.out.pop_front() {
                return Some(output);
            }
            if !self.step() {
                return None;
            }
        }
    }

    /// Takes one message out of the bytes in hand; false where there is none.
    fn step(&mut self) -> bool {
        if matches!(self.state, State::Off) {
            return false;
        }
        let rest = self.input.get(self.taken..).unwrap_or_default();
        match self.cutter.cut(rest) {
            Cut::Message { len } => {
                let read = self.fields.read(&rest[..len]).map(|message| Inbound::new(&message));
                self.taken += len;
                match read {
                    Ok(message) => {
                        self.garbled = 0;
                        if self.show_received {
                            self.out.push_back(Output::Received(message.bytes().to_vec()));
                        }
                        self.take_in(message);
                    }
                    Err(_) => self.count_garbled(),
                }
                true
            }
            Cut::Garbled { skip, .. } => {
                self.taken += skip;
                self.count_garbled();
                true
            }
            Cut::Skip { len } => {
                self.taken += len;
                true
            }
            Cut::TooLong => {
                self.fail(PeerFault::TooLong { limit: self.settings.message_bytes_max });
                true
            }
            Cut::Incomplete => match self.gone.take() {
                Some(why) => {
                    let logging_out =
                        matches!(&self.state, State::On(on) if matches!(on.phase, Phase::LoggingOut { .. }));
                    self.end(if logging_out { Ending::Unconfirmed } else { Ending::Closed(why) });
                    true
                }
                None => false,
            },
        }
    }

    fn count_garbled(&mut self) {
        self.garbled += 1;
        if self.garbled > GARBLED_MAX {
            self.fail(PeerFault::Garbled);
        }
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.settings.heartbeat_s.into())
    }

    /// How long the server may be silent: a fifth more than it promised.
    fn patience(&self) -> Duration {
        self.heartbeat() * 6 / 5
    }

    fn open(&self) -> Result<(), Misuse> {
        match &self.state {
            State::Off | State::LoggingOn { .. } => Err(Misuse::NotLoggedOn),
            State::On(on) => match on.phase {
                Phase::Open => Ok(()),
                Phase::Probing { .. } | Phase::Resetting { .. } => Err(Misuse::UnderWay("reset")),
                Phase::LoggingOut { .. } => Err(Misuse::UnderWay("logout")),
            },
        }
    }

    /// Sends one message with the next number.
    fn emit(&mut self, msg_type: &[u8], body: impl FnOnce(Builder<'_>) -> Builder<'_>) {
        let stamp = self.stamp(self.numbers.next_out, None);
        let message = self.wire.message(&self.settings, msg_type, stamp, body);
        self.numbers.next_out += 1;
        self.save();
        self.push(message);
    }

    fn push(&mut self, message: Vec<u8>) {
        if let State::On(on) = &mut self.state {
            on.last_out = self.now.mono;
        }
        self.out.push_back(Output::Send(message));
    }

    const fn stamp(&self, number: u64, first_at: Option<doorward_core::time::Wall>) -> Stamp {
        Stamp { number, processed: self.numbers.next_in.saturating_sub(1), at: self.now.wall, first_at }
    }

    fn save(&mut self) {
        let mut numbers = self.numbers;
        // Whether the server has begun anew is not known until it answers; 1 is good either way: what came already
        // would come again.
        if matches!(&self.state, State::On(on) if matches!(on.phase, Phase::Resetting { .. })) {
            numbers.next_in = 1;
        }
        self.out.push_back(Output::Save(numbers));
    }

    fn probe(&mut self, at: Mono) {
        let id = format!("test-{}", self.numbers.next_out);
        self.emit(b"1", |builder| builder.field(tag::TEST_REQ_ID, &id));
        if let State::On(on) = &mut self.state {
            on.probed = Some(at);
        }
    }

    /// Ends the session for something that the server did, with a Logout that says what.
    fn fail(&mut self, fault: PeerFault) {
        if matches!(self.state, State::On(_)) {
            let text = fault.to_string();
            self.emit(b"5", |builder| builder.field(tag::TEXT, &text));
        }
        self.end(Ending::Peer(fault));
    }

    fn end(&mut self, ending: Ending) {
        self.state = State::Off;
        self.input.clear();
        self.taken = 0;
        self.out.push_back(Output::Event(Event::Ended(ending)));
    }
}

impl Phase {
    /// Since when an answer is waited for.
    const fn since(&self) -> Option<Mono> {
        match self {
            Self::Open => None,
            Self::Probing { since, .. } | Self::Resetting { since } | Self::LoggingOut { since } => {
                Some(*since)
            }
        }
    }
}
