//! Mails that wait to be sent: queued in the record of what they tell of, so that neither is without the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::sealed::Sealed;
use crate::id::{FirmCode, PersonId, UserId};
use crate::table::table;
use crate::time::Wall;

table! {
    /// What a mail is about: its template.
    pub enum MailKind {
        SetupLink = "setup-link", "Somebody's setup link, with what an authenticator app is.";
        Registered = "registered", "To the owner: an authenticator was registered.";
        AuthenticatorReset = "authenticator-reset", "To the owner: the authenticator was taken away, with the reason.";
        PasswordChanged = "password-changed", "To the owner: the password was changed.";
        PasswordSet = "password-set", "To the owner: an administrator set an initial password.";
        AuthSystemChanged = "auth-system-changed", "To the owner: how they prove themselves was changed.";
        RecoveryCodes = "recovery-codes", "To the owner: recovery codes were made, or one was used.";
        EmailChanged = "email-changed", "To the old and the new address: the address was changed.";
        Unlocked = "unlocked", "To the owner: they were unlocked.";
        Disabled = "disabled", "To the owner: they were disabled.";
        Notice = "notice", "To an administrator: something happened that they asked to be told of.";
        OperatorRecovered = "operator-recovered", "To all operators of the desk: one was recovered at the machine.";
        PairsUnsure = "pairs-unsure", "To a firm's administrators: after a restore, key pairs that may not be as they were.";
    }
}

impl MailKind {
    /// In a word or two, for lists.
    pub const fn title(self) -> &'static str {
        match self {
            Self::SetupLink => "Setup link",
            Self::Registered => "Authenticator registered",
            Self::AuthenticatorReset => "Authenticator reset",
            Self::PasswordChanged => "Password changed",
            Self::PasswordSet => "Password reset",
            Self::AuthSystemChanged => "Way of signing in changed",
            Self::RecoveryCodes => "Recovery codes",
            Self::EmailChanged => "Mail address changed",
            Self::Unlocked => "Unlocked",
            Self::Disabled => "Account disabled",
            Self::Notice => "Notice to an administrator",
            Self::OperatorRecovered => "Operator recovered",
            Self::PairsUnsure => "Key pairs unsure after a restore",
        }
    }
}

/// Names a mail for ever; printed as `m` and 16 hexadecimal digits. It is part of the Message-ID, by which a receiver
/// drops doubles.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MailId(u64);

impl MailId {
    /// Makes an id of random bits; the top bit is dropped so that a database's signed integer holds it.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits >> 1)
    }

    /// The number behind the id.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Reads `m` and 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits =
            text.strip_prefix('m').filter(|digits| digits.len() == 16 && digits.bytes().all(is_digit))?;
        u64::from_str_radix(digits, 16).ok().filter(|number| *number <= u64::MAX >> 1).map(Self)
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{:016x}", self.0)
    }
}

impl Serialize for MailId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MailId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("no mail id: {text:?}")))
    }
}

/// A mail as it was queued. Its text is made of the template when it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mail {
    /// For ever.
    pub id: MailId,
    /// The address.
    pub to: String,
    /// The template.
    pub kind: MailKind,
    /// When it was queued.
    #[serde(rename = "queued_us")]
    pub queued_at: Wall,
    /// Whose firm it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firm: Option<FirmCode>,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<PersonId>,
    /// Their user id at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userid: Option<UserId>,
    /// What the template needs beside; no secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// The token of a setup link, at the place `outbox`, this id, `token`; only the vault opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Sealed>,
}

/// Where a mail stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum MailState {
    /// It is to be sent.
    Waiting {
        /// How often it was tried.
        tries: u16,
        /// Not before this instant.
        next_us: Wall,
        /// What the mail server said last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The mail server has taken it.
    Sent {
        /// When.
        at_us: Wall,
    },
    /// It will not be sent: the mail server refused it for good, or it waited too long.
    GivenUp {
        /// When.
        at_us: Wall,
        /// What the mail server said.
        error: String,
    },
}
