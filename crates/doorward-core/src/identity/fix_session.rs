//! FIX sessions: who may log on with which SenderCompIDs, and the key pairs that sign for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::key_pair::{Environment, Kept, KeyPair, LastUse};
use super::net::Network;
use super::person::Standing;
use crate::calendar::Calendar;
use crate::id::{AccessKeyId, CompId, CompStem, FirmCode, OperatorId, SessionId};
use crate::limits::Limit;
use crate::table::table;
use crate::time::Wall;

table! {
    /// What a FIX session is for; never changes.
    pub enum SessionKind {
        Order = "order", "Orders and their reports.";
    }
}

/// A FIX session, owned by a firm. Its lock and the last use of its keys are in [`SessionUse`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FixSession {
    /// For ever.
    pub id: SessionId,
    /// Whose it is.
    pub firm: FirmCode,
    /// What it is for.
    pub kind: SessionKind,
    /// Whether it is for trading.
    pub environment: Environment,
    /// Since when it is known.
    #[serde(rename = "added_us")]
    pub added_at: Wall,
    /// Whether anybody may log on.
    #[serde(default)]
    pub standing: Standing,
    /// What SenderCompID (49) may begin with; the first three characters are those of the session.
    pub sender_comp_ids: BTreeSet<CompStem>,
    /// Which operators (50) it permits.
    pub operator_ids: BTreeSet<OperatorId>,
    /// From where a Logon may come; empty: from everywhere.
    #[serde(default)]
    pub sources: Vec<Network>,
    /// The key pairs, oldest first: at most two that are good, and the last ones that are not, to be shown.
    #[serde(default)]
    pub pairs: Vec<KeyPair>,
    /// Counts changes of this session.
    pub version: u64,
}

impl FixSession {
    /// The pair of this Access Key ID.
    pub fn pair(&self, id: &AccessKeyId) -> Option<&KeyPair> {
        self.pairs.iter().find(|pair| pair.id == *id)
    }

    /// The pairs that Logons may be signed with at an instant, oldest first.
    pub fn live(&self, at: Wall) -> impl Iterator<Item = &KeyPair> {
        self.pairs.iter().filter(move |pair| pair.state(at).is_live())
    }

    /// The session with one pair more, and the ends that this gives to those that are good.
    pub(super) fn with_pair(&self, pair: KeyPair, calendar: &Calendar) -> Self {
        let at = pair.made_at;
        let end = calendar.key_end(at);
        let mut next = self.clone();
        for old in next.pairs.iter_mut().filter(|old| old.state(at).is_live() && end < old.ends_at) {
            old.ends_at = end;
            old.replaced = true;
            old.noted_at = at; // whoever made the new pair has been told
        }
        next.pairs.push(pair);
        next.counted()
    }

    /// The session with one of its pairs as it is from now on.
    pub(super) fn with_changed(&self, pair: &KeyPair) -> Self {
        let mut next = self.clone();
        for old in next.pairs.iter_mut().filter(|old| old.id == pair.id) {
            *old = pair.clone();
        }
        next.counted()
    }

    /// Counts a change, and forgets the oldest pairs that are only shown.
    fn counted(mut self) -> Self {
        let is_ended = |pair: &KeyPair| pair.sealed().is_none();
        while self.pairs.iter().filter(|pair| is_ended(pair)).count() as u64 > Limit::KeyPairsShown.max() {
            let Some(oldest) = self.pairs.iter().position(is_ended) else { break };
            self.pairs.remove(oldest);
        }
        self.version += 1;
        self
    }

    /// Whether who logged on earlier, with what was good then, may stay. A key pair that has come to its end since is
    /// no reason to go; one that was deleted is.
    pub fn keeps(
        &self,
        comp: Option<CompId>,
        operator: Option<&OperatorId>,
        access_key: Option<&AccessKeyId>,
        source: IpAddr,
    ) -> bool {
        let deleted =
            |pair: &KeyPair| access_key == Some(&pair.id) && matches!(pair.secret, Kept::Deleted { .. });
        self.standing == Standing::Active
            && comp.is_none_or(|comp| self.sender_comp_ids.contains(&comp.stem()))
            && operator.is_none_or(|operator| self.operator_ids.contains(operator))
            && self.permits_source(source)
            && !self.pairs.iter().any(deleted)
    }

    /// Whether a Logon may come from this address.
    pub fn permits_source(&self, source: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|network| network.contains(source))
    }
}

/// What Logons do to a FIX session: its lock, and when each key was used last. Not versioned; the gate's table in
/// memory is ahead of the book.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SessionUse {
    /// Since when it is locked.
    #[serde(default, rename = "locked_us", skip_serializing_if = "Option::is_none")]
    pub locked: Option<Wall>,
    /// The last use of each key pair that was ever used.
    #[serde(default)]
    pub keys: BTreeMap<AccessKeyId, LastUse>,
}

impl SessionUse {
    /// Applies a change that touches this session's use. Changes of anything else are none of its business.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::SessionLock { locked, .. } => self.locked = *locked,
            Change::KeyUsed { access_key, used, .. } => {
                self.keys.insert(*access_key, *used);
            }
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::PersonAdded { .. }
            | Change::Password { .. }
            | Change::Authenticator { .. }
            | Change::Standing { .. }
            | Change::AuthSystem { .. }
            | Change::Profile { .. }
            | Change::KeyCodes { .. }
            | Change::Attempt { .. }
            | Change::AttemptsForgotten { .. }
            | Change::FixSession { .. }
            | Change::Stream { .. }
            | Change::Week { .. }
            | Change::Link { .. }
            | Change::Recovery { .. }
            | Change::Notices { .. }
            | Change::Tokens { .. }
            | Change::MailQueued { .. }
            | Change::MailState { .. }
            | Change::Halt { .. }
            | Change::Restored { .. } => {}
        }
    }
}
