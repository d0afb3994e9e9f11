//! Scripts of the session machine, read from top to bottom.
//!
//! A line that begins with `>` is what the machine does next, and nothing else may come in between; every other line is
//! an input. Fields are separated by `|`; the header fields that are always the same (8, 9, 10, 49, 50, 52, 56, 57, 142)
//! are put in, and checked and left out, by the script.
//!
//! | input | meaning |
//! |---|---|
//! | `35=…\|…` | the client sends this message |
//! | `logon …` | the client sends a signed Logon; fields given replace or add, `-50` takes one away |
//! | `raw …` | the client sends these bytes |
//! | `judged ok`, `refused`, `closed`, `later`; `strikes=4` | the gate answers the last Judge |
//! | `yours 5/7`, `unsent=3..7`, `last-week`, `distrusted`, `live`, `in-progress`, `unavailable` | the shell answers the last Claim |
//! | `saved`, `not-saved` | the record is durable, or could not be written |
//! | `stored` | the last Read is answered with what was stored, as far as it lies in the range |
//! | `app 8 37=1\|` | the back end sends an application message |
//! | `wait 30` | seconds pass; deadlines on the way are met |
//! | `probe`, `end stopping`, `gone` | the shell ends or probes |

mod bytes;
mod logon;
mod orders;
mod resends;
mod series;
mod texts;
mod trader;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Claimed, End, Output, ReadRange, Session, Settings, StreamState};
use crate::ask::{Ask, AskId, GivenPassword, Granted, Judged, LogonRefusal, SessionGrant, Verdict};
use crate::audit::{Actor, AttemptId, Context, Deny, Door, Entry, Event, Record};
use crate::calendar::{Calendar, Hours};
use crate::fix::frame::check_sum;
use crate::fix::profile::{CME_SECURE, Profile, TRADER_OTP};
use crate::id::{AccessKeyId, CompId, FirmCode, OperatorId, PersonId, UserId};
use crate::stream::{Epoch, Gateway, Numbers, StreamKey};
use crate::time::{Mono, Now, Wall};
use crate::trace::{Trace, Walk};

/// Tuesday, 2026-11-24T20:00:00Z: within the trading week.
pub(super) const START: Wall = Wall::from_s(1_795_550_400);

/// Text with `|` for SOH, framed: BodyLength and CheckSum are put in.
pub(super) fn frame(begin_string: &str, rest: &str) -> Vec<u8> {
    let rest = rest.replace('|', "\x01");
    let mut out = format!("8={begin_string}\x019={}\x01{rest}", rest.len()).into_bytes();
    let sum = check_sum(&out);
    out.extend_from_slice(format!("10={sum:03}\x01").as_bytes());
    out
}

/// One connection of a script.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) session: Session,
    pub(super) now: Now,
    settings: Arc<Settings>,
    comp: &'static str,
    ask: AskId,
    claim: AskId,
    numbers: Numbers,
    read: Option<ReadRange>,
    store: BTreeMap<(Epoch, u64), Vec<u8>>,
    /// Everything that was sent, without the standard header.
    pub(super) sent: Vec<String>,
    line: String,
}

pub(super) fn settings(profile: &'static Profile) -> Arc<Settings> {
    Arc::new(Settings {
        profile,
        gateway: Gateway::Cgw,
        venue: "CME".to_owned(),
        portal: Some("https://portal.example".to_owned()),
        calendar: Arc::new(Calendar::new(Hours::default()).unwrap()),
        code_tag: Settings::CODE_TAG,
    })
}

/// A new connection at a `cme-secure` listener.
pub(super) fn opened() -> Script {
    Script::new(&CME_SECURE)
}

/// A connection of a trader at a `trader-otp` listener.
pub(super) fn trader() -> Script {
    Script::new(&TRADER_OTP)
}

/// Plays a script on a new connection.
pub(super) fn play(lines: &str) -> Script {
    let mut script = opened();
    script.play(lines);
    script
}

/// Logged on at the beginning of the week: the client's next number is 2, ours is 3.
pub(super) const LOGGED_ON: &str = "
    logon 34=1
    > judge
    judged ok
    > claim cgw/ABC/001 34=1
    yours 1/1
    > save logon-granted 2/1
    saved
    > 35=A|34=1|369=1|108=30|1603=SYS|1604=1.0|1605=VEN|
    > 35=1|34=2|369=1|112=2|
