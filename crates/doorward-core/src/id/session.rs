//! The names of a FIX session: the 7 characters of SenderCompID (49), operators (50), access keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::short::{Short, written_as_text};

/// A name of three characters `A-Z 0-9`.
macro_rules! three_characters {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name([u8; 3]);

        written_as_text!($name, id => &id.0);

        impl $name {
            /// Reads exactly three characters of `A-Z 0-9`; `None` for anything else.
            pub fn parse(text: &[u8]) -> Option<Self> {
                let three: [u8; 3] = text.try_into().ok()?;
                three.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).then_some(Self(three))
            }

            /// The three characters.
            pub const fn as_bytes(&self) -> &[u8; 3] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(std::str::from_utf8(&self.0).unwrap_or("???"))
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(text.as_bytes()).ok_or("not 3 characters of A-Z and 0-9")
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    };
}

three_characters! {
    /// A Session ID: the left-most three characters of SenderCompID (49). Key pairs belong to it.
    SessionId
}

three_characters! {
    /// A Firm ID: the middle three characters of SenderCompID (49). Not the code of a firm at Doorward.
    FirmId
}

/// The fault tolerance indicator: the last character of SenderCompID (49).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FaultTolerance {
    /// `N`: without fault tolerance.
    Without,
    /// `U`: asks whether it is primary or backup.
    Undefined,
    /// `P`: the primary.
    Primary,
    /// `B`: the backup.
    Backup,
}

impl FaultTolerance {
    /// The indicator of this character.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'N' => Some(Self::Without),
            b'U' => Some(Self::Undefined),
            b'P' => Some(Self::Primary),
            b'B' => Some(Self::Backup),
            _ => None,
        }
    }

    /// The character on the wire.
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Without => b'N',
            Self::Undefined => b'U',
            Self::Primary => b'P',
            Self::Backup => b'B',
        }
    }
}

/// A SenderCompID (49) of the secure logon: Session ID, Firm ID, fault tolerance indicator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct CompId {
    /// The left-most three characters.
    pub session: SessionId,
    /// The next three.
    pub firm: FirmId,
    /// The last one.
    pub indicator: FaultTolerance,
}

written_as_text!(CompId, id => &id.to_bytes());

impl CompId {
    /// Reads exactly seven characters; `None` where they are no SenderCompID.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (session, rest) = text.split_at_checked(3)?;
        let (firm, indicator) = rest.split_at_checked(3)?;
        let &[indicator] = indicator else { return None };
        Some(Self {
            session: SessionId::parse(session)?,
            firm: FirmId::parse(firm)?,
            indicator: FaultTolerance::from_byte(indicator)?,
        })
    }

    /// The seven characters.
    pub fn to_bytes(self) -> [u8; 7] {
        let ([a, b, c], [d, e, f]) = (*self.session.as_bytes(), *self.firm.as_bytes());
        [a, b, c, d, e, f, self.indicator.as_byte()]
    }

    /// Without the indicator.
    pub const fn stem(self) -> CompStem {
        CompStem { session: self.session, firm: self.firm }
    }

    /// The same session and firm with another indicator.
    #[must_use]
    pub const fn with(self, indicator: FaultTolerance) -> Self {
        Self { indicator, ..self }
    }
}

impl fmt::Display for CompId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.to_bytes()).unwrap_or("???????"))
    }
}

impl TryFrom<String> for CompId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes()).ok_or("no SenderCompID of 7 characters")
    }
}

impl From<CompId> for String {
    fn from(id: CompId) -> Self {
        id.to_string()
    }
}

/// A SenderCompID (49) without its last character, the fault tolerance indicator: 6 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct CompStem {
    /// The left-most three characters.
    pub session: SessionId,
    /// The next three.
    pub firm: FirmId,
}

written_as_text!(CompStem, id => &id.to_bytes());

impl CompStem {
    /// Reads exactly six characters; `None` where they cannot begin a SenderCompID.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (session, firm) = text.split_at_checked(3)?;
        Some(Self { session: SessionId::parse(session)?, firm: FirmId::parse(firm)? })
    }

    /// The six characters.
    pub fn to_bytes(self) -> [u8; 6] {
        let ([a, b, c], [d, e, f]) = (*self.session.as_bytes(), *self.firm.as_bytes());
        [a, b, c, d, e, f]
    }

    /// The SenderCompID with this indicator.
    pub const fn with(self, indicator: FaultTolerance) -> CompId {
        CompId { session: self.session, firm: self.firm, indicator }
    }
}

impl fmt::Display for CompStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.session, self.firm)
    }
}

impl TryFrom<String> for CompStem {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes()).ok_or("not 6 characters of A-Z and 0-9")
    }
}

impl From<CompStem> for String {
    fn from(stem: CompStem) -> Self {
        stem.to_string()
    }
}

/// An operator ID (tag 50) in upper case: 1 to 18 printable ASCII characters without space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct OperatorId(Short<{ OperatorId::CHARS_MAX }>);

written_as_text!(OperatorId, id => id.as_str().as_bytes());

impl OperatorId {
    /// Longest operator ID, in characters.
    pub const CHARS_MAX: usize = 18;

    /// Reads an operator ID whatever the case; `None` where it cannot be one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Short::upper(text).filter(|_| !text.is_empty()).map(Self)
    }

    /// The text, in upper case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<String> for OperatorId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes()).ok_or("not 1 to 18 printable characters without a space")
    }
}

impl From<OperatorId> for String {
    fn from(operator: OperatorId) -> Self {
        operator.as_str().to_owned()
    }
}

/// An Access Key ID: 20 characters `A-Z a-z 0-9`, unique for ever; names a key pair on the wire (tag 355).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct AccessKeyId([u8; 20]);

written_as_text!(AccessKeyId, id => &id.0);

impl AccessKeyId {
    /// Reads exactly 20 characters; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let id: [u8; 20] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// The 20 characters.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.0).unwrap_or("????????????????????"))
    }
}

impl TryFrom<String> for AccessKeyId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes()).ok_or("not 20 characters of A-Z, a-z and 0-9")
    }
}

impl From<AccessKeyId> for String {
    fn from(id: AccessKeyId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comp_id_is_three_three_and_one() {
        let id = CompId::parse(b"B08004N").unwrap();
        assert_eq!((id.session.to_string(), id.firm.to_string()), ("B08".to_owned(), "004".to_owned()));
        assert_eq!(id.with(FaultTolerance::Primary).to_string(), "B08004P");
        for text in ["B08004", "B08004X", "b08004N", "B08004NN", "B0 004N", "", "\u{c4}B0804N"] {
            assert_eq!(CompId::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_operator_is_one_whatever_the_case() {
        assert_eq!(OperatorId::parse(b"0j4l").unwrap().as_str(), "0J4L");
        for text in [&b""[..], b"a b", b"a\x01", &[b'x'; 19]] {
            assert_eq!(OperatorId::parse(text), None);
        }
    }

    #[test]
    fn an_access_key_id_has_20_letters_and_digits() {
        let id = AccessKeyId::parse(b"oNDxM33uE81ohWuVRtWT").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"oNDxM33uE81ohWuVRtWT\"");
        assert_eq!(AccessKeyId::parse(b"oNDxM33uE81ohWuVRtW-"), None);
        assert_eq!(AccessKeyId::parse(b"short"), None);
    }
}
