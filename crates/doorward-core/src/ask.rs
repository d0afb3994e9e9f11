//! What a door asks of the gate, and what it hears back.

use serde::{Deserialize, Serialize};

/// How a password was padded before RSA.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Padding {
    /// PKCS#1 v1.5 (RFC 8017, 7.2): what Java's `Cipher.getInstance("RSA")` does.
    #[serde(rename = "PKCS1")]
    Pkcs1,
    /// OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017, 7.1).
    #[serde(rename = "OAEP-SHA256")]
    OaepSha256,
}

impl Padding {
    /// Every padding, in the order in which a challenge lists them.
    pub const ALL: [Self; 2] = [Self::Pkcs1, Self::OaepSha256];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pkcs1 => "PKCS1",
            Self::OaepSha256 => "OAEP-SHA256",
        }
    }

    /// The padding of this name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|padding| padding.name() == name)
    }
}

/// Names a challenge key: 1 to 32 characters of `A-Z a-z 0-9 - _`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// Longest name, in characters.
    pub const LEN_MAX: usize = 32;

    /// Reads a name; `None` where it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= Self::LEN_MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