";

/// Logged on.
pub(super) fn logged_on() -> Script {
    play(LOGGED_ON)
}

/// The fields of a good Logon, the three first ones apart.
pub(super) const LOGON: &[(&str, &str)] = &[
    ("34", "1"),
    ("49", "ABC001N"),
    ("50", "oper1"),
    ("52", "NOW"),
    ("56", "CME"),
    ("57", "G"),
    ("108", "30"),
    ("142", "US,IL"),
    ("354", "20"),
    ("355", "oNDxM33uE81ohWuVRtWT"),
    ("1400", "CME-1-SHA-256"),
    ("1401", "43"),
    ("1402", "oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s"),
    ("1603", "SYS"),
    ("1604", "1.0"),
    ("1605", "VEN"),
];

impl Script {
    fn new(profile: &'static Profile) -> Self {
        let now = Now { wall: START, mono: Mono::from_ns(7_000_000_000) };
        let settings = settings(profile);
        Self {
            session: Session::new(settings.clone(), now),
            now,
            settings,
            comp: if profile.indicator { "ABC001N" } else { "julian" },
            ask: AskId(0),
            claim: AskId(0),
            numbers: Numbers::new(Epoch::default()),
            read: None,
            store: BTreeMap::new(),
            sent: Vec::new(),
            line: String::new(),
        }
    }

