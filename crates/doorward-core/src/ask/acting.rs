//! What somebody asks for others at a door: a program that serves traders, or a firm's administrator.

use std::net::IpAddr;

use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use super::GivenPassword;
use crate::id::{FirmCode, PersonId, UserId};
use crate::secret::Secret;
use crate::time::Wall;

/// Somebody who asks for others. What they may do, the gate looks up each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acting {
    /// Who.
    pub person: PersonId,
    /// When they gave a good one-time password in this login, if they did (T14).
    pub factor_at: Option<Wall>,
}

/// A customer's login that a program wants verified; nobody is let in by it.
#[derive(Clone, Debug)]
pub struct VerifyLogin {
    /// The program.
    pub asker: Acting,
    /// The customer, as sent.
    pub userid: String,
    /// The customer's password.
    pub password: GivenPassword,
    /// The customer's one-time password, where it came along.
    pub code: Option<Secret<String>>,
    /// Whether a token is wanted.
    pub wants_token: bool,
    /// The customer's address, by which wrong passwords are counted; absent: the program's own.
    pub source: Option<IpAddr>,
}

/// What is known of a trader beside password and authenticator. What is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TraderDetails {
    /// An opaque text.
    pub roles: Option<String>,
    /// Opaque too.
    pub broker_comm_rate: Option<String>,
    /// A JSON object.
    pub attr: Option<Map<String, Value>>,
    /// Whether a one-time password is to be asked for: `true` makes a new seed each time.
    pub otp: Option<bool>,
    /// Whether a new password is to be changed at the first login; absent: as the gate holds it.
    pub initial: Option<bool>,
    /// Why, in the asker's words.
    pub reason: Option<String>,
}

/// A trader to be added.
#[derive(Clone, Debug)]
pub struct NewTrader {
    /// Who asks.
    pub asker: Acting,
    /// The name to log in with, as sent.
    pub userid: String,
    /// The firm, as sent; absent: the asker's one.
    pub firm: Option<String>,
    /// The first password.
    pub password: GivenPassword,
    /// The field that it was sent in.
    pub sent_as: &'static str,
    /// The rest.
    pub details: TraderDetails,
}

/// Another password for a trader.
#[derive(Clone, Debug)]
pub enum NewSecret {
    /// With the present one beside it.
    Changed {
        /// The present one.
        present: GivenPassword,
        /// The new one.
        new: GivenPassword,
    },
    /// Without.
    Reset(GivenPassword),
}

/// A trader to be changed.
#[derive(Clone, Debug)]
pub struct TraderChange {
    /// Who asks.
    pub asker: Acting,
    /// The trader, as sent.
    pub userid: String,
    /// The firm as sent, which never changes.
    pub firm: Option<String>,
    /// Another password, where one is to be set.
    pub password: Option<NewSecret>,
    /// The rest.
    pub details: TraderDetails,
}

/// Something secret that is shown once. It can be compared, in constant time.
#[derive(Clone, Debug)]
pub struct OnceShown(Secret<String>);

impl OnceShown {
    /// To be shown once.
    pub const fn new(secret: Secret<String>) -> Self {
        Self(secret)
    }

    /// The text itself, for the one answer that shows it.
    pub const fn expose(&self) -> &String {
        self.0.expose()
    }
}

impl PartialEq for OnceShown {
    fn eq(&self, other: &Self) -> bool {
        self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
    }
}

impl Eq for OnceShown {}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeToken {
    /// The token.
    pub token: OnceShown,
    /// Until when it is good.
    pub expires: Wall,
}

/// A customer whose password was right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// In the canonical form.
    pub userid: UserId,
    /// Whether they may come in.
    pub active: bool,
    /// 0: by the password alone; 1: by a one-time password as well.
    pub level: u8,
    /// What the venue keeps of them.
    pub attr: Option<Map<String, Value>>,
    /// The token, where one was wanted and is allowed.
    pub token: Option<MadeToken>,
    /// An authenticator must be registered first.
    pub must_register: bool,
    /// The password must be changed first.
    pub must_change: bool,
}

/// What may be told of somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonShown {
    /// In the canonical form.
    pub userid: UserId,
    /// Their firm.
    pub firm: Option<FirmCode>,
    /// An opaque text.
    pub roles: Option<String>,
    /// Whether they may come in.
    pub active: bool,
    /// Whether a one-time password is asked for.
    pub otp: bool,
    /// Whether an authenticator is registered.
    pub registered: bool,
    /// What the venue keeps of them.
    pub attr: Option<Map<String, Value>>,
}

/// A seed that was just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownSeed {
    /// Base32 without padding.
    pub base32: OnceShown,
    /// The same for an authenticator app, as an `otpauth` URI.
    pub uri: OnceShown,
}

/// A trader was added or changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StepDone {
    /// The trader's commission rate from now on.
    pub broker_comm_rate: Option<String>,
    /// The seed, where one was made.
    pub seed: Option<ShownSeed>,
}

/// Why something asked for others was not done, as far as the asker may know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Declined {
    /// The asker may not do this; because of a field, where one is named.
    NotPermitted {
        /// The field's name on the wire.
        field: Option<&'static str>,
    },
    /// The user id is somebody's already.
    UserExists,
    /// Nobody whom the asker serves has this user id.
    UnknownUser,
    /// No firm whose people the asker serves has this code.
    UnknownFirm,
    /// A field is missing.
    Missing {
        /// Its name on the wire.
        field: &'static str,
    },
    /// A field's value is not allowed.
    Invalid {
        /// Its name on the wire.
        field: &'static str,
    },
    /// A token was wanted, and no one-time password came along.
    CodeMissing,
    /// The one-time password or token is not good.
    InvalidToken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q3_what_is_shown_once_is_not_printed() {
        let shown = |text: &str| OnceShown::new(Secret::new(text.to_owned()));
        assert!(!format!("{:?}", shown("JBSWY3DPEHPK3PXP")).contains("JBSW"));
        assert_eq!(shown("a"), shown("a"));
        assert_ne!(shown("a"), shown("b"));
        assert_ne!(shown("a"), shown("ab"));
    }
}
