//! What the peer sends, by the state that it comes in.

use super::{Held, Purpose, RETRY_MS, State, WsLogin};
use crate::ask::{Ask, Encrypted, GivenPassword, Granted};
use crate::audit::Deny;
use crate::id::PersonId;
use crate::limits::Limit;
use crate::machine::Close;
use crate::time::Now;
use crate::ws::answer::{Answer, Refusal};
use crate::ws::message::{Ciphered, Malformed, Message, Request};

impl WsLogin {
    pub(super) fn on_malformed(&mut self, malformed: &Malformed) {
        self.send(Answer::text(&malformed.what, &malformed.message_type), malformed.id.as_ref());
        if self.who().is_some() {
            return;
        }
        self.malformed += 1;
        if self.malformed >= Limit::WsMalformed.max() {
            self.fail(Deny::TooManyMalformed);
        }
    }

    pub(super) fn on_message(&mut self, message: Message, now: Now) {
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
                let granted = granted.clone();
                let must_change = matches!(self.state, State::MustChange(_));
                self.in_logged_in(message, &granted, must_change, now);
            }
            State::Asking(_) if self.is_holding() => self.hold(message),
            State::Asking(_) => self.refuse(&message, Refusal::LoginInProgress),
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
            self.held.push_back(Held { message, key: self.key.clone() });
        }
    }

    fn log_out(&mut self) {
        self.note_logged_out();
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
            Request::TokenLogin { userid, token } => {
                self.ask(Ask::TokenLogin { userid, token }, Purpose::TokenLogin, message.id, now);
            }
            Request::Code(_)
            | Request::AddUser(_)
            | Request::Verify(_)
            | Request::Token(_)
            | Request::Person { .. }
            | Request::Unknown => self.refuse(&message, Refusal::LoginRequired),
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    fn in_code_awaited(&mut self, message: Message, person: PersonId, now: Now) {
        match message.request {
            Request::Code(code) => self.ask(Ask::Code { person, code }, Purpose::Code, message.id, now),
            Request::Challenge
            | Request::Login { .. }
            | Request::TokenLogin { .. }
            | Request::AddUser(_)
            | Request::Verify(_)
            | Request::Token(_)
            | Request::Person { .. }
            | Request::Unknown => self.refuse(&message, Refusal::CodeRequired),
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    fn in_logged_in(&mut self, message: Message, granted: &Granted, must_change: bool, now: Now) {
        match message.request {
            Request::Challenge => self.ask(Ask::ChallengeKey, Purpose::Challenge, message.id, now),
            Request::AddUser(request) => self.add_user(*request, message.id, granted, must_change, now),
            Request::Code(_) => self.refuse(&message, Refusal::AlreadyLoggedIn),
            Request::Login { .. }
            | Request::TokenLogin { .. }
            | Request::Verify(_)
            | Request::Token(_)
            | Request::Person { .. }
            | Request::Unknown
                if must_change =>
            {
                self.refuse(&message, Refusal::PasswordChangeRequired);
            }
            Request::Login { .. } | Request::TokenLogin { .. } => {
                self.refuse(&message, Refusal::AlreadyLoggedIn);
            }
            Request::Verify(request) => self.verify_login(*request, message.id, granted, now),
            Request::Token(request) => self.token_request(request, message.id, granted, now),
            Request::Person { userid } => self.get_user(userid, message.id, granted, now),
            Request::Unknown => self.refuse(&message, Refusal::UnknownMessageType),
            Request::Logout | Request::Ping => {} // answered before
        }
    }

    /// A ciphertext with the key that it names, or that of the connection's last challenge.
    pub(super) fn encrypted(&self, ciphered: Ciphered) -> Option<GivenPassword> {
        let key = ciphered.key.or_else(|| self.key.clone())?;
        let encrypted = Encrypted { key, padding: ciphered.padding, ciphertext: ciphered.ciphertext };
        Some(GivenPassword::Encrypted(encrypted))
    }
}
