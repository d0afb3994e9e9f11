//! Traders that programs and administrators add and change at a door.

use data_encoding::BASE32_NOPAD;
use doorward_core::ask::{
    Declined, GivenPassword, NewSecret, NewTrader, OnceShown, ShownSeed, TraderChange, Verdict,
};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::attempt::Admission;
use doorward_core::identity::decide::acting::Agent;
use doorward_core::identity::decide::add_user::{
    Made, NewPassword, NewSeed, PasswordFacts, Sets, Stepped, Wanted, add, change, firm_meant, plan_add,
    plan_change,
};
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::decide::{Settle, View};
use doorward_core::identity::enrolment::Seed;
use doorward_core::identity::net::source_group;
use doorward_core::identity::password::Rule;
use doorward_core::identity::person::Person;
use doorward_core::identity::policy::{AuthSystem, Effective};
use doorward_core::identity::totp::Parameters;
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::Mono;

use super::acting::agent;
use super::attempts::{Settled, Ticket, Who};
use super::facts::{NotOpened, OpenedPassword, seed_place_of};
use super::refusals::is_bare;
use super::{Gate, Origin, effective, expect_person, random_u64};
use crate::book::{Batch, CommitError, Expect, Load, Snapshot};
use crate::fault::Fault;
use crate::hashing::SourceKey;
use crate::metrics;
use crate::vault::Label;

/// The passwords of a change, opened.
enum OpenedSecret {
    None,
    Changed { present: OpenedPassword, new: OpenedPassword },
    Reset(OpenedPassword),
}

/// A change on its way to a decision.
struct Change<'a> {
    asked: &'a TraderChange,
    secret: OpenedSecret,
    /// Until when it is done, or not at all.
    until: Mono,
    origin: &'a Origin,
}

/// Why nothing was decided.
enum Undecided {
    ChallengeNeeded,
    Fault(Fault),
}

