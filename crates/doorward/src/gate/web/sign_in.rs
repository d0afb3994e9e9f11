//! Signing in at a page: the decisions are those of every door, the session is made of their verdicts.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::ask::{Ask, Enveloped, GivenPassword, Granted, Verdict};
use doorward_core::audit::Deny;
use doorward_core::id::PersonId;
use doorward_core::identity::decide::recovery::use_code;
use doorward_core::identity::decide::{code, step_up};
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::person::Kind;
use doorward_core::secret::Secret;

use super::sessions::{Beginning, Found, Life, Session, Stage};
use super::{Asker, Browser, Token, door_of, recovery};
use crate::book::Load;
use crate::fault::Fault;
use crate::gate::{Connection, FAULT_RETRY_MS, Gate, Origin, effective};

/// How far a step of signing in came. A token is a new one, for the cookie.
#[derive(Debug)]
pub enum Entered {
    /// Signed in.
    In {
        /// The new token.
        token: Token,
        /// What they are.
        kind: Kind,
    },
    /// A one-time password is awaited.
    CodeDue(Token),
    /// An authenticator must be registered.
    Register(Token),
    /// The initial password must be changed.
    Change(Token),
    /// The one-time password was not right; another may be sent.
    CodeRefused(CodeRefusal),
    /// No, and nothing more is said.
    Refused,
    /// There is no such step under way: back to the beginning.
    Nowhere,
    /// The key of the envelope is not held any more; nothing was counted.
    ChallengeNeeded,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// Why a one-time password was not taken, as far as its owner hears it (T17).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeRefusal {
    /// It is not the present one.
    Wrong,
    /// It, or a later one, was used before.
    Used,
    /// Too many wrong ones: it must wait.
    BackedOff,
    /// One-time passwords cannot be checked now.
    ClockSuspect,
}

impl CodeRefusal {
    pub(super) fn of(reason: Option<Deny>) -> Self {
        let rows = [
            (Deny::UsedCode, Self::Used),
            (Deny::CodeBackedOff, Self::BackedOff),
            (Deny::ClockSuspect, Self::ClockSuspect),
        ];
        rows.iter().find(|(deny, _)| Some(*deny) == reason).map_or(Self::Wrong, |(_, refusal)| *refusal)
    }
}

/// What a fresh one-time password in a session came to.
#[derive(Debug)]
pub enum SteppedUp {
    /// Proved; a new token, for the cookie (S6).
    Proved(Token),
    /// Not proved; another may be sent.
    CodeRefused(CodeRefusal),
    /// No longer signed in: the authenticator was locked or taken away, or the person may not come in any more.
    Refused,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

impl Gate {
    /// Decides user id and password, and begins a session where they are right (S1, S5). The session of the old token
    /// ends (S6).
    pub async fn sign_in(
        &self,
        userid: &str,
        password: Enveloped,
        old: Option<&Token>,
        browser: &Browser,
    ) -> Entered {
        let connection = Arc::new(Connection::default());
        let origin = Self::portal_origin(browser, Arc::clone(&connection));
        let password = GivenPassword::Enveloped(password);
        let ask = Ask::Login { userid: userid.to_owned(), password, code: None };
        let verdict = self.ask(ask, &origin).await;
        self.entered(verdict, None, old, &origin, browser).await
    }

    /// Begins a session by what was decided of a password, and a setup link where one came along.
    pub(super) async fn entered(
        &self,
        verdict: Verdict,
        link: Option<LinkHash>,
        old: Option<&Token>,
        origin: &Origin,
        browser: &Browser,
    ) -> Entered {
        let (who, stage) = match verdict {
            Verdict::Granted(who) => {
                let stage = granted(&who, None);
                (who, stage)
            }
            Verdict::CodeNeeded(who) => (who, Stage::CodeDue),
            Verdict::RegistrationNeeded { who, .. } => {
                let must_change = who.must_change;
                (who, Stage::Registering { must_change, link, enrolment: None })
            }
            Verdict::ChallengeNeeded => return Entered::ChallengeNeeded,
            Verdict::Busy { retry_ms } | Verdict::TryAgainLater { retry_ms } => {
                return Entered::Later(retry_ms);
            }
            // A login is answered by none of the rest; nobody comes in by it.
            Verdict::Refused
            | Verdict::CodeRefused(_)
            | Verdict::ChallengeKey(_)
            | Verdict::PasswordChanged { .. }
            | Verdict::Verified(_)
            | Verdict::TokenKnown { .. }
            | Verdict::Person(_)
            | Verdict::StepDone(_)
            | Verdict::Declined(_)
            | Verdict::PasswordIssue { .. } => return Entered::Refused,
        };
        let begun = self.begin_session(&who, stage.clone(), origin, browser).await;
        let (token, kind) = match begun {
            Ok(begun) => begun,
            Err(fault) => return Entered::Later(self.later(&fault, origin)),
        };
        if let Some(old) = old {
            self.dismiss(old, Deny::SessionSuperseded, browser).await;
        }
        match stage {
            Stage::CodeDue => Entered::CodeDue(token),
            Stage::Registering { .. } => Entered::Register(token),
            Stage::Changing { .. } => Entered::Change(token),
            Stage::SignedIn { .. } => Entered::In { token, kind },
        }
    }

