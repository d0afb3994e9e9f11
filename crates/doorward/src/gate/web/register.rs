//! Self-registration: a setup link or the initial password, then the own password, then the authenticator (workflows 3
//! and 4).

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use doorward_core::ask::{Enveloped, GivenPassword, Verdict};
use doorward_core::audit::Deny;
use doorward_core::identity::attempt::Admission;
use doorward_core::identity::decide::enrol::{self, Begun};
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::decide::password_change::{Facts, password_change};
use doorward_core::identity::enrolment::{EnrolmentId, Seed};
use doorward_core::identity::net::source_group;
use doorward_core::identity::password::Rule;
use doorward_core::identity::person::{Kind, Person};
use doorward_core::identity::policy::Effective;
use doorward_core::identity::totp::Parameters;
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;

use super::sessions::{Found, Session, Stage};
use super::sign_in::{CodeRefusal, Entered, origin_in};
use super::{Browser, Token, recovery};
use crate::book::{CommitError, Load, Snapshot};
use crate::fault::Fault;
use crate::gate::facts::{NotOpened, OpenedPassword, seed_place};
use crate::gate::login::batch_of;
use crate::gate::{Connection, Gate, Origin, effective, link_hash, random_u64};
use crate::hashing::SourceKey;
use crate::metrics;
use crate::vault::Label;

/// A seed just made. It is shown this once (T11).
#[derive(Debug)]
pub struct ShownSeed {
    /// The `otpauth` URI, for the QR code.
    pub uri: Secret<String>,
    /// Base32 without padding, to be typed.
    pub base32: Secret<String>,
    /// Digits of its codes.
    pub digits: u8,
    /// Length of a time step, in seconds.
    pub period_s: u8,
}

/// What beginning an enrolment came to.
#[derive(Debug)]
pub enum Enrolling {
    /// The seed, to be shown once.
    Shown(ShownSeed),
    /// The initial password must be changed first (P11).
    ChangeFirst,
    /// No, and why; whoever asks has given the right password.
    Refused(Deny),
    /// Nobody is registering in this browser: back to the beginning.
    Nowhere,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// What a confirming code came to.
#[derive(Debug)]
pub enum Confirmed {
    /// Registered, and signed in.
    In {
        /// The new token, for the cookie (S6).
        token: Token,
        /// What they are.
        kind: Kind,
        /// To be shown this once; empty where the policy gives none (T16).
        recovery: Vec<Secret<String>>,
    },
    /// The code was not right; another may be sent.
    CodeRefused(CodeRefusal),
    /// The enrolment is over, by time or by wrong codes: begin anew with another seed.
    Over,
    /// No, and why.
    Refused(Deny),
    /// Nobody is registering in this browser: back to the beginning.
    Nowhere,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// What a new password in place of an initial one came to. A token is a new one, for the cookie.
#[derive(Debug)]
pub enum Chosen {
    /// Set; an authenticator is to be registered next.
    Register(Token),
    /// Set, and signed in.
    In {
        /// The new token.
        token: Token,
        /// What they are.
        kind: Kind,
    },
    /// It breaks a rule.
    Rule(Rule),
    /// It could not be read: to be sent again.
    Unreadable,
    /// No: the initial password has expired, or the person may not come in any more.
    Refused,
    /// Nobody is to change a password in this browser: back to the beginning.
    Nowhere,
    /// The key of the envelope is not held any more; nothing was counted.
    ChallengeNeeded,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

impl Gate {
    /// Decides a setup link with user id and password. An unknown, used, expired or revoked link and a wrong password
    /// look alike and cost alike; wrong passwords count on the link and as at every door (K4, K8, S5).
    pub async fn link_sign_in(
        &self,
        link: &str,
        userid: &str,
        password: Enveloped,
        old: Option<&Token>,
        browser: &Browser,
    ) -> Entered {
        let connection = Arc::new(Connection::default());
        let origin = Self::portal_origin(browser, connection);
        let hash = link_hash(link);
        let password = GivenPassword::Enveloped(password);
        let verdict = self.login_with(userid, &password, None, Some(hash), &origin).await;
        self.entered(verdict, Some(hash), old, &origin, browser).await
    }

