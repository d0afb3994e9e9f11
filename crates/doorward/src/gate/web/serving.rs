//! A step of an administrator or operator on somebody: both are loaded as they are now, it is decided, and committed
//! only while both are so. A refusal is written down as well.

use std::collections::BTreeSet;

use doorward_core::audit::{Context, Deny, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::decide::serve::{self, Act, Denied, NotServed};
use doorward_core::identity::decide::{Misuse, View};
use doorward_core::identity::net::source_group;
use doorward_core::identity::password::Rule;
use doorward_core::identity::person::{Kind, Person, Right, Standing};
use doorward_core::limits::Limit;

use super::{Asker, Browser};
use crate::book::{Batch, CommitError, Expect, Load, Snapshot};
use crate::fault::Fault;
use crate::gate::admin::Refused;
use crate::gate::{Gate, error_text, expect_person, verdict_of};
use crate::metrics;

/// Why a step at the console was not done.
#[derive(Debug)]
pub enum Unserved {
    /// To whoever asks there is no such person, firm or thing (Q1).
    NotFound,
    /// It is not done to oneself.
    Oneself,
    /// A right is missing.
    Right(Right),
    /// It asks for a fresh one-time password first (T14).
    Stale,
    /// It may not be now, and why.
    Refused(Deny),
    /// A new password breaks a rule.
    Rule(Rule),
    /// It cannot be, and why, with the field.
    Misuse(Misuse),
    /// The key of an envelope is not held any more; nothing was done.
    ChallengeNeeded,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

impl From<Denied> for Unserved {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotFound => Self::NotFound,
            Denied::Right(right) => Self::Right(right),
            Denied::Oneself => Self::Oneself,
            Denied::Stale => Self::Stale,
        }
    }
}

impl From<Misuse> for Unserved {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Fault> for Unserved {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "a step at the console could not be done");
        let verdict = verdict_of(&fault);
        Self::Later(super::sign_in::retry_ms(&verdict))
    }
}

impl From<CommitError> for Unserved {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fault(fault) => fault.into(),
            CommitError::Conflict(what) => {
                Misuse::conflict("", format!("{what}: it was changed meanwhile; look at it again")).into()
            }
        }
    }
}

impl From<Refused> for Unserved {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Misuse(misuse)
                if misuse.kind == doorward_core::identity::decide::MisuseKind::NotFound =>
            {
                Self::NotFound
            }
            Refused::Misuse(misuse) => Self::Misuse(misuse),
            Refused::Rule(rule) => Self::Rule(rule),
            Refused::Denied(_) => Self::NotFound,
            Refused::ChallengeNeeded => Self::ChallengeNeeded,
            Refused::Fault(fault) => fault.into(),
        }
    }
}

/// Why a step was not decided.
pub(super) enum Undecided {
    NotServed(NotServed),
    Fault(Fault),
}

impl From<NotServed> for Undecided {
    fn from(not_served: NotServed) -> Self {
        Self::NotServed(not_served)
    }
}

impl From<Misuse> for Undecided {
    fn from(misuse: Misuse) -> Self {
        Self::NotServed(NotServed::Misuse(misuse))
    }
}

impl From<Fault> for Undecided {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What is known as a step is decided.
pub(super) struct Scene<'a> {
    pub(super) asker: serve::Asker<'a>,
    pub(super) target: &'a Person,
    pub(super) view: View<'a>,
    /// Nobody else could serve others afterwards. Looked up only for steps that could bring it about.
    pub(super) is_last: bool,
    pub(super) context: &'a Context,
}

/// What came of deciding a step.
pub(super) type Decided = Result<Step, Undecided>;

/// A step as it was decided.
pub(super) struct Step {
    pub(super) result: Result<(), Deny>,
    pub(super) records: Vec<Record>,
    /// Whether it ends all connections of whom it is done to.
    pub(super) ends: bool,
    /// Whether it forgets the counts of wrong passwords.
    pub(super) forgets: bool,
}

impl Step {
    /// One that leaves connections alone.
    pub(super) fn quiet(record: Record) -> Self {
        Self { result: Ok(()), records: vec![record], ends: false, forgets: false }
    }

    /// One that ends connections (S8).
    pub(super) fn ending(records: Vec<Record>) -> Self {
        Self { result: Ok(()), records, ends: true, forgets: false }
    }
}

impl Gate {
    /// Who asks, as the book has them now.
    pub(super) fn asking(&self, asker: &Asker) -> Result<Person, Unserved> {
        self.store.load(&Load::Person(asker.person))?.person.ok_or(Unserved::NotFound)
    }

    pub(super) fn asking_context(&self, asker: &Asker, browser: &Browser) -> Context {
        self.context(&asker.origin(browser))
    }

    /// Whether the asker serves people of a kind and firm and holds a right; what is only looked at is not written
    /// down.
    pub(super) fn may_look(
        &self,
        asker: &Asker,
        kind: Kind,
        firm: Option<&FirmCode>,
        right: Right,
    ) -> Result<(), Unserved> {
        let person = self.asking(asker)?;
        let asking = serve::Asker { person: &person, factor_at: asker.factor_at };
        if !asking.serves(kind, firm) {
            return Err(Unserved::NotFound);
        }
        if asking.holds(right) { Ok(()) } else { Err(Unserved::Right(right)) }
    }

