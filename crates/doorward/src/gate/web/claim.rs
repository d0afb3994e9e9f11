//! The first start: without an operator of the desk the node prints a claim link, by which the first one makes
//! themselves (S11, workflow 0); and an operator who has lost everything is recovered at the machine.

use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::ask::{Enveloped, GivenPassword, Granted};
use doorward_core::audit::{Actor, Context, Deny, Entry, Event, Record};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::decide::claim::{self, NewOperator};
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::decide::{Misuse, Reason, person};
use doorward_core::identity::enrolment::Seed;
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::net::source_group;
use doorward_core::identity::password::Rule;
use doorward_core::identity::person::{Kind, Password, Person, Phc, Profile};
use doorward_core::identity::policy::{AuthSystem, Effective};
use doorward_core::secret::Secret;
use doorward_core::time::Mono;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq as _;

use super::links::LinkToken;
use super::register::{Confirmed, ShownSeed, parameters_of};
use super::sessions::Stage;
use super::sign_in::CodeRefusal;
use super::{Browser, Token, recovery};
use crate::book::{Batch, CommitError, Expect, Load};
use crate::fault::Fault;
use crate::gate::admin::{NewPassword, Refused};
use crate::gate::facts::drafted;
use crate::gate::facts::{NotOpened, seed_place_of};
use crate::gate::{Connection, Gate, Origin, effective, expect_person, link_hash, random_u64};
use crate::hashing::SourceKey;
use crate::vault::Label;

/// For how long the link of a start works.
const CLAIM_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long the steps after the first one may take (K5).
const STEPS_MAX: Duration = Duration::from_secs(15 * 60);
/// The wrong code after which there is another seed.
const WRONG_MAX: u8 = 5;

/// The claim of this start, in memory alone: nothing is kept before the confirming code.
#[derive(Default)]
pub(in crate::gate) struct Claim(tokio::sync::Mutex<Option<Open>>);

/// A claim that can be made.
struct Open {
    link: LinkHash,
    until: Mono,
    pending: Option<Pending>,
}

/// An operator before the confirming code.
struct Pending {
    visitor: [u8; 32],
    new: NewOperator,
    until: Mono,
    wrong: u8,
}

/// The first operator, as the form has them.
#[derive(Debug)]
pub struct ClaimGiven<'a> {
    /// What was behind the `#` of the link.
    pub token: &'a str,
    /// The name to sign in with.
    pub userid: &'a str,
    /// Where mail goes; empty: nowhere.
    pub email: &'a str,
    /// The password.
    pub password: Enveloped,
}

/// What the first step of a claim came to.
#[derive(Debug)]
pub enum Claimed {
    /// The seed, to be shown once; the next step is its code.
    Shown(ShownSeed),
    /// The link is none, is over, or was used.
    NoLink,
    /// A field cannot be so.
    Misuse(Misuse),
    /// The password breaks a rule.
    Rule(Rule),
    /// The password could not be read: to be sent again.
    Unreadable,
    /// The key of the envelope is not held any more.
    ChallengeNeeded,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// An operator who was recovered: all of it is shown once, at the machine.
#[derive(Debug)]
pub struct Recovered {
    /// Who.
    pub person: Person,
    /// The initial password.
    pub password: Secret<String>,
    /// The setup link; without a portal's address only what follows its host.
    pub link: Secret<String>,
}

impl Gate {
    /// Opens the claim of this start; the link to be printed. `None` where the desk has an operator.
    pub async fn open_claim(&self) -> Result<Option<Secret<String>>, Fault> {
        if self.desk_exists()? {
            return Ok(None);
        }
        let token = LinkToken::random(&*self.vault)?;
        let until = self.clock.now().mono + CLAIM_MAX;
        *self.web.claim.0.lock().await = Some(Open { link: token.hash(), until, pending: None });
        let portal = self.settings.portal_url.as_deref().unwrap_or_default().trim_end_matches('/');
        Ok(Some(Secret::new(format!("{portal}/claim#{}", token.secret().expose()))))
    }

    /// The first step: name, address and password. `visitor` is the cookie, in whose browser alone the second step can
    /// be made.
    pub async fn claim(&self, visitor: &Token, given: ClaimGiven<'_>, browser: &Browser) -> Claimed {
        let origin = Self::portal_origin(browser, Arc::new(Connection::default()));
        let mut claim = self.web.claim.0.lock().await;
        let now = self.clock.now().mono;
        let link = link_hash(given.token);
        let is_it = |open: &&mut Open| now < open.until && bool::from(open.link.0.ct_eq(&link.0));
        let Some(open) = claim.as_mut().filter(is_it) else {
            drop(claim);
            self.refuse_claim(&origin).await;
            return Claimed::NoLink;
        };
        let password = GivenPassword::Enveloped(given.password.clone());
        match self.begin_claim(&given, &password, &origin).await {
            Ok((new, shown)) => {
                let (visitor, until) = (visitor_of(visitor), now + STEPS_MAX);
                open.pending = Some(Pending { visitor, new, until, wrong: 0 });
                Claimed::Shown(shown)
            }
            Err(NotBegun::Answer(claimed)) => *claimed,
            Err(NotBegun::Fault(fault)) => {
                self.forget_given(&password);
                Claimed::Later(self.later(&fault, &origin))
            }
        }
    }