    /// Plays lines; what the last one leads to must be in the script too.
    pub(super) fn play(&mut self, lines: &str) -> &mut Self {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            line.clone_into(&mut self.line);
            match line.strip_prefix('>') {
                Some(expected) => {
                    let seen = self.next();
                    assert_eq!(seen.as_deref(), Some(expected.trim()), "instead of {line}");
                }
                None => {
                    self.silent();
                    self.input(line);
                }
            }
        }
        self.silent();
        self
    }

    /// Plays inputs and does not look at what comes of them.
    pub(super) fn feed(&mut self, lines: &str) -> &mut Self {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('>')) {
            line.clone_into(&mut self.line);
            self.input(line);
            while self.next().is_some() {}
        }
        self
    }

    pub(super) fn silent(&mut self) {
        if let Some(output) = self.next() {
            panic!("{output:?} is not in the script, before {:?}", self.line);
        }
    }

    /// A message of the client with the standard header.
    pub(super) fn message(&self, text: &str) -> Vec<u8> {
        let (first, rest) = text.split_once('|').unwrap_or((text, ""));
        let given = |tag: &str| rest.split('|').any(|field| field.starts_with(&format!("{tag}=")));
        let mut header = format!("{first}|");
        let standard =
            [("49", self.comp), ("50", "oper1"), ("52", "NOW"), ("56", "CME"), ("57", "G"), ("142", "US,IL")];
        for (tag, value) in standard.iter().filter(|(tag, _)| !given(tag)) {
            header.push_str(&format!("{tag}={}|", value.replace("NOW", &self.time())));
        }
        // Fields that the script takes away.
        let rest: String = rest.split_inclusive('|').filter(|field| !field.starts_with('-')).collect();
        let mut whole = header + &rest;
        for gone in text.split('|').filter_map(|field| field.strip_prefix('-')) {
            whole = whole.split_inclusive('|').filter(|f| !f.starts_with(&format!("{gone}="))).collect();
        }
        if !whole.ends_with('|') {
            whole.push('|');
        }
        frame("FIX.4.2", &whole)
    }

    /// A Logon with some fields replaced, added (`34=7`) or taken away (`-34`).
    pub(super) fn logon(&self, changes: &str) -> Vec<u8> {
        let mut fields: Vec<(String, String)> = LOGON
            .iter()
            .map(|(tag, value)| ((*tag).to_owned(), value.replace("NOW", &self.time())))
            .collect();
        let mut begin_string = "FIX.4.2";
        for change in changes.split('|').filter(|change| !change.is_empty()) {
            if let Some(gone) = change.strip_prefix('-') {
                fields.retain(|(tag, _)| tag != gone);
                continue;
            }
            let (tag, value) = change.split_once('=').unwrap();
            if tag == "8" {
                begin_string = if value == "FIX.4.4" { "FIX.4.4" } else { "FIX.9.9" };
            } else if let Some(twice) = tag.strip_prefix('+') {
                fields.push((twice.to_owned(), value.to_owned()));
            } else if let Some(field) = fields.iter_mut().find(|(own, _)| own == tag) {
                value.clone_into(&mut field.1);
            } else {
                fields.push((tag.to_owned(), value.to_owned()));
            }
        }
        let body: String = fields.iter().map(|(tag, value)| format!("{tag}={value}|")).collect();
        frame(begin_string, &format!("35=A|{body}"))
    }

    /// Now, as SendingTime.
    pub(super) fn time(&self) -> String {
        let mut out = Vec::new();
        crate::fix::build::push_time(&mut out, self.now.wall);
        String::from_utf8(out).unwrap()
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes, self.now);
    }

    fn input(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (id, now) = (self.ask, self.now);
        match verb {
            "logon" => self.receive(&self.logon(rest)),
            "raw" => self.receive(rest.replace('|', "\x01").as_bytes()),
            "judged" => {
                let judged = self.judged(rest);
                self.session.judged(id, judged, now);
            }
            "yours" => {
                let mut state = self.state(rest);
                if !rest.contains("distrusted") {
                    state.roll(self.week());
                }
                self.session.claimed(self.claim, Claimed::Yours(state), now);
            }
            "live" => self.session.claimed(self.claim, Claimed::Live, now),
            "in-progress" => self.session.claimed(self.claim, Claimed::InProgress, now),
            "unavailable" => self.session.claimed(self.claim, Claimed::Unavailable, now),
            "saved" => self.session.saved(id, true, now),
            "not-saved" => self.session.saved(id, false, now),
            "stored" => self.stored(),
            "app" => {
                let (msg_type, body) = rest.split_once(' ').unwrap();
                let body = body.replace('|', "\x01");
                self.session.send_application(msg_type.as_bytes(), body.as_bytes(), now);
            }
            "wait" => self.wait(Duration::from_secs_f64(rest.parse().unwrap())),
            "probe" => self.session.probe(now),
            "end" => self.session.end(end_of(rest), now),
            "gone" => self.session.closed_by_peer(now),
            "verdict" => self.session.verdict(id, verdict_of(rest), now),
            "trader" => {
                let body = format!("35=A|{rest}").replace("NOW", &self.time());
                self.receive(&frame("FIX.4.4", &body));
            }
            _ if line.starts_with("35=") => self.receive(&self.message(line)),
            _ => panic!("no input: {line}"),
        }
    }

    fn judged(&self, words: &str) -> Judged {
        let context = Context { at: self.now.wall, door: Door::Fix, source: None, attempt: AttemptId(1) };
        let mut entry = Entry::new(&context, Event::LogonGranted, Actor::Nobody);
        entry.trace = Some(Trace::of(Walk::SignedLogon));
        let strikes = words.split_once("strikes=").map_or(0, |(_, strikes)| strikes.trim().parse().unwrap());
        let verdict = match words.split_whitespace().next().unwrap() {
            "ok" => Ok(SessionGrant {
                comp: CompId::parse(b"ABC001N").unwrap(),
                stream: stream(),
                firm_code: FirmCode::parse("NORTH").unwrap(),
                operator: OperatorId::parse(b"OPER1").unwrap(),
                access_key: AccessKeyId::parse(b"oNDxM33uE81ohWuVRtWT").unwrap(),
            }),
            "refused" => Err(LogonRefusal::Refused),
            "closed" => Err(LogonRefusal::PortClosed),
            "later" => Err(LogonRefusal::TryAgainLater),
            other => panic!("no judgement: {other}"),
        };
        if verdict.is_err() {
            entry.event = Event::LogonRefused;
            entry = entry.refused(Deny::SignatureDiffers);
        }
        Judged { verdict, strikes, record: Box::new(Record { entry, changes: Vec::new() }) }
    }

    /// `5/7 unsent=3..7`
    fn state(&self, words: &str) -> StreamState {
        let mut state = StreamState::new(self.week());
        for word in words.split_whitespace() {
            if let Some(range) = word.strip_prefix("unsent=") {
                let (from, to) = range.split_once("..").unwrap();
                state.numbers.unsent_from = from.parse().unwrap();
                state.numbers.unsent_to = to.parse().unwrap();
            } else if word == "last-week" || word == "distrusted" {
                state.numbers.epoch.week -= 1;
            } else {
                let (next_in, next_out) = word.split_once('/').unwrap();
                state.numbers.next_in = next_in.parse().unwrap();
                state.numbers.next_out = next_out.parse().unwrap();
                state.numbers.ceiling = state.numbers.next_out;
            }
        }
        state
    }

    /// The week that the shell is in.
    fn week(&self) -> u32 {
        self.settings.week(self.settings.calendar.week(self.now.wall))
    }

    fn stored(&mut self) {
        let read = self.read.take().expect("something is read");
        let range = (read.epoch, read.from)..=(read.epoch, read.to);
        let messages: Vec<Vec<u8>> =
            self.store.range(range).take(read.count_max as usize).map(|(_, bytes)| bytes.clone()).collect();
        self.session.stored(self.ask, &mut messages.iter().map(Vec::as_slice), self.now);
    }

    /// Puts a message into the store that was sent to the client in an earlier connection.
    pub(super) fn put(&mut self, number: u64, msg_type: &str, body: &str) -> &mut Self {
        let text = format!(
            "35={msg_type}|34={number}|49=CME|50=G|52=20261124-19:00:00.000|56=ABC001N|57=OPER1|369=1|{body}"
        );
        let epoch = Epoch { week: self.settings.calendar.week(self.now.wall), reset: 0 };
        self.store.insert((epoch, number), frame("FIX.4.2", &text));
        self
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= until.mono) {
            self.now = self.now + deadline.since(self.now.mono);
            self.session.timeout(self.now);
            assert_ne!(self.session.deadline(), Some(deadline), "the deadline stays where it was");
        }
        self.now = until;
    }

    /// What the machine does next, as a line.
    pub(super) fn next(&mut self) -> Option<String> {
        let output = self.session.poll()?;
        let told = |event: Event, reason: Option<Deny>| match reason {
            Some(reason) => format!("{event} {reason}"),
            None => event.to_string(),
        };
        Some(match output {
            Output::Judge(id, logon) => {
                self.ask = id;
                assert!(!logon.canonical.is_empty());
                match logon.flaw {
                    Some((check, deny)) => format!("judge {check} {deny}"),
                    None => match logon.in_session {
                        Some(comp) => format!("judge in-session {comp}"),
                        None => "judge".to_owned(),
                    },
                }
            }
            Output::Ask(id, ask) => {
                self.ask = id;
                ask_line(&ask)
            }
            Output::Claim(id, claim) => {
                (self.ask, self.claim) = (id, id);
                format!("claim {} 34={}", claim.stream, claim.seq_num)
            }
            Output::SaveLogon(id, record, numbers) => {
                self.ask = id;
                if let Some(numbers) = numbers {
                    assert!(numbers.supersedes(&self.numbers), "{numbers:?} after {:?}", self.numbers);
                    self.numbers = numbers;
                }
                let numbers = numbers.map(|at| format!(" {}/{}", at.next_in, at.next_out));
                told(record.entry.event, record.entry.reason).replacen("logon", "save logon", 1)
                    + &numbers.unwrap_or_default()
            }
            Output::SaveInbound { number, message, .. } => format!("save-in {number} {}", msg_type(message)),
            Output::Deliver { number, message, .. } => {
                format!("deliver {number} {}", msg_type(message.bytes()))
            }
            Output::SaveOutbound { epoch, number, message } => {
                let line = format!("save-out {number} {}", msg_type(message));
                self.store.insert((epoch, number), message.to_vec());
                line
            }
            Output::SaveNumbers { numbers, durable } => {
                assert!(numbers.supersedes(&self.numbers), "{numbers:?} after {:?}", self.numbers);
                self.numbers = numbers;
                let exact = if numbers.ceiling == numbers.next_out { " exact" } else { "" };
                let durable = if durable { " durable" } else { "" };
                format!("numbers {}/{}{exact}{durable}", numbers.next_in, numbers.next_out)
            }
            Output::Read(id, range) => {
                self.ask = id;
                self.read = Some(range);
                format!("read {}-{}", range.from, range.to)
            }
            Output::Note(note) => {
                let left = note.left.map(|left| format!(" {}-{}", left.first, left.last)).unwrap_or_default();
                format!("note {}{left}", told(note.event, note.reason))
            }
            Output::Close(close) => {
                close.reason.map_or_else(|| "close".to_owned(), |reason| format!("close {reason}"))
            }
            Output::Send(bytes) => {
                let line = sent_line(bytes, &self.settings, self.comp, self.now.wall);
                self.sent.push(line.clone());
                line
            }
        })
    }
}

