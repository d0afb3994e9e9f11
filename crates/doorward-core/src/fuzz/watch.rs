//! The login machine with a watcher beside it that knows the invariants and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::ask::{Ask, AskId, Challenge, Declined, Granted, KeyId, Padding, PersonShown, Verdict, Verified};
use crate::audit::{Deny, Event};
use crate::id::{PersonId, UserId};
use crate::limits::Limit;
use crate::machine::{Machine, Output};
use crate::time::{Mono, Now, Wall};
use crate::ws::login::{ASK_MAX, Settings, WsLogin};
use crate::ws::message;

/// Messages without their closing brace: the watcher adds an id of its own.
pub(crate) const MESSAGES: [&str; 17] = [
    r#"{"type":"challenge""#,
    r#"{"type":"login","userid":"julian","pass":"QUJD""#,
    r#"{"type":"login","userid":"julian","pass":"QUJD","2fatoken":"123456""#,
    r#"{"type":"send2fatoken","2fatoken":"123456""#,
    r#"{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG""#,
    r#"{"type":"logout""#,
    r#"{"type":"order""#,
    r#"{"type":"ping""#,
    r#"{"type":"login","userid":"julian","pass":"QUJD","keyid":"k1""#,
    r#"{"type":"adduser","updateprof":true,"pass":"QUJD""#,
    r#"{"type":"login","userid":5"#,
    r#"{"type":"login","userid":"julian","token":"dG9rZW4""#,
    r#"{"type":"verifylogin","userid":"andrea","pass":"QUJD","gentoken":true"#,
    r#"{"type":"checktoken","token":"dG9rZW4""#,
    r#"{"type":"getuser""#,
    r#"{"type":"adduser","userid":"andrea","newpass":"REVG","use2fa":"Y""#,
    r#"{"type":"adduser","userid":"andrea","updateprof":true,"resetpass":true,"newpass":"REVG""#,
];

/// Kinds of verdict; see [`verdict`].
pub(crate) const VERDICTS: u8 = 19;

/// Something that happens to a connection.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// One of [`MESSAGES`].
    Message(usize),
    /// Any bytes.
    Raw(Vec<u8>),
    /// The gate answers what was asked last, with a verdict of this kind.
    Verdict(u8),
    /// An answer to an ask before the last.
    Stale(u8),
    /// The machine's own deadline comes.
    Deadline,
    /// So many milliseconds pass.
    Wait(u64),
    /// The peer answers a ping.
    Pong,
    /// The node stops.
    Stop,
    /// The peer has gone.
    Lost,
    /// The shell ends the connection.
    Fail(Deny),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Challenge,
    Login,
    TokenLogin,
    Code,
    Change,
    Verify,
    Token,
    Person,
    Step,
}

/// A connection whose every output is checked as it comes.
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Watched {
    machine: WsLogin,
    now: Now,
    login_until: Mono,
    asked: Option<(AskId, Asked, Mono)>,
    asks: u64,
    requests: u64,
    unanswered: BTreeSet<u64>,
    malformed_unanswered: u64,
    tracked: bool,
    let_in: Option<PersonId>,
    code_awaited: bool,
    wrong_codes: u64,
    over: bool,
}

