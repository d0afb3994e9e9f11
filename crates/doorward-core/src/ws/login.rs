//! The machine of one WebSocket connection, from the first byte to the close.
//!
//! Open → (challenge, login) → code awaited → password to be changed → in. While the gate decides, the machine is in
//! [`State::Asking`] and remembers where it came from; the first answer counts, a late one is dropped.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::message::{self, Ciphered, Malformed, Message, OwnPassword, Request};
use crate::ask::{Ask, AskId, Encrypted, Granted, KeyId, Verdict};
use crate::audit::{Deny, Event};
use crate::id::{PersonId, UserId};
use crate::limits::Limit;
use crate::machine::{Close, Machine, Note, Output};
use crate::time::{Mono, Now};

/// How long an answer of the gate is waited for.
pub const ASK_MAX: Duration = Duration::from_secs(15);
/// When to try again where the gate did not answer in time, in milliseconds.
const RETRY_MS: u32 = 1_000;
/// Pings in a row that may stay unanswered.
const PONGS_MISSED_MAX: u8 = 2;

/// What differs between sites.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time to finish logging in, both steps, from the connection's first byte.
    pub login_max: Duration,
    /// Time between pings.
    pub ping_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { login_max: Duration::from_secs(30), ping_every: Duration::from_secs(20) }
    }
}

/// Where a connection stands. Each state owns what belongs to it.
#[derive(Debug)]
enum State {
    /// Nobody has proved anything.
    Open,
    /// The password was right; a one-time password is awaited.
    CodeAwaited(Granted),
    /// Logged in, but the password must be changed first.
    MustChange(Granted),
    /// Logged in.
    In(Granted),
    /// The gate is deciding.
    Asking(Box<Asking>),
    /// Nothing is taken or sent any more.
    Closed,
}

/// A decision that is waited for.
#[derive(Debug)]
struct Asking {
    ask: AskId,
    until: Mono,
    request_id: Option<Value>,
    purpose: Purpose,
    from: State,
}

#[derive(Debug)]
enum Purpose {
    Challenge,
    Login,
    Code,
    PasswordChange { userid: Option<String> },
}

impl Purpose {
    const fn message_type(&self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Login => "login",
            Self::Code => "send2fatoken",
            Self::PasswordChange { .. } => "adduser",
        }
    }
}

/// One connection of the WebSocket door.
#[derive(Debug)]
pub struct WsLogin {
    settings: Settings,
    state: State,
    outputs: VecDeque<Output>,
    login_until: Mono,
    next_ping: Mono,
    pongs_missed: u8,
    key: Option<KeyId>,
    asks: u64,
    malformed: u64,
    wrong_codes: u64,
    held: VecDeque<Message>,
    stopping: bool,
}

impl WsLogin {
    /// A connection whose first byte came at `opened`.
    pub fn new(settings: Settings, opened: Mono, now: Now) -> Self {
        Self {
            settings,
            state: State::Open,
            outputs: VecDeque::new(),
            login_until: opened + settings.login_max,
            next_ping: now.mono + settings.ping_every,
            pongs_missed: 0,
            key: None,
            asks: 0,
            malformed: 0,
            wrong_codes: 0,
            held: VecDeque::new(),
            stopping: false,
        }
    }

    /// Who is logged in: both steps done.
    pub fn who(&self) -> Option<&Granted> {
        fn of(state: &State) -> Option<&Granted> {
            match state {
                State::In(granted) | State::MustChange(granted) => Some(granted),
                State::Asking(asking) => of(&asking.from),
                State::Open | State::CodeAwaited(_) | State::Closed => None,
            }
        }
        of(&self.state)
    }

    /// Whether nothing follows any more.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Takes the answer to a ping.
    pub const fn pong(&mut self) {
        self.pongs_missed = 0;
    }

    /// The node stops: what is being decided is still answered, then the connection closes.
    pub fn stop(&mut self) {
        match &self.state {
            State::Asking(_) => self.stopping = true,
            State::Open | State::CodeAwaited(_) | State::MustChange(_) | State::In(_) => {
                self.fail(Deny::Stopping);
            }
            State::Closed => {}
        }
    }

    /// Ends the connection for something that the shell saw: a frame that is none, a peer that does not read.
    pub fn fail(&mut self, reason: Deny) {
        if self.is_closed() {
            return;
        }
        let who = self.who().map(|granted| (granted.person, granted.userid.clone()));
        let event = if who.is_some() { Event::LoggedOut } else { Event::ConnectionRefused };
        self.outputs.push_back(Output::Note(Note { event, who, reason: Some(reason) }));
        self.close(close_for(reason));
    }

