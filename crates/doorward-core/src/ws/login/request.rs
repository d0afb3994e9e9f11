//! What the peer sends, by the state that it comes in.

use serde_json::Value;

use super::{Held, Purpose, RETRY_MS, State, WsLogin};
use crate::ask::{Ask, Encrypted, GivenPassword};
use crate::audit::Deny;
use crate::id::{PersonId, UserId};
use crate::limits::Limit;
use crate::machine::Close;
use crate::time::Now;
use crate::ws::answer::{Answer, Refusal};
use crate::ws::message::{Ciphered, Malformed, Message, OwnPassword, Request};

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
                let (person, userid) = (granted.person, granted.userid.clone());
                let must_change = matches!(self.state, State::MustChange(_));
                self.in_logged_in(message, person, &userid, must_change, now);
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
    fn encrypted(&self, ciphered: Ciphered) -> Option<GivenPassword> {
        let key = ciphered.key.or_else(|| self.key.clone())?;
        let encrypted = Encrypted { key, padding: ciphered.padding, ciphertext: ciphered.ciphertext };
        Some(GivenPassword::Encrypted(encrypted))
    }
}
