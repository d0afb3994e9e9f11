//! A Logon with user name, password and one-time password.

use super::enter::Proof;
use super::{Asking, Session, State, later};
use crate::ask::{Ask, GivenPassword, Granted, Verdict};
use crate::audit::Deny;
use crate::fix::message::Message;
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::secret::Secret;
use crate::stream::StreamKey;
use crate::time::Now;

/// What the gate was asked, and what is asked next.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Purpose {
    /// Whether password and code are right.
    Login {
        /// The password, for a change of it, and the new one (925).
        change: Option<(Secret<String>, Secret<String>)>,
    },
    /// Whether the new password is good, of somebody who may come in.
    Change(Granted),
}

/// SessionStatus (1409), where a new password was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionStatus {
    /// It is the password now.
    PasswordChanged,
    /// It breaks a rule.
    PasswordRefused,
}

impl SessionStatus {
    /// The number on the wire (FIX 5.0 SP2, tag 1409).
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::PasswordChanged => 1,
            Self::PasswordRefused => 3,
        }
    }
}

impl Purpose {
    /// The ask for a login. What is missing is empty: it is counted as any other wrong password.
    pub(super) fn of(message: &Message<'_>, code_tag: u32) -> (Ask, Self) {
        let text = |tag| message.get(tag).map(|value| String::from_utf8_lossy(value).into_owned());
        let userid = text(tag::USERNAME).or_else(|| text(tag::SENDER_COMP_ID)).unwrap_or_default();
        let password = Secret::new(text(tag::PASSWORD).or_else(|| text(tag::RAW_DATA)).unwrap_or_default());
        let change = text(tag::NEW_PASSWORD).map(|new| (password.clone(), Secret::new(new)));
        let code = text(code_tag).map(Secret::new);
        let login = Ask::Login { userid, password: GivenPassword::Clear(password), code };
        (login, Self::Login { change })
    }
}

impl Session {
    pub(super) fn on_verdict(&mut self, asking: Asking, verdict: Verdict, now: Now) {
        let Asking { logon, purpose, .. } = asking;
        let refused = |refusal: Refusal, deny| (refusal.text(&[]), deny);
        let (text, deny) = match (purpose, verdict) {
            (Purpose::Login { change: Some((present, new)) }, Verdict::Granted(granted)) => {
                return self.ask_change(logon, granted, (present, new), now);
            }
            (Purpose::Login { change: None }, Verdict::Granted(granted)) if !granted.must_change => {
                return self.enter_person(logon, granted, None, now);
            }
            (Purpose::Login { .. }, Verdict::Granted(_)) => {
                refused(Refusal::PasswordMustChange, Deny::PasswordExpired)
            }
            (Purpose::Change(granted), Verdict::PasswordChanged { .. }) => {
                let granted = Granted { must_change: false, ..granted };
                return self.enter_person(logon, granted, Some(SessionStatus::PasswordChanged), now);
            }
            (Purpose::Change(granted), Verdict::PasswordIssue { .. }) if !granted.must_change => {
                return self.enter_person(logon, granted, Some(SessionStatus::PasswordRefused), now);
            }
            (Purpose::Change(_), Verdict::PasswordIssue { .. }) => {
                let text = Refusal::PasswordMustChange.text(&[]);
                return self.refuse_with_status(&logon, &text, SessionStatus::PasswordRefused, now);
            }
            (Purpose::Login { .. }, Verdict::CodeNeeded(_)) => {
                refused(Refusal::CodeRequired, Deny::NotVerified)
            }
            (Purpose::Login { .. }, Verdict::CodeRefused(_)) => {
                refused(Refusal::InvalidCode, Deny::WrongCode)
            }
            (Purpose::Login { .. }, Verdict::RegistrationNeeded { who: _, register_url }) => {
                let portal = register_url.or_else(|| self.settings.portal.clone()).unwrap_or_default();
                let mut text = Refusal::RegisterFirst.text(&[portal.as_bytes()]);
                if portal.is_empty() {
                    // Without an address, its colon goes too.
                    text.truncate(text.trim_ascii_end().len() - 1);
                }
                (text, Deny::NotRegistered)
            }
            (Purpose::Login { .. } | Purpose::Change(_), Verdict::Refused) => {
                refused(Refusal::InvalidUser, Deny::WrongPassword)
            }
            // Busy, later, or an answer to something else: nobody comes in by it.
            (
                Purpose::Login { .. } | Purpose::Change(_),
                Verdict::ChallengeKey(_)
                | Verdict::Granted(_)
                | Verdict::CodeNeeded(_)
                | Verdict::CodeRefused(_)
                | Verdict::RegistrationNeeded { .. }
                | Verdict::ChallengeNeeded
                | Verdict::PasswordChanged { .. }
                | Verdict::PasswordIssue { .. }
                | Verdict::Verified(_)
                | Verdict::TokenKnown { .. }
                | Verdict::Person(_)
                | Verdict::StepDone(_)
                | Verdict::Declined(_)
                | Verdict::Busy { .. }
                | Verdict::TryAgainLater { .. },
            ) => (later(), Deny::NotVerified),
        };
        self.refuse_decided(&logon, &text, deny, now);
    }

    /// Asks for the change of the password that came with the Logon.
    fn ask_change(
        &mut self,
        logon: super::Logon,
        granted: Granted,
        (present, new): (Secret<String>, Secret<String>),
        now: Now,
    ) {
        let ask = self.out.ask_gate(Ask::PasswordChange {
            person: granted.person,
            present: GivenPassword::Clear(present),
            new: GivenPassword::Clear(new),
        });
        let until = now.mono + self.settings.profile.verify_max;
        let purpose = Purpose::Change(granted);
        self.state = State::Asking(Box::new(Asking { ask, until, logon, purpose }));
    }

    fn enter_person(
        &mut self,
        logon: super::Logon,
        granted: Granted,
        status: Option<SessionStatus>,
        now: Now,
    ) {
        let stream = StreamKey::Person(granted.person);
        self.claim(logon, stream, Proof::Password { granted, status }, now);
    }
}