    async fn begin_claim(
        &self,
        given: &ClaimGiven<'_>,
        password: &GivenPassword,
        origin: &Origin,
    ) -> Result<(NewOperator, ShownSeed), NotBegun> {
        if self.desk_exists()? {
            return Err(Claimed::NoLink.into());
        }
        let opened = match self.open_given(password, Label::Portal) {
            Ok(opened) if opened.opened == Opened::Good => opened,
            Ok(_) => return Err(Claimed::Unreadable.into()),
            Err(NotOpened::ChallengeNeeded) => return Err(Claimed::ChallengeNeeded.into()),
            Err(NotOpened::Fault(fault)) => return Err(fault.into()),
        };
        let snapshot = self.store.load(&Load::Venue)?;
        let policy = effective(&snapshot);
        let id = PersonId::from_random(random_u64());
        let draft = self.draft_operator(id, given, &policy, &self.context(origin))?;
        self.check_new(&opened.normal, &draft, &snapshot).map_err(Claimed::Rule)?;
        let phc = self.hash(&opened.normal, SourceKey::from(source_group(origin.source))).await?;
        let (seed, shown) = self.claim_seed(id, 1, draft.userid.as_str(), &policy)?;
        let Person { userid, profile, .. } = draft;
        Ok((NewOperator { id, userid, email: profile.email, phc, seed }, shown))
    }

    /// The operator as they would be, checked like anybody who is added.
    fn draft_operator(
        &self,
        id: PersonId,
        given: &ClaimGiven<'_>,
        policy: &Effective,
        context: &Context,
    ) -> Result<Person, NotBegun> {
        let invalid = |field, text: String| NotBegun::from(Claimed::Misuse(Misuse::invalid(field, text)));
        let userid = UserId::parse(given.userid).map_err(|why| invalid("userid", why.to_string()))?;
        if self.store.load(&Load::UserId(userid.clone()))?.person.is_some() {
            return Err(invalid("userid", format!("{userid}: somebody has this name")));
        }
        let email = Some(given.email.trim().to_owned()).filter(|email| !email.is_empty());
        let new = person::New {
            id,
            userid,
            kind: Kind::Desk,
            firm: None,
            auth_system: AuthSystem::Otp,
            password: Password::Own { phc: Phc(String::new()), set_us: context.at },
            profile: Profile { email, ..Profile::default() },
        };
        let record = person::add(new, policy, Actor::Nobody, context).map_err(Claimed::Misuse)?;
        Ok(drafted(&record))
    }

    fn claim_seed(
        &self,
        id: PersonId,
        version: u32,
        userid: &str,
        policy: &Effective,
    ) -> Result<(Seed, ShownSeed), Fault> {
        let parameters = parameters_of(policy);
        let place = seed_place_of(id, None, version);
        let (sealed, clear) = self.vault.new_seed(&place, parameters.algorithm.seed_len())?;
        let shown = self.shown_seed(parameters, userid, &clear);
        Ok((Seed { sealed, version, parameters }, shown))
    }

    /// The second step: the code that makes the operator, in one record, and signs them in. After five wrong ones, or
    /// a quarter of an hour, [`Confirmed::Over`]: [`Gate::claim`] begins anew.
    pub async fn confirm_claim(
        &self,
        visitor: &Token,
        code: &Secret<String>,
        browser: &Browser,
    ) -> Confirmed {
        let connection = Arc::new(Connection::default());
        let origin = Self::portal_origin(browser, connection);
        let mut claim = self.web.claim.0.lock().await;
        let now = self.clock.now();
        let Some(open) = claim.as_mut().filter(|open| now.mono < open.until) else {
            return Confirmed::Nowhere;
        };
        let own = visitor_of(visitor);
        let Some(pending) = open.pending.as_mut().filter(|pending| bool::from(pending.visitor.ct_eq(&own)))
        else {
            return Confirmed::Nowhere;
        };
        if now.mono >= pending.until {
            open.pending = None;
            return Confirmed::Over;
        }
        match self.decide_claim(&pending.new, code, &origin).await {
            Ok(Ok(shown)) => {
                let new = pending.new.clone();
                *claim = None;
                drop(claim);
                self.claimed(new, shown, &origin, browser).await
            }
            Ok(Err(Deny::WrongCode)) => {
                pending.wrong += 1;
                if pending.wrong >= WRONG_MAX {
                    open.pending = None;
                    return Confirmed::Over;
                }
                Confirmed::CodeRefused(CodeRefusal::Wrong)
            }
            Ok(Err(Deny::ClockSuspect)) => Confirmed::CodeRefused(CodeRefusal::ClockSuspect),
            Ok(Err(deny)) => {
                *claim = None;
                Confirmed::Refused(deny)
            }
            Err(fault) => Confirmed::Later(self.later(&fault, &origin)),
        }
    }

