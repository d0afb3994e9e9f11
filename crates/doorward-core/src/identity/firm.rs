//! Firms: who owns traders.

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::id::FirmCode;
use crate::time::Wall;

/// A broker or member of the venue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Firm {
    /// Its code; never changes.
    pub code: FirmCode,
    /// Its name, 1 to 128 characters.
    pub name: String,
    /// Since when it is known.
    #[serde(rename = "added_us")]
    pub added_at: Wall,
    /// While closed, all its people are refused.
    #[serde(default)]
    pub closed: bool,
    /// What it asks of its people beyond the venue.
    #[serde(default)]
    pub policy: Policy,
    /// Until when the desk has opened the making and showing of key pairs, whatever the time of the week.
    #[serde(default, rename = "key_hours_until_us", skip_serializing_if = "Option::is_none")]
    pub key_hours_until: Option<Wall>,
    /// Counts changes of this firm.
    pub version: u64,
}

impl Firm {
    /// Longest name, in characters.
    pub const NAME_CHARS_MAX: usize = 128;
}