impl From<Fault> for Undecided {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NotOpened> for Undecided {
    fn from(not: NotOpened) -> Self {
        match not {
            NotOpened::ChallengeNeeded => Self::ChallengeNeeded,
            NotOpened::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl Gate {
    /// Adds a trader for whoever may.
    pub(super) async fn add_trader_for(&self, asked: &NewTrader, origin: &Origin) -> Verdict {
        let mut fresh = Vec::new();
        let decided = self.add_asked(asked, &mut fresh, origin).await;
        self.answer_step(decided, &fresh, origin)
    }

    /// Changes a trader for whoever may.
    pub(super) async fn change_trader_for(&self, asked: &TraderChange, origin: &Origin) -> Verdict {
        let mut fresh = Vec::new();
        let decided = self.change_asked(asked, &mut fresh, origin).await;
        self.answer_step(decided, &fresh, origin)
    }

    /// The verdict; where nothing was decided, the asker may send the very same message again: what was opened for the
    /// first time is forgotten.
    fn answer_step(
        &self,
        decided: Result<Verdict, Undecided>,
        fresh: &[&GivenPassword],
        origin: &Origin,
    ) -> Verdict {
        match decided {
            Ok(verdict) => verdict,
            Err(Undecided::ChallengeNeeded) => Verdict::ChallengeNeeded,
            Err(Undecided::Fault(fault)) => {
                fresh.iter().for_each(|given| self.forget_given(given));
                self.fault(&fault, origin)
            }
        }
    }

    async fn add_asked<'a>(
        &self,
        asked: &'a NewTrader,
        fresh: &mut Vec<&'a GivenPassword>,
        origin: &Origin,
    ) -> Result<Verdict, Undecided> {
        let until = self.decided_until();
        let asker = self.store.load(&Load::Person(asked.asker.person))?;
        let agent = agent(&asker, asked.asker)?;
        let meant = firm_meant(&agent, asked.firm.as_deref()).filter(|firm| agent.serves_firm(firm));
        let snapshot = self.store.load(&meant.map_or(Load::Venue, Load::Firm))?;
        let there = match UserId::parse(&asked.userid) {
            Ok(userid) => self.store.load(&Load::UserId(userid))?.person,
            Err(_) => None,
        };
        let policy = effective(&snapshot).settled(self.settings.mail);
        let view = View {
            person: there.as_ref(),
            firm: snapshot.firm.as_ref(),
            policy,
            clock_good: self.clock_good(),
            halted: false,
        };
        let (details, firm) = (&asked.details, asked.firm.as_deref());
        let context = self.context(origin);
        let addition = match plan_add(&agent, &asked.userid, firm, details, &view, &context) {
            Ok(addition) => addition,
            Err(refused) => return Ok(self.write_step(*refused, origin).await?),
        };
        let id = PersonId::from_random(random_u64());
        let draft = addition.draft(id, &context);
        let opened = self.open_given(&asked.password, Label::WebSocket)?;
        fresh.extend((opened.opened != Opened::Replayed).then_some(&asked.password));
        let password =
            self.new_password(&opened, asked.password.padding(), &draft, &snapshot, origin).await?;
        let seed = match details.otp {
            Some(true) => Some(self.new_seed_for(&draft, &policy)?),
            Some(false) | None => None,
        };
        // The hash took a while: the asker may not be who they were.
        let mut expects = expect_person(&asker);
        let userid = addition.userid.clone();
        expects.push(Expect::NoUserId(userid.clone()));
        expects.extend(expect_policies(&snapshot));
        let made = Made { id, password, sent_as: asked.sent_as, seed };
        let stepped = add(&agent, addition, details, made, &policy, &context);
        match self.commit_step(stepped, expects, until, origin).await {
            Ok(verdict) => Ok(verdict),
            Err(CommitError::Conflict(_)) => {
                // Somebody else added them: the same plan says so now.
                let there = self.store.load(&Load::UserId(userid))?.person;
                let view = View { person: there.as_ref(), ..view };
                match plan_add(&agent, &asked.userid, firm, details, &view, &context) {
                    Err(refused) if there.is_some() => Ok(self.write_step(*refused, origin).await?),
                    Ok(_) | Err(_) => Err(Fault::Busy("what was changed meanwhile").into()),
                }
            }
            Err(CommitError::Fault(fault)) => Err(fault.into()),
        }
    }

    async fn change_asked<'a>(
        &self,
        asked: &'a TraderChange,
        fresh: &mut Vec<&'a GivenPassword>,
        origin: &Origin,
    ) -> Result<Verdict, Undecided> {
        let (context, until) = (self.context(origin), self.decided_until());
        let asker = self.store.load(&Load::Person(asked.asker.person))?;
        let snapshot = match UserId::parse(&asked.userid) {
            Ok(userid) => self.store.load(&Load::UserId(userid))?,
            Err(_) => self.store.load(&Load::Venue)?,
        };
        let agent = agent(&asker, asked.asker)?;
        if let Err(refused) = plan_change(&agent, &wanted(asked), &self.settled_view(&snapshot), &context) {
            return Ok(self.write_step(*refused, origin).await?);
        }
        let Some(person) = &snapshot.person else {
            return Ok(Verdict::Declined(Declined::UnknownUser)); // not reached: a plan has somebody
        };
        let secret = match &asked.password {
            None => OpenedSecret::None,
            Some(NewSecret::Reset(given)) => {
                let new = self.open_given(given, Label::WebSocket)?;
                fresh.extend((new.opened != Opened::Replayed).then_some(given));
                OpenedSecret::Reset(new)
            }
            Some(NewSecret::Changed { present: first, new: second }) => {
                let (present, new) = self.open_both(first, second)?;
                fresh.extend((present.opened != Opened::Replayed).then_some(first));
                fresh.extend((new.opened != Opened::Replayed).then_some(second));
                OpenedSecret::Changed { present, new }
            }
        };
        let (ticket, admission) = match &secret {
            OpenedSecret::None | OpenedSecret::Reset(_) => (None, Admission::Go),
            OpenedSecret::Changed { .. } => {
                let (source, policy) = (source_group(origin.source), effective(&snapshot));
                let now = || self.clock.now().wall;
                match self.attempts.admit(Who::Person(person.id), source, &policy, now).await {
                    Ok(ticket) => (Some(ticket), Admission::Go),
                    Err(Admission::Wait) => return Err(Fault::Busy("attempts of the same source").into()),
                    Err(refused) => {
                        self.hashes.pretend(SourceKey::from(origin.source)).await?;
                        (None, refused)
                    }
                }
            }
        };
        let change = Change { asked, secret, until, origin };
        let mut settled = None;
        let decided = self.decide_step_on(&change, person.id, (ticket, admission), &mut settled).await;
        // Wherever it failed: what came to no decision is not counted.
        if let (Err(_), Some(settled)) = (&decided, settled) {
            settled.undo();
        }
        Ok(decided?)
    }

    /// For a step, which may show a seed: whether a setup link is needed depends on whether one can be mailed.
    fn settled_view<'a>(&self, snapshot: &'a Snapshot) -> View<'a> {
        let view = self.view(snapshot);
        View { policy: view.policy.settled(self.settings.mail), ..view }
    }