    pub(super) async fn begin_session(
        &self,
        who: &Granted,
        stage: Stage,
        origin: &Origin,
        browser: &Browser,
    ) -> Result<(Token, Kind), Fault> {
        let snapshot = self.store.load(&Load::Person(who.person))?;
        let idle = Duration::from_secs(60 * u64::from(effective(&snapshot).portal_idle_min));
        let person = snapshot.person.ok_or_else(|| Fault::Book(format!("{} has gone", who.person)))?;
        let beginning = Beginning {
            person: who.person,
            userid: who.userid.clone(),
            kind: person.kind,
            stage,
            life: Life::of(person.kind, Some(idle)),
            source: browser.source,
            agent: browser.agent.clone(),
            attempt: browser.attempt,
            connection: Arc::clone(&origin.connection),
        };
        let (token, ended) = self.web.sessions.begin(beginning, self.clock.now())?;
        self.web.sessions.stands_on(&token, person.password.phc());
        for session in ended {
            self.session_ended(&session, Some(Deny::SessionSuperseded), Some(browser)).await;
        }
        Ok((token, person.kind))
    }

    /// Decides the one-time password of somebody whose password was right.
    pub async fn sign_in_code(&self, token: &Token, code: &Secret<String>, browser: &Browser) -> Entered {
        let decide = async |person, origin: &Origin| self.decide_code(person, code, code::code, origin).await;
        self.second_step(token, true, browser, decide).await
    }

    /// Decides a recovery code in place of the one-time password (T16). It opens portal and console only, and does not
    /// count as a fresh one-time password.
    pub async fn sign_in_recovery(
        &self,
        token: &Token,
        given: &Secret<String>,
        browser: &Browser,
    ) -> Entered {
        let decide = async |person, origin: &Origin| {
            self.decide_step(person, origin, |view, person, context| {
                let at = recovery::find(&*self.vault, person.id, person.recovery.as_ref(), given)?;
                Ok(use_code(view, person, at, context))
            })
            .await
        };
        self.second_step(token, false, browser, decide).await
    }

    /// `is_fresh`: what is given counts as a fresh one-time password afterwards (T14).
    async fn second_step(
        &self,
        token: &Token,
        is_fresh: bool,
        browser: &Browser,
        decide: impl AsyncFnOnce(PersonId, &Origin) -> Result<(Verdict, Option<Deny>), Fault>,
    ) -> Entered {
        let Found::Here(session) = self.web.sessions.find(token, self.clock.now(), true) else {
            return Entered::Nowhere;
        };
        match session.stage {
            Stage::CodeDue => {}
            Stage::Registering { .. } | Stage::Changing { .. } | Stage::SignedIn { .. } => {
                return Entered::Nowhere;
            }
        }
        let origin = origin_in(&session, browser);
        match self.is_overtaken(&session) {
            Ok(false) => {}
            Ok(true) => {
                self.dismiss(token, Deny::SessionEnded, browser).await;
                return Entered::Refused;
            }
            Err(fault) => return Entered::Later(self.later(&fault, &origin)),
        }
        let (verdict, reason) = match decide(session.person, &origin).await {
            Ok(decided) => decided,
            Err(fault) => return Entered::Later(self.later(&fault, &origin)),
        };
        let stage = match verdict {
            Verdict::Granted(who) => granted(&who, is_fresh.then(|| self.clock.now().mono)),
            Verdict::CodeRefused(_) => return Entered::CodeRefused(CodeRefusal::of(reason)),
            Verdict::Busy { retry_ms } | Verdict::TryAgainLater { retry_ms } => {
                return Entered::Later(retry_ms);
            }
            Verdict::Refused
            | Verdict::CodeNeeded(_)
            | Verdict::RegistrationNeeded { .. }
            | Verdict::ChallengeNeeded
            | Verdict::ChallengeKey(_)
            | Verdict::PasswordChanged { .. }
            | Verdict::Verified(_)
            | Verdict::TokenKnown { .. }
            | Verdict::Person(_)
            | Verdict::StepDone(_)
            | Verdict::Declined(_)
            | Verdict::PasswordIssue { .. } => {
                self.dismiss(token, Deny::SessionEnded, browser).await;
                return Entered::Refused;
            }
        };
        let is_in = matches!(stage, Stage::SignedIn { .. });
        match self.web.sessions.advance(token, stage, self.clock.now()) {
            Ok(Some(token)) if is_in => Entered::In { token, kind: session.kind },
            Ok(Some(token)) => Entered::Change(token),
            Ok(None) => Entered::Nowhere,
            Err(fault) => Entered::Later(self.later(&fault, &origin)),
        }
    }

