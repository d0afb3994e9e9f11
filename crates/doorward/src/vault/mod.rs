//! Keeps and uses secrets: challenge keys, sealed fields, the password pepper, seeds of one-time passwords, secret
//! keys of FIX sessions, keys that sign heads of the journal.
//!
//! Doors and pages see [`Vault`] and names of keys, never a private key, a seed or a master key. Providers:
//! [`SoftVault`] (a sealed key file) and, as a wrapper for drills, [`FaultyVault`]. An HSM implements the same
//! trait and passes the same `conformance` body; what does not depend on where the keys lie is shared:
//! [`challenge`] (lifetimes, replay, implicit rejection), [`unpad`], [`seal`], [`totp`].

use std::sync::Arc;

use doorward_core::ask::{KeyId, Padding};
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::{Now, Wall};

use crate::fault::Fault;

mod audit_key;
pub mod challenge;
#[cfg(test)]
mod conformance;
mod faulty;
pub mod key_file;
mod mac;
mod raw_rsa;
pub mod seal;
mod soft;
pub mod totp;
pub mod unpad;

pub use challenge::ChallengeSettings;
pub use faulty::FaultyVault;
pub use key_file::{PASSPHRASE_LEN_MIN, Protection};
pub use mac::{MAC_KEY_LEN, MacKey};
pub use soft::SoftVault;
pub use totp::TotpAlgorithm;

/// Longest password that a ciphertext may carry, in bytes as sent: what OAEP-SHA-256 holds with RSA-2048.
pub const PASSWORD_LEN_MAX: usize = Limit::PasswordBytesSent.max() as usize;

/// Shortest and longest seed that [`Vault::new_seed`] makes, in bytes (RFC 4226 R6 asks for 16 at least).
pub const SEED_LEN: std::ops::RangeInclusive<usize> = 16..=64;

/// Length of the public half of an audit key, in bytes (RFC 8032, 5.1.5).
pub const AUDIT_KEY_LEN: usize = 32;

/// Length of a signature of an audit key, in bytes (RFC 8032, 5.1.6).
pub const AUDIT_SIGNATURE_LEN: usize = 64;

/// Keeps and uses secrets. Calls block, for microseconds as a rule and milliseconds with an HSM.
///
/// Every method but [`Vault::is_live`], [`Vault::forget_ciphertext`] and [`Vault::describe`] may answer [`Fault::Vault`]: the caller fails
/// closed ("try again later") and the next call may well succeed.
pub trait Vault: Send + Sync {
    /// The public half of the present challenge key. Makes one itself only where none is ready, which
    /// [`Vault::tick`] prevents after the first call.
    fn challenge(&self, now: Now) -> Result<Challenge, Fault>;

    /// The same where a key is ready; `None` where one would have to be made, which may take some 100 ms.
    fn ready_challenge(&self, now: Now) -> Result<Option<Challenge>, Fault>;

    /// Whether a ciphertext for this key can still be opened; to be asked before anything else is done with it.
    fn is_live(&self, key: &KeyId, now: Now) -> bool;

