//! What somebody's own pages show of them, and what they still have to do.

use doorward_core::id::PersonId;
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::person::{Password, Person};
use doorward_core::identity::policy::Effective;
use doorward_core::time::Wall;

use crate::book::Load;
use crate::fault::Fault;
use crate::gate::{Gate, effective};

/// Somebody, as they may see themselves.
#[derive(Clone, Debug)]
pub struct Own {
    /// Where mail goes.
    pub email: Option<String>,
    /// The firm's name.
    pub firm: Option<String>,
    /// Since when the present password is in use.
    pub password_set_at: Wall,
    /// Fewest characters of a new one.
    pub password_chars_min: u16,
    /// How they prove who they are besides the password.
    pub authenticator: OwnAuthenticator,
    /// The recovery codes, where there are any.
    pub recovery: Option<OwnRecovery>,
    /// Whether the firm's people have recovery codes at all.
    pub recovery_on: bool,
    /// Whether they register with a setup link only.
    pub link_needed: bool,
}

/// Where the own authenticator stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnAuthenticator {
    /// The account has a password alone.
    NotAsked,
    /// None is registered.
    Missing,
    /// One is registered.
    Registered {
        /// Since when.
        since: Wall,
        /// When its code was good last.
        used_at: Wall,
        /// Whether an administrator must unlock it.
        is_locked: bool,
    },
}

/// Recovery codes, without the codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnRecovery {
    /// How many are left.
    pub left: usize,
    /// When they were made.
    pub made_at: Wall,
}

impl Gate {
    /// Somebody, for their own pages.
    pub fn own(&self, person: PersonId) -> Result<Own, Fault> {
        let snapshot = self.store.load(&Load::Person(person))?;
        let policy = effective(&snapshot);
        let person = snapshot.person.ok_or_else(|| Fault::Book(format!("{person} has gone")))?;
        let recovery = person.recovery.as_ref();
        Ok(Own {
            password_set_at: match &person.password {
                Password::Own { set_us, .. } | Password::Initial { set_us, .. } => *set_us,
            },
            password_chars_min: person.password_chars_min(&policy),
            authenticator: authenticator_of(&person, &policy),
            recovery: recovery.map(|codes| OwnRecovery { left: codes.unused.len(), made_at: codes.made_at }),
            recovery_on: policy.recovery_codes,
            link_needed: policy.link_needed(self.settings.mail),
            email: person.profile.email,
            firm: snapshot.firm.map(|firm| firm.name),
        })
    }
}

fn authenticator_of(person: &Person, policy: &Effective) -> OwnAuthenticator {
    match &person.authenticator {
        Authenticator::Active(factor) | Authenticator::BackedOff { factor, .. } => {
            OwnAuthenticator::Registered { since: factor.since, used_at: factor.used_at, is_locked: false }
        }
        Authenticator::Locked { factor, .. } => {
            OwnAuthenticator::Registered { since: factor.since, used_at: factor.used_at, is_locked: true }
        }
        Authenticator::None | Authenticator::Pending { .. } | Authenticator::Revoked { .. } => {
            if person.needs_otp(policy) { OwnAuthenticator::Missing } else { OwnAuthenticator::NotAsked }
        }
    }
}
