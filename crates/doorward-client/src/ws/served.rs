//! What the WebSocket door answers to those who serve others, typed.
//!
//! Tokens and seeds are shown once: they are taken out of the message as it came and lie in [`OnceShown`].

use doorward_core::ask::OnceShown;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::{Map, Value};

use super::answer::{result, retry_ms};

/// Why something asked for others was not done, for reasons that any of these messages may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Declined {
    /// Whoever asks may not do this.
    PermissionDenied {
        /// The field because of which, where the server names one.
        field: Option<String>,
    },
    /// A field is missing.
    MissingField {
        /// Its name.
        field: String,
    },
    /// A field's value is not allowed.
    InvalidField {
        /// Its name.
        field: String,
    },
    /// The challenge key is gone; ask for another and encrypt again. No attempt was counted.
    ChallengeRequired,
    /// Too much is waiting; nothing was decided, and the very same message may be sent again.
    Busy {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// The server's store or vault is down; nothing was decided.
    TryAgainLater {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// Any other `result`, as it came.
    Other(String),
}

impl Declined {
    fn read(raw: &Value) -> Self {
        let field = || raw["field"].as_str().map(str::to_owned);
        match result(raw) {
            "permission denied" => Self::PermissionDenied { field: field() },
            "missing field" => Self::MissingField { field: field().unwrap_or_default() },
            "invalid field" => Self::InvalidField { field: field().unwrap_or_default() },
            "challenge required" => Self::ChallengeRequired,
            "busy" => Self::Busy { retry_ms: retry_ms(raw) },
            "try again later" => Self::TryAgainLater { retry_ms: retry_ms(raw) },
            other => Self::Other(other.to_owned()),
        }
    }

    /// After how many milliseconds the very same may be tried again; `None` where that would be in vain.
    pub const fn retry_ms(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_ms } | Self::TryAgainLater { retry_ms } => Some(*retry_ms),
            Self::PermissionDenied { .. }
            | Self::MissingField { .. }
            | Self::InvalidField { .. }
            | Self::ChallengeRequired
            | Self::Other(_) => None,
        }
    }
}

/// The answer to `verifylogin`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VerifyAnswer {
    /// The password was right; what else is known says whether the customer may come in.
    Verified(Box<VerifiedLogin>),
    /// Wrong user or password, or one of the reasons that are told no further.
    Refused,
    /// The one-time password was wrong or used.
    InvalidToken,
    /// A token was wanted, and no one-time password came along.
    CodeMissing,
    /// Any other.
    Declined(Declined),
}

/// A customer whose password was right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedLogin {
    /// In the canonical form, by which the venue should know the customer.
    pub userid: String,
    /// Whether the customer may come in; somebody disabled may not.
    pub active: bool,
    /// 0: by the password alone; 1: by a one-time password as well.
    pub verify_level: u64,
    /// What the venue keeps of the customer.
    pub attr: Option<Map<String, Value>>,
    /// The token, where one was wanted and is allowed.
    pub token: Option<LoginToken>,
    /// An authenticator must be registered first.
    pub must_register: bool,
    /// The password must be changed first.
    pub must_change: bool,
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginToken {
    /// The token; the server keeps nothing but its hash.
    pub token: OnceShown,
    /// Until when it is good, if the server says it.
    pub expires: Option<Wall>,
}

impl VerifyAnswer {
    /// Reads an answer, and takes the token out of it.
    pub fn read(raw: &mut Value) -> Self {
        match result(raw) {
            "OK" => Self::Verified(Box::new(VerifiedLogin {
                userid: text(raw, "userid"),
                active: raw["active"] == "Y",
                verify_level: raw["verify_level"].as_u64().unwrap_or(0),
                attr: raw["attr"].as_object().cloned(),
                must_register: raw["2fa"] == "registration required",
                must_change: raw["password"] == "change required",
                token: take(raw, "token").map(|token| LoginToken { token, expires: expires(raw) }),
            })),
            "invalid user/password" => Self::Refused,
            "invalid token" => Self::InvalidToken,
            "2fa token missing" => Self::CodeMissing,
            _ => Self::Declined(Declined::read(raw)),
        }
    }
}

