//! People and programs: who they are, and what they prove themselves with.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::enrolment::Authenticator;
use super::link::SetupLink;
use super::net::Network;
use super::notice::Notice;
use super::policy::{AuthSystem, Effective};
use super::recovery::RecoveryCodes;
use super::token::Tokens;
use crate::id::{FirmCode, PersonId, UserId};
use crate::table::table;
use crate::time::Wall;

table! {
    /// What somebody is; never changes.
    pub enum Kind {
        Desk = "desk", "An operator of the venue; of no firm.";
        Administrator = "admin", "Serves the people of one firm.";
        Trader = "trader", "Signs in at the doors and at the portal.";
        Service = "service", "A program that acts for others, within what the desk lists.";
    }
}

table! {
    /// What a service user or an administrator may do, where it was given.
    pub enum Right {
        Verify = "verify", "Verify a customer's login.";
        Token = "token", "Have tokens made for verified customers.";
        Add = "add", "Add traders.";
        Change = "change", "Change what is known of traders.";
        ResetPassword = "reset-password", "Set a trader's password without the old one.";
        LastingPassword = "lasting-password", "Set a trader's password that need not be changed; for programs.";
        TokenOnPassword = "token-on-password", "Have tokens made for customers without 2FA, by their password alone; for programs.";
        ResetAuthenticator = "reset-authenticator", "Take authenticators away; an administrator's: passwords as well.";
        ViewPeople = "view-people", "See the own firm's people; for administrators.";
        EditPeople = "edit-people", "Add, change, disable and unlock the own firm's people, hand out setup links; for administrators.";
        EditNotices = "edit-notices", "Change what other administrators are told of by mail; for administrators.";
        ViewAudit = "view-audit", "See the own firm's events and logon attempts; for administrators.";
        ManageKeyPairs = "manage-key-pairs", "Make, show and delete key pairs of the own firm's FIX sessions; for administrators.";
    }
}

impl Right {
    /// What an administrator can be given.
    pub const ADMINISTRATOR: &'static [Self] = &[
        Self::ViewPeople,
        Self::EditPeople,
        Self::ResetAuthenticator,
        Self::ManageKeyPairs,
        Self::EditNotices,
        Self::ViewAudit,
    ];

    /// What a service user can be given.
    pub const PROGRAM: &'static [Self] = &[
        Self::Verify,
        Self::Token,
        Self::Add,
        Self::Change,
        Self::ResetPassword,
        Self::ResetAuthenticator,
        Self::LastingPassword,
        Self::TokenOnPassword,
    ];

    /// Whether it weakens or takes what a person proves themselves with: off unless the desk gives it.
    pub const fn is_reset(self) -> bool {
        match self {
            Right::ResetPassword
            | Right::ResetAuthenticator
            | Right::LastingPassword
            | Right::TokenOnPassword => true,
            Right::Verify
            | Right::Token
            | Right::Add
            | Right::Change
            | Right::ViewPeople
            | Right::EditPeople
            | Right::EditNotices
            | Right::ViewAudit
            | Right::ManageKeyPairs => false,
        }
    }
}

/// What a service user was given by the desk, or an administrator: of this only the rights.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// On whose people it may act.
    pub firms: BTreeSet<FirmCode>,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// From where it may come; empty: from nowhere.
    pub sources: Vec<Network>,
}

impl Grant {
    /// Whether an address is listed.
    pub fn permits(&self, source: IpAddr) -> bool {
        self.sources.iter().any(|network| network.contains(source))
    }
}

/// Whether somebody may come in at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Yes.
    #[default]
    Active,
    /// No: left, or put out for a time.
    Disabled,
}

/// A stored password: what the hash pool made of it (PHC string, P7), nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phc(pub String);

impl fmt::Debug for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A person's password and where it came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "lowercase")]
pub enum Password {
    /// Chosen by the person.
    Own {
        /// Its hash.
        phc: Phc,
        /// Since when.
        set_us: Wall,
    },
    /// Set by somebody else: good once, to be changed, and only for a time (P11).
    Initial {
        /// Its hash.
        phc: Phc,
        /// Since when.
        set_us: Wall,
        /// Until when.
        expires_us: Wall,
        /// Who set it, or saw it when it was made; absent: a process on the node's machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<PersonId>,
    },
}

