//! The own account: password, recovery codes, where one is signed in, what was tried in one's name.

use doorward_core::ask::{Enveloped, GivenPassword, Verdict};
use doorward_core::audit::{Deny, Door, Entry, Event};
use doorward_core::id::PersonId;
use doorward_core::identity::decide::recovery::make;
use doorward_core::identity::password::Rule;
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;

use super::explain::{EntryView, is_attempt};
use super::{Asker, Browser, recovery};
use crate::book::{AuditFilter, CommitError, Load};
use crate::fault::Fault;
use crate::gate::fix::EndOf;
use crate::gate::login::batch_of;
use crate::gate::{ConnectionNo, Gate, Seat};
use crate::metrics;

/// Entries that are read at once where few of them may be meant.
const PAGE: usize = 100;
/// Pages that are read for one list, at most; then it goes on with the next request.
const PAGES_MAX: usize = 10;

/// What a change of the own password came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordChanged {
    /// Done; so many other sessions and connections were ended.
    Done(usize),
    /// The new one breaks a rule, or the present one is wrong.
    Rule(Rule),
    /// The key of an envelope is not held any more; nothing was counted.
    ChallengeNeeded,
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// What making recovery codes anew came to.
#[derive(Debug)]
pub enum RecoveryMade {
    /// To be shown this once.
    Codes(Vec<Secret<String>>),
    /// A fresh one-time password is needed first (T14).
    Stale,
    /// No, and why.
    Refused(Deny),
    /// Nothing was decided; try again in so many milliseconds.
    Later(u32),
}

/// A stretch of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// Newest first.
    pub items: Vec<T>,
    /// From before which number on there is more; `None`: there is not.
    pub before: Option<u64>,
}

impl Gate {
    /// Changes the own password (P6). `end_others` ends all other sessions and connections of the person.
    pub async fn change_own_password(
        &self,
        asker: &Asker,
        present: Enveloped,
        new: Enveloped,
        end_others: bool,
        browser: &Browser,
    ) -> PasswordChanged {
        let origin = asker.origin(browser);
        let (present, new) = (GivenPassword::Enveloped(present), GivenPassword::Enveloped(new));
        match self.change_password(asker.person, &present, &new, &origin).await {
            Verdict::PasswordChanged { .. } if end_others => {
                PasswordChanged::Done(self.end_elsewhere(asker, browser).await)
            }
            Verdict::PasswordChanged { .. } => PasswordChanged::Done(0),
            Verdict::PasswordIssue { reason } => {
                PasswordChanged::Rule(Rule::from_id(reason).unwrap_or(Rule::PresentWrong))
            }
            Verdict::ChallengeNeeded => PasswordChanged::ChallengeNeeded,
            Verdict::Busy { retry_ms } | Verdict::TryAgainLater { retry_ms } => {
                PasswordChanged::Later(retry_ms)
            }
            // A change of the password is answered by none of the rest.
            Verdict::ChallengeKey(_)
            | Verdict::Granted(_)
            | Verdict::CodeNeeded(_)
            | Verdict::CodeRefused(_)
            | Verdict::RegistrationNeeded { .. }
            | Verdict::Verified(_)
            | Verdict::TokenKnown { .. }
            | Verdict::Person(_)
            | Verdict::StepDone(_)
            | Verdict::Declined(_)
            | Verdict::Refused => PasswordChanged::Rule(Rule::PresentWrong),
        }
    }

    /// Ends all sessions and connections of somebody but the one that asks; how many there were.
    pub async fn end_elsewhere(&self, asker: &Asker, browser: &Browser) -> usize {
        let sessions = self.end_other_sessions(asker.person, asker.session, browser).await;
        let connections = self.live.end_some(asker.person, |_, seat| !is_page(seat.door));
        self.fix.end(EndOf::Person(asker.person));
        sessions + connections
    }

    /// Where somebody is logged in apart from browsers: at the other doors, oldest first (S9).
    pub fn own_connections(&self, person: PersonId) -> Vec<(ConnectionNo, Seat)> {
        let mut seats = self.live.seats(person);
        seats.retain(|(_, seat)| !is_page(seat.door));
        seats
    }