    /// See [`Session::is_overtaken`].
    fn is_overtaken(&self, session: &Session) -> Result<bool, Fault> {
        let person = self.store.load(&Load::Person(session.person))?.person;
        Ok(person.is_none_or(|person| session.is_overtaken(&person)))
    }

    /// Takes a session from one step of signing in to the next, under a new token (S6); `None` where it has gone.
    /// The caller has just seen done what the next stage stands for.
    pub fn advance_session(&self, token: &Token, stage: Stage) -> Result<Option<Token>, Fault> {
        self.web.sessions.advance(token, stage, self.clock.now())
    }

    /// Decides a fresh one-time password of somebody who is signed in (T14).
    pub async fn step_up(
        &self,
        token: &Token,
        asker: &Asker,
        code: &Secret<String>,
        browser: &Browser,
    ) -> SteppedUp {
        let origin = asker.origin(browser);
        let (verdict, reason) = match self.decide_code(asker.person, code, step_up::step_up, &origin).await {
            Ok(decided) => decided,
            Err(fault) => return SteppedUp::Later(self.later(&fault, &origin)),
        };
        match verdict {
            Verdict::Granted(_) => {
                let now = self.clock.now();
                let stage = Stage::SignedIn { factor_at: Some(now.mono) };
                match self.web.sessions.advance(token, stage, now) {
                    Ok(Some(token)) => SteppedUp::Proved(token),
                    Ok(None) | Err(_) => SteppedUp::Refused,
                }
            }
            Verdict::CodeRefused(_) => SteppedUp::CodeRefused(CodeRefusal::of(reason)),
            Verdict::Busy { retry_ms } | Verdict::TryAgainLater { retry_ms } => SteppedUp::Later(retry_ms),
            Verdict::Refused
            | Verdict::CodeNeeded(_)
            | Verdict::RegistrationNeeded { .. }
            | Verdict::ChallengeNeeded
            | Verdict::ChallengeKey(_)
            | Verdict::PasswordChanged { .. }
            | Verdict::Verified(_)
            | Verdict::TokenKnown { .. }
            | Verdict::Person(_)
            | Verdict::StepDone(_)
            | Verdict::Declined(_)
            | Verdict::PasswordIssue { .. } => {
                self.dismiss(token, Deny::SessionEnded, browser).await;
                SteppedUp::Refused
            }
        }
    }

    /// Ends the session of a token, where there is one.
    pub(super) async fn dismiss(&self, token: &Token, reason: Deny, browser: &Browser) {
        if let Some(session) = self.web.sessions.end(token) {
            self.session_ended(&session, Some(reason), Some(browser)).await;
        }
    }

    /// Logs a fault; when to try again, in milliseconds.
    pub(super) fn later(&self, fault: &Fault, origin: &Origin) -> u32 {
        retry_ms(&self.fault(fault, origin))
    }
}

/// When to try again, in milliseconds, of a verdict that tells of a fault.
pub(super) const fn retry_ms(verdict: &Verdict) -> u32 {
    match verdict {
        Verdict::Busy { retry_ms } | Verdict::TryAgainLater { retry_ms } => *retry_ms,
        // A fault is told as one of the two.
        Verdict::Granted(_)
        | Verdict::CodeNeeded(_)
        | Verdict::CodeRefused(_)
        | Verdict::RegistrationNeeded { .. }
        | Verdict::Refused
        | Verdict::ChallengeNeeded
        | Verdict::ChallengeKey(_)
        | Verdict::PasswordChanged { .. }
        | Verdict::Verified(_)
        | Verdict::TokenKnown { .. }
        | Verdict::Person(_)
        | Verdict::StepDone(_)
        | Verdict::Declined(_)
        | Verdict::PasswordIssue { .. } => FAULT_RETRY_MS,
    }
}

/// Where somebody is who proved everything.
fn granted(who: &Granted, factor_at: Option<doorward_core::time::Mono>) -> Stage {
    if who.must_change { Stage::Changing { factor_at } } else { Stage::SignedIn { factor_at } }
}

pub(super) fn origin_in(session: &Session, browser: &Browser) -> Origin {
    Origin {
        door: door_of(session),
        source: browser.source,
        attempt: browser.attempt,
        connection: Arc::clone(&session.connection),
    }
}
