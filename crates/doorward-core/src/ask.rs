//! What a door asks of the gate, and what it hears back.

mod acting;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::{Deny, Record};
use crate::id::{AccessKeyId, CompId, FirmCode, OperatorId, PersonId, UserId};
use crate::secret::Secret;
use crate::stream::{Gateway, StreamKey};
use crate::time::Wall;
use crate::trace::Check;

pub use acting::{
    Acting, Declined, MadeToken, NewSecret, NewTrader, OnceShown, PersonShown, ShownSeed, StepDone,
    TraderChange, TraderDetails, Verified, VerifyLogin,
};

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

/// Bytes that stand before a password which a page encrypted: a nonce of 16 bytes, and 8 bytes that bind it to action
/// and user id, each in base64url without padding, for all that is encrypted is text.
pub const ENVELOPE_BYTES: usize = 33;

/// A password that a page encrypted, for one action of one visitor.
#[derive(Clone, Debug)]
pub struct Enveloped {
    /// As it came; only OAEP with SHA-256 is taken.
    pub encrypted: Encrypted,
    /// What must stand before the password; anything else is a bad ciphertext.
    pub expected: [u8; ENVELOPE_BYTES],
}

/// A password as a door got it.
#[derive(Clone, Debug)]
pub enum GivenPassword {
    /// Encrypted with a challenge key.
    Encrypted(Encrypted),
    /// In clear, inside TLS, as FIX carries it. The vault has nothing to open; all else is the same.
    Clear(Secret<String>),
    /// Encrypted by a page of the portal.
    Enveloped(Enveloped),
}

impl GivenPassword {
    /// How it was padded; `None` where there was nothing to pad.
    pub const fn padding(&self) -> Option<Padding> {
        match self {
            Self::Encrypted(encrypted) => Some(encrypted.padding),
            Self::Enveloped(enveloped) => Some(enveloped.encrypted.padding),
            Self::Clear(_) => None,
        }
    }
}

impl From<Encrypted> for GivenPassword {
    fn from(encrypted: Encrypted) -> Self {
        Self::Encrypted(encrypted)
    }
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
        password: GivenPassword,
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
        present: GivenPassword,
        /// The new one.
        new: GivenPassword,
    },
    /// Somebody wants in with a token.
    TokenLogin {
        /// As sent; not yet known to be anybody's.
        userid: String,
        /// The token.
        token: Secret<String>,
    },
    /// A program wants a customer's login verified.
    Verify(Box<VerifyLogin>),
    /// A program asks whose a token is, or ends it.
    Token {
        /// The program.
        asker: Acting,
        /// The token.
        token: Secret<String>,
        /// Whose it must be, as sent.
        userid: Option<String>,
        /// Whether it is to end.
        revoke: bool,
    },
    /// Somebody asks what is known of a person.
    Person {
        /// Who asks.
        asker: Acting,
        /// Of whom, as sent; absent: of themselves.
        userid: Option<String>,
    },
    /// A trader is to be added.
    AddTrader(Box<NewTrader>),
    /// A trader is to be changed.
    ChangeTrader(Box<TraderChange>),
}

