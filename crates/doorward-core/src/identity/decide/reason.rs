//! Why somebody did something to somebody else, in their own words.

use super::Misuse;
use crate::id::is_invisible;

/// Longest reason for a step, in characters.
pub const REASON_CHARS_MAX: usize = 256;

/// A reason that can be written down: 1 to 256 characters, none of them invisible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason(String);

impl Reason {
    /// Reads a reason as somebody typed it; spaces around it are left out.
    pub fn parse(text: &str) -> Result<Self, Misuse> {
        let text = text.trim();
        check_reason(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a reason that somebody gave for a step can be written down.
pub(super) fn check_reason(reason: &str) -> Result<(), Misuse> {
    let chars = reason.chars().count();
    if reason.trim().is_empty() {
        return Err(Misuse::invalid("reason", "reason: missing; this step is written down with one"));
    }
    let unseen = reason.chars().any(|c| c.is_control() || is_invisible(c));
    if chars > REASON_CHARS_MAX || unseen {
        let text = format!("reason: {chars} characters, or an invisible one; allowed 1..={REASON_CHARS_MAX}");
        return Err(Misuse::invalid("reason", text));
    }
    Ok(())
}