    /// Opens an encrypted password, once.
    ///
    /// Whatever is wrong with the ciphertext, a password comes back: then it is one that nobody has, always the
    /// same for the same bytes (implicit rejection, E2), so that the login fails in the usual place and time.
    fn open_password(&self, request: &OpenPassword<'_>, now: Now) -> Result<Opened, OpenError>;

    /// Forgets that a ciphertext was seen: nothing was decided about it, and the same bytes may come again. Only for
    /// one that [`Vault::open_password`] took for new.
    fn forget_ciphertext(&self, key: &KeyId, ciphertext: &[u8]);

    /// Turns challenge keys over: destroys dead ones and makes the next one ahead of time. To be called about
    /// once a second from a thread that may be kept busy for some 100 ms.
    fn tick(&self, now: Now) -> Result<(), Fault>;

    /// Closes a field and binds it to its place (V1).
    fn seal(&self, place: &Place, plain: &[u8]) -> Result<Sealed, Fault>;

    /// Opens a field that was closed for this very place; [`Fault::Damaged`] where it was not.
    fn open(&self, place: &Place, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Fault>;

    /// HMAC-SHA-256 of a password hash under the newest pepper key (P8).
    fn pepper(&self, hash: &[u8]) -> Result<Peppered, Fault>;

    /// HMAC-SHA-256 of a password hash under the pepper key of this name, as stored beside an older hash.
    fn pepper_with(&self, key: &str, hash: &[u8]) -> Result<[u8; 32], Fault>;

    /// Which of the steps has this one-time password, if any: an index into `query.steps`.
    ///
    /// Opens the seed for the check only. Every step is computed and compared, in constant time, whatever the
    /// code is (T8).
    fn totp_match(&self, query: &TotpQuery<'_>) -> Result<Option<usize>, Fault>;

    /// A new random seed of so many bytes ([`SEED_LEN`]): sealed for its place, and open to be shown once.
    fn new_seed(&self, place: &Place, len: usize) -> Result<(Sealed, Secret<Vec<u8>>), Fault>;

    /// A new random key of [`MAC_KEY_LEN`] bytes for HMAC-SHA-256: sealed for its place, and open to be shown.
    fn new_mac_key(&self, place: &Place) -> Result<(Sealed, Secret<Vec<u8>>), Fault>;

    /// Opens a key that was sealed at its place, for as long as the handle lives; [`Fault::Damaged`] where it was not
    /// sealed there, or is not as long as such a key.
    fn mac_key(&self, place: &Place, sealed: &Sealed) -> Result<MacKey, Fault>;

    /// HMAC-SHA-256 of a message under an opened key of this vault; about as quick as the bare HMAC.
    fn mac(&self, key: &MacKey, message: &[u8]) -> Result<[u8; 32], Fault>;

    /// Public halves of all keys that sign, or have signed, heads of the journal (Ed25519); at least one, the newest last.
    fn audit_keys(&self) -> Result<Vec<[u8; AUDIT_KEY_LEN]>, Fault>;

    /// Signs a message with the audit key whose public half this is; [`Fault::Vault`] where there is none.
    fn audit_sign(
        &self,
        key: &[u8; AUDIT_KEY_LEN],
        message: &[u8],
    ) -> Result<[u8; AUDIT_SIGNATURE_LEN], Fault>;

    /// A new random key of 32 bytes that closes the backup of this id as a whole: wrapped, and open to be used at once.
    fn new_backup_key(&self, id: &str) -> Result<(Sealed, Secret<[u8; 32]>), Fault>;

    /// Opens the key that closes the backup of this id.
    ///
    /// [`Fault::Vault`] where it was wrapped with a key that this vault does not have, [`Fault::Damaged`] where it does
    /// not open with the one that it names.
    fn backup_key(&self, id: &str, wrapped: &Sealed) -> Result<Secret<[u8; 32]>, Fault>;

    /// Fills a buffer with random bytes that are fit for keys.
    fn random(&self, out: &mut [u8]) -> Result<(), Fault>;

    /// Whether the vault works now, for readiness; costs little.
    fn probe(&self) -> Result<(), Fault>;

    /// What this vault is, for the banner and the metrics; names only. Costs little.
    fn describe(&self) -> Description;
}

/// The public half of a challenge key, ready to be sent.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// Names the key.
    pub key_id: KeyId,
    /// X.509 `SubjectPublicKeyInfo`, DER.
    pub spki_der: Arc<[u8]>,
    /// The same in base64 with padding, as the WebSocket door sends it.
    pub spki_base64: Arc<str>,
    /// Until when it is handed out.
    pub serve_until: Wall,
    /// Until when ciphertexts for it are opened, unless it is turned over early.
    pub accept_until: Wall,
    /// Size of the modulus in bits.
    pub bits: u32,
}

/// Which kind of door a ciphertext was made for: its OAEP label (E8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Label {
    /// The WebSocket door: empty, as the clients of the trade expect it.
    WebSocket,
    /// The portal and the console.
    Portal,
    /// The HTTP API.
    Api,
}

impl Label {
    /// The label's bytes (RFC 8017, 7.1: *L*).
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::WebSocket => b"",
            Self::Portal => b"portal",
            Self::Api => b"api",
        }
    }
}