/// The gate's answer. Anything that a peer must not tell apart is one variant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To [`Ask::ChallengeKey`].
    ChallengeKey(Challenge),
    /// To [`Ask::Login`], [`Ask::Code`] and [`Ask::TokenLogin`]: in.
    Granted(Granted),
    /// To [`Ask::Login`]: the password was right; a one-time password is awaited.
    CodeNeeded(Granted),
    /// To [`Ask::Login`] and [`Ask::Code`]: the password was right, the code is not; another may be sent.
    CodeRefused(Granted),
    /// To [`Ask::Login`]: the password was right; an authenticator must be registered first.
    RegistrationNeeded {
        /// Who.
        who: Granted,
        /// Where, if the site says.
        register_url: Option<String>,
    },
    /// To [`Ask::Login`], [`Ask::Code`], [`Ask::Verify`]: no, and nothing more is said.
    Refused,
    /// To any with a password: the key is not held any more; nothing was counted.
    ChallengeNeeded,
    /// To [`Ask::PasswordChange`]: done.
    PasswordChanged {
        /// The person's commission rate, echoed on the wire.
        broker_comm_rate: Option<String>,
    },
    /// To [`Ask::PasswordChange`], [`Ask::AddTrader`], [`Ask::ChangeTrader`]: no; the rule that was broken.
    PasswordIssue {
        /// The rule's id.
        reason: &'static str,
    },
    /// To [`Ask::Verify`]: the password was right.
    Verified(Box<Verified>),
    /// To [`Ask::Token`]: it is good, or was until now.
    TokenKnown {
        /// Whose, in the canonical form.
        userid: UserId,
        /// Until when it is good, or would have been.
        expires: Wall,
    },
    /// To [`Ask::Person`].
    Person(Box<PersonShown>),
    /// To [`Ask::AddTrader`], [`Ask::ChangeTrader`]: done.
    StepDone(Box<StepDone>),
    /// To [`Ask::TokenLogin`] and all that is asked for others: no, and why.
    Declined(Declined),
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
    /// Whether they serve others: a program, or an administrator.
    pub serves: bool,
    /// When a one-time password was good in this login; `None` where none was given or needed.
    pub factor_at: Option<Wall>,
}

/// What a signed Logon claims; nothing of it is believed yet.
#[derive(Clone)]
pub struct SignedLogon {
    /// SenderCompID (49).
    pub sender_comp_id: Vec<u8>,
    /// SenderSubID (50).
    pub operator_id: Vec<u8>,
    /// The gateway at whose listener it came in.
    pub gateway: Gateway,
    /// EncodedText (355).
    pub access_key_id: Vec<u8>,
    /// The canonical message.
    pub canonical: Vec<u8>,
    /// EncryptedPassword (1402), decoded; `None` where it does not decode.
    pub signature: Option<[u8; 32]>,
    /// SendingTime (52); `None` where it is no UTC timestamp.
    pub sending_time: Option<Wall>,
    /// MsgSeqNum (34).
    pub seq_num: u64,
    /// When its last byte came.
    pub received: Wall,
    /// What the door itself found wrong first. It is the reason that is recorded; the rest is computed all the same
    /// (F3).
    pub flaw: Option<(Check, Deny)>,
    /// For an in-session Logon: the SenderCompID in force.
    pub in_session: Option<CompId>,
}

impl fmt::Debug for SignedLogon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedLogon")
            .field("sender_comp_id", &self.sender_comp_id.escape_ascii().to_string())
            .field("gateway", &self.gateway)
            .field("seq_num", &self.seq_num)
            .field("received", &self.received)
            .field("flaw", &self.flaw)
            .finish_non_exhaustive()
    }
}

/// The gate's answer to a signed Logon.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    /// Whether credentials and time are good.
    pub verdict: Result<SessionGrant, LogonRefusal>,
    /// Refusals of the last 60 s that named a key of this session, before this one.
    pub strikes: u8,
    /// Not yet committed: the machine completes it with its sequence rules and has it saved.
    pub record: Box<Record>,
}

/// Why a signed Logon was refused, as far as a peer may tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogonRefusal {
    /// It was.
    Refused,
    /// The session is locked after too many refusals, or this refusal locks it.
    PortClosed,
    /// It could not be verified; nothing was counted.
    TryAgainLater,
}

/// Whom a signed Logon was found to come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionGrant {
    /// The SenderCompID as given.
    pub comp: CompId,
    /// The stream that it wants.
    pub stream: StreamKey,
    /// The firm that owns the session.
    pub firm_code: FirmCode,
    /// The operator.
    pub operator: OperatorId,
    /// The key pair that signed it.
    pub access_key: AccessKeyId,
}
