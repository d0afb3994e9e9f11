//! FIX sessions in memory: all that judging a Logon needs, so that it costs microseconds. A change is here before it is
//! acknowledged; the book follows.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use doorward_core::id::{AccessKeyId, FirmCode, SessionId};
use doorward_core::identity::decide::signed_logon::{STRIKES_MAX, STRIKES_WITHIN};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::key_pair::{KeyPair, secret_place};
use doorward_core::time::{Mono, Wall};

use crate::vault::{MacKey, Vault};

/// The FIX sessions and firms of the venue.
pub(super) struct Sessions(RwLock<Table>);

/// See [`Sessions`].
#[derive(Default)]
pub(super) struct Table {
    held: HashMap<SessionId, Held>,
    /// Whose each key is, also of those that are good no more and are only shown.
    owners: HashMap<AccessKeyId, SessionId>,
    closed_firms: BTreeSet<FirmCode>,
    /// Sessions that are locked here, and of which that is not written down yet.
    unwritten_locks: BTreeMap<SessionId, Wall>,
}

/// A session with what belongs to it.
pub(super) struct Held {
    pub(super) session: FixSession,
    /// Since when it is locked.
    pub(super) locked: Option<Wall>,
    /// The opened secrets; of a key that could not be opened, none.
    macs: Vec<(AccessKeyId, MacKey)>,
    /// When Logons were refused that named a key of this session: the last few within a minute.
    strikes: VecDeque<Mono>,
}

impl Held {
    /// The opened secret of a key of this session.
    pub(super) fn mac_key(&self, id: &AccessKeyId) -> Option<&MacKey> {
        self.macs.iter().find(|(known, _)| known == id).map(|(_, key)| key)
    }

    /// Refusals that count at an instant.
    pub(super) fn strikes(&self, now: Mono) -> u8 {
        let young = self.strikes.iter().filter(|at| now.since(**at) < STRIKES_WITHIN).count();
        u8::try_from(young).unwrap_or(u8::MAX)
    }
}

impl Table {
    /// A session.
    pub(super) fn get(&self, id: SessionId) -> Option<&Held> {
        self.held.get(&id)
    }

    /// The session that has a key of this name, good or not.
    pub(super) fn owner(&self, key: &AccessKeyId) -> Option<&Held> {
        self.held.get(self.owners.get(key)?)
    }

    /// Whether a firm is closed.
    pub(super) fn is_closed(&self, firm: &FirmCode) -> bool {
        self.closed_firms.contains(firm)
    }

    /// All sessions, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Counts a refusal that named a key of this session. The fifth within a minute locks it, from now on.
    pub(super) fn strike(&mut self, id: SessionId, now: Mono, wall: Wall) {
        let Some(held) = self.held.get_mut(&id) else { return };
        held.strikes.retain(|at| now.since(*at) < STRIKES_WITHIN);
        if held.strikes.len() >= usize::from(STRIKES_MAX) {
            held.strikes.pop_front();
        }
        held.strikes.push_back(now);
        if held.strikes.len() >= usize::from(STRIKES_MAX) && held.locked.is_none() {
            held.locked = Some(wall);
            self.unwritten_locks.insert(id, wall);
        }
    }

    /// Locks a session or opens it again; opened, its refusals are forgotten.
    pub(super) fn set_locked(&mut self, id: SessionId, locked: Option<Wall>) {
        self.unwritten_locks.remove(&id);
        if let Some(held) = self.held.get_mut(&id) {
            held.locked = locked;
            if locked.is_none() {
                held.strikes.clear();
            }
        }
    }

    /// Takes the locks that are not written down yet; they go back where that fails.
    pub(super) fn take_unwritten_locks(&mut self) -> BTreeMap<SessionId, Wall> {
        std::mem::take(&mut self.unwritten_locks)
    }

