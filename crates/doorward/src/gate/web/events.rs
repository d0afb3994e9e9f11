//! Events and logon attempts as the console shows them: an administrator's own firm's, all for the desk. Lists go both
//! ways by number, and what came since can be asked for, so that a page stays as it is by itself.

use doorward_core::audit::{Door, Entry, Event, Outcome};
use doorward_core::id::{FirmCode, PersonId, SessionId};
use doorward_core::identity::person::{Kind, Right};
use doorward_core::time::Wall;

use super::Asker;
use super::explain::{EntryView, is_attempt};
use super::serving::Unserved;
use crate::book::{AuditFilter, Load};
use crate::fault::Fault;
use crate::gate::Gate;

/// Most entries of one page.
pub const EVENTS_MAX: usize = 200;
/// Entries that are read at once where few of them may be meant.
const STRETCH: usize = 200;
/// Stretches that are read for one page, at most; then it goes on with the next request.
const STRETCHES_MAX: usize = 10;

/// Which events to list; what is absent does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventQuery {
    /// Of this firm: for the desk; an administrator sees the own one's whatever stands here.
    pub firm: Option<FirmCode>,
    /// By this person or on them.
    pub person: Option<PersonId>,
    /// By whoever has this user name or on them.
    pub userid: Option<String>,
    /// That concern this FIX session.
    pub session: Option<SessionId>,
    /// Of this event.
    pub event: Option<Event>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// That came in at this door.
    pub door: Option<Door>,
    /// Not before.
    pub since: Option<Wall>,
    /// Before.
    pub until: Option<Wall>,
    /// Only attempts to come in or to prove something.
    pub attempts: bool,
}

/// From where on a list is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Start {
    /// From the newest on.
    #[default]
    Newest,
    /// What is older than the entry of this number.
    Before(u64),
    /// What is newer than it: the next ones.
    After(u64),
}

/// A page of events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventPage {
    /// Newest first.
    pub items: Vec<EntryView>,
    /// From before which number on there may be more; `None`: there is not.
    pub older: Option<u64>,
    /// From behind which number on there may be newer ones, now or later.
    pub newer: u64,
    /// Whether newer ones are there already.
    pub has_newer: bool,
}

impl Gate {
    /// Events by number. Blocks for the look-up.
    pub fn events(
        &self,
        asker: &Asker,
        query: &EventQuery,
        start: Start,
        limit: usize,
    ) -> Result<EventPage, Unserved> {
        let filter = self.event_filter(asker, query)?;
        let limit = limit.clamp(1, EVENTS_MAX);
        let head = self.store.head().no;
        let page = match start {
            Start::Newest => self.downwards(&filter, query.attempts, None, limit)?,
            Start::Before(no) => self.downwards(&filter, query.attempts, Some(no), limit)?,
            Start::After(no) => self.upwards(&filter, query.attempts, no, limit)?,
        };
        let first = page.entries.first().map(|(no, _)| *no);
        let (older, newer, has_newer) = match start {
            // The head was read first: what came meanwhile is told with the next request, if it is not here.
            Start::Newest => (page.goes_on, first.unwrap_or(0).max(head), false),
            Start::Before(no) => (page.goes_on, first.unwrap_or(no.saturating_sub(1)), true),
            Start::After(no) => {
                let last = page.entries.last().map_or(no.saturating_add(1), |(no, _)| *no);
                (Some(last), page.goes_on.unwrap_or(page.seen.max(no).max(head)), page.goes_on.is_some())
            }
        };
        let items = page.entries.into_iter().map(|(no, entry)| EntryView::of(no, entry)).collect();
        Ok(EventPage { items, older, newer, has_newer })
    }

    /// One event with its checks; of another firm there is none (Q1).
    pub fn event(&self, asker: &Asker, no: u64) -> Result<EntryView, Unserved> {
        let filter = self.event_filter(asker, &EventQuery::default())?;
        let found = self.store.audit_after(&filter, no.saturating_sub(1), 1)?;
        let found = found.into_iter().find(|(found, _)| *found == no);
        found.map(|(no, entry)| EntryView::of(no, entry)).ok_or(Unserved::NotFound)
    }

    /// What the asker may see of what was asked for; foreign people and sessions are not found (Q1).
    fn event_filter(&self, asker: &Asker, query: &EventQuery) -> Result<AuditFilter, Unserved> {
        let firm = match asker.kind {
            Kind::Desk => query.firm.clone(),
            Kind::Administrator | Kind::Trader | Kind::Service => {
                self.may_look(asker, Kind::Trader, asker.firm.as_ref(), Right::ViewAudit)?;
                let own = asker.firm.clone();
                if query.firm.is_some() && query.firm != own {
                    return Err(Unserved::NotFound);
                }
                if let Some(id) = query.person {
                    let person = self.store.load(&Load::Person(id))?.person;
                    person.filter(|person| person.firm == own).ok_or(Unserved::NotFound)?;
                }
                if let Some(id) = query.session {
                    let session = self.store.load(&Load::FixSession(id))?.session;
                    session
                        .filter(|session| Some(&session.firm) == own.as_ref())
                        .ok_or(Unserved::NotFound)?;
                }
                own
            }
        };
        Ok(AuditFilter {
            person: query.person,
            userid: query.userid.clone().filter(|text| !text.trim().is_empty()),
            firm,
            session: query.session,
            event: query.event,
            outcome: query.outcome,
            door: query.door,
            attempt: None,
            since: query.since,
            until: query.until,
        })
    }

    fn downwards(
        &self,
        filter: &AuditFilter,
        attempts: bool,
        mut before: Option<u64>,
        limit: usize,
    ) -> Result<Walked, Fault> {
        let mut walked = Walked::default();
        for _ in 0..STRETCHES_MAX {
            let size = if attempts { STRETCH } else { limit + 1 };
            let stretch = self.store.audit(filter, before, size)?;
            let is_last = stretch.len() < size;
            for (no, entry) in stretch {
                if walked.entries.len() == limit {
                    walked.goes_on = before;
                    return Ok(walked);
                }
                before = Some(no);
                if !attempts || is_attempt(&entry) {
                    walked.entries.push((no, entry));
                }
            }
            if is_last {
                return Ok(walked);
            }
        }
        walked.goes_on = before;
        Ok(walked)
    }

    fn upwards(
        &self,
        filter: &AuditFilter,
        attempts: bool,
        mut after: u64,
        limit: usize,
    ) -> Result<Walked, Fault> {
        let mut walked = Walked::default();
        'walk: for _ in 0..STRETCHES_MAX {
            let size = if attempts { STRETCH } else { limit + 1 };
            let stretch = self.store.audit_after(filter, after, size)?;
            let is_last = stretch.len() < size;
            for (no, entry) in stretch {
                if walked.entries.len() == limit {
                    walked.goes_on = Some(after);
                    break 'walk;
                }
                walked.seen = no;
                after = no;
                if !attempts || is_attempt(&entry) {
                    walked.entries.push((no, entry));
                }
            }
            walked.goes_on = (!is_last).then_some(after);
            if is_last {
                break 'walk;
            }
        }
        walked.entries.reverse();
        Ok(walked)
    }
}

/// Entries that were found, newest first.
#[derive(Default)]
struct Walked {
    entries: Vec<(u64, Entry)>,
    /// The highest number that was looked at.
    seen: u64,
    /// From where it goes on in the same direction; `None`: there is no more.
    goes_on: Option<u64>,
}