    /// Does a step on somebody.
    pub(super) async fn serve_on(
        &self,
        asker: &Asker,
        id: PersonId,
        act: Act,
        browser: &Browser,
        decide: impl Fn(&Scene<'_>) -> Decided,
    ) -> Result<(), Unserved> {
        // Two steps at once may not take the last two who can serve others.
        let _last = match may_be_last(act) {
            true => Some(self.web.last.lock().await),
            false => None,
        };
        let _lock = self.person_lock(id).await;
        let context = self.asking_context(asker, browser);
        for _ in 0..Limit::ConflictRetries.max() {
            let by = self.asking(asker)?;
            let asking = serve::Asker { person: &by, factor_at: asker.factor_at };
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(target) = &snapshot.person else {
                self.write_refusal(serve::refusal(&asking, act, None, Denied::NotFound, &context)).await?;
                return Err(Unserved::NotFound);
            };
            let is_last = may_be_last(act) && self.is_last(target)?;
            let view = self.view(&snapshot);
            let scene = Scene { asker: asking, target, view, is_last, context: &context };
            let step = match decide(&scene) {
                Ok(step) => step,
                Err(Undecided::NotServed(NotServed::Denied(denied, record))) => {
                    self.write_refusal(*record).await?;
                    return Err(denied.into());
                }
                Err(Undecided::NotServed(NotServed::Misuse(misuse))) => return Err(misuse.into()),
                Err(Undecided::Fault(fault)) => return Err(fault.into()),
            };
            let Step { result, records, ends, forgets } = step;
            match self.commit(Batch { expects: expects(&snapshot, &by), records }).await {
                Ok(_) => {
                    if forgets {
                        self.attempts.forget(id);
                    }
                    if ends {
                        self.end_person(id);
                    }
                    return result.map_err(Unserved::Refused);
                }
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault.into()),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()).into())
    }

    /// Writes down a step that was not done.
    pub(super) async fn write_refusal(&self, record: Record) -> Result<(), Fault> {
        match self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            Ok(_) => Ok(()),
            Err(CommitError::Fault(fault)) => Err(fault),
            Err(error @ CommitError::Conflict(_)) => Err(Fault::Book(error_text(&error))),
        }
    }

    /// Writes down that somebody asked for a page that is not theirs at all; of many from one source there is a count
    /// (Q10).
    pub async fn not_for(&self, asker: &Asker, browser: &Browser) -> Result<(), Fault> {
        if !self.refusals.count(source_group(browser.source), self.clock.now().mono) {
            return Ok(());
        }
        let Some(person) = self.store.load(&Load::Person(asker.person))?.person else { return Ok(()) };
        let asking = serve::Asker { person: &person, factor_at: asker.factor_at };
        let context = self.asking_context(asker, browser);
        self.write_refusal(serve::refusal(&asking, Act::See, None, Denied::NotFound, &context)).await
    }

    /// Whether somebody is the last one of the firm, or of the desk, who can serve others.
    fn is_last(&self, target: &Person) -> Result<bool, Fault> {
        if !can_serve(target) {
            return Ok(false);
        }
        let all = self.store.administrators(target.firm.as_ref())?;
        Ok(!all.iter().any(|other| other.id != target.id && can_serve(other)))
    }

    /// The name of somebody, as far as the asker may hear it.
    pub(super) fn name_of(&self, id: PersonId) -> Result<Option<UserId>, Fault> {
        Ok(self.store.load(&Load::Person(id))?.person.map(|person| person.userid))
    }
}

/// Whether a step could take the last one who can serve others.
const fn may_be_last(act: Act) -> bool {
    match act {
        Act::Disable | Act::SetRights => true,
        Act::See
        | Act::Add
        | Act::Edit
        | Act::ChangeEmail
        | Act::SendLink
        | Act::ShowLink
        | Act::RevokeLink
        | Act::ResetAuthenticator
        | Act::ResetAll
        | Act::Unlock
        | Act::Enable
        | Act::RaiseAuthSystem
        | Act::LowerAuthSystem
        | Act::SetNotices => false,
    }
}

/// Whether somebody can add and serve others.
pub(super) fn can_serve(person: &Person) -> bool {
    let edits = |rights: &BTreeSet<Right>| rights.contains(&Right::EditPeople);
    match (person.standing, person.kind) {
        (Standing::Disabled, _) | (_, Kind::Trader | Kind::Service) => false,
        (Standing::Active, Kind::Desk) => true,
        (Standing::Active, Kind::Administrator) => {
            person.profile.grant.as_ref().is_some_and(|grant| edits(&grant.rights))
        }
    }
}

/// Both are as they were loaded.
fn expects(target: &Snapshot, by: &Person) -> Vec<Expect> {
    let mut expects = expect_person(target);
    if target.person.as_ref().is_none_or(|target| target.id != by.id) {
        expects.push(Expect::Person(by.id, by.version));
    }
    expects
}