    async fn decide_step_on<'t>(
        &self,
        step: &Change<'_>,
        id: PersonId,
        (mut ticket, admission): (Option<Ticket<'t>>, Admission),
        settled: &mut Option<Settled<'t>>,
    ) -> Result<Verdict, Fault> {
        let Change { asked, until, origin, secret: _ } = step;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(person) = &snapshot.person else { return Err(Fault::Book(format!("{id} has gone"))) };
            let policy = effective(&snapshot);
            let facts = self.password_facts(step, person, &snapshot, admission).await?;
            let _lock = self.person_lock(id).await;
            let asker = self.store.load(&Load::Person(asked.asker.person))?;
            let agent: Agent<'_> = agent(&asker, asked.asker)?;
            let seed = match asked.details.otp {
                Some(true) => Some(self.new_seed_for(person, &policy)?),
                Some(false) | None => None,
            };
            let (view, context) = (self.settled_view(&snapshot), self.context(origin));
            let mut stepped = change(&agent, &wanted(asked), &view, facts.as_ref(), seed, &context);
            if let Some(ticket) = ticket.take() {
                *settled = Some(ticket.settle(stepped.settle, &policy, self.clock.now().wall));
            }
            let counted = settled.as_ref().and_then(Settled::change);
            if let Some(first) = stepped.records.first_mut() {
                first.changes.extend(counted);
            }
            let ends = stepped.records.iter().flat_map(|record| &record.changes).any(ends_what_is_open);
            let mut expects = expect_person(&snapshot);
            expects.extend(expect_person(&asker));
            if asked.details.otp.is_some() {
                expects.extend(expect_policies(&snapshot));
            }
            match self.commit_step(stepped, expects, *until, origin).await {
                Ok(verdict) => {
                    if ends {
                        self.end_person(id);
                    }
                    return Ok(verdict);
                }
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    async fn password_facts(
        &self,
        step: &Change<'_>,
        person: &Person,
        snapshot: &Snapshot,
        admission: Admission,
    ) -> Result<Option<PasswordFacts>, Fault> {
        let origin = step.origin;
        match (&step.secret, &step.asked.password) {
            (OpenedSecret::Reset(opened), Some(NewSecret::Reset(given))) => {
                let new = self.new_password(opened, given.padding(), person, snapshot, origin).await?;
                Ok(Some(PasswordFacts::Reset(new)))
            }
            (
                OpenedSecret::Changed { present: opened, new },
                Some(NewSecret::Changed { present, new: given }),
            ) => {
                let source = source_group(origin.source);
                let matches = admission == Admission::Go
                    && self.verify(&opened.normal, source, Some(person.password.phc())).await?.matches;
                let padding = given.padding();
                let facts = |hashed| PasswordFacts::Changed {
                    admission,
                    padding: present.padding(),
                    opened: opened.opened,
                    matches,
                    new: NewPassword { padding, opened: new.opened, hashed },
                };
                // Whether the new one keeps the rules is found out only where the present one proves something.
                let unproved = facts(Err(Rule::PresentWrong));
                if !unproved.is_proved(&self.view(snapshot), person, &self.context(origin)) {
                    return Ok(Some(unproved));
                }
                if new.opened == Opened::Good && new.normal.expose() == opened.normal.expose() {
                    return Ok(Some(facts(Err(Rule::SameAsPresent))));
                }
                let found = self.new_password(new, padding, person, snapshot, origin).await?;
                Ok(Some(facts(found.hashed)))
            }
            (OpenedSecret::None | OpenedSecret::Reset(_) | OpenedSecret::Changed { .. }, _) => Ok(None),
        }
    }

    /// A new password against the rules, and its hash if it keeps them.
    async fn new_password(
        &self,
        opened: &OpenedPassword,
        padding: Option<doorward_core::ask::Padding>,
        person: &Person,
        snapshot: &Snapshot,
        origin: &Origin,
    ) -> Result<NewPassword, Fault> {
        let hashed = match self.check_new(&opened.normal, person, snapshot) {
            _ if opened.too_long => Err(Rule::TooLong),
            Ok(()) if opened.opened == Opened::Good => {
                Ok(self.hash(&opened.normal, SourceKey::from(source_group(origin.source))).await?)
            }
            Ok(()) => Err(Rule::PresentWrong), // never told: the ciphertext did not open
            Err(rule) => Err(rule),
        };
        Ok(NewPassword { padding, opened: opened.opened, hashed })
    }

    fn new_seed_for(&self, person: &Person, policy: &Effective) -> Result<NewSeed, Fault> {
        let parameters = Parameters {
            algorithm: policy.totp_algorithm,
            digits: policy.totp_digits,
            ..Parameters::default()
        };
        let version = person.seeds + 1;
        let place = seed_place_of(person.id, person.firm.as_ref(), version);
        let (sealed, clear) = self.vault.new_seed(&place, parameters.algorithm.seed_len())?;
        let base32 = BASE32_NOPAD.encode(clear.expose());
        let uri = parameters.uri(&self.settings.issuer, person.userid.as_str(), &base32);
        let shown = |text: String| OnceShown::new(Secret::new(text));
        let shown = ShownSeed { base32: shown(base32), uri: shown(uri) };
        Ok(NewSeed { seed: Seed { sealed, version, parameters }, shown })
    }

    /// Writes a refusal down, which changes nobody.
    async fn write_step(&self, stepped: Stepped, origin: &Origin) -> Result<Verdict, Fault> {
        debug_assert_eq!(stepped.settle, Settle::Neutral);
        if stepped.records.is_empty() {
            return Ok(stepped.verdict);
        }
        let source = source_group(origin.source);
        self.finish_counted(stepped.verdict, stepped.records, source, origin).await
    }

    async fn commit_step(
        &self,
        stepped: Stepped,
        expects: Vec<Expect>,
        until: Mono,
        origin: &Origin,
    ) -> Result<Verdict, CommitError> {
        let Stepped { verdict, settle: _, records } = stepped;
        self.in_time(until).map_err(CommitError::Fault)?;
        if records.is_empty() {
            return Ok(verdict);
        }
        if records.iter().all(is_bare) {
            let source = source_group(origin.source);
            return self.finish_counted(verdict, records, source, origin).await.map_err(CommitError::Fault);
        }
        self.commit(Batch { expects, records }).await?;
        Ok(verdict)
    }
}

/// What a step expects where it depends on what firm and venue demand.
fn expect_policies(snapshot: &Snapshot) -> Vec<Expect> {
    let firm = snapshot.firm.as_ref().map(|firm| Expect::Firm(firm.code.clone(), firm.version));
    firm.into_iter().chain([Expect::Venue(snapshot.venue.version)]).collect()
}

/// Whether a change of somebody ends what they have open: another password, or a second factor less.
fn ends_what_is_open(change: &doorward_core::identity::change::Change) -> bool {
    use doorward_core::identity::change::Change;
    match change {
        Change::Password { .. } => true,
        Change::AuthSystem { auth_system, .. } => *auth_system == AuthSystem::Password,
        Change::Authenticator { authenticator, .. } => !authenticator.has_seed(),
        Change::VenuePolicy { .. }
        | Change::Firm { .. }
        | Change::PersonAdded { .. }
        | Change::Standing { .. }
        | Change::Profile { .. }
        | Change::KeyCodes { .. }
        | Change::Link { .. }
        | Change::Recovery { .. }
        | Change::Notices { .. }
        | Change::Tokens { .. }
        | Change::MailQueued { .. }
        | Change::MailState { .. }
        | Change::Halt { .. }
        | Change::FixSession { .. }
        | Change::SessionLock { .. }
        | Change::KeyUsed { .. }
        | Change::Stream { .. }
        | Change::Week { .. }
        | Change::Attempt { .. }
        | Change::AttemptsForgotten { .. }
        | Change::Restored { .. } => false,
    }
}

fn wanted(asked: &TraderChange) -> Wanted<'_> {
    let sets = match &asked.password {
        None => Sets::Nothing,
        Some(NewSecret::Changed { .. }) => Sets::Changed,
        Some(NewSecret::Reset(_)) => Sets::Reset,
    };
    Wanted { userid: &asked.userid, firm: asked.firm.as_deref(), sets, details: &asked.details }
}
