//! FIX sessions in memory: all that judging a Logon needs, so that it costs microseconds. A change is here before it is
//! acknowledged; the book follows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use doorward_core::id::{AccessKeyId, FirmCode, SessionId};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::key_pair::{Kept, KeyPair, secret_place};
use doorward_core::limits::Limit;
use doorward_core::time::{Mono, Wall};

use crate::fault::Fault;
use crate::vault::{MacKey, Vault};

/// How long a refusal counts towards the lock.
const STRIKE_AGE_MAX: Duration = Duration::from_secs(60);

/// The FIX sessions and firms of the venue.
pub(super) struct Sessions(RwLock<Table>);

/// See [`Sessions`].
#[derive(Default)]
pub(super) struct Table {
    held: HashMap<SessionId, Held>,
    /// Whose every key is that has a secret.
    owners: HashMap<AccessKeyId, SessionId>,
    closed_firms: HashSet<FirmCode>,
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
        let young = self.strikes.iter().filter(|at| now.since(**at) < STRIKE_AGE_MAX).count();
        u8::try_from(young).unwrap_or(u8::MAX)
    }
}

impl Table {
    /// A session.
    pub(super) fn get(&self, id: SessionId) -> Option<&Held> {
        self.held.get(&id)
    }

    /// The session that has a key of this name with a secret.
    pub(super) fn owner(&self, key: &AccessKeyId) -> Option<SessionId> {
        self.owners.get(key).copied()
    }

    /// Whether a firm is closed.
    pub(super) fn is_closed(&self, firm: &FirmCode) -> bool {
        self.closed_firms.contains(firm)
    }

    /// All sessions, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// Counts a refusal that named a key of this session. `true`: it is the one that locks the session, which it is
    /// from now on.
    pub(super) fn strike(&mut self, id: SessionId, now: Mono, wall: Wall) -> bool {
        let Some(held) = self.held.get_mut(&id) else { return false };
        held.strikes.retain(|at| now.since(*at) < STRIKE_AGE_MAX);
        if held.strikes.len() as u64 >= Limit::LogonStrikes.max() {
            held.strikes.pop_front();
        }
        held.strikes.push_back(now);
        let locks = held.strikes.len() as u64 >= Limit::LogonStrikes.max() && held.locked.is_none();
        if locks {
            held.locked = Some(wall);
            self.unwritten_locks.insert(id, wall);
        }
        locks
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

    /// The lock of a session is in the journal.
    pub(super) fn lock_written(&mut self, id: SessionId) {
        self.unwritten_locks.remove(&id);
    }

    /// Locks that are not written down yet.
    pub(super) fn unwritten_locks(&self) -> Vec<(SessionId, Wall)> {
        self.unwritten_locks.iter().map(|(id, at)| (*id, *at)).collect()
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
        self.owners.extend(with_secret(&session).map(|(pair, _)| (pair.id, id)));
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
            table.owners.extend(with_secret(&session).map(|(pair, _)| (pair.id, session.id)));
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

    /// Takes a session as it is from now on, with its secrets opened.
    pub(super) fn set(&self, vault: &dyn Vault, session: FixSession) {
        let macs = opened(vault, &session);
        self.write().set(session, macs);
    }

    /// Opens the secret of a key that could not be opened when its session came here.
    pub(super) fn open_late(
        &self,
        vault: &dyn Vault,
        session: SessionId,
        key: &AccessKeyId,
    ) -> Result<Option<MacKey>, Fault> {
        let mut table = self.write();
        let Some(held) = table.held.get_mut(&session) else { return Ok(None) };
        let sealed = with_secret(&held.session).find(|(pair, _)| pair.id == *key);
        let Some((_, sealed)) = sealed else { return Ok(None) };
        let opened = vault.mac_key(&secret_place(key, &held.session.firm), sealed)?;
        held.macs.push((*key, opened.clone()));
        Ok(Some(opened))
    }
}

/// The pairs of a session whose secrets are kept.
fn with_secret(
    session: &FixSession,
) -> impl Iterator<Item = (&KeyPair, &doorward_core::identity::sealed::Sealed)> {
    session.pairs.iter().filter_map(|pair| match &pair.secret {
        Kept::Secret { sealed } => Some((pair, sealed)),
        Kept::Expired | Kept::Deleted { .. } => None,
    })
}

/// The opened secrets of a session. One that does not open now is opened when it is asked for.
fn opened(vault: &dyn Vault, session: &FixSession) -> Vec<(AccessKeyId, MacKey)> {
    let open = |(pair, sealed): (&KeyPair, &_)| {
        match vault.mac_key(&secret_place(&pair.id, &session.firm), sealed) {
            Ok(key) => Some((pair.id, key)),
            Err(fault) => {
                tracing::error!(session = %session.id, access_key = %pair.id, %fault, "a secret key does not open");
                None
            }
        }
    };
    with_secret(session).filter_map(open).collect()
}