    async fn decide_claim(
        &self,
        new: &NewOperator,
        code: &Secret<String>,
        origin: &Origin,
    ) -> Result<Result<Vec<Secret<String>>, Deny>, Fault> {
        let policy = effective(&self.store.load(&Load::Venue)?);
        let context = self.context(origin);
        let place = seed_place_of(new.id, None, new.seed.version);
        let offset = self.match_code_at(&place, &new.seed, 0, code, context.at)?;
        let made = recovery::make(&*self.vault, new.id, context.at)?;
        let shown = if policy.recovery_codes { made.shown } else { Vec::new() };
        let (exists, good) = (self.desk_exists()?, self.clock_good());
        let decided = claim::first(exists, good, new.clone(), offset, Some(made.kept), &policy, &context);
        let ruling = match decided {
            Ok(ruling) => ruling,
            // The policy became stricter since the first step.
            Err(misuse) => return Err(Fault::Book(misuse.text)),
        };
        let mut expects = Vec::new();
        if ruling.result.is_ok() {
            expects.push(Expect::NoUserId(new.userid.clone()));
        }
        match self.commit(Batch { expects, records: vec![ruling.record] }).await {
            Ok(_) => Ok(ruling.result.map(|()| shown)),
            // Somebody was given the name meanwhile.
            Err(CommitError::Conflict(_)) => Ok(Err(Deny::DeskClaimed)),
            Err(CommitError::Fault(fault)) => Err(fault),
        }
    }

    async fn claimed(
        &self,
        new: NewOperator,
        recovery: Vec<Secret<String>>,
        origin: &Origin,
        browser: &Browser,
    ) -> Confirmed {
        let (person, userid) = (new.id, new.userid);
        let who = Granted { person, userid, must_change: false, serves: false, factor_at: None };
        let stage = Stage::SignedIn { factor_at: Some(self.clock.now().mono) };
        let begun = async {
            let _lock = self.person_lock(new.id).await;
            let person = self.store.load(&Load::Person(new.id))?.person;
            if let Some(person) = &person {
                self.enter_live(person, origin, true, None);
            }
            self.begin_session(&who, stage, origin, browser).await
        };
        match begun.await {
            Ok((token, kind)) => Confirmed::In { token, kind, recovery },
            Err(fault) => Confirmed::Later(self.later(&fault, origin)),
        }
    }

    /// Whether the desk has an operator at all.
    fn desk_exists(&self) -> Result<bool, Fault> {
        Ok(!self.store.administrators(None)?.is_empty())
    }

    /// Writes down that somebody came with a claim link that is none; of many from one source only the first (Q10).
    async fn refuse_claim(&self, origin: &Origin) {
        if !self.refusals.count(source_group(origin.source), self.clock.now().mono) {
            return;
        }
        let entry = Entry::new(&self.context(origin), Event::LinkRefused, Actor::Nobody);
        let record = Record { entry: entry.refused(Deny::LinkUnknown), changes: Vec::new() };
        if let Err(error) = self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            tracing::error!(error = %crate::gate::error_text(&error), "a refusal could not be written");
        }
    }

    /// Recovers an operator of the desk, for a process of this machine: a new initial password and a setup link; the
    /// authenticator is gone, sessions end, all operators are told (S11).
    pub async fn recover_operator(
        &self,
        userid: &UserId,
        reason: &str,
        actor: Actor,
    ) -> Result<Recovered, Refused> {
        let reason = Reason::parse(reason)?;
        let present = self.person(userid)?;
        let snapshot = self.store.load(&Load::Person(present.id))?;
        let (phc, password) = self.hash_for(&NewPassword::Generated, &present, &snapshot).await?;
        let password = password.ok_or_else(|| Fault::Vault("no password was made".to_owned()))?;
        let token = self.link_token()?;
        let held = self.hold(userid).await?;
        let snapshot = self.store.load(&Load::Person(held.person.id))?;
        let context = self.local_context();
        let policy = effective(&snapshot);
        let record = claim::recover(&held.person, phc, token.hash(), &policy, &reason, actor, &context)?;
        self.commit_as_local(expect_person(&snapshot), record).await?;
        self.attempts.forget(held.person.id);
        self.end_person(held.person.id);
        let link = token.url(self.settings.portal_url.as_deref().unwrap_or_default());
        Ok(Recovered { person: self.person(userid)?, password, link })
    }
}

/// Why a claim was not begun.
enum NotBegun {
    Answer(Box<Claimed>),
    Fault(Fault),
}

impl From<Claimed> for NotBegun {
    fn from(claimed: Claimed) -> Self {
        Self::Answer(Box::new(claimed))
    }
}

impl From<Fault> for NotBegun {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn visitor_of(token: &Token) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
    hash
}