    /// Gives locks back that could not be written down, as far as they still hold.
    pub(super) fn give_back(&mut self, locks: BTreeMap<SessionId, Wall>) {
        let held = &self.held;
        let still =
            locks.into_iter().filter(|(id, at)| held.get(id).is_some_and(|held| held.locked == Some(*at)));
        self.unwritten_locks.extend(still);
    }

    pub(super) fn set_closed(&mut self, firm: &FirmCode, closed: bool) {
        if closed {
            self.closed_firms.insert(firm.clone());
        } else {
            self.closed_firms.remove(firm);
        }
    }

    /// Takes a session as it is from now on. Keys that it has no more, or whose secrets are gone, are forgotten at once
    /// (H7).
    fn set(&mut self, session: FixSession, macs: Vec<(AccessKeyId, MacKey)>) {
        let id = session.id;
        self.owners.retain(|_, owner| *owner != id);
        self.owners.extend(session.pairs.iter().map(|pair| (pair.id, id)));
        match self.held.get_mut(&id) {
            Some(held) => {
                held.session = session;
                held.macs = macs;
            }
            None => {
                let held = Held { session, locked: None, macs, strikes: VecDeque::new() };
                self.held.insert(id, held);
            }
        }
    }
}

impl Sessions {
    /// All sessions and firms as the book has them.
    pub(super) fn restored(
        vault: &dyn Vault,
        sessions: Vec<(FixSession, SessionUse)>,
        firms: &[Firm],
    ) -> Self {
        let mut table = Table::default();
        table.closed_firms.extend(firms.iter().filter(|firm| firm.closed).map(|firm| firm.code.clone()));
        for (session, usage) in sessions {
            let macs = opened(vault, &session);
            table.owners.extend(session.pairs.iter().map(|pair| (pair.id, session.id)));
            let held = Held { locked: usage.locked, macs, strikes: VecDeque::new(), session };
            table.held.insert(held.session.id, held);
        }
        Self(RwLock::new(table))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Table::take_unwritten_locks`]; looks first without holding anybody up.
    pub(super) fn take_unwritten_locks(&self) -> BTreeMap<SessionId, Wall> {
        if self.read().unwritten_locks.is_empty() {
            BTreeMap::new()
        } else {
            self.write().take_unwritten_locks()
        }
    }

    /// See [`Table::give_back`].
    pub(super) fn give_back(&self, locks: BTreeMap<SessionId, Wall>) {
        self.write().give_back(locks);
    }

    /// Takes a session as it is from now on, with its secrets opened.
    pub(super) fn set(&self, vault: &dyn Vault, session: FixSession) {
        let macs = opened(vault, &session);
        self.write().set(session, macs);
    }

    /// Opens the secrets of keys that could not be opened when their session came here.
    pub(super) fn open_missing(&self, vault: &dyn Vault) {
        let lacking = |held: &&Held| {
            held.session.pairs.iter().any(|pair| pair.sealed().is_some() && held.mac_key(&pair.id).is_none())
        };
        let sessions: Vec<FixSession> =
            self.read().iter().filter(lacking).map(|held| held.session.clone()).collect();
        for session in sessions {
            let macs = opened(vault, &session);
            let mut table = self.write();
            // Meanwhile it may have become another.
            if let Some(held) = table.held.get_mut(&session.id).filter(|held| held.session == session) {
                held.macs = macs;
            }
        }
    }
}

/// The opened secrets of a session. One that does not open now is opened when it is asked for.
fn opened(vault: &dyn Vault, session: &FixSession) -> Vec<(AccessKeyId, MacKey)> {
    let open = |pair: &KeyPair| match vault.mac_key(&secret_place(&pair.id, &session.firm), pair.sealed()?) {
        Ok(key) => Some((pair.id, key)),
        Err(fault) => {
            tracing::error!(session = %session.id, access_key = %pair.id, %fault, "a secret key does not open");
            None
        }
    };
    session.pairs.iter().filter_map(open).collect()
}