pub(super) fn stream() -> StreamKey {
    StreamKey::parse("cgw/ABC/001").unwrap()
}

fn msg_type(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).into_owned();
    text.split('\x01').nth(2).unwrap().trim_start_matches("35=").to_owned()
}

/// A message of ours without what is always there; that is checked here.
fn sent_line(bytes: &[u8], settings: &Settings, comp: &str, now: Wall) -> String {
    let (front, trailer) = bytes.split_at(bytes.len() - 7);
    assert_eq!(trailer, format!("10={:03}\x01", check_sum(front)).as_bytes());
    let text = String::from_utf8_lossy(front).replace('\x01', "|");
    let mut fields = text.split_inclusive('|');
    assert!(matches!(fields.next(), Some("8=FIX.4.2|" | "8=FIX.4.4|")), "{text}");
    let length: usize =
        fields.next().unwrap().trim_start_matches("9=").trim_end_matches('|').parse().unwrap();
    let body: String = fields.clone().collect();
    assert_eq!(length, body.len());
    let mut at = Vec::new();
    crate::fix::build::push_time(&mut at, now);
    let at = format!("52={}|", String::from_utf8(at).unwrap());
    let venue = format!("49={}|", settings.venue);
    let to = format!("56={comp}|");
    let mut standard = vec![venue, at.clone(), to];
    if settings.profile.sub_ids {
        standard.extend(["50=G|".to_owned(), "57=OPER1|".to_owned()]);
    }
    fields
        .filter(|field| !standard.iter().any(|own| own == field))
        .map(|field| field.replace(&at.replace("52=", "122="), "122=NOW|"))
        .collect()
}

