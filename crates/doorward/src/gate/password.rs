//! Somebody changes the own password.

use doorward_core::ask::{GivenPassword, Padding, Verdict};
use doorward_core::id::PersonId;
use doorward_core::identity::attempt::Admission;
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::decide::password_change::{Facts, password_change};
use doorward_core::identity::net::source_group;
use doorward_core::identity::password::{self, Against, Rule};
use doorward_core::identity::person::{Person, Phc};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::Mono;

use super::attempts::{Settled, Ticket, Who};
use super::facts::{NotOpened, OpenedPassword};
use super::login::{batch_of, with_changes};
use super::{Gate, Origin, effective};
use crate::book::{CommitError, Load, Snapshot};
use crate::fault::Fault;
use crate::hashing::SourceKey;
use crate::metrics;
use crate::vault::Label;

impl Gate {
    /// Decides a change of the own password; the present one goes through the attempt gate like any other (S5).
    pub(super) async fn change_password(
        &self,
        id: PersonId,
        present: &GivenPassword,
        new: &GivenPassword,
        origin: &Origin,
    ) -> Verdict {
        let (padding, until) = (weaker(present.padding(), new.padding()), self.decided_until());
        let opened = self.open_both(present, new);
        let given = [present, new];
        let (present, new) = match opened {
            Ok(opened) => opened,
            Err(NotOpened::ChallengeNeeded) => return Verdict::ChallengeNeeded,
            Err(NotOpened::Fault(fault)) => return self.fault(&fault, origin),
        };
        let fresh = [present.opened, new.opened].map(|opened| opened != Opened::Replayed);
        let opened = worse(present.opened, new.opened);
        let new_too_long = present.opened == Opened::Good && new.too_long;
        let (present, new) = (present.normal, new.normal);
        let change = Change { id, present, new, new_too_long, opened, padding, until };
        match self.decide_change(&change, origin).await {
            Ok(verdict) => verdict,
            Err(fault) => {
                given
                    .into_iter()
                    .zip(fresh)
                    .filter(|(_, fresh)| *fresh)
                    .for_each(|(g, _)| self.forget_given(g));
                self.fault(&fault, origin)
            }
        }
    }

    /// Opens both ciphertexts, or neither counts as seen.
    pub(super) fn open_both(
        &self,
        present: &GivenPassword,
        new: &GivenPassword,
    ) -> Result<(OpenedPassword, OpenedPassword), NotOpened> {
        let first = self.open_given(present, Label::WebSocket)?;
        match self.open_given(new, Label::WebSocket) {
            Ok(second) => Ok((first, second)),
            Err(error) => {
                if first.opened != Opened::Replayed {
                    self.forget_given(present);
                }
                Err(error)
            }
        }
    }

    async fn decide_change(&self, change: &Change, origin: &Origin) -> Result<Verdict, Fault> {
        let source = source_group(origin.source);
        let snapshot = self.store.load(&Load::Person(change.id))?;
        let policy = effective(&snapshot);
        let now = || self.clock.now().wall;
        let admitted = self.attempts.admit(Who::Person(change.id), source, &policy, now).await;
        let (ticket, admission) = match admitted {
            Ok(ticket) => (Some(ticket), Admission::Go),
            Err(Admission::Wait) => return Err(Fault::Busy("attempts of the same source")),
            Err(refused) => (None, refused),
        };
        if ticket.is_none() {
            self.hashes.pretend(SourceKey::from(origin.source)).await?;
        }
        let mut settled = None;
        let decided = self.decide_admitted(change, origin, (ticket, admission), &mut settled).await;
        // Wherever it failed: what came to no decision is not counted.
        if let (Err(_), Some(settled)) = (&decided, settled) {
            settled.undo();
        }
        decided
    }

