//! Recovery codes: for a day without the device. Each is good once (T16).

use serde::{Deserialize, Serialize};

use crate::time::Wall;

/// Codes that are made at once.
pub const CODES: usize = 10;

/// What is kept of a code: an HMAC under the vault's pepper.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeHash {
    /// Names the pepper key.
    pub key: String,
    /// HMAC-SHA-256 in hexadecimal.
    pub mac: String,
}

impl std::fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CodeHash({}, ***)", self.key)
    }
}

/// Somebody's recovery codes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecoveryCodes {
    /// When they were made.
    #[serde(rename = "made_us")]
    pub made_at: Wall,
    /// Those that are still good.
    pub unused: Vec<CodeHash>,
}