fn verdict(kind: u8) -> Verdict {
    let Ok(userid) = UserId::parse("julian") else { panic!("a user id") };
    let Some(key) = KeyId::parse("k1") else { panic!("a key id") };
    let person = PersonId::from_random(42);
    let granted = |must_change| {
        let userid = userid.clone();
        Granted { person, userid, must_change, serves: false, factor_at: None }
    };
    match kind {
        0 => Verdict::ChallengeKey(Challenge {
            key,
            spki_base64: "MIIB".to_owned(),
            paddings: Padding::ALL.to_vec(),
            expires: Wall::from_s(1_800_000_060),
        }),
        1 => Verdict::Granted(granted(false)),
        2 => Verdict::Granted(granted(true)),
        3 => Verdict::CodeNeeded(granted(false)),
        4 => Verdict::CodeRefused(granted(true)),
        5 => Verdict::RegistrationNeeded {
            who: granted(true),
            register_url: Some("https://portal.example/".to_owned()),
        },
        6 => Verdict::Refused,
        7 => Verdict::ChallengeNeeded,
        8 => Verdict::PasswordChanged { broker_comm_rate: None },
        9 => Verdict::PasswordIssue { reason: "too-short" },
        10 => Verdict::Busy { retry_ms: 250 },
        12 => Verdict::Declined(Declined::InvalidToken),
        13 => Verdict::Verified(Box::new(Verified {
            userid,
            active: true,
            level: 0,
            attr: None,
            token: None,
            must_register: false,
            must_change: false,
        })),
        14 => Verdict::TokenKnown { userid, expires: Wall::from_s(1_800_000_060) },
        15 => Verdict::Person(Box::new(PersonShown {
            userid,
            firm: None,
            roles: None,
            active: true,
            otp: false,
            registered: false,
            attr: None,
        })),
        16 => Verdict::StepDone(Box::default()),
        17 => Verdict::Declined(Declined::NotPermitted { field: None }),
        18 => Verdict::Granted(Granted { serves: true, ..granted(false) }),
        _ => Verdict::TryAgainLater { retry_ms: 5_000 },
    }
}

impl Watched {
    /// A connection that has just been opened.
    pub(crate) fn new() -> Self {
        let now = Now { wall: Wall::from_s(1_800_000_000), mono: Mono::from_ns(1_000_000_000) };
        let settings = Settings::default();
        Self {
            machine: WsLogin::new(settings, now.mono, now),
            now,
            login_until: now.mono + settings.login_max,
            asked: None,
            asks: 0,
            requests: 0,
            unanswered: BTreeSet::new(),
            malformed_unanswered: 0,
            tracked: true,
            let_in: None,
            code_awaited: false,
            wrong_codes: 0,
            over: false,
        }
    }

    /// Whether the connection is over.
    #[cfg(test)]
    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the gate is deciding.
    pub(crate) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a verdict of this kind can be the answer to what was asked.
    #[cfg(test)]
    pub(crate) fn fits(&self, kind: u8) -> bool {
        match self.asked {
            None => false,
            Some((_, Asked::Challenge, _)) => matches!(kind, 0 | 10 | 11),
            Some((_, Asked::Login, _)) => matches!(kind, 1..=7 | 10 | 11 | 18),
            Some((_, Asked::TokenLogin, _)) => matches!(kind, 1 | 2 | 10..=12 | 18),
            Some((_, Asked::Code, _)) => matches!(kind, 1 | 2 | 4 | 6 | 10 | 11 | 18),
            Some((_, Asked::Change, _)) => matches!(kind, 6..=11),
            Some((_, Asked::Verify, _)) => matches!(kind, 6 | 7 | 10..=13 | 17),
            Some((_, Asked::Token, _)) => matches!(kind, 10..=12 | 14 | 17),
            Some((_, Asked::Person, _)) => matches!(kind, 10 | 11 | 15 | 17),
            Some((_, Asked::Step, _)) => matches!(kind, 7 | 9..=11 | 16 | 17),
        }
    }

    /// Lets something happen, looks at all that comes of it, and at what holds afterwards.
    pub(crate) fn feed(&mut self, input: &Input) {
        match input {
            Input::Message(which) => self.message(*which),
            Input::Raw(bytes) => self.raw(bytes),
            Input::Verdict(kind) => self.verdict(*kind),
            Input::Stale(kind) => {
                if self.asks > 1 {
                    self.machine.verdict(AskId(self.asks - 1), verdict(kind % VERDICTS), self.now);
                    assert!(self.machine.poll().is_none(), "a late verdict did something");
                }
            }
            Input::Deadline => {
                if let Some(deadline) = self.machine.deadline() {
                    self.wake_at(deadline);
                }
            }
            Input::Wait(ms) => self.wait(Duration::from_millis(*ms)),
            Input::Pong => self.machine.pong(),
            Input::Stop => self.machine.stop(),
            Input::Lost => self.lost(),
            Input::Fail(reason) => {
                self.machine.fail(*reason);
                self.drain(None);
                assert!(self.over, "failed, and not closed");
            }
        }
        self.drain(None);
        self.holds();
    }

