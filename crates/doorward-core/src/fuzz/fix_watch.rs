//! The FIX session machine with a watcher beside it that knows the invariants and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ask::{AskId, Granted, Judged, LogonRefusal, SessionGrant, Verdict};
use crate::audit::{Actor, AttemptId, Context, Deny, Door, Entry, Event, Record};
use crate::calendar::{Calendar, Hours};
use crate::fix::build::push_time;
use crate::fix::frame::check_sum;
use crate::fix::profile::{CME_SECURE, TRADER_OTP};
use crate::fix::session::{Claimed, End, Output, ReadRange, Session, Settings, StreamState};
use crate::id::{AccessKeyId, CompId, FirmCode, OperatorId, PersonId, UserId};
use crate::stream::{Epoch, Gateway, Numbers, StreamKey};
use crate::time::{Mono, Now, Wall};
use crate::trace::{Trace, Walk};

/// Something that happens to a connection.
#[derive(Clone, Debug)]
pub(crate) enum FixInput {
    /// A Logon: of a kind.
    Logon(u8),
    /// A message of a kind, whose number is so far from the next one.
    Message(u8, i8),
    /// Any bytes.
    Raw(Vec<u8>),
    /// What was asked last is answered in this way.
    Answer(u8),
    /// An answer comes to an ask before the last.
    Stale(u8),
    /// The machine's own deadline comes.
    Deadline,
    /// So many milliseconds pass.
    Wait(u64),
    /// The back end sends a message.
    Application,
    /// Another connection wants the stream.
    Probe,
    /// The shell ends the session.
    End(u8),
    /// The peer has gone.
    Gone,
}

/// What the machine waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Nothing,
    Judge,
    Verdict,
    Claim,
    Save,
    Read(ReadRange),
}

/// What was seen of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    /// The statement that came last.
    numbers: Option<Numbers>,
    /// The one before a Logon that is being written down.
    before_save: Option<Numbers>,
    /// Numbers below this one may be sent.
    durable: u64,
    /// The highest number that was used.
    used: u64,
    /// The highest number that was delivered.
    delivered: u64,
}

/// A connection that is watched.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct FixWatched {
    session: Session,
    settings: Arc<Settings>,
    now: Now,
    signed: bool,
    ask: AskId,
    waits: Waits,
    /// Whether our Logon was sent.
    entered: bool,
    /// Whether the next Logon of ours may be sent: its record, or its numbers, are written.
    may_enter: bool,
    /// Whether the connection was closed.
    over: bool,
    released: bool,
    epoch: Epoch,
    seen: Seen,
    stored: BTreeMap<(Epoch, u64), Vec<u8>>,
    saved_in: Option<(Epoch, u64)>,
}

/// Memory that a connection may take at most, in bytes: what is held, what is queued, and their copies on the way out.
const MEMORY_MAX: usize = 512 * 1024;

const TUESDAY: Wall = Wall::from_s(1_795_550_400);

impl FixWatched {
    /// A new connection, of trading systems (`signed`) or of traders.
    pub(crate) fn new(signed: bool) -> Self {
        let now = Now { wall: TUESDAY, mono: Mono::from_ns(1) };
        let settings = Arc::new(Settings {
            profile: if signed { &CME_SECURE } else { &TRADER_OTP },
            gateway: Gateway::Cgw,
            venue: "CME".to_owned(),
            portal: None,
            // holds: the default hours are good.
            calendar: Arc::new(Calendar::new(Hours::default()).unwrap_or_else(|why| panic!("{why}"))),
            code_tag: Settings::CODE_TAG,
        });
        Self {
            session: Session::new(settings.clone(), now),
            settings,
            now,
            signed,
            ask: AskId(0),
            waits: Waits::Nothing,
            entered: false,
            may_enter: false,
            over: false,
            released: false,
            epoch: Epoch::default(),
            seen: Seen { numbers: None, before_save: None, durable: 0, used: 0, delivered: 0 },
            stored: BTreeMap::new(),
            saved_in: None,
        }
    }