    /// Makes a new seed for somebody who is registering, pending and bound to this browser session for 15 minutes
    /// (K9). An earlier one of theirs that was not confirmed is gone.
    pub async fn begin_enrolment(&self, token: &Token, browser: &Browser) -> Enrolling {
        let Some((session, stage)) = self.registering(token) else { return Enrolling::Nowhere };
        let origin = origin_in(&session, browser);
        match self.decide_begin(token, &session, stage, &origin).await {
            Ok(enrolling) => enrolling,
            Err(fault) => Enrolling::Later(self.later(&fault, &origin)),
        }
    }

    async fn decide_begin(
        &self,
        token: &Token,
        session: &Session,
        stage: Registering,
        origin: &Origin,
    ) -> Result<Enrolling, Fault> {
        let _lock = self.person_lock(session.person).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(session.person))?;
            let Some(person) = snapshot.person.as_ref().filter(|person| !session.is_overtaken(person)) else {
                return Ok(Enrolling::Nowhere);
            };
            let (seed, clear) = self.new_seed(person, &effective(&snapshot))?;
            let shown = self.shown_seed(seed.parameters, person.userid.as_str(), &clear);
            let id = EnrolmentId::from_random(random_u64());
            let begun = Begun { seed, id, link: stage.link };
            let context = self.context(origin);
            let ruling = enrol::begin(&self.view(&snapshot), person, begun, self.settings.mail, &context);
            match self.commit(batch_of(&snapshot, ruling.record)).await {
                Ok(_) => {}
                Err(CommitError::Conflict(_)) => {
                    metrics::book_conflict();
                    continue;
                }
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
            return Ok(match ruling.result {
                Ok(()) => {
                    let stage = Stage::Registering {
                        must_change: stage.must_change,
                        link: stage.link,
                        enrolment: Some(id),
                    };
                    // Whoever signed out meanwhile has a seed that nobody can confirm.
                    if self.web.sessions.set_stage(token, stage) {
                        Enrolling::Shown(shown)
                    } else {
                        Enrolling::Nowhere
                    }
                }
                Err(Deny::InitialPassword) => Enrolling::ChangeFirst,
                Err(deny) => Enrolling::Refused(deny),
            });
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// A new sealed seed for somebody, and the clear one.
    fn new_seed(&self, person: &Person, policy: &Effective) -> Result<(Seed, Secret<Vec<u8>>), Fault> {
        let parameters = parameters_of(policy);
        let version = person.seeds + 1;
        let place = seed_place(person, version);
        let (sealed, clear) = self.vault.new_seed(&place, parameters.algorithm.seed_len())?;
        Ok((Seed { sealed, version, parameters }, clear))
    }

    /// A seed as it is shown.
    pub(super) fn shown_seed(
        &self,
        parameters: Parameters,
        userid: &str,
        clear: &Secret<Vec<u8>>,
    ) -> ShownSeed {
        let base32 = Secret::new(BASE32_NOPAD.encode(clear.expose()));
        let uri = Secret::new(parameters.uri(&self.settings.issuer, userid, base32.expose()));
        ShownSeed { uri, base32, digits: parameters.digits, period_s: parameters.period_s }
    }

    /// Decides the code that confirms an enrolment, in the browser session that began it. Nothing counts as registered
    /// before; the code is used up (T7).
    pub async fn confirm_enrolment(
        &self,
        token: &Token,
        code: &Secret<String>,
        browser: &Browser,
    ) -> Confirmed {
        let Some((session, stage)) = self.registering(token) else { return Confirmed::Nowhere };
        let Some(id) = stage.enrolment else { return Confirmed::Over };
        let origin = origin_in(&session, browser);
        let (result, recovery) = match self.decide_confirm(&session, id, code, &origin).await {
            Ok(decided) => decided,
            Err(fault) => return Confirmed::Later(self.later(&fault, &origin)),
        };
        match result {
            Ok(()) => {
                let now = self.clock.now();
                let stage = Stage::SignedIn { factor_at: Some(now.mono) };
                match self.web.sessions.advance(token, stage, now) {
                    Ok(Some(token)) => Confirmed::In { token, kind: session.kind, recovery },
                    // Registered all the same: the next sign-in asks for a code.
                    Ok(None) => Confirmed::Nowhere,
                    Err(fault) => Confirmed::Later(self.later(&fault, &origin)),
                }
            }
            Err(Denied::Over) => Confirmed::Over,
            Err(Denied::Code(refusal)) => Confirmed::CodeRefused(refusal),
            Err(Denied::For(deny)) => {
                self.dismiss(token, Deny::SessionEnded, browser).await;
                Confirmed::Refused(deny)
            }
        }
    }

    async fn decide_confirm(
        &self,
        session: &Session,
        id: EnrolmentId,
        code: &Secret<String>,
        origin: &Origin,
    ) -> Result<(Result<(), Denied>, Vec<Secret<String>>), Fault> {
        let _lock = self.person_lock(session.person).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(session.person))?;
            let Some(person) = &snapshot.person else { return Err(gone(session)) };
            if session.is_overtaken(person) {
                return Ok((Err(Denied::Over), Vec::new()));
            }
            let context = self.context(origin);
            let offset = match person.authenticator.enrolling(id, context.at) {
                Some(seed) => self.match_code(person, seed, 0, code, context.at)?,
                None => None,
            };
            let codes = match offset {
                Some(_) if effective(&snapshot).recovery_codes => {
                    Some(recovery::make(&*self.vault, person.id, context.at)?)
                }
                Some(_) | None => None,
            };
            let (shown, kept) = codes.map(|made| (made.shown, made.kept)).unzip();
            let ruling = enrol::confirm(&self.view(&snapshot), person, id, offset, kept, &context);
            let result = ruling.result.map_err(|deny| {
                let over = person.after(&ruling.record).authenticator.enrolling(id, context.at).is_none();
                Denied::of(deny, over)
            });
            match self.commit(batch_of(&snapshot, ruling.record)).await {
                Ok(_) if result.is_ok() => {
                    self.enter_live(person, origin, true, None);
                    return Ok((result, shown.unwrap_or_default()));
                }
                Ok(_) => return Ok((result, Vec::new())),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// Sets the own password in place of the initial one, which was given right in this very session, a few minutes
    /// ago (P11). Whatever sets the initial password anew ends the session.
    pub async fn choose_password(&self, token: &Token, new: &Enveloped, browser: &Browser) -> Chosen {
        let Found::Here(session) = self.web.sessions.find(token, self.clock.now(), true) else {
            return Chosen::Nowhere;
        };
        let next = match session.stage {
            Stage::Registering { must_change: true, link, .. } => {
                Stage::Registering { must_change: false, link, enrolment: None }
            }
            Stage::Changing { factor_at } => Stage::SignedIn { factor_at },
            Stage::Registering { must_change: false, .. } | Stage::CodeDue | Stage::SignedIn { .. } => {
                return Chosen::Nowhere;
            }
        };
        let origin = origin_in(&session, browser);
        let given = GivenPassword::Enveloped(new.clone());
        let opened = match self.open_given(&given, Label::Portal) {
            Ok(opened) => opened,
            Err(NotOpened::ChallengeNeeded) => return Chosen::ChallengeNeeded,
            Err(NotOpened::Fault(fault)) => return Chosen::Later(self.later(&fault, &origin)),
        };
        let decided = self.decide_choice(&session, &opened, &origin).await;
        match decided {
            Ok(Verdict::PasswordChanged { .. }) => self.chosen(token, next, &session, &origin),
            Ok(Verdict::PasswordIssue { .. }) if opened.opened != Opened::Good => Chosen::Unreadable,
            Ok(Verdict::PasswordIssue { reason }) => match Rule::from_id(reason) {
                Some(Rule::PresentWrong) | None => {
                    self.dismiss(token, Deny::SessionEnded, browser).await;
                    Chosen::Refused
                }
                Some(rule) => Chosen::Rule(rule),
            },
            // A change of the password is answered by none of the rest.
            Ok(_) => Chosen::Refused,
            Err(fault) => {
                if opened.opened != Opened::Replayed {
                    self.forget_given(&given);
                }
                Chosen::Later(self.later(&fault, &origin))
            }
        }
    }

    fn chosen(&self, token: &Token, next: Stage, session: &Session, origin: &Origin) -> Chosen {
        match self.store.load(&Load::Person(session.person)) {
            Ok(snapshot) => {
                let password = snapshot.person.as_ref().map(|person| person.password.phc());
                password.into_iter().for_each(|password| self.web.sessions.stands_on(token, password));
            }
            Err(fault) => return Chosen::Later(self.later(&fault, origin)),
        }
        let is_in = matches!(next, Stage::SignedIn { .. });
        match self.web.sessions.advance(token, next, self.clock.now()) {
            Ok(Some(token)) if is_in => Chosen::In { token, kind: session.kind },
            Ok(Some(token)) => Chosen::Register(token),
            Ok(None) => Chosen::Nowhere,
            Err(fault) => Chosen::Later(self.later(&fault, origin)),
        }
    }

    async fn decide_choice(
        &self,
        session: &Session,
        opened: &OpenedPassword,
        origin: &Origin,
    ) -> Result<Verdict, Fault> {
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(session.person))?;
            let Some(person) = &snapshot.person else { return Err(gone(session)) };
            let new = self.hash_choice(opened, person, &snapshot, origin).await?;
            let _lock = self.person_lock(session.person).await;
            if session.connection.is_ended() || session.is_overtaken(person) {
                return Ok(Verdict::PasswordIssue { reason: Rule::PresentWrong.id() });
            }
            let facts = Facts {
                admission: Admission::Go,
                opened: opened.opened,
                padding: Some(doorward_core::ask::Padding::OaepSha256),
                present_matches: true,
                new,
            };
            let decision = password_change(&self.view(&snapshot), person, &facts, &self.context(origin));
            match self.commit(batch_of(&snapshot, decision.record)).await {
                Ok(_) => return Ok(decision.verdict),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// The hash of a new password, if it keeps the rules and is not the present one.
    async fn hash_choice(
        &self,
        opened: &OpenedPassword,
        person: &Person,
        snapshot: &Snapshot,
        origin: &Origin,
    ) -> Result<Result<doorward_core::identity::person::Phc, Rule>, Fault> {
        if opened.opened != Opened::Good {
            return Ok(Err(Rule::PresentWrong)); // the reason is another one, and it is written down
        }
        if let Err(rule) = self.check_new(&opened.normal, person, snapshot) {
            return Ok(Err(rule));
        }
        let source = source_group(origin.source);
        if self.verify(&opened.normal, source, Some(person.password.phc())).await?.matches {
            return Ok(Err(Rule::SameAsPresent));
        }
        Ok(Ok(self.hash(&opened.normal, SourceKey::from(source)).await?))
    }

    fn registering(&self, token: &Token) -> Option<(Box<Session>, Registering)> {
        let Found::Here(session) = self.web.sessions.find(token, self.clock.now(), true) else { return None };
        let stage = match session.stage {
            Stage::Registering { must_change, link, enrolment } => {
                Registering { must_change, link, enrolment }
            }
            Stage::CodeDue | Stage::Changing { .. } | Stage::SignedIn { .. } => return None,
        };
        Some((session, stage))
    }
}

/// [`Stage::Registering`], taken out.
#[derive(Clone, Copy)]
struct Registering {
    must_change: bool,
    link: Option<doorward_core::identity::link::LinkHash>,
    enrolment: Option<EnrolmentId>,
}

/// Why a confirming code did not register anything.
enum Denied {
    Over,
    Code(CodeRefusal),
    For(Deny),
}

impl Denied {
    fn of(deny: Deny, over: bool) -> Self {
        let of_code = [Deny::WrongCode, Deny::UsedCode, Deny::ClockSuspect].contains(&deny);
        if deny == Deny::EnrolmentEnded || (of_code && over) {
            Self::Over
        } else if of_code {
            Self::Code(CodeRefusal::of(Some(deny)))
        } else {
            Self::For(deny)
        }
    }
}

/// What a new authenticator is made with.
pub(super) fn parameters_of(policy: &Effective) -> Parameters {
    Parameters { algorithm: policy.totp_algorithm, digits: policy.totp_digits, ..Parameters::default() }
}

fn gone(session: &Session) -> Fault {
    Fault::Book(format!("{} has gone", session.person))
}
