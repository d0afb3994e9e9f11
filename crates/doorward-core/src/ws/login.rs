//! The machine of one WebSocket connection, from the first byte to the close.
//!
//! Open → (challenge, login) → code awaited → password to be changed → in. While the gate decides, the machine is in
//! `State::Asking` and remembers where it came from; the first answer counts, a late one is dropped.

mod acting;
mod request;
mod verdict;

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use self::acting::Echo;
use super::answer::{Answer, Refusal};
use super::message::{self, Message};
use crate::ask::{Ask, AskId, Granted, KeyId, Verdict};
use crate::audit::{Deny, Event};
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
#[cfg_attr(test, derive(Clone))]
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
#[cfg_attr(test, derive(Clone))]
struct Asking {
    ask: AskId,
    until: Mono,
    request_id: Option<Value>,
    purpose: Purpose,
    from: State,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Purpose {
    Challenge,
    Login,
    TokenLogin,
    Code,
    PasswordChange { userid: Option<String> },
    Verify { userid: String },
    Token { revoke: bool },
    Person,
    Step(Box<Echo>),
}

/// A message that waits, with the key of the last challenge that its sender had seen.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Held {
    message: Message,
    key: Option<KeyId>,
}

impl Purpose {
    const fn message_type(&self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Login | Self::TokenLogin => "login",
            Self::Code => "send2fatoken",
            Self::PasswordChange { .. } | Self::Step(_) => "adduser",
            Self::Verify { .. } => "verifylogin",
            Self::Token { revoke: false } => "checktoken",
            Self::Token { revoke: true } => "revoketoken",
            Self::Person => "getuser",
        }
    }

    /// The words of a refusal without a reason.
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Code | Self::TokenLogin => Refusal::InvalidToken,
            Self::Challenge
            | Self::Login
            | Self::PasswordChange { .. }
            | Self::Verify { .. }
            | Self::Token { .. }
            | Self::Person
            | Self::Step(_) => Refusal::InvalidUserOrPassword,
        }
    }
}

/// One connection of the WebSocket door.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
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
    /// Whoever is logged in came with a token: good for all but a password or a factor.
    by_token: bool,
    held: VecDeque<Held>,
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
            by_token: false,
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
        self.note_logged_out();
        self.state = State::Closed;
        self.held.clear();
    }

    fn note_logged_out(&mut self) {
        if let Some(granted) = self.who() {
            let who = Some((granted.person, granted.userid.clone()));
            self.outputs.push_back(Output::Note(Note { event: Event::LoggedOut, who, reason: None }));
        }
    }

    /// Whether messages are kept until the gate has answered, for what they mean depends on the answer.
    const fn is_holding(&self) -> bool {
        match &self.state {
            State::Asking(asking) => match asking.purpose {
                Purpose::Challenge
                | Purpose::PasswordChange { .. }
                | Purpose::Verify { .. }
                | Purpose::Token { .. }
                | Purpose::Person
                | Purpose::Step(_) => true,
                Purpose::Login | Purpose::TokenLogin | Purpose::Code => false,
            },
            State::Open | State::CodeAwaited(_) | State::MustChange(_) | State::In(_) | State::Closed => {
                false
            }
        }
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
        #[rustfmt::skip]
        Deny::BackedOff | Deny::PersonLimit | Deny::BadCiphertext | Deny::ReplayedCiphertext | Deny::PaddingOff
        | Deny::UnknownUser | Deny::WrongPassword | Deny::Disabled | Deny::FirmClosed | Deny::SourceNotPermitted
        | Deny::Locked | Deny::PasswordExpired | Deny::NotRegistered | Deny::CodeBackedOff | Deny::WrongCode
        | Deny::UsedCode | Deny::ClockSuspect | Deny::PasswordRule | Deny::TooManyMalformed | Deny::TooManyCodes
        | Deny::RepeatedTag | Deny::ControlCharacter | Deny::TagNotPermitted | Deny::LengthDiffers | Deny::MissingTag
        | Deny::WrongHeader | Deny::WrongHeartBtInt | Deny::WrongScheme | Deny::BadSignature | Deny::UnknownCompId
        | Deny::WrongIndicator | Deny::SessionDisabled | Deny::UnknownAccessKey | Deny::AccessKeyExpired
        | Deny::AccessKeyDeleted | Deny::SessionLocked | Deny::OperatorNotPermitted | Deny::SendingTimeStale
        | Deny::SendingTimeAhead | Deny::SignatureDiffers | Deny::ReplayedLogon | Deny::BeforeListening
        | Deny::WeekClosed | Deny::FirstOfWeek | Deny::ResetNotPermitted | Deny::SequenceTooLow
        | Deny::InSessionSequence | Deny::LogonInProgress | Deny::AlreadyLoggedOn | Deny::NotVerified
        | Deny::RightMissing | Deny::HoursClosed | Deny::PairsFull | Deny::CodesUsedUp | Deny::NoHandshake
        | Deny::TlsFailed | Deny::ServerFault | Deny::ProxyHeader | Deny::OriginNotAllowed | Deny::NoLogon | Deny::Garbled
        | Deny::HeldTooMuch | Deny::LinkUnknown | Deny::LinkNeeded | Deny::LinksUsedUp | Deny::LinkNotShown
        | Deny::NoAddress | Deny::Halted | Deny::WrongRecoveryCode | Deny::FactorStale | Deny::WrongKind
        | Deny::LinkEnded | Deny::AlreadyRegistered | Deny::OtpNotChosen | Deny::InitialPassword | Deny::EnrolmentEnded
        | Deny::RecoveryOff | Deny::Oneself | Deny::DeskClaimed | Deny::TokenUnknown | Deny::UserIdTaken
        | Deny::SessionIdle | Deny::SessionOver | Deny::SessionSuperseded | Deny::SessionDismissed => {
            (1008, "refused")
        },
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
        if std::str::from_utf8(bytes).is_err() {
            return self.fail(Deny::NotUtf8);
        }
        match message::parse(bytes) {
            Ok(message) => self.on_message(message, now),
            Err(malformed) => self.on_malformed(&malformed),
        }
    }

    fn verdict(&mut self, id: AskId, verdict: Verdict, now: Now) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Asking(asking) if asking.ask == id => {
                self.on_verdict(*asking, verdict, now);
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
