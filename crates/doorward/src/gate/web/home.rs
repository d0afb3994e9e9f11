//! What the console begins with: what waits for somebody, in numbers that cost the same however many people there are.

use doorward_core::id::FirmCode;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::person::Kind;
use doorward_core::identity::restore::Reach;

use super::Asker;
use super::people::{LinkIs, PeopleQuery, Tally};
use super::serving::{Unserved, can_serve};
use crate::book::{MailFilter, PeopleFilter};
use crate::fault::Fault;
use crate::gate::{Gate, UnsurePairs};

/// Up to how many mails are counted.
const MAILS_MAX: usize = 50;
/// Firms without an administrator that are looked at, closed ones among them.
const FIRMS_MAX: usize = 50;
/// Firms without an administrator that are named.
const UNSERVED_MAX: usize = 5;

/// What waits for an administrator or operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home {
    /// The people they serve; `None`: they have no right to see them.
    pub people: Option<PeopleHome>,
    /// Mails that did not go through; `None`: they have no right to see them.
    pub failed_mails: Option<Tally>,
    /// Emergency switches that keep out those whom they serve.
    pub halts: Vec<(HaltScope, Halt)>,
    /// All firms, for the desk.
    pub firms: Option<FirmsHome>,
    /// How far the data reach, where they were restored lately.
    pub reach: Option<Reach>,
    /// Key pairs that may not be as they were since then: all for the desk, else those of the own firm.
    pub unsure: Vec<UnsurePairs>,
    /// Nobody else could serve others.
    pub is_alone: bool,
    /// Whether mails can be sent at all.
    pub has_mail: bool,
}

/// People in numbers: for the desk the administrators of all firms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeopleHome {
    /// There is no trader yet, or to the desk no administrator.
    pub is_empty: bool,
    /// Without a registered authenticator.
    pub not_registered: Tally,
    /// Locked by wrong codes.
    pub locked: Tally,
    /// Whose setup link came to its end unused.
    pub link_expired: Tally,
    /// Never let in.
    pub never_signed_in: Tally,
}

/// Firms in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirmsHome {
    /// All.
    pub count: usize,
    /// Those that are closed.
    pub closed: usize,
    /// Some that have no administrator.
    pub unserved: Vec<FirmCode>,
}

impl Gate {
    /// What waits for whoever asks. Blocks for the look-ups.
    pub fn console_home(&self, asker: &Asker) -> Result<Home, Unserved> {
        let served = self.store.administrators(asker.firm.as_ref())?;
        let others = served.iter().any(|other| other.id != asker.person && can_serve(other));
        Ok(Home {
            people: allowed(self.people_home(asker))?,
            failed_mails: allowed(self.failed_mails(asker))?,
            halts: self.halts().into_iter().filter(|(scope, _)| self.concerns(asker, scope)).collect(),
            firms: match asker.kind {
                Kind::Desk => Some(self.firms_home()?),
                Kind::Administrator | Kind::Trader | Kind::Service => None,
            },
            is_alone: !others,
            reach: self.reach(),
            unsure: match asker.kind {
                Kind::Desk => self.unsure_pairs(None),
                Kind::Administrator | Kind::Trader | Kind::Service => {
                    asker.firm.as_ref().map(|firm| self.unsure_pairs(Some(firm))).unwrap_or_default()
                }
            },
            has_mail: self.settings.mail,
        })
    }

    fn people_home(&self, asker: &Asker) -> Result<PeopleHome, Unserved> {
        let all = PeopleQuery::default;
        let tally = |query: &PeopleQuery| self.people_tally(asker, query);
        let (kind, firm) = match asker.kind {
            Kind::Desk => (Kind::Administrator, None),
            Kind::Administrator | Kind::Trader | Kind::Service => (Kind::Trader, asker.firm.clone()),
        };
        let not_registered = tally(&PeopleQuery { not_registered: true, ..all() })?;
        let any = PeopleFilter { kind: Some(kind), firm, ..PeopleFilter::default() };
        Ok(PeopleHome {
            is_empty: self.store.people_count(&any, 1)? == 0,
            not_registered,
            locked: tally(&PeopleQuery { locked: true, ..all() })?,
            link_expired: tally(&PeopleQuery { link: Some(LinkIs::Expired), ..all() })?,
            never_signed_in: tally(&PeopleQuery { never_signed_in: true, ..all() })?,
        })
    }

    fn failed_mails(&self, asker: &Asker) -> Result<Tally, Unserved> {
        let filter = MailFilter { failed: true, ..self.mail_filter(asker)? };
        Ok(Tally::of(self.store.mails(&filter, None, MAILS_MAX + 1)?.len(), MAILS_MAX))
    }

    fn firms_home(&self) -> Result<FirmsHome, Fault> {
        let firms = self.store.firms()?;
        let unserved = self.store.firms_unserved(FIRMS_MAX)?.into_iter();
        let is_open = |code: &FirmCode| firms.iter().any(|firm| firm.code == *code && !firm.closed);
        let unserved = unserved.filter(is_open).take(UNSERVED_MAX).collect();
        let closed = firms.iter().filter(|firm| firm.closed).count();
        Ok(FirmsHome { count: firms.len(), closed, unserved })
    }

    /// Whether a switch keeps out anybody whom the asker serves.
    fn concerns(&self, asker: &Asker, scope: &HaltScope) -> bool {
        match (asker.kind, scope) {
            (Kind::Desk, _) | (_, HaltScope::Venue) => true,
            (_, HaltScope::Firm(code)) => asker.firm.as_ref() == Some(code),
            (_, HaltScope::Session(id)) => {
                let table = self.sessions.read();
                table.get(*id).is_some_and(|held| Some(&held.session.firm) == asker.firm.as_ref())
            }
        }
    }
}

/// What the asker has no right to see is left out of the page.
fn allowed<T>(found: Result<T, Unserved>) -> Result<Option<T>, Unserved> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Unserved::Right(_)) => Ok(None),
        Err(other) => Err(other),
    }
}
