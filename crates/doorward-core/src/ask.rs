//! What a door asks of the gate, and what it hears back.

use serde::{Deserialize, Serialize};

use crate::id::{PersonId, UserId};
use crate::secret::Secret;
use crate::time::Wall;

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

/// Ties an answer to its ask, within one connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AskId(pub u64);

/// A password as it came: encrypted with a challenge key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encrypted {
    /// Which key it was encrypted with.
    pub key: KeyId,
    /// How it was padded.
    pub padding: Padding,
    /// The RSA ciphertext.
    pub ciphertext: Vec<u8>,
}

/// What a door needs decided. The gate never sees a tag or a field; a door never sees a hash or a row.
#[derive(Clone, Debug)]
pub enum Ask {
    /// The public key to encrypt passwords with.
    ChallengeKey,
    /// Somebody wants in.
    Login {
        /// As sent; not yet known to be anybody's.
        userid: String,
        /// The password.
        password: Encrypted,
        /// The one-time password, where it came along.
        code: Option<Secret<String>>,
    },
    /// Somebody whose password was right gives the one-time password.
    Code {
        /// Who.
        person: PersonId,
        /// The one-time password.
        code: Secret<String>,
    },
    /// Somebody who is logged in changes the own password.
    PasswordChange {
        /// Who.
        person: PersonId,
        /// The present one.
        present: Encrypted,
        /// The new one.
        new: Encrypted,
    },
}

/// The gate's answer. Anything that a peer must not tell apart is one variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To [`Ask::ChallengeKey`].
    ChallengeKey(Challenge),
    /// To [`Ask::Login`] and [`Ask::Code`]: in.
    Granted(Granted),
    /// To [`Ask::Login`]: the password was right; a one-time password is awaited.
    CodeNeeded(Granted),
    /// To [`Ask::Login`] and [`Ask::Code`]: the password was right, the code is not; another may be sent.
    CodeRefused(Granted),
    /// To [`Ask::Login`]: the password was right; an authenticator must be registered first.
    RegistrationNeeded {
        /// Where, if the site says.
        register_url: Option<String>,
    },
    /// To [`Ask::Login`], [`Ask::Code`]: no, and nothing more is said.
    Refused,
    /// To [`Ask::Login`], [`Ask::PasswordChange`]: the key is not held any more; nothing was counted.
    ChallengeNeeded,
    /// To [`Ask::PasswordChange`]: done.
    PasswordChanged {
        /// The person's commission rate, echoed on the wire.
        broker_comm_rate: Option<String>,
    },
    /// To [`Ask::PasswordChange`]: no; the rule that was broken.
    PasswordIssue {
        /// The rule's id.
        reason: &'static str,
    },
    /// To any: too much work is waiting; nothing was counted.
    Busy {
        /// When to try again, in milliseconds.
        retry_ms: u32,
    },
    /// To any: something that the answer depends on is not there; nothing was counted.
    TryAgainLater {
        /// When to try again, in milliseconds.
        retry_ms: u32,
    },
}

/// A public key to encrypt passwords with, for a short time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Its name.
    pub key: KeyId,
    /// X.509 SubjectPublicKeyInfo (RFC 5280, 4.1), DER, base64.
    pub spki_base64: String,
    /// The paddings that the site accepts.
    pub paddings: Vec<Padding>,
    /// Until when it is served.
    pub expires: Wall,
}

/// Who proved to be somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The person.
    pub person: PersonId,
    /// In the canonical form.
    pub userid: UserId,
    /// The password must be changed before anything else.
    pub must_change: bool,
}