    fn message(&mut self, which: usize) {
        let text = MESSAGES.get(which % MESSAGES.len()).copied().unwrap_or_default();
        self.requests += 1;
        let whole = format!("{text},\"id\":{}}}", self.requests);
        if !self.over && !text.contains("logout") {
            self.unanswered.insert(self.requests);
        }
        self.machine.receive(whole.as_bytes(), self.now);
    }

    fn raw(&mut self, bytes: &[u8]) {
        let closes = bytes.len() as u64 > Limit::WsMessageBytes.max() || std::str::from_utf8(bytes).is_err();
        match message::parse(bytes) {
            Err(malformed) if malformed.id.is_none() && !closes && !self.over => {
                self.malformed_unanswered += 1;
            }
            Err(_) if closes || self.over => {}
            // It may carry an id that is one of the watcher's own.
            Err(_) | Ok(_) => self.tracked = false,
        }
        self.machine.receive(bytes, self.now);
        self.drain(None);
        assert!(!closes || self.over, "no text message, and not closed");
    }

    fn verdict(&mut self, kind: u8) {
        let kind = kind % VERDICTS;
        let verdict = verdict(kind);
        let Some((id, asked, _)) = self.asked.take() else {
            self.machine.verdict(AskId(self.asks + 1), verdict, self.now);
            assert!(self.machine.poll().is_none(), "an answer to nothing did something");
            return;
        };
        match (&verdict, asked) {
            (Verdict::Granted(granted), Asked::Login | Asked::TokenLogin | Asked::Code) => {
                (self.let_in, self.code_awaited) = (Some(granted.person), false);
            }
            (Verdict::CodeNeeded(_), Asked::Login) => self.code_awaited = true,
            (Verdict::CodeRefused(_), Asked::Login | Asked::Code) => {
                self.code_awaited = true;
                self.wrong_codes += 1;
            }
            (Verdict::Declined(Declined::InvalidToken), Asked::TokenLogin) => self.wrong_codes += 1,
            (_, _) => {} // nothing else changes who is let in
        }
        self.machine.verdict(id, verdict, self.now);
        self.drain(Some((kind, asked)));
        assert!(self.over || self.wrong_codes < Limit::WsWrongCodes.max(), "too many wrong codes");
    }

    fn wait(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..1_000 {
            match self.machine.deadline() {
                Some(deadline) if deadline <= until.mono => self.wake_at(deadline),
                Some(_) | None => break,
            }
        }
        if until.mono > self.now.mono {
            self.now = until;
        }
    }

    fn wake_at(&mut self, deadline: Mono) {
        self.now = self.now + deadline.since(self.now.mono);
        self.asked = self.asked.filter(|(_, _, until)| *until > self.now.mono);
        self.machine.timeout(self.now);
        self.drain(None);
        assert!(self.machine.deadline() != Some(deadline), "a deadline that does not pass");
        assert!(self.over || self.let_in.is_some() || self.now.mono < self.login_until, "too slow");
    }

    fn lost(&mut self) {
        self.machine.lost();
        self.drain(None);
        self.close();
    }

    fn close(&mut self) {
        self.over = true;
        self.asked = None;
        self.let_in = None;
        self.code_awaited = false;
        self.unanswered.clear();
        self.malformed_unanswered = 0;
    }

    fn drain(&mut self, because: Option<(u8, Asked)>) {
        while let Some(output) = self.machine.poll() {
            assert!(!self.over, "{output:?} after the end");
            match output {
                Output::Send(bytes) => self.sent(&bytes, because),
                Output::Ask(id, ask) => self.ask(id, &ask),
                Output::Note(note) => {
                    assert_eq!(note.event == Event::LoggedOut, self.let_in.is_some(), "{note:?}");
                    assert_eq!(note.who.map(|(person, _)| person), self.let_in);
                }
                Output::Close(_) => self.close(),
                Output::Ping => {}
            }
        }
    }