/// An encrypted password and how to open it.
#[derive(Clone, Copy, Debug)]
pub struct OpenPassword<'a> {
    /// For which challenge key it was made.
    pub key_id: &'a KeyId,
    /// How it was padded.
    pub padding: Padding,
    /// At which door it arrived.
    pub label: Label,
    /// Whether PKCS#1 v1.5 is allowed here (E5); it never is where the label is not empty, as it has none.
    pub pkcs1_allowed: bool,
    /// What arrived, after base64.
    pub ciphertext: &'a [u8],
}

/// A password to go on with, whatever the ciphertext was.
#[derive(Debug)]
pub struct Opened {
    /// What the client sent or, where the fact is not [`CiphertextFact::Good`], a password that nobody has.
    /// UTF-8, at most [`PASSWORD_LEN_MAX`] bytes.
    pub password: Secret<Vec<u8>>,
    /// The truth, for the audit trail only: nothing may depend on it that a peer can see.
    pub fact: CiphertextFact,
}

/// What a ciphertext turned out to be; for the audit trail only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CiphertextFact {
    /// It held a password.
    Good,
    /// The same bytes came before in the life of the key (E4).
    Replayed,
    /// PKCS#1 v1.5 where it is switched off, or at a door that demands a label.
    PaddingNotAllowed,
    /// Not as long as the modulus.
    BadLength,
    /// As a number not below the modulus, or 0, 1 or the modulus less one, which no padding yields.
    OutOfRange,
    /// The padding, or the label, is not right.
    BadPadding,
    /// More than [`PASSWORD_LEN_MAX`] bytes.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
}

impl CiphertextFact {
    /// Every fact; the first that holds counts.
    pub const ALL: [Self; 8] = [
        Self::Good,
        Self::Replayed,
        Self::PaddingNotAllowed,
        Self::BadLength,
        Self::OutOfRange,
        Self::BadPadding,
        Self::TooLong,
        Self::NotUtf8,
    ];

    /// What stands for it in records and logs.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Replayed => "replayed",
            Self::PaddingNotAllowed => "padding_not_allowed",
            Self::BadLength => "bad_length",
            Self::OutOfRange => "out_of_range",
            Self::BadPadding => "bad_padding",
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
        }
    }
}

/// Why no password came back at all.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The key never was, or is dead: the peer hears `challenge required`.
    #[error("no such challenge key")]
    NoSuchKey,
    /// The vault failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A peppered password hash.
#[derive(Clone)]
pub struct Peppered {
    /// Names the pepper key; to be stored beside the hash.
    pub key: String,
    /// HMAC-SHA-256 of the hash.
    pub mac: [u8; 32],
}

impl std::fmt::Debug for Peppered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peppered({}, ***)", self.key)
    }
}

/// A one-time password to be checked against some steps.
#[derive(Clone, Copy, Debug)]
pub struct TotpQuery<'a> {
    /// Where the seed lives.
    pub place: &'a Place,
    /// The sealed seed.
    pub seed: &'a Sealed,
    /// The authenticator's algorithm.
    pub algorithm: TotpAlgorithm,
    /// How many digits its codes have: 6 to 8.
    pub digits: u8,
    /// The steps in question (RFC 6238: *T*).
    pub steps: &'a [u64],
    /// What the peer sent.
    pub code: &'a [u8],
}

/// What a vault is; names only, no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// `soft` or `pkcs11`.
    pub provider: &'static str,
    /// Whether keys lie in a hardware module; where not, banner and metric say "no HSM".
    pub hsm: bool,
    /// Names the newest master key.
    pub master_key: String,
    /// Names the newest pepper key.
    pub pepper_key: String,
    /// Size of the challenge keys in bits.
    pub challenge_bits: u32,
}
