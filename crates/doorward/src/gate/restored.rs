//! What a restore leaves to be looked after: up to which instant the data reach, and key pairs that are unsure.

use std::time::Duration;

use doorward_core::audit::Event;
use doorward_core::id::FirmCode;
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::restore::{Reach, UnsurePair, unsure_pairs};

use super::Gate;
use crate::book::AuditFilter;

/// For how long after a restore it is told of.
const TOLD_FOR: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Unsure key pairs of one FIX session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsurePairs {
    /// Whose session it is.
    pub firm: FirmCode,
    /// The pairs, oldest first.
    pub pairs: Vec<UnsurePair>,
}

impl Gate {
    /// How far the data reach, for two weeks after a restore.
    pub fn reach(&self) -> Option<Reach> {
        let now = self.clock.now().wall;
        let filter = AuditFilter {
            event: Some(Event::Restored),
            since: Some(now - TOLD_FOR),
            ..AuditFilter::default()
        };
        // Where the book does not answer, readiness says so.
        let last = self.store.audit(&filter, None, 1).ok()?;
        last.first()
            .and_then(|(_, entry)| Reach::of(entry))
            .filter(|reach| now.since(reach.restored_at) < TOLD_FOR)
    }

    /// Key pairs that may not be as they were left, of one firm or of all; by Session ID.
    pub fn unsure_pairs(&self, firm: Option<&FirmCode>) -> Vec<UnsurePairs> {
        let Some(reach) = self.reach() else { return Vec::new() };
        let table = self.sessions.read();
        let of = |session: &&FixSession| firm.is_none_or(|firm| session.firm == *firm);
        let unsure = table
            .iter()
            .map(|held| &held.session)
            .filter(of)
            .map(|session| UnsurePairs { firm: session.firm.clone(), pairs: unsure_pairs(session, reach) });
        let mut unsure: Vec<_> = unsure.filter(|of| !of.pairs.is_empty()).collect();
        unsure.sort_by_key(|of| of.pairs.first().map(|pair| pair.session));
        unsure
    }
}
