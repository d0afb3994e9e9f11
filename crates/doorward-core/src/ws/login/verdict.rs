//! What the gate answers, and the state that it leads to.

use serde_json::Value;

use super::{Asking, Purpose, RETRY_MS, State, WsLogin};
use crate::ask::{Challenge, Granted, Verdict};
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
            Verdict::Granted(_) | Verdict::CodeRefused(_) => matches!(self, Self::Login | Self::Code),
            Verdict::CodeNeeded(_) | Verdict::RegistrationNeeded { .. } => matches!(self, Self::Login),
            Verdict::Refused => matches!(self, Self::Login | Self::Code | Self::PasswordChange { .. }),
            Verdict::ChallengeNeeded => matches!(self, Self::Login | Self::PasswordChange { .. }),
            Verdict::PasswordChanged { .. } | Verdict::PasswordIssue { .. } => {
                matches!(self, Self::PasswordChange { .. })
            }
            Verdict::Busy { .. } | Verdict::TryAgainLater { .. } => true,
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
            Verdict::Granted(granted) => self.granted(granted, message_type, id),
            Verdict::CodeNeeded(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(Answer::ok(message_type).with("2fa", "required"), id);
            }
            Verdict::CodeRefused(granted) => {
                self.state = State::CodeAwaited(granted);
                self.send(refusal(Refusal::InvalidToken).with("2fa", "required"), id);
                self.wrong_codes += 1;
                if self.wrong_codes >= Limit::WsWrongCodes.max() {
                    self.fail(Deny::TooManyCodes);
                }
            }
            Verdict::RegistrationNeeded { who: _, register_url } => {
                self.send(refusal(Refusal::RegistrationRequired).maybe("register_url", register_url), id);
                self.close(Close { code: 1008, words: "refused" });
            }
            Verdict::Refused => {
                self.send(refusal(purpose.refusal()), id);
                self.close(Close { code: 1008, words: "refused" });
            }
            Verdict::ChallengeNeeded => self.send(refusal(Refusal::ChallengeRequired), id),
            Verdict::PasswordChanged { broker_comm_rate } => {
                self.password_changed(purpose, broker_comm_rate, id);
            }
            Verdict::PasswordIssue { reason } => {
                self.send(refusal(Refusal::PasswordIssue).with("reason", reason), id);
            }
            Verdict::Busy { retry_ms } => self.send(refusal(Refusal::Busy).with("retry_ms", retry_ms), id),
            Verdict::TryAgainLater { retry_ms } => {
                self.send(refusal(Refusal::TryAgainLater).with("retry_ms", retry_ms), id);
            }
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