impl Password {
    /// The hash.
    pub const fn phc(&self) -> &Phc {
        match self {
            Self::Own { phc, .. } | Self::Initial { phc, .. } => phc,
        }
    }

    /// The same password with its hash made anew (P9).
    #[must_use]
    pub fn rehashed(&self, phc: Phc) -> Self {
        match self {
            Self::Own { set_us, .. } => Self::Own { phc, set_us: *set_us },
            Self::Initial { set_us, expires_us, by, .. } => {
                Self::Initial { phc, set_us: *set_us, expires_us: *expires_us, by: *by }
            }
        }
    }
}

/// What others may change about a person without touching how they prove themselves.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Where mail goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// An opaque positional string of the venue's, kept and echoed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// Opaque too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_comm_rate: Option<String>,
    /// A JSON object of at most 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attr: Option<serde_json::Map<String, serde_json::Value>>,
    /// What a service user or an administrator was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
}

/// One-time passwords that were accepted for entering the Customer Center, making and showing key pairs, on one day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeyCodes {
    /// The day in the venue's time zone, counted from 1970-01-01.
    pub day: i32,
    /// How many.
    pub accepted: u8,
}

impl KeyCodes {
    /// Whether there never were any.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Somebody who can come in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// For ever.
    pub id: PersonId,
    /// The name to log in with; unique at the venue.
    pub userid: UserId,
    /// Of which firm; `None` for the desk and for service users that act for several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firm: Option<FirmCode>,
    /// What they are.
    pub kind: Kind,
    /// Since when they are known.
    #[serde(rename = "added_us")]
    pub added_at: Wall,
    /// Whether they may come in.
    #[serde(default)]
    pub standing: Standing,
    /// How they prove themselves, as chosen for them.
    pub auth_system: AuthSystem,
    /// The password.
    pub password: Password,
    /// The authenticator.
    #[serde(default)]
    pub authenticator: Authenticator,
    /// How many seeds were ever made for them.
    #[serde(default)]
    pub seeds: u32,
    /// One-time passwords that were accepted for key pairs, on the last day with any.
    #[serde(default, skip_serializing_if = "KeyCodes::is_none")]
    pub key_codes: KeyCodes,
    /// The last setup link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<SetupLink>,
    /// When links were made within the hour before the last one (K7).
    #[serde(default, rename = "links_made_us", skip_serializing_if = "Vec::is_empty")]
    pub links_made: Vec<Wall>,
    /// Recovery codes, where there are any (T16).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryCodes>,
    /// What an administrator is told of by mail.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub notices: BTreeSet<Notice>,
    /// Tokens that programs had made for them.
    #[serde(default, skip_serializing_if = "Tokens::is_empty")]
    pub tokens: Tokens,
    /// The rest.
    #[serde(default)]
    pub profile: Profile,
    /// Counts changes of this person.
    pub version: u64,
}

impl Person {
    /// Whether a one-time password is needed: chosen for them, or demanded by the policy in force. A program never
    /// has a person's one-time password.
    pub fn needs_otp(&self, policy: &Effective) -> bool {
        match self.kind {
            Kind::Service => false,
            Kind::Desk | Kind::Administrator | Kind::Trader => {
                policy.otp_demanded || self.auth_system == AuthSystem::Otp
            }
        }
    }

    /// Fewest code points of a new password (P1).
    pub fn password_chars_min(&self, policy: &Effective) -> u16 {
        if self.needs_otp(policy) { policy.password_chars_min_with_otp } else { policy.password_chars_min }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q3_a_stored_hash_is_not_shown() {
        let phc = Phc("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned());
        let password = Password::Own { phc, set_us: Wall::from_s(2) };
        let shown = format!("{password:?} {:?}", password.phc());
        assert!(shown.contains("***") && !shown.contains("argon2id"), "{shown}");
    }
}
