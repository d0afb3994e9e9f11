//! The emergency switch: no new logons at the venue, for a firm, or for a FIX session.

use serde::{Deserialize, Serialize};

use super::fix_session::FixSession;
use super::person::{Kind, Person};
use crate::id::{FirmCode, SessionId};
use crate::time::Wall;

/// For whom it is thrown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HaltScope {
    /// Everybody but the desk.
    Venue,
    /// A firm's people and FIX sessions.
    Firm(FirmCode),
    /// A FIX session.
    Session(SessionId),
}

impl HaltScope {
    /// Reads `venue`, `firm/` and a code, or `session/` and a Session ID.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None => (text == "venue").then_some(Self::Venue),
            Some(("firm", code)) => FirmCode::parse(code).ok().map(Self::Firm),
            Some(("session", id)) => SessionId::parse(id.as_bytes()).map(Self::Session),
            Some(_) => None,
        }
    }

    /// Whether it keeps somebody out. The desk never is.
    pub fn covers_person(&self, person: &Person) -> bool {
        match (self, person.kind) {
            (_, Kind::Desk) | (Self::Session(_), _) => false,
            (Self::Venue, Kind::Administrator | Kind::Trader | Kind::Service) => true,
            (Self::Firm(code), Kind::Administrator | Kind::Trader | Kind::Service) => {
                person.firm.as_ref() == Some(code)
            }
        }
    }

    /// Whether it keeps a FIX session out.
    pub fn covers_session(&self, session: &FixSession) -> bool {
        match self {
            Self::Venue => true,
            Self::Firm(code) => session.firm == *code,
            Self::Session(id) => session.id == *id,
        }
    }
}

impl std::fmt::Display for HaltScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Venue => f.write_str("venue"),
            Self::Firm(code) => write!(f, "firm/{code}"),
            Self::Session(id) => write!(f, "session/{id}"),
        }
    }
}

/// A switch that is thrown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Halt {
    /// Since when.
    #[serde(rename = "since_us")]
    pub since: Wall,
    /// Why, in the operator's words.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_as_it_prints() {
        for text in ["venue", "firm/ACME", "session/B08"] {
            assert_eq!(HaltScope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Venue", "firm/", "firm/acme corp", "session/TOOLONG", "week/3", "venue/"] {
            assert_eq!(HaltScope::parse(text), None, "{text}");
        }
    }
}