    fn sent(&mut self, bytes: &[u8], because: Option<(u8, Asked)>) {
        let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        match answer.get("id").and_then(Value::as_u64) {
            Some(id) if self.tracked => assert!(self.unanswered.remove(&id), "answered again: {answer}"),
            None if self.tracked => {
                assert!(self.malformed_unanswered > 0, "answered without a request: {answer}");
                self.malformed_unanswered -= 1;
            }
            Some(_) | None => {}
        }
        if text("result") == "OK" {
            match text("type") {
                "ping" => {}
                "challenge" => assert!(matches!(because, Some((0, Asked::Challenge))), "{answer}"),
                "login" => {
                    let let_in = matches!(because, Some((1..=3 | 18, Asked::Login)));
                    let by_token = matches!(because, Some((1 | 2 | 18, Asked::TokenLogin)));
                    assert!(let_in || by_token, "{answer}");
                }
                "send2fatoken" => assert!(matches!(because, Some((1 | 2 | 18, Asked::Code))), "{answer}"),
                "adduser" => {
                    let done = matches!(because, Some((8, Asked::Change) | (16, Asked::Step)));
                    assert!(done && self.let_in.is_some(), "{answer}");
                }
                "verifylogin" => assert!(matches!(because, Some((13, Asked::Verify))), "{answer}"),
                "checktoken" | "revoketoken" => {
                    assert!(matches!(because, Some((14, Asked::Token))), "{answer}");
                }
                "getuser" => assert!(matches!(because, Some((15, Asked::Person))), "{answer}"),
                _ => panic!("OK to what nobody serves: {answer}"),
            }
        }
    }

    fn ask(&mut self, id: AskId, ask: &Ask) {
        assert!(self.asked.is_none(), "asks twice");
        assert!(id.0 > self.asks, "an ask's id comes again");
        self.asks = id.0;
        let asked = match ask {
            Ask::ChallengeKey => Asked::Challenge,
            Ask::Login { .. } => Asked::Login,
            Ask::Code { .. } => Asked::Code,
            Ask::PasswordChange { .. } => Asked::Change,
            Ask::TokenLogin { .. } => Asked::TokenLogin,
            Ask::Verify(_) => Asked::Verify,
            Ask::Token { .. } => Asked::Token,
            Ask::Person { .. } => Asked::Person,
            Ask::AddTrader(_) | Ask::ChangeTrader(_) => Asked::Step,
        };
        match asked {
            Asked::Challenge => assert!(!self.code_awaited, "only a code is taken"),
            Asked::Login | Asked::TokenLogin => {
                assert!(!self.code_awaited && self.let_in.is_none(), "a login after a login");
            }
            Asked::Code => assert!(self.code_awaited && self.let_in.is_none(), "a code out of place"),
            Asked::Change | Asked::Verify | Asked::Token | Asked::Person | Asked::Step => {
                assert!(self.let_in.is_some(), "asked by nobody");
            }
        }
        self.asked = Some((id, asked, self.now.mono + ASK_MAX));
    }

    fn holds(&self) {
        assert_eq!(self.machine.is_closed(), self.over);
        assert_eq!(self.machine.who().map(|granted| granted.person), self.let_in);
        assert_eq!(self.machine.deadline().is_none(), self.over, "no deadline, or one after the end");
        if let Some(deadline) = self.machine.deadline() {
            assert!(self.let_in.is_some() || deadline <= self.login_until, "a deadline too late");
        }
        if self.tracked {
            assert_eq!(self.malformed_unanswered, 0, "a malformed message without an answer");
            let most = if self.is_asking() { 1 + Limit::WsHeld.max() } else { 0 };
            let unanswered = self.unanswered.len() as u64;
            assert!(unanswered <= most, "{unanswered} requests wait for an answer");
            assert!(!self.is_asking() || unanswered > 0, "an ask for nobody");
        }
    }
}
