//! What the gate answers, and the state that it leads to.

use serde_json::Value;

use super::acting::declined;
use super::{Asking, Purpose, RETRY_MS, State, WsLogin};
use crate::ask::{Challenge, Declined, Granted, Verdict};
use crate::audit::Deny;
use crate::limits::Limit;
use crate::machine::Close;
use crate::time::Now;
use crate::ws::answer::{Answer, Refusal};

impl Purpose {
    /// Whether a verdict can be the answer at all; one that cannot must not let anybody in.
    const fn takes(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::ChallengeKey(_) => matches!(self, Self::Challenge),
            Verdict::Granted(_) => matches!(self, Self::Login | Self::TokenLogin | Self::Code),
            Verdict::CodeRefused(_) => matches!(self, Self::Login | Self::Code),
            Verdict::CodeNeeded(_) | Verdict::RegistrationNeeded { .. } => matches!(self, Self::Login),
            Verdict::Refused => {
                matches!(self, Self::Login | Self::Code | Self::PasswordChange { .. } | Self::Verify { .. })
            }
            Verdict::ChallengeNeeded => self.has_password(),
            Verdict::PasswordChanged { .. } => matches!(self, Self::PasswordChange { .. }),
            Verdict::PasswordIssue { .. } => matches!(self, Self::PasswordChange { .. } | Self::Step(_)),
            Verdict::Verified(_) => matches!(self, Self::Verify { .. }),
            Verdict::TokenKnown { .. } => matches!(self, Self::Token { .. }),
            Verdict::Person(_) => matches!(self, Self::Person),
            Verdict::StepDone(_) => matches!(self, Self::Step(_)),
            Verdict::Declined(Declined::InvalidToken) => {
                matches!(self, Self::TokenLogin | Self::Verify { .. } | Self::Token { .. })
            }
            Verdict::Declined(_) => self.is_for_others(),
            Verdict::Busy { .. } | Verdict::TryAgainLater { .. } => true,
        }
    }
}

impl Purpose {
    const fn has_password(&self) -> bool {
        match self {
            Self::Login | Self::PasswordChange { .. } | Self::Verify { .. } | Self::Step(_) => true,
            Self::Challenge | Self::TokenLogin | Self::Code | Self::Token { .. } | Self::Person => false,
        }
    }

    const fn is_for_others(&self) -> bool {
        match self {
            Self::Verify { .. } | Self::Token { .. } | Self::Person | Self::Step(_) => true,
            Self::Challenge | Self::Login | Self::TokenLogin | Self::Code | Self::PasswordChange { .. } => {
                false
            }
        }
    }
}

impl WsLogin {
    pub(super) fn on_verdict(&mut self, asking: Asking, verdict: Verdict, now: Now) {
        let Asking { request_id, purpose, from, .. } = asking;
        self.state = from;
        let verdict =
            if purpose.takes(&verdict) { verdict } else { Verdict::TryAgainLater { retry_ms: RETRY_MS } };
        self.answer(purpose, verdict, request_id.as_ref());
        self.go_on(now);
    }