fn ask_line(ask: &Ask) -> String {
    let clear = |password: &GivenPassword| match password {
        GivenPassword::Clear(text) => text.expose().clone(),
        GivenPassword::Encrypted(_) | GivenPassword::Enveloped(_) => panic!("FIX has no encrypted passwords"),
    };
    match ask {
        Ask::Login { userid, password, code } => {
            let code = code.as_ref().map_or("-", |code| code.expose());
            format!("login {userid} {} {code}", clear(password))
        }
        Ask::PasswordChange { present, new, .. } => format!("change {} {}", clear(present), clear(new)),
        Ask::ChallengeKey
        | Ask::Code { .. }
        | Ask::TokenLogin { .. }
        | Ask::Verify(_)
        | Ask::Token { .. }
        | Ask::Person { .. }
        | Ask::AddTrader(_)
        | Ask::ChangeTrader(_) => panic!("{ask:?}"),
    }
}

fn julian(must_change: bool) -> Granted {
    let userid = UserId::parse("julian").unwrap();
    Granted { person: PersonId::from_random(42), userid, must_change, serves: false, factor_at: None }
}

fn verdict_of(words: &str) -> Verdict {
    match words {
        "granted" => Verdict::Granted(julian(false)),
        "must-change" => Verdict::Granted(julian(true)),
        "code-needed" => Verdict::CodeNeeded(julian(false)),
        "code-refused" => Verdict::CodeRefused(julian(false)),
        "register" => Verdict::RegistrationNeeded { who: julian(false), register_url: None },
        "refused" => Verdict::Refused,
        "changed" => Verdict::PasswordChanged { broker_comm_rate: None },
        "issue" => Verdict::PasswordIssue { reason: "too-short" },
        "busy" => Verdict::Busy { retry_ms: 500 },
        "later" => Verdict::TryAgainLater { retry_ms: 500 },
        "challenge" => Verdict::ChallengeNeeded,
        other => panic!("no verdict: {other}"),
    }
}

fn end_of(words: &str) -> End {
    match words {
        "week-closed" => End::WeekClosed,
        "stopping" => End::Stopping,
        "key" => End::KeyEnded,
        "session" => End::SessionEnded,
        "person" => End::PersonEnded,
        "operator" => End::ByOperator,
        "not-saved" => End::NotSaved,
        other => panic!("no end: {other}"),
    }
}
