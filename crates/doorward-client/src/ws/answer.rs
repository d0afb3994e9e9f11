//! What the WebSocket door answers, typed.

use serde_json::Value;

/// A typed answer with the message it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply<T> {
    /// What it means.
    pub answer: T,
    /// The message as it came, for display; without tokens and seeds, which the answer holds.
    pub raw: Value,
}

/// The answer to `login`, by password or token, and to `send2fatoken`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoginAnswer {
    /// Logged in. Where the password must be changed, nothing else is served before that.
    In {
        /// The password must be changed first.
        must_change: bool,
    },
    /// The password was right; a one-time password must follow.
    CodeRequired,
    /// Wrong user or password, or one of the reasons that are told no further; the server closes.
    Refused,
    /// The one-time password was wrong or used, and the connection waits for another; or the token is not good.
    InvalidToken,
    /// The user must register an authenticator first; the server closes.
    RegistrationRequired {
        /// Where to register, if the server says it.
        url: Option<String>,
    },
    /// The challenge key is gone; ask for another and log in again. No attempt was counted.
    ChallengeRequired,
    /// Too many passwords are being checked; the connection stays and no attempt was counted.
    Busy {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// The server's store or vault is down; the connection stays and no attempt was counted.
    TryAgainLater {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// Any other `result`, as it came.
    Other(String),
}

impl LoginAnswer {
    /// Reads an answer.
    pub fn read(raw: &Value) -> Self {
        match result(raw) {
            "OK" if raw["2fa"] == "required" => Self::CodeRequired,
            "OK" => Self::In { must_change: raw["password"] == "change required" },
            "invalid user/password" => Self::Refused,
            "invalid token" => Self::InvalidToken,
            "2fa registration required" => {
                Self::RegistrationRequired { url: raw["register_url"].as_str().map(str::to_owned) }
            }
            "challenge required" => Self::ChallengeRequired,
            "busy" => Self::Busy { retry_ms: retry_ms(raw) },
            "try again later" => Self::TryAgainLater { retry_ms: retry_ms(raw) },
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The answer to a change of one's own password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeAnswer {
    /// The new password holds.
    Changed,
    /// The new password breaks a rule.
    PasswordIssue {
        /// The rule, in the server's words.
        reason: String,
    },
    /// The present password was wrong.
    Refused,
    /// The challenge key is gone; ask for another and try again. No attempt was counted.
    ChallengeRequired,
    /// Too many passwords are being checked.
    Busy {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// The server's store or vault is down.
    TryAgainLater {
        /// When to try again, in milliseconds; 1000 where the server does not say.
        retry_ms: u64,
    },
    /// Any other `result`, as it came.
    Other(String),
}

impl ChangeAnswer {
    /// Reads an answer.
    pub fn read(raw: &Value) -> Self {
        match result(raw) {
            "OK" => Self::Changed,
            "password issue" => {
                Self::PasswordIssue { reason: raw["reason"].as_str().unwrap_or_default().to_owned() }
            }
            "invalid user/password" => Self::Refused,
            "challenge required" => Self::ChallengeRequired,
            "busy" => Self::Busy { retry_ms: retry_ms(raw) },
            "try again later" => Self::TryAgainLater { retry_ms: retry_ms(raw) },
            other => Self::Other(other.to_owned()),
        }
    }
}

pub(super) fn result(raw: &Value) -> &str {
    raw["result"].as_str().unwrap_or_default()
}

pub(super) fn retry_ms(raw: &Value) -> u64 {
    raw["retry_ms"].as_u64().unwrap_or(1_000)
}
