//! What the pages of portal and console ask of the gate: who is asking, signing in and out, browser sessions.

pub mod account;
mod asker;
pub mod claim;
#[cfg(test)]
mod console_tests;
pub mod desk;
pub mod events;
pub mod explain;
#[cfg(test)]
mod flow_tests;
pub mod home;
pub mod links;
pub(super) mod notify;
pub mod own;
pub mod people;
mod recovery;
pub mod register;
mod serving;
pub mod sessions;
mod sign_in;
pub mod steps;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use doorward_core::audit::{AttemptId, Deny, Door, Event};
use doorward_core::id::PersonId;
use doorward_core::machine::Note;

pub use asker::{Asker, Present};
pub use serving::Unserved;
pub use sessions::{Binding, Session, SessionNo, Stage, Token};
pub use sign_in::{CodeRefusal, Entered, SteppedUp};

use self::sessions::Sessions;
use super::{Connection, Gate, Origin};
use crate::fault::Fault;

/// Where a request of a browser comes from, for what is written down of it and for the list of the own sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Browser {
    /// The peer's address.
    pub source: IpAddr,
    /// What the browser calls itself, cut short; not to be believed.
    pub agent: String,
    /// Ties together what belongs to the request.
    pub attempt: AttemptId,
}

/// What the gate keeps for pages.
pub(super) struct Web {
    pub(super) sessions: Sessions,
    pub(super) mails: notify::Mails,
    pub(super) claim: claim::Claim,
    /// One step at a time that could take the last one who can serve others.
    pub(super) last: tokio::sync::Mutex<()>,
    /// Makes the passwords that stand in for those of wrong envelopes.
    stand_in: hmac::Key,
}

impl Web {
    pub(super) fn new() -> Result<Self, Fault> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(|_| Fault::Vault("no random bytes for stand-ins".to_owned()))?;
        let (sessions, mails, claim, last) = Default::default();
        Ok(Self { sessions, mails, claim, last, stand_in: hmac::Key::new(hmac::HMAC_SHA256, &*key) })
    }

    /// A password that nobody has, always the same for the same bytes (E2).
    pub(super) fn stand_in(&self, ciphertext: &[u8]) -> String {
        data_encoding::BASE64URL_NOPAD.encode(hmac::sign(&self.stand_in, ciphertext).as_ref())
    }
}

impl Gate {
    /// The browser sessions of somebody that are signed in, oldest first (S9).
    pub fn browser_sessions(&self, person: PersonId) -> Vec<Session> {
        let now = self.clock.now();
        let mut all = self.web.sessions.of(person);
        all.retain(|session| session.is_signed_in() && session.end_at(now.mono).is_none());
        all
    }

    /// What CSRF tokens and nonces of a visitor are made from; the same as long as the session lasts.
    pub fn binding(&self, token: &Token) -> Binding {
        self.web.sessions.binding(token)
    }

    /// Ends the session of a token (S8).
    pub async fn sign_out(&self, token: &Token, browser: &Browser) {
        if let Some(session) = self.web.sessions.end(token) {
            self.session_ended(&session, None, Some(browser)).await;
        }
    }

    /// Ends one of the own sessions; false where the person has none of that number (S9).
    pub async fn end_browser_session(&self, person: PersonId, number: SessionNo, browser: &Browser) -> bool {
        let ended = self.web.sessions.end_number(person, number);
        let found = ended.is_some();
        if let Some(session) = ended {
            self.session_ended(&session, Some(Deny::SessionDismissed), Some(browser)).await;
        }
        found
    }

    /// Ends all sessions of a person but one; how many there were (P6).
    pub async fn end_other_sessions(&self, person: PersonId, kept: SessionNo, browser: &Browser) -> usize {
        let ended = self.web.sessions.end_others(person, kept);
        for session in &ended {
            self.session_ended(session, Some(Deny::SessionDismissed), Some(browser)).await;
        }
        ended.len()
    }

    /// Ends what has come to its time, and what an administrator ended and nobody looked at since.
    pub(super) async fn sweep_browser_sessions(&self) {
        for (session, reason) in self.web.sessions.sweep(self.clock.now().mono) {
            self.session_ended(&session, Some(reason), None).await;
        }
    }

    /// Writes down that a session has ended; one that never came as far as signing in leaves no record.
    pub(super) async fn session_ended(
        &self,
        session: &Session,
        reason: Option<Deny>,
        browser: Option<&Browser>,
    ) {
        self.live.leave(&session.connection);
        if !session.is_signed_in() {
            return;
        }
        let who = Some((session.person, session.userid.clone()));
        let origin = Origin {
            door: door_of(session),
            source: browser.map_or(session.source, |browser| browser.source),
            attempt: browser.map_or(session.attempt, |browser| browser.attempt),
            connection: Arc::clone(&session.connection),
        };
        self.note(Note { event: Event::LoggedOut, who, reason }, &origin).await;
    }

    /// The circumstances of a request that belongs to no session yet.
    pub(super) fn portal_origin(browser: &Browser, connection: Arc<Connection>) -> Origin {
        Origin { door: Door::Portal, source: browser.source, attempt: browser.attempt, connection }
    }
}

fn door_of(session: &Session) -> Door {
    if session.is_console() { Door::Console } else { Door::Portal }
}
