//! How people, firms and FIX sessions are named.

mod session;
mod short;

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use self::short::{Short, written_as_text};

pub use session::{AccessKeyId, CompId, CompStem, FaultTolerance, FirmId, OperatorId, SessionId};

use crate::limits::Limit;

/// A person, for ever: random, never given to anybody else. Printed as `p` and 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PersonId(u64);

impl PersonId {
    /// Makes an id of random bits; the top bit is dropped so that a database's signed integer holds it.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits >> 1)
    }

    /// The number behind the id.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Reads `p` and 16 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits =
            text.strip_prefix('p').filter(|digits| digits.len() == 16 && digits.bytes().all(is_digit))?;
        u64::from_str_radix(digits, 16).ok().filter(|number| *number <= u64::MAX >> 1).map(Self)
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:016x}", self.0)
    }
}

impl Serialize for PersonId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PersonId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("no person id: {text:?}")))
    }
}

/// A user id in its one canonical form: NFKC, lower case. Two spellings that differ by case are one user.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// Longest user id, in characters after NFKC.
    pub const CHARS_MAX: usize = 128;

    /// Brings a user id into its canonical form; the error says what is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() as u64 > Limit::UserIdBytes.max() {
            return Err("longer than 128 characters");
        }
        // Both small sigmas have one capital.
        let folded = text.nfkc().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c });
        let canonical: String = folded.nfkc().collect();
        if canonical.is_empty() {
            return Err("empty");
        }
        if canonical.chars().count() > Self::CHARS_MAX {
            return Err("longer than 128 characters");
        }
        if canonical.chars().any(|c| c.is_whitespace() || c.is_control() || is_invisible(c)) {
            return Err("has a space, a control or an invisible character");
        }
        Ok(Self(canonical))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that show nothing, or turn the direction of what follows: never part of a name.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{E0000}'..='\u{E0FFF}')
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for UserId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<UserId> for String {
    fn from(userid: UserId) -> Self {
        userid.0
    }
}

/// A firm's code: 1 to 16 of `A-Z 0-9 _ -`, upper case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct FirmCode(Short<{ FirmCode::CHARS_MAX }>);

written_as_text!(FirmCode, code => code.as_str().as_bytes());

impl FirmCode {
    /// Longest code, in characters.
    pub const CHARS_MAX: usize = 16;

    /// Reads a code, in upper case whatever the case given.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let code = Short::upper(text.as_bytes()).filter(|_| fits);
        code.map(Self).ok_or("not 1 to 16 of A-Z, 0-9, - and _")
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for FirmCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl TryFrom<String> for FirmCode {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<FirmCode> for String {
    fn from(code: FirmCode) -> Self {
        code.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_user_id_of_more_than_512_bytes_is_refused_before_it_is_read() {
        // Three letters of three bytes each become one syllable: few characters in many bytes.
        let syllable = "\u{1112}\u{1161}\u{11ab}";
        let fits = format!("ab{}", syllable.repeat(55)) + "abcdefghijklmno";
        assert_eq!(fits.len() as u64, Limit::UserIdBytes.max());
        assert_eq!(UserId::parse(&fits).unwrap().as_str().chars().count(), 72);
        assert!(UserId::parse(&(fits + "p")).is_err());
    }

    #[test]
    fn user_ids_that_differ_by_case_or_width_are_one() {
        let plain = UserId::parse("julian@example.com").unwrap();
        assert_eq!(UserId::parse("Julian@Example.COM").unwrap(), plain);
        assert_eq!(UserId::parse("ｊulian@example.com").unwrap(), plain);
        assert_eq!(UserId::parse("ΟΔΥΣΣΕΥΣ"), UserId::parse("οδυσσευς"));
    }

    #[test]
    fn a_canonical_user_id_stays_as_it_is() {
        for text in ["İstanbul", "straße", "Ω", "ﬁrm", "trader+feb0903@x.y"] {
            let once = UserId::parse(text).unwrap();
            assert_eq!(UserId::parse(once.as_str()).unwrap(), once, "{text}");
        }
    }

    #[test]
    fn every_character_has_one_canonical_form_whatever_its_case() {
        // Beyond these nothing has a case or a compatibility form.
        for c in (0..=0x1_FFFFu32).chain(0x2_F800..=0x2_FA1F).filter_map(char::from_u32) {
            let Ok(once) = UserId::parse(&format!("a{c}b")) else { continue };
            assert_eq!(UserId::parse(once.as_str()).as_ref(), Ok(&once), "{c:?}");
            let upper: String = c.to_uppercase().collect();
            if upper.to_lowercase() == c.to_string() {
                assert_eq!(UserId::parse(&format!("a{upper}b")), Ok(once), "{c:?}");
            }
        }
    }

    #[test]
    fn user_ids_with_control_or_invisible_characters_are_refused() {
        for text in ["", "a b", "a\u{0}", "a\nb", "a\u{202E}b", "a\u{200B}", "\u{1b}[31m", &"x".repeat(129)] {
            assert!(UserId::parse(text).is_err(), "{text:?}");
        }
        assert!(UserId::parse(&"x".repeat(128)).is_ok());
        assert!(UserId::parse(&"x".repeat(10_240)).is_err());
    }

    #[test]
    fn ids_read_back_as_they_print() {
        let id = PersonId::from_random(u64::MAX);
        assert_eq!(PersonId::parse(&id.to_string()), Some(id));
        assert!(i64::try_from(id.as_u64()).is_ok());
        for text in ["p12", "p+00000000000002a", "p000000000000002A", "pffffffffffffffff", "000000000000002a"]
        {
            assert_eq!(PersonId::parse(text), None, "{text}");
        }
        assert_eq!(FirmCode::parse("fint").unwrap().as_str(), "FINT");
        assert!(FirmCode::parse("a firm").is_err());
    }
}