/// The answer to `checktoken` and `revoketoken`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenAnswer {
    /// The token was good when it was asked for.
    Good {
        /// Whose it is, in the canonical form.
        userid: String,
        /// Until when, if the server says it.
        expires: Option<Wall>,
    },
    /// The token is none, is over, was ended, or is not that user's.
    InvalidToken,
    /// Any other.
    Declined(Declined),
}

impl TokenAnswer {
    /// Reads an answer.
    pub fn read(raw: &Value) -> Self {
        match result(raw) {
            "OK" => Self::Good { userid: text(raw, "userid"), expires: expires(raw) },
            "invalid token" => Self::InvalidToken,
            _ => Self::Declined(Declined::read(raw)),
        }
    }
}

/// The answer to `getuser`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserAnswer {
    /// Somebody is known by this user id.
    Known(Box<KnownUser>),
    /// Nobody whom the asker serves is.
    Unknown,
    /// Any other.
    Declined(Declined),
}

/// What may be told of somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownUser {
    /// In the canonical form.
    pub userid: String,
    /// The firm's code.
    pub firm: Option<String>,
    /// An opaque text.
    pub roles: Option<String>,
    /// Whether they may come in.
    pub active: bool,
    /// Whether a one-time password is asked for.
    pub use2fa: bool,
    /// Whether an authenticator is registered.
    pub registered: bool,
    /// What the venue keeps of them.
    pub attr: Option<Map<String, Value>>,
}

impl UserAnswer {
    /// Reads an answer.
    pub fn read(raw: &Value) -> Self {
        let maybe = |name: &str| raw[name].as_str().map(str::to_owned);
        match result(raw) {
            "OK" => Self::Known(Box::new(KnownUser {
                userid: text(raw, "userid"),
                firm: maybe("firm"),
                roles: maybe("roles"),
                active: raw["active"] == "Y",
                use2fa: raw["use2fa"] == "Y",
                registered: raw["2faregistered"] == "Y",
                attr: raw["attr"].as_object().cloned(),
            })),
            "unknown user" => Self::Unknown,
            _ => Self::Declined(Declined::read(raw)),
        }
    }
}

/// The answer to `adduser` for others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepAnswer {
    /// It is done.
    Done(Box<StepDone>),
    /// The new password breaks a rule, or the present one is wrong.
    PasswordIssue {
        /// The rule, in the server's words.
        reason: String,
    },
    /// Somebody has the user id of a user to be added.
    UserExists,
    /// Nobody whom the asker serves has the user id of a user to be changed.
    UnknownUser,
    /// No firm that the asker serves has this code.
    UnknownFirm,
    /// Any other.
    Declined(Declined),
}

/// A user was added or changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepDone {
    /// The commission rate from now on; `0` where none is set.
    pub broker_comm_rate: String,
    /// The authenticator's seed, where one was made.
    pub seed: Option<NewSeed>,
}

/// A seed that was just made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSeed {
    /// Base32 without padding.
    pub base32: OnceShown,
    /// The same for an authenticator app, as an `otpauth` URI; empty where the server gives none.
    pub uri: OnceShown,
}

impl StepAnswer {
    /// Reads an answer, and takes the seed out of it.
    pub fn read(raw: &mut Value) -> Self {
        match result(raw) {
            "OK" => {
                let uri = take(raw, "2fauri").unwrap_or_else(|| OnceShown::new(Secret::new(String::new())));
                let seed = take(raw, "2faseed").map(|base32| NewSeed { base32, uri });
                Self::Done(Box::new(StepDone { broker_comm_rate: text(raw, "broker_comm_rate"), seed }))
            }
            "password issue" => Self::PasswordIssue { reason: text(raw, "reason") },
            "user already exists" => Self::UserExists,
            "unknown user" => Self::UnknownUser,
            "unknown firm" => Self::UnknownFirm,
            _ => Self::Declined(Declined::read(raw)),
        }
    }
}

fn text(raw: &Value, name: &str) -> String {
    raw[name].as_str().unwrap_or_default().to_owned()
}

fn expires(raw: &Value) -> Option<Wall> {
    raw["expires"].as_i64().map(|ms| Wall::from_us(ms.saturating_mul(1_000)))
}

/// Takes a secret text out of an answer, which may then be shown and logged.
fn take(raw: &mut Value, name: &str) -> Option<OnceShown> {
    match raw.as_object_mut()?.remove(name)? {
        Value::String(text) => Some(OnceShown::new(Secret::new(text))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
