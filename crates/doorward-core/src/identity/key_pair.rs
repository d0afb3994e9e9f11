//! Key pairs of FIX sessions: an Access Key ID that is named on the wire, and a Secret Key that only the vault opens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sealed::{Place, Sealed};
use crate::id::{AccessKeyId, CompId, FirmCode};
use crate::table::table;
use crate::time::Wall;

table! {
    /// What a FIX session and its key pairs are for. The first character of an Access Key ID tells.
    pub enum Environment {
        Test = "test", "To try things out.";
        Live = "live", "To trade.";
    }
}

impl Environment {
    /// The first character of an Access Key ID.
    const fn mark(self) -> u8 {
        match self {
            Self::Test => b'T',
            Self::Live => b'L',
        }
    }
}

/// A fresh Access Key ID: the environment's mark and 19 characters made from 128 random bits.
pub fn access_key_id(environment: Environment, random: u128) -> AccessKeyId {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = [environment.mark(); 20];
    let mut rest = random;
    for place in &mut text[1..] {
        *place = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    AccessKeyId::parse(&text).expect("20 letters and digits") // holds: mark and digits are such
}

/// Where a secret key is sealed; it opens nowhere else (V1).
pub fn secret_place(id: &AccessKeyId, firm: &FirmCode) -> Place {
    Place {
        table: "key_pair",
        row: id.to_string(),
        column: "secret_key",
        firm: firm.as_str().to_owned(),
        version: 1,
    }
}

/// What is kept of a secret key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "kebab-case")]
pub enum Kept {
    /// The key, sealed. It is good until [`KeyPair::ends_at`].
    Secret {
        /// Only the vault opens it.
        sealed: Sealed,
    },
    /// Nothing: it came to its end.
    Expired,
    /// Nothing: it was deleted.
    Deleted {
        /// When.
        at_us: Wall,
    },
}

/// A key pair.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyPair {
    /// Unique for ever.
    pub id: AccessKeyId,
    /// Since when it is good.
    #[serde(rename = "made_us")]
    pub made_at: Wall,
    /// From this instant on it is good no more. Only ever moves forward towards the present.
    #[serde(rename = "ends_us")]
    pub ends_at: Wall,
    /// Whether a newer pair gave it its end; else it is that of its twelve months.
    #[serde(default)]
    pub replaced: bool,
    /// Up to when its administrators have been told of its coming end.
    #[serde(rename = "noted_us")]
    pub noted_at: Wall,
    /// The secret key.
    #[serde(flatten)]
    pub secret: Kept,
}

/// How many days before its end a key pair's administrators are told.
pub const NOTICE_DAYS: [u8; 5] = [60, 30, 14, 7, 1];

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Something to be told of a key pair's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// It ends in so many days.
    Days(u8),
    /// It has ended.
    Ended,
}

impl KeyPair {
    /// The secret key, as long as it is kept.
    pub const fn sealed(&self) -> Option<&Sealed> {
        match &self.secret {
            Kept::Secret { sealed } => Some(sealed),
            Kept::Expired | Kept::Deleted { .. } => None,
        }
    }

    /// Where it stands.
    pub fn state(&self, at: Wall) -> KeyState {
        match self.secret {
            Kept::Deleted { at_us } => KeyState::Deleted { at_us },
            Kept::Expired => KeyState::Expired { at_us: self.ends_at },
            Kept::Secret { .. } if at >= self.ends_at => KeyState::Expired { at_us: self.ends_at },
            Kept::Secret { .. } => {
                let near = self.ends_at - DAY * u32::from(NOTICE_DAYS[0]);
                if self.replaced || at >= near {
                    KeyState::Expiring { at_us: self.ends_at }
                } else {
                    KeyState::Active
                }
            }
        }
    }

    /// What is to be told after what was told, with the instant of each, in order.
    fn notices(&self) -> impl Iterator<Item = (Wall, Notice)> {
        let days =
            NOTICE_DAYS.into_iter().map(|days| (self.ends_at - DAY * u32::from(days), Notice::Days(days)));
        let all = days.chain([(self.ends_at, Notice::Ended)]);
        all.filter(|(at, _)| self.sealed().is_some() && *at > self.noted_at)
    }

    /// What is to be told by now, with the instant of each, in order.
    pub fn notices_due(&self, now: Wall) -> impl Iterator<Item = (Wall, Notice)> {
        self.notices().take_while(move |(at, _)| *at <= now)
    }

    /// When something is to be told next.
    pub fn next_notice(&self) -> Option<Wall> {
        self.notices().next().map(|(at, _)| at)
    }
}

/// Where a key pair stands at an instant, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum KeyState {
    /// Good for Logons.
    Active,
    /// Good until an instant that a newer pair or the coming end of its twelve months has set.
    Expiring {
        /// The instant.
        at_us: Wall,
    },
    /// It came to its end.
    Expired {
        /// When.
        at_us: Wall,
    },
    /// It was deleted.
    Deleted {
        /// When.
        at_us: Wall,
    },
}

impl KeyState {
    /// Whether a Logon may be signed with it.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Active | Self::Expiring { .. } => true,
            Self::Expired { .. } | Self::Deleted { .. } => false,
        }
    }

    /// Its name, as shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expiring { .. } => "expiring",
            Self::Expired { .. } => "expired",
            Self::Deleted { .. } => "deleted",
        }
    }
}

/// When and by whom a key pair was used last. Not versioned: each accepted Logon sets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastUse {
    /// When.
    #[serde(rename = "at_us")]
    pub at: Wall,
    /// From which address.
    pub source: std::net::IpAddr,
    /// With which SenderCompID (49).
    pub sender_comp_id: CompId,
}
