//! Who asks for a page: what the session says, with the person as the book has them now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::{Actor, AttemptId, Deny, Door, Factor};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::decide::sign_in::may_browse;
use doorward_core::identity::decide::step_up::is_fresh;
use doorward_core::identity::person::{Kind, Person, Right};
use doorward_core::identity::policy::Effective;
use doorward_core::time::Wall;

use super::sessions::{Found, Session, SessionNo};
use super::{Browser, Token};
use crate::book::Load;
use crate::fault::Fault;
use crate::gate::{Connection, Gate, Origin, effective};

/// Somebody who is signed in. Loaded anew at each request.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The browser session.
    pub session: SessionNo,
    /// Who.
    pub person: PersonId,
    /// Their user id.
    pub userid: UserId,
    /// What they are.
    pub kind: Kind,
    /// Their firm; none for the desk.
    pub firm: Option<FirmCode>,
    /// What they were given.
    pub rights: BTreeSet<Right>,
    /// What is in force for them.
    pub policy: Effective,
    /// When a one-time password was last proved in this session, by the clock as it is now.
    pub factor_at: Option<Wall>,
    /// Whether that counts as fresh now.
    pub factor_fresh: bool,
    /// Whether they have a registered authenticator to prove one with.
    pub has_authenticator: bool,
    connection: Arc<Connection>,
}

impl Asker {
    /// Whether they have a console: the desk and administrators.
    pub const fn is_console(&self) -> bool {
        match self.kind {
            Kind::Desk | Kind::Administrator => true,
            Kind::Trader | Kind::Service => false,
        }
    }

    /// Whether they were given a right.
    pub fn has(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Where they are, for the audit.
    pub const fn door(&self) -> Door {
        if self.is_console() { Door::Console } else { Door::Portal }
    }

    /// Who they are, for the audit.
    pub fn actor(&self) -> Actor {
        Actor::Person { id: self.person, userid: self.userid.clone() }
    }

    /// What they proved in this session, for the audit.
    pub const fn factor(&self) -> Factor {
        if self.factor_at.is_some() { Factor::PasswordAndCode } else { Factor::Password }
    }

    /// The circumstances of what they ask now.
    pub fn origin(&self, browser: &Browser) -> Origin {
        let attempt: AttemptId = browser.attempt;
        Origin {
            door: self.door(),
            source: browser.source,
            attempt,
            connection: Arc::clone(&self.connection),
        }
    }
}

/// Who stands behind a token.
#[derive(Clone, Debug)]
pub enum Present {
    /// Nobody who is known.
    Stranger,
    /// Somebody between the password and being signed in.
    Underway(Box<Session>),
    /// Somebody who is signed in.
    SignedIn(Box<Asker>),
}

impl Gate {
    /// Who stands behind a token. `touch` says whether this counts as use of the session (S7).
    pub async fn present(&self, token: &Token, browser: &Browser, touch: bool) -> Result<Present, Fault> {
        let now = self.clock.now();
        let session = match self.web.sessions.find(token, now, false) {
            Found::Here(session) => session,
            Found::Over(session, reason) => {
                self.session_ended(&session, Some(reason), Some(browser)).await;
                return Ok(Present::Stranger);
            }
            Found::Nothing => return Ok(Present::Stranger),
        };
        let snapshot = self.store.load(&Load::Person(session.person))?;
        let origin = Self::portal_origin(browser, Arc::clone(&session.connection));
        let policy = effective(&snapshot);
        let may_browse = may_browse(&self.view(&snapshot), &self.context(&origin));
        let holds = |person: &Person| may_browse && !session.is_overtaken(person);
        let Some(person) = snapshot.person.filter(holds) else {
            if let Some(session) = self.web.sessions.end(token) {
                self.session_ended(&session, Some(Deny::SessionEnded), Some(browser)).await;
            }
            return Ok(Present::Stranger);
        };
        // The policy may have become stricter since the session began.
        let idle_max = Duration::from_secs(60 * u64::from(policy.portal_idle_min));
        if !self.web.sessions.hold(token, idle_max, now, touch) {
            if let Some(session) = self.web.sessions.end(token) {
                self.session_ended(&session, Some(Deny::SessionIdle), Some(browser)).await;
            }
            return Ok(Present::Stranger);
        }
        if !session.is_signed_in() {
            return Ok(Present::Underway(session));
        }
        // The wall clock may have stepped since: what counts is how long ago it was.
        let factor_at = session.factor_at().map(|at| now.wall - now.mono.since(at));
        Ok(Present::SignedIn(Box::new(Asker {
            session: session.number,
            person: person.id,
            userid: person.userid,
            kind: person.kind,
            firm: person.firm,
            policy,
            rights: person.profile.grant.map(|grant| grant.rights).unwrap_or_default(),
            factor_at,
            factor_fresh: is_fresh(factor_at, now.wall),
            has_authenticator: person.authenticator.is_registered(),
            connection: Arc::clone(&session.connection),
        })))
    }
}