    fn answer(&mut self, purpose: Purpose, verdict: Verdict, id: Option<&Value>) {
        let message_type = purpose.message_type();
        let refusal = |refusal| Answer::refusal(refusal, message_type);
        match verdict {
            Verdict::ChallengeKey(challenge) => self.challenge_made(challenge, id),
            Verdict::Granted(granted) => {
                self.by_token = matches!(purpose, Purpose::TokenLogin);
                self.granted(granted, message_type, id);
            }
            Verdict::CodeNeeded(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(Answer::ok(message_type).with("2fa", "required"), id);
            }
            Verdict::CodeRefused(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(refusal(Refusal::InvalidToken).with("2fa", "required"), id);
                self.count_wrong_code();
            }
            Verdict::RegistrationNeeded { who: _, register_url } => {
                self.send(refusal(Refusal::RegistrationRequired).maybe("register_url", register_url), id);
                self.close(Close { code: 1008, words: "refused" });
            }
            Verdict::Refused => self.refused(&purpose, id),
            Verdict::ChallengeNeeded => self.send(refusal(Refusal::ChallengeRequired), id),
            Verdict::PasswordChanged { broker_comm_rate } => {
                self.password_changed(purpose, broker_comm_rate, id);
            }
            Verdict::PasswordIssue { reason } => {
                self.send(refusal(Refusal::PasswordIssue).with("reason", reason), id);
            }
            Verdict::Verified(verified) => self.verified(*verified, id),
            Verdict::TokenKnown { userid, expires } => self.token_known(message_type, &userid, expires, id),
            Verdict::Person(shown) => self.person_shown(*shown, id),
            Verdict::StepDone(done) => {
                if let Purpose::Step(echo) = purpose {
                    self.step_done(*echo, *done, id);
                }
            }
            Verdict::Declined(why) => {
                self.send(declined(message_type, why), id);
                if matches!(purpose, Purpose::TokenLogin) {
                    self.count_wrong_code();
                }
            }
            Verdict::Busy { retry_ms } => self.send(refusal(Refusal::Busy).with("retry_ms", retry_ms), id),
            Verdict::TryAgainLater { retry_ms } => {
                self.send(refusal(Refusal::TryAgainLater).with("retry_ms", retry_ms), id);
            }
        }
    }

    /// No, and nothing more is said. The login of somebody else, which a program wanted verified, closes nothing.
    fn refused(&mut self, purpose: &Purpose, id: Option<&Value>) {
        let answer = Answer::refusal(purpose.refusal(), purpose.message_type());
        match purpose {
            Purpose::Verify { userid } => self.send(answer.with("userid", userid), id),
            Purpose::Challenge
            | Purpose::Login
            | Purpose::TokenLogin
            | Purpose::Code
            | Purpose::PasswordChange { .. }
            | Purpose::Token { .. }
            | Purpose::Person
            | Purpose::Step(_) => {
                self.send(answer, id);
                self.close(Close { code: 1008, words: "refused" });
            }
        }
    }

    fn count_wrong_code(&mut self) {
        self.wrong_codes += 1;
        if self.wrong_codes >= Limit::WsWrongCodes.max() {
            self.fail(Deny::TooManyCodes);
        }
    }

    fn challenge_made(&mut self, challenge: Challenge, id: Option<&Value>) {
        let paddings: Vec<&str> = challenge.paddings.iter().map(|padding| padding.name()).collect();
        let answer = Answer::ok("challenge")
            .with("key", &challenge.spki_base64)
            .with("keyid", challenge.key.as_str())
            .with("padding", paddings)
            .with("expires", challenge.expires.as_ms());
        self.key = Some(challenge.key);
        self.send(answer, id);
    }

    fn granted(&mut self, granted: Granted, message_type: &str, id: Option<&Value>) {
        let password = granted.must_change.then_some("change required");
        self.state = if granted.must_change { State::MustChange(granted) } else { State::In(granted) };
        self.send(Answer::ok(message_type).maybe("password", password), id);
    }

    fn password_changed(&mut self, purpose: Purpose, broker_comm_rate: Option<String>, id: Option<&Value>) {
        let userid = match purpose {
            Purpose::PasswordChange { userid } => userid,
            Purpose::Challenge
            | Purpose::Login
            | Purpose::TokenLogin
            | Purpose::Code
            | Purpose::Verify { .. }
            | Purpose::Token { .. }
            | Purpose::Person
            | Purpose::Step(_) => None,
        };
        self.need_not_change();
        let rate = broker_comm_rate.unwrap_or_else(|| "0".to_owned());
        let answer = Answer::ok("adduser").maybe("userid", userid);
        self.send(answer.with("updateprof", true).with("broker_comm_rate", rate), id);
    }

    /// After a verdict: the stop that waited for it, or the messages that were held.
    fn go_on(&mut self, now: Now) {
        if self.stopping && !self.is_closed() {
            return self.fail(Deny::Stopping);
        }
        while !self.is_holding() {
            let Some(held) = self.held.pop_front() else { return };
            // Its ciphertext was made with the key that the peer had when it wrote, not with the newest one.
            let newest = std::mem::replace(&mut self.key, held.key);
            self.on_message(held.message, now);
            self.key = newest;
        }
    }
}