    /// Ends one of the own connections at another door; false where there is none of that number (S9).
    pub fn end_own_connection(&self, person: PersonId, number: ConnectionNo) -> bool {
        self.live.end_some(person, |of, seat| of == number && !is_page(seat.door)) > 0
    }

    /// Makes the own recovery codes anew; the old ones are gone (T14, T16).
    pub async fn make_recovery_codes(&self, asker: &Asker, browser: &Browser) -> RecoveryMade {
        let origin = asker.origin(browser);
        let context = self.context(&origin);
        match self.decide_recovery(asker, &context).await {
            Ok(Ok(codes)) => RecoveryMade::Codes(codes),
            Ok(Err(Deny::FactorStale)) => RecoveryMade::Stale,
            Ok(Err(deny)) => RecoveryMade::Refused(deny),
            Err(fault) => RecoveryMade::Later(self.later(&fault, &origin)),
        }
    }

    async fn decide_recovery(
        &self,
        asker: &Asker,
        context: &doorward_core::audit::Context,
    ) -> Result<Result<Vec<Secret<String>>, Deny>, Fault> {
        let _lock = self.person_lock(asker.person).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(asker.person))?;
            let Some(person) = &snapshot.person else {
                return Err(Fault::Book(format!("{} has gone", asker.person)));
            };
            let made = recovery::make(&*self.vault, person.id, context.at)?;
            let ruling = make(&self.view(&snapshot), person, made.kept, asker.factor_at, context);
            match self.commit(batch_of(&snapshot, ruling.record)).await {
                Ok(_) => return Ok(ruling.result.map(|()| made.shown)),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// How many recovery codes somebody has left; `None`: none were made.
    pub fn recovery_codes_left(&self, person: PersonId) -> Result<Option<usize>, Fault> {
        let person = self.store.load(&Load::Person(person))?.person;
        Ok(person.and_then(|person| person.recovery).map(|codes| codes.unused.len()))
    }

    /// When and where somebody came in last, newest first.
    pub fn own_logins(&self, person: PersonId, limit: usize) -> Result<Vec<EntryView>, Fault> {
        let is_login = |entry: &Entry| {
            let comes_in = [
                Event::LoginGranted,
                Event::AuthenticatorConfirmed,
                Event::RecoveryCodeUsed,
                Event::LogonGranted,
            ];
            comes_in.contains(&entry.event) && entry.actor.person() == Some(person)
        };
        Ok(self.entries_of(person, None, limit, is_login)?.items)
    }

    /// What was tried in somebody's name, with every check in plain words; newest first.
    pub fn own_attempts(
        &self,
        person: PersonId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<EntryView>, Fault> {
        let is_own = |entry: &Entry| is_attempt(entry) && entry.actor.person() == Some(person);
        self.entries_of(person, before, limit, is_own)
    }

    fn entries_of(
        &self,
        person: PersonId,
        mut before: Option<u64>,
        limit: usize,
        is_meant: impl Fn(&Entry) -> bool,
    ) -> Result<Page<EntryView>, Fault> {
        let filter = AuditFilter { person: Some(person), ..AuditFilter::default() };
        let mut items: Vec<EntryView> = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.store.audit(&filter, before, PAGE)?;
            let is_last = page.len() < PAGE;
            for (no, entry) in page {
                before = Some(no);
                if is_meant(&entry) {
                    items.push(EntryView::of(no, entry));
                }
                if items.len() == limit {
                    return Ok(Page { items, before });
                }
            }
            if is_last {
                return Ok(Page { items, before: None });
            }
        }
        Ok(Page { items, before })
    }
}

/// Whether a door is that of the pages, whose connections are browser sessions.
const fn is_page(door: Door) -> bool {
    match door {
        Door::Portal | Door::Console => true,
        Door::WebSocket | Door::Fix | Door::Local | Door::Node => false,
    }
}