    #[cfg(test)]
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// From a new connection to a live session.
    pub(crate) fn log_on(&mut self) {
        for input in [FixInput::Logon(0), FixInput::Answer(0), FixInput::Answer(0), FixInput::Answer(0)] {
            self.feed(&input);
        }
    }

    /// The inputs that are tried next in all orders.
    #[cfg(test)]
    pub(crate) fn inputs(&self) -> Vec<FixInput> {
        let mut inputs = vec![
            FixInput::Logon(0),
            FixInput::Message(0, 0),
            FixInput::Message(3, 1),
            FixInput::Message(5, 0),
            FixInput::Deadline,
            FixInput::End(0),
            FixInput::Gone,
        ];
        if self.session.numbers().is_some() {
            let live = [(1, 0), (2, 0), (4, 0), (3, -1)].map(|(kind, off)| FixInput::Message(kind, off));
            inputs.extend(live);
            // The last one without a sender.
            inputs.extend([FixInput::Application, FixInput::Logon(1), FixInput::Probe, FixInput::Logon(128)]);
        }
        match self.waits {
            Waits::Nothing => inputs.push(FixInput::Stale(0)),
            Waits::Judge | Waits::Claim => inputs.extend((0..3).map(FixInput::Answer)),
            Waits::Verdict => inputs.extend((0..6).map(FixInput::Answer)),
            Waits::Save => inputs.extend((0..2).map(FixInput::Answer)),
            Waits::Read(_) => inputs.push(FixInput::Answer(0)),
        }
        inputs
    }

    /// Plays one input and looks at all that comes of it.
    pub(crate) fn feed(&mut self, input: &FixInput) {
        // What was stated in an earlier turn is durable.
        if let Some(numbers) = self.seen.numbers {
            self.seen.durable = self.seen.durable.max(numbers.ceiling);
        }
        let was_over = self.over;
        let held = self.session.stream();
        match input {
            FixInput::Logon(kind) => {
                let bytes = self.logon(*kind);
                self.session.receive(&bytes, self.now);
            }
            FixInput::Message(kind, off) => {
                let bytes = self.message(*kind, *off);
                self.session.receive(&bytes, self.now);
            }
            FixInput::Raw(bytes) => self.session.receive(bytes, self.now),
            FixInput::Answer(kind) => self.answer(self.ask, *kind),
            FixInput::Stale(kind) => {
                let stale = AskId(self.ask.0.wrapping_sub(1));
                self.session.saved(stale, kind.is_multiple_of(2), self.now);
                self.session.judged(stale, self.judged(*kind), self.now);
            }
            FixInput::Deadline => {
                if let Some(deadline) = self.session.deadline() {
                    self.now = self.now + deadline.since(self.now.mono);
                    self.session.timeout(self.now);
                    assert_ne!(self.session.deadline(), Some(deadline), "a deadline stays");
                }
            }
            FixInput::Wait(ms) => {
                self.now = self.now + Duration::from_millis(*ms);
                self.session.timeout(self.now);
            }
            FixInput::Application => {
                let number = self.session.send_application(b"8", b"37=x\x01", self.now);
                assert!(number.is_none() || self.session.numbers().is_some());
            }
            FixInput::Probe => self.session.probe(self.now),
            FixInput::End(kind) => self.session.end(end(*kind), self.now),
            FixInput::Gone => self.session.closed_by_peer(self.now),
        }
        self.drain();
        assert!(!was_over || self.over);
        assert_eq!(self.over, self.session.is_closed());
        assert!(self.session.memory() <= MEMORY_MAX, "{} bytes", self.session.memory());
        if self.over {
            assert_eq!(self.session.deadline(), None);
            let left = self.session.release();
            assert!(left.is_none() || !self.released, "a stream goes back twice");
            assert!(held.is_none() || left.is_some(), "a stream that was held does not go back");
            self.released |= left.is_some();
        }
    }

