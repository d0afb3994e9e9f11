//! Setup links: how somebody registers an authenticator without having to be asked in person.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::id::PersonId;
use crate::time::Wall;

/// SHA-256 of a link's token. The token itself is kept nowhere (K1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkHash(pub [u8; 32]);

impl LinkHash {
    /// Reads 64 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for LinkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for LinkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for LinkHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LinkHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no SHA-256 in hexadecimal"))
    }
}

/// How a link was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handed {
    /// By mail, to the person's address.
    Mailed,
    /// Shown to an administrator, to be copied.
    Shown,
}

impl Handed {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mailed => "mailed",
            Self::Shown => "shown",
        }
    }
}

/// Where a link stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum LinkState {
    /// It works until it expires.
    Live,
    /// Its person has registered with it.
    Used {
        /// When.
        at_us: Wall,
    },
    /// Another one was made, or something happened that takes it back (K2, K8).
    Revoked {
        /// When.
        at_us: Wall,
    },
    /// It came to its end unused, and that was written down.
    Expired {
        /// When it was written down.
        at_us: Wall,
    },
}

/// A setup link. A person has at most one that is live (K2); the last one stays known.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetupLink {
    /// Of its token.
    pub hash: LinkHash,
    /// When it was made.
    #[serde(rename = "made_us")]
    pub made_at: Wall,
    /// From when on it does not work.
    #[serde(rename = "expires_us")]
    pub expires_at: Wall,
    /// How it was handed over.
    pub handed: Handed,
    /// Who had it made; absent: a process on the node's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PersonId>,
    /// Wrong passwords that were given with it (K8).
    #[serde(default)]
    pub wrong: u8,
    /// Where it stands.
    #[serde(flatten)]
    pub state: LinkState,
}

impl SetupLink {
    /// Whether it can be used at an instant.
    pub fn is_live(&self, now: Wall) -> bool {
        self.state == LinkState::Live && now < self.expires_at
    }

    /// The state's name as shown to people; a link that came to its end is expired, written down or not.
    pub fn state_name(&self, now: Wall) -> &'static str {
        match self.state {
            LinkState::Live if now < self.expires_at => "live",
            LinkState::Live | LinkState::Expired { .. } => "expired",
            LinkState::Used { .. } => "used",
            LinkState::Revoked { .. } => "revoked",
        }
    }

    /// The same link, taken back; itself where it is no longer live.
    #[must_use]
    pub fn revoked(&self, at: Wall) -> Self {
        match self.state {
            LinkState::Live => Self { state: LinkState::Revoked { at_us: at }, ..self.clone() },
            LinkState::Used { .. } | LinkState::Revoked { .. } | LinkState::Expired { .. } => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_kept_as_its_hash_and_its_state_reads_back() {
        let link = SetupLink {
            hash: LinkHash([7; 32]),
            made_at: Wall::from_s(1),
            expires_at: Wall::from_s(9),
            handed: Handed::Mailed,
            by: None,
            wrong: 0,
            state: LinkState::Live,
        };
        let text = serde_json::to_string(&link).unwrap();
        assert!(text.contains("\"state\":\"live\"") && text.contains(&"07".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<SetupLink>(&text).unwrap(), link);
        let revoked = link.revoked(Wall::from_s(2));
        assert_eq!(
            serde_json::from_str::<SetupLink>(&serde_json::to_string(&revoked).unwrap()).unwrap(),
            revoked
        );
        assert_eq!([link.state_name(Wall::from_s(8)), link.state_name(Wall::from_s(9))], ["live", "expired"]);
        assert!(!revoked.is_live(Wall::from_s(2)) && revoked.revoked(Wall::from_s(3)) == revoked);
    }
}