    async fn decide_admitted<'t>(
        &self,
        change: &Change,
        origin: &Origin,
        (mut ticket, admission): (Option<Ticket<'t>>, Admission),
        settled: &mut Option<Settled<'t>>,
    ) -> Result<Verdict, Fault> {
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(change.id))?;
            let Some(person) = &snapshot.person else {
                return Err(Fault::Book(format!("{} has gone", change.id)));
            };
            let facts = match admission {
                Admission::Go => self.facts(change, person, &snapshot, origin).await?,
                Admission::Wait | Admission::BackedOff(_) | Admission::PersonLimit => {
                    change.without_facts(admission)
                }
            };
            let _lock = self.person_lock(change.id).await;
            let decision = password_change(&self.view(&snapshot), person, &facts, &self.context(origin));
            if let Some(ticket) = ticket.take() {
                *settled = Some(ticket.settle(decision.settle, &effective(&snapshot), self.clock.now().wall));
            }
            let record = with_changes(decision.record, settled.as_ref().and_then(Settled::change));
            self.in_time(change.until)?;
            match self.commit(batch_of(&snapshot, record)).await {
                Ok(_) => return Ok(decision.verdict),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    async fn facts(
        &self,
        change: &Change,
        person: &Person,
        snapshot: &Snapshot,
        origin: &Origin,
    ) -> Result<Facts, Fault> {
        let source = source_group(origin.source);
        let outcome = self.verify(&change.present, source, Some(person.password.phc())).await?;
        let new = match self.check_new(&change.new, person, snapshot) {
            _ if outcome.matches && change.new_too_long => Err(Rule::TooLong),
            _ if !outcome.matches || change.opened != Opened::Good => Err(Rule::PresentWrong),
            Ok(()) if change.new.expose() == change.present.expose() => Err(Rule::SameAsPresent),
            Ok(()) => Ok(self.hash(&change.new, SourceKey::from(source)).await?),
            Err(rule) => Err(rule),
        };
        Ok(Facts {
            admission: Admission::Go,
            opened: change.opened,
            padding: change.padding,
            present_matches: outcome.matches,
            new,
        })
    }

    /// Holds a new password against the rules.
    pub(super) fn check_new(
        &self,
        normal: &Secret<String>,
        person: &Person,
        snapshot: &Snapshot,
    ) -> Result<(), Rule> {
        let policy = effective(snapshot);
        let against = Against {
            chars_min: person.password_chars_min(&policy),
            bytes_max: self.settings.password_bytes_max,
            userid: &person.userid,
            firm: snapshot.firm.as_ref().map(|firm| (&firm.code, firm.name.as_str())),
            products: &self.settings.product_names,
        };
        password::check(normal.expose(), &against, &|folded| self.breached.holds(folded))
    }

    /// Hashes a normalised password.
    pub(super) async fn hash(&self, normal: &Secret<String>, source: SourceKey) -> Result<Phc, Fault> {
        let password = Secret::new(normal.expose().as_bytes().to_vec());
        Ok(Phc(self.hashes.hash(source, password).await?.to_string()))
    }
}

/// A change on its way to a decision.
struct Change {
    id: PersonId,
    present: Secret<String>,
    new: Secret<String>,
    new_too_long: bool,
    opened: Opened,
    padding: Option<Padding>,
    /// Until when it is done, or not at all.
    until: Mono,
}

impl Change {
    fn without_facts(&self, admission: Admission) -> Facts {
        Facts {
            admission,
            opened: self.opened,
            padding: self.padding,
            present_matches: false,
            new: Err(Rule::PresentWrong),
        }
    }
}

/// The padding that a policy is more likely to refuse; `None` where neither was encrypted.
fn weaker(one: Option<Padding>, other: Option<Padding>) -> Option<Padding> {
    one.into_iter().chain(other).min()
}

const fn worse(one: Opened, other: Opened) -> Opened {
    match (one, other) {
        (Opened::Bad, _) | (_, Opened::Bad) => Opened::Bad,
        (Opened::Replayed, _) | (_, Opened::Replayed) => Opened::Replayed,
        (Opened::Good, Opened::Good) => Opened::Good,
    }
}