    fn answer(&mut self, id: AskId, kind: u8) {
        let now = self.now;
        match std::mem::replace(&mut self.waits, Waits::Nothing) {
            Waits::Nothing => {}
            Waits::Judge => self.session.judged(id, self.judged(kind), now),
            Waits::Verdict => self.session.verdict(id, verdict(kind), now),
            Waits::Claim => {
                let claimed = match kind % 5 {
                    0 | 3 => {
                        let week = self.settings.week(self.settings.calendar.week(now.wall));
                        let mut state = StreamState::new(week);
                        if kind % 5 == 3 {
                            state.numbers.next_in = 3;
                            state.numbers.next_out = 9;
                            state.numbers.ceiling = 9;
                        }
                        // The stream is this connection's: what is said of it from now on is watched.
                        self.epoch = state.numbers.epoch;
                        self.seen.used = state.numbers.next_out - 1;
                        self.seen.delivered = state.numbers.next_in - 1;
                        Claimed::Yours(state)
                    }
                    1 => Claimed::Live,
                    2 => Claimed::InProgress,
                    _ => Claimed::Unavailable,
                };
                self.session.claimed(id, claimed, now);
            }
            Waits::Save => {
                self.may_enter = kind.is_multiple_of(2);
                if self.may_enter
                    && let Some(numbers) = self.seen.numbers
                {
                    self.seen.durable = self.seen.durable.max(numbers.ceiling);
                }
                if !self.may_enter {
                    // Nobody will ever read what could not be written.
                    self.seen.numbers = self.seen.before_save;
                }
                self.session.saved(id, self.may_enter, now);
            }
            Waits::Read(range) => {
                let from_to = (range.epoch, range.from)..=(range.epoch, range.to);
                let messages: Vec<Vec<u8>> = self
                    .stored
                    .range(from_to)
                    .take(range.count_max as usize)
                    .map(|(_, message)| message.clone())
                    .collect();
                self.session.stored(id, &mut messages.iter().map(Vec::as_slice), now);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            assert!(!self.over, "{output:?} after the close");
            match output {
                Output::Judge(id, _) => (self.ask, self.waits) = (id, Waits::Judge),
                Output::Ask(id, _) => (self.ask, self.waits) = (id, Waits::Verdict),
                Output::Claim(id, _) => (self.ask, self.waits) = (id, Waits::Claim),
                Output::Read(id, range) => (self.ask, self.waits) = (id, Waits::Read(range)),
                Output::SaveLogon(id, record, numbers) => {
                    (self.ask, self.waits) = (id, Waits::Save);
                    let granted = record.entry.event == Event::LogonGranted;
                    // In session they are stated with the answer.
                    assert_eq!(granted && !self.entered, numbers.is_some(), "a refused Logon moves numbers");
                    self.may_enter = false;
                    self.seen.before_save = self.seen.numbers;
                    if let Some(numbers) = numbers {
                        self.seen = state_numbers(self.seen, numbers);
                    }
                }
                Output::SaveNumbers { numbers, durable } => {
                    self.seen = state_numbers(self.seen, numbers);
                    if durable {
                        self.seen.durable = numbers.ceiling;
                        self.may_enter |= !self.signed;
                    }
                }
                Output::SaveInbound { epoch, number, .. } => {
                    assert!(self.entered, "an application message before the Logon");
                    assert!(number > self.seen.delivered, "{number} is delivered twice");
                    self.saved_in = Some((epoch, number));
                }
                Output::Deliver { epoch, number, .. } => {
                    assert_eq!(self.saved_in.take(), Some((epoch, number)), "delivered and not saved");
                    self.seen.delivered = number;
                }
                Output::SaveOutbound { epoch, number, message } => {
                    assert_eq!(epoch, self.epoch);
                    assert!(number > self.seen.used, "{number} is used twice");
                    self.seen.used = number;
                    self.seen.durable = self.seen.durable.max(number + 1);
                    self.stored.insert((epoch, number), message.to_vec());
                }
                Output::Send(bytes) => {
                    let bytes = bytes.to_vec();
                    self.on_send(&bytes);
                }
                Output::Note(_) => {}
                Output::Close(_) => self.over = true,
            }
        }
        // Nothing of the stream is forgotten between two turns.
        if let (Some(numbers), true) = (self.session.numbers(), self.entered) {
            assert!(numbers.next_out > self.seen.used);
            assert!(numbers.unsent_from <= numbers.unsent_to && numbers.unsent_to <= numbers.next_out);
        }
    }

    fn on_send(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let field = |tag: &str| {
            let from = text.find(&format!("\x01{tag}="))? + tag.len() + 2;
            text[from..].split('\x01').next()
        };
        let (Some(kind), Some(number)) =
            (field("35"), field("34").and_then(|number| number.parse::<u64>().ok()))
        else {
            panic!("{text} has no type or number");
        };
        let is_again = field("43").is_some();
        if kind == "A" {
            assert!(self.may_enter, "our Logon before it is written down (F2)");
            if self.entered {
                // In session: both series began again.
                assert_eq!((number, field("141")), (1, Some("Y")));
            }
            if field("141") == Some("Y") {
                self.epoch.reset += 1;
                (self.seen.used, self.seen.delivered) = (0, 1);
                if let Some(numbers) = self.seen.numbers {
                    self.seen.durable = numbers.ceiling;
                }
            }
            (self.entered, self.may_enter) = (true, false);
        } else if !self.entered {
            assert_eq!(kind, "5", "{text} before the Logon (F2)");
            return;
        }
        if is_again {
            assert!(number <= self.seen.used, "{number} goes out again, {} is the last", self.seen.used);
            return;
        }
        if kind == "8" {
            assert!(self.stored.contains_key(&(self.epoch, number)), "{number} is sent and not saved");
        } else {
            assert!(number > self.seen.used, "{number} is used twice");
            self.seen.used = number;
        }
        assert!(number < self.seen.durable, "{number} is sent, only {} are durable", self.seen.durable);
    }

    fn frame(&self, fields: &str) -> Vec<u8> {
        let mut time = Vec::new();
        push_time(&mut time, self.now.wall);
        let fields = fields.replace("NOW", &String::from_utf8_lossy(&time)).replace('|', "\x01");
        let mut out = format!("8=FIX.4.2\x019={}\x01{fields}", fields.len()).into_bytes();
        let sum = check_sum(&out);
        out.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
        out
    }

    fn logon(&self, kind: u8) -> Vec<u8> {
        let (number, more) = match kind % 6 {
            0 | 2 => (1, ""),
            1 => (1, "141=Y|"),
            3 => (3, ""),
            4 => (7, ""),
            _ => (1, "43=Y|"),
        };
        let sender = match (kind < 128, self.signed) {
            (true, true) => "49=ABC001N|",
            (true, false) => "49=julian|",
            (false, _) => "",
        };
        let password = if kind % 12 < 6 { "" } else { "925=new|" };
        self.frame(&if self.signed {
            format!(
                "35=A|34={number}|{sender}50=OPER|52=NOW|56=CME|57=G|108=30|142=US|354=20|355=oNDxM33uE81ohWuVRtWT|\
                 1400=CME-1-SHA-256|1401=43|1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s|1603=a|1604=b|1605=c|{more}"
            )
        } else {
            format!("35=A|34={number}|{sender}52=NOW|56=CME|98=0|108=30|554=secret|20030=123456|{password}{more}")
        })
    }

    fn message(&self, kind: u8, off: i8) -> Vec<u8> {
        let next = self.session.numbers().map_or(2, |numbers| numbers.next_in);
        let number = next.saturating_add_signed(off.into());
        let (msg_type, more) = match kind % 16 {
            0 => ("1", "112=x|".to_owned()),
            1 => ("2", "7=1|16=0|".to_owned()),
            2 => ("4", format!("123=Y|36={}|", number + 2)),
            3 => ("D", "11=a|".to_owned()),
            4 => ("4", format!("36={}|", next + 3)),
            5 => ("5", String::new()),
            6 => ("0", String::new()),
            7 => ("3", "45=1|".to_owned()),
            8 => ("D", "43=Y|11=a|".to_owned()),
            9 => ("2", "43=Y|7=1|16=0|".to_owned()),
            10 => ("4", "36=1|".to_owned()),
            11 => ("2", "7=3|16=900|".to_owned()),
            12 => ("1", String::new()),
            13 => ("D", format!("11={}|", "x".repeat(2_000))),
            14 => ("4", format!("43=Y|123=Y|36={}|", number + 1)),
            _ => ("D", "57=92|".to_owned()),
        };
        let own = if self.signed { "49=ABC001N|50=OPER|142=US|" } else { "49=julian|" };
        let to = if self.signed && !more.contains("57=") { "57=G|" } else { "" };
        self.frame(&format!("35={msg_type}|34={number}|{own}52=NOW|56=CME|{to}{more}"))
    }

    fn judged(&self, kind: u8) -> Judged {
        let context = Context { at: self.now.wall, door: Door::Fix, source: None, attempt: AttemptId(1) };
        let mut entry = Entry::new(&context, Event::LogonGranted, Actor::Nobody);
        entry.trace = Some(Trace::of(Walk::SignedLogon));
        let grant = || {
            Some(SessionGrant {
                comp: CompId::parse(b"ABC001N")?,
                stream: StreamKey::parse("cgw/ABC/001")?,
                firm_code: FirmCode::parse("NORTH").ok()?,
                operator: OperatorId::parse(b"OPER")?,
                access_key: AccessKeyId::parse(b"oNDxM33uE81ohWuVRtWT")?,
            })
        };
        let verdict = match kind % 4 {
            0 => grant().ok_or(LogonRefusal::Refused),
            1 => Err(LogonRefusal::Refused),
            2 => Err(LogonRefusal::PortClosed),
            _ => Err(LogonRefusal::TryAgainLater),
        };
        if verdict.is_err() {
            entry.event = Event::LogonRefused;
            entry = entry.refused(Deny::SignatureDiffers);
        }
        Judged { verdict, strikes: kind / 4, record: Box::new(Record { entry, changes: Vec::new() }) }
    }
}

/// A statement of numbers must be later than the one before.
fn state_numbers(seen: Seen, numbers: Numbers) -> Seen {
    if let Some(before) = seen.numbers {
        assert!(numbers.supersedes(&before), "{numbers:?} after {before:?}");
    }
    assert!(numbers.next_out <= numbers.ceiling);
    Seen { numbers: Some(numbers), ..seen }
}

fn verdict(kind: u8) -> Verdict {
    let granted = |must_change| {
        UserId::parse("julian").map(|userid| Granted {
            person: PersonId::from_random(42),
            userid,
            must_change,
            serves: false,
            factor_at: None,
        })
    };
    match (kind % 8, granted(kind % 8 == 2)) {
        (0 | 2, Ok(granted)) => Verdict::Granted(granted),
        (1, _) => Verdict::Refused,
        (3, Ok(granted)) => Verdict::CodeNeeded(granted),
        (4, _) => Verdict::PasswordChanged { broker_comm_rate: None },
        (5, _) => Verdict::PasswordIssue { reason: "too-short" },
        (6, Ok(who)) => Verdict::RegistrationNeeded { who, register_url: None },
        _ => Verdict::TryAgainLater { retry_ms: 1_000 },
    }
}

fn end(kind: u8) -> End {
    match kind % 7 {
        0 => End::Stopping,
        1 => End::WeekClosed,
        2 => End::KeyEnded,
        3 => End::SessionEnded,
        4 => End::PersonEnded,
        5 => End::ByOperator,
        _ => End::NotSaved,
    }
}