    /// The peer has gone, in order or not.
    pub fn lost(&mut self) {
        if let Some(granted) = self.who() {
            let who = Some((granted.person, granted.userid.clone()));
            self.outputs.push_back(Output::Note(Note { event: Event::LoggedOut, who, reason: None }));
        }
        self.state = State::Closed;
        self.held.clear();
    }

    fn close(&mut self, close: Close) {
        self.outputs.push_back(Output::Close(close));
        self.state = State::Closed;
        self.held.clear();
    }

    fn send(&mut self, answer: Answer, request_id: Option<&Value>) {
        self.outputs.push_back(Output::Send(answer.finish(request_id)));
    }

    fn ask(&mut self, ask: Ask, purpose: Purpose, request_id: Option<Value>, now: Now) {
        self.asks += 1;
        let id = AskId(self.asks);
        let from = std::mem::replace(&mut self.state, State::Closed);
        let until = now.mono + ASK_MAX;
        self.state = State::Asking(Box::new(Asking { ask: id, until, request_id, purpose, from }));
        self.outputs.push_back(Output::Ask(id, ask));
    }

    fn on_malformed(&mut self, malformed: &Malformed) {
        self.send(Answer::text(&malformed.what, &malformed.message_type), malformed.id.as_ref());
        if self.who().is_some() {
            return;
        }
        self.malformed += 1;
        if self.malformed >= Limit::WsMalformed.max() {
            self.fail(Deny::TooManyMalformed);
        }
    }

    fn on_message(&mut self, message: Message, now: Now) {
        if matches!(message.request, Request::Logout) {
            self.log_out();
            return;
        }
        if matches!(message.request, Request::Ping) {
            let answer = Answer::ok("ping").with("time", now.wall.as_ms());
            self.send(answer, message.id.as_ref());
            return;
        }
        match &self.state {
            State::Open => self.in_open(message, now),
            State::CodeAwaited(granted) => {
                let person = granted.person;
                self.in_code_awaited(message, person, now);
            }
            State::MustChange(granted) | State::In(granted) => {
                let (person, userid) = (granted.person, granted.userid.clone());
                let must_change = matches!(self.state, State::MustChange(_));
                self.in_logged_in(message, person, &userid, must_change, now);
            }
            State::Asking(asking) => match asking.purpose {
                Purpose::Challenge | Purpose::PasswordChange { .. } => self.hold(message),
                Purpose::Login | Purpose::Code => self.refuse(&message, Refusal::LoginInProgress),
            },
            State::Closed => {}
        }
    }

    fn refuse(&mut self, message: &Message, refusal: Refusal) {
        self.send(Answer::refusal(refusal, &message.message_type), message.id.as_ref());
    }

    fn hold(&mut self, message: Message) {
        if self.held.len() as u64 >= Limit::WsHeld.max() {
            let answer = Answer::refusal(Refusal::Busy, &message.message_type).with("retry_ms", RETRY_MS);
            self.send(answer, message.id.as_ref());
        } else {
            self.held.push_back(message);
        }
    }

    fn log_out(&mut self) {
        if let Some(granted) = self.who() {
            let who = Some((granted.person, granted.userid.clone()));
            self.outputs.push_back(Output::Note(Note { event: Event::LoggedOut, who, reason: None }));
        }
        self.close(Close { code: 1000, words: "" });
    }

    fn in_open(&mut self, message: Message, now: Now) {
        match message.request {
            Request::Challenge => self.ask(Ask::ChallengeKey, Purpose::Challenge, message.id, now),
            Request::Login { userid, password, code } => match self.encrypted(password) {
                Some(password) => {
                    self.ask(Ask::Login { userid, password, code }, Purpose::Login, message.id, now);
                }
                None => self.send(Answer::refusal(Refusal::ChallengeRequired, "login"), message.id.as_ref()),
            },
            Request::Code(_) | Request::OwnPassword(_) | Request::Unknown => {
                self.refuse(&message, Refusal::LoginRequired);
            }
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    fn in_code_awaited(&mut self, message: Message, person: PersonId, now: Now) {
        match message.request {
            Request::Code(code) => self.ask(Ask::Code { person, code }, Purpose::Code, message.id, now),
            Request::Challenge | Request::Login { .. } | Request::OwnPassword(_) | Request::Unknown => {
                self.refuse(&message, Refusal::CodeRequired);
            }
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    fn in_logged_in(
        &mut self,
        message: Message,
        person: PersonId,
        userid: &UserId,
        must_change: bool,
        now: Now,
    ) {
        match message.request {
            Request::Challenge => self.ask(Ask::ChallengeKey, Purpose::Challenge, message.id, now),
            Request::OwnPassword(request) => self.own_password(request, message.id, person, userid, now),
            Request::Code(_) => self.refuse(&message, Refusal::AlreadyLoggedIn),
            Request::Login { .. } | Request::Unknown if must_change => {
                self.refuse(&message, Refusal::PasswordChangeRequired);
            }
            Request::Login { .. } => self.refuse(&message, Refusal::AlreadyLoggedIn),
            Request::Unknown => self.refuse(&message, Refusal::UnknownMessageType),
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    fn own_password(
        &mut self,
        request: OwnPassword,
        id: Option<Value>,
        person: PersonId,
        userid: &UserId,
        now: Now,
    ) {
        let missing = |field| Answer::refusal(Refusal::MissingField, "adduser").with("field", field);
        let foreign = request.userid.as_deref().is_some_and(|of| UserId::parse(of).as_ref() != Ok(userid));
        if foreign || !request.updates || request.foreign_field.is_some() {
            let answer = Answer::refusal(Refusal::PermissionDenied, "adduser");
            let answer = match request.foreign_field {
                Some(field) if !foreign => answer.with("field", field),
                Some(_) | None => answer,
            };
            return self.send(answer, id.as_ref());
        }
        let Some(present) = request.present else { return self.send(missing("pass"), id.as_ref()) };
        let Some(new) = request.new else { return self.send(missing("newpass"), id.as_ref()) };
        let (Some(present), Some(new)) = (self.encrypted(present), self.encrypted(new)) else {
            return self.send(Answer::refusal(Refusal::ChallengeRequired, "adduser"), id.as_ref());
        };
        let purpose = Purpose::PasswordChange { userid: request.userid };
        self.ask(Ask::PasswordChange { person, present, new }, purpose, id, now);
    }

    /// A ciphertext with the key that it names, or that of the connection's last challenge.
    fn encrypted(&self, ciphered: Ciphered) -> Option<Encrypted> {
        let key = ciphered.key.or_else(|| self.key.clone())?;
        Some(Encrypted { key, padding: ciphered.padding, ciphertext: ciphered.ciphertext })
    }

    fn on_verdict(&mut self, asking: Asking, verdict: Verdict) {
        let Asking { request_id, purpose, from, .. } = asking;
        let id = request_id.as_ref();
        let message_type = purpose.message_type();
        self.state = from;
        match verdict {
            Verdict::ChallengeKey(challenge) => {
                let paddings: Vec<&str> = challenge.paddings.iter().map(|padding| padding.name()).collect();
                let answer = Answer::ok(message_type)
                    .with("key", &challenge.spki_base64)
                    .with("keyid", challenge.key.as_str())
                    .with("padding", paddings)
                    .with("expires", challenge.expires.as_ms());
                self.key = Some(challenge.key);
                self.send(answer, id);
            }
            Verdict::Granted(granted) => {
                let password = granted.must_change.then_some("change required");
                let answer = Answer::ok(message_type).maybe("password", password);
                self.state =
                    if granted.must_change { State::MustChange(granted) } else { State::In(granted) };
                self.send(answer, id);
            }
            Verdict::CodeNeeded(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(Answer::ok(message_type).with("2fa", "required"), id);
            }
            Verdict::CodeRefused(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(Answer::refusal(Refusal::InvalidToken, message_type).with("2fa", "required"), id);
                self.wrong_codes += 1;
                if self.wrong_codes >= Limit::WsWrongCodes.max() {
                    self.fail(Deny::TooManyCodes);
                }
            }
            Verdict::RegistrationNeeded { register_url } => {
                let answer = Answer::refusal(Refusal::RegistrationRequired, message_type);
                self.send(answer.maybe("register_url", register_url), id);
                self.close(Close { code: 1008, words: "refused" });
            }
            Verdict::Refused => {
                let refusal = match purpose {
                    Purpose::Code => Refusal::InvalidToken,
                    Purpose::Challenge | Purpose::Login | Purpose::PasswordChange { .. } => {
                        Refusal::InvalidUserOrPassword
                    }
                };
                self.send(Answer::refusal(refusal, message_type), id);
                self.close(Close { code: 1008, words: "refused" });
            }
            Verdict::ChallengeNeeded => {
                self.send(Answer::refusal(Refusal::ChallengeRequired, message_type), id);
            }
            Verdict::PasswordChanged { broker_comm_rate } => {
                self.password_changed(purpose, broker_comm_rate, id);
            }
            Verdict::PasswordIssue { reason } => {
                self.send(Answer::refusal(Refusal::PasswordIssue, "adduser").with("reason", reason), id);
            }
            Verdict::Busy { retry_ms } => {
                self.send(Answer::refusal(Refusal::Busy, message_type).with("retry_ms", retry_ms), id);
            }
            Verdict::TryAgainLater { retry_ms } => self.try_again_later(message_type, retry_ms, id),
        }
    }

    fn password_changed(&mut self, purpose: Purpose, broker_comm_rate: Option<String>, id: Option<&Value>) {
        let userid = match purpose {
            Purpose::PasswordChange { userid } => userid,
            Purpose::Challenge | Purpose::Login | Purpose::Code => None,
        };
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::MustChange(granted) => State::In(Granted { must_change: false, ..granted }),
            other @ (State::Open
            | State::CodeAwaited(_)
            | State::In(_)
            | State::Asking(_)
            | State::Closed) => other,
        };
        let rate = broker_comm_rate.unwrap_or_else(|| "0".to_owned());
        let answer = Answer::ok("adduser").maybe("userid", userid);
        self.send(answer.with("updateprof", true).with("broker_comm_rate", rate), id);
    }

    fn try_again_later(&mut self, message_type: &str, retry_ms: u32, id: Option<&Value>) {
        self.send(Answer::refusal(Refusal::TryAgainLater, message_type).with("retry_ms", retry_ms), id);
    }

    /// After a verdict: the stop that waited for it, or the messages that were held.
    fn after_verdict(&mut self, now: Now) {
        if self.stopping && !self.is_closed() {
            return self.fail(Deny::Stopping);
        }
        while !matches!(self.state, State::Asking(_)) {
            let Some(message) = self.held.pop_front() else { return };
            self.on_message(message, now);
        }
    }
}

/// The close that goes with a reason (RFC 6455, 7.4.1; 1013 is registered with IANA).
const fn close_for(reason: Deny) -> Close {
    let (code, words) = match reason {
        Deny::Stopping => (1001, "stopping"),
        Deny::BrokenProtocol => (1002, "protocol error"),
        Deny::BinaryFrame => (1003, "text only"),
        Deny::NotUtf8 => (1007, "not UTF-8"),
        Deny::TooLong => (1009, "message too long"),
        Deny::Full | Deny::Evicted => (1013, "try again later"),
        Deny::TooSlow | Deny::NotAnswering | Deny::NotReading => (1008, "too slow"),
        Deny::SessionEnded => (1008, "session ended"),
        _ => (1008, "refused"), // whatever else ends a connection, the peer is told no more
    };
    Close { code, words }
}

impl Machine for WsLogin {
    fn receive(&mut self, bytes: &[u8], now: Now) {
        if self.is_closed() {
            return;
        }
        if bytes.len() as u64 > Limit::WsMessageBytes.max() {
            return self.fail(Deny::TooLong);
        }
        match message::parse(bytes) {
            Ok(message) => self.on_message(message, now),
            Err(malformed) => self.on_malformed(&malformed),
        }
    }

    fn verdict(&mut self, id: AskId, verdict: Verdict, now: Now) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Asking(asking) if asking.ask == id => {
                self.on_verdict(*asking, verdict);
                self.after_verdict(now);
            }
            other @ (State::Open
            | State::CodeAwaited(_)
            | State::MustChange(_)
            | State::In(_)
            | State::Asking(_)
            | State::Closed) => self.state = other,
        }
    }

    fn timeout(&mut self, now: Now) {
        if self.is_closed() {
            return;
        }
        if self.who().is_none() && now.mono >= self.login_until {
            return self.fail(Deny::TooSlow);
        }
        if now.mono >= self.next_ping {
            if self.pongs_missed >= PONGS_MISSED_MAX {
                return self.fail(Deny::NotAnswering);
            }
            self.pongs_missed += 1;
            self.next_ping = now.mono + self.settings.ping_every;
            self.outputs.push_back(Output::Ping);
        }
        if let State::Asking(asking) = &self.state
            && now.mono >= asking.until
        {
            let id = asking.ask;
            self.verdict(id, Verdict::TryAgainLater { retry_ms: RETRY_MS }, now);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        let login = self.who().is_none().then_some(self.login_until);
        let ask = match &self.state {
            State::Asking(asking) => Some(asking.until),
            State::Open | State::CodeAwaited(_) | State::MustChange(_) | State::In(_) => None,
            State::Closed => return None,
        };
        [login, ask, Some(self.next_ping)].into_iter().flatten().min()
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
