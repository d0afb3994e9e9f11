//! The string in which a password hash is stored, and the parameters of new ones.

use std::fmt;

use argon2::Params;
use data_encoding::BASE64_NOPAD;

/// Most memory of one hash that is stored or made, in KiB.
const M_KIB_MAX: u32 = 256 * 1024;
/// Most passes.
const T_MAX: u32 = 10;
/// Most lanes.
const P_MAX: u32 = 4;
/// Longest string: the longest key name and salt fit.
const TEXT_LEN_MAX: usize = 320;
/// Longest name of a pepper key, in bytes.
const KEY_LEN_MAX: usize = 64;

/// Parameters of Argon2id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashParams {
    m_kib: u32,
    t: u32,
    p: u32,
}

impl HashParams {
    /// The least that new hashes are made with (P7; OWASP): 19 MiB, two passes, one lane.
    pub const FLOOR: Self = Self { m_kib: 19_456, t: 2, p: 1 };
    /// The most that calibration offers (P7): 64 MiB, three passes.
    pub const OFFERED_MAX: Self = Self { m_kib: 65_536, t: 3, p: 1 };

    /// Parameters for new hashes, not below [`Self::FLOOR`]; the text names value and limit.
    pub fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, PhcError> {
        let within = |name, value, low, high| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(PhcError::Range { name, value, low, high })
            }
        };
        within("m", m_kib, Self::FLOOR.m_kib, M_KIB_MAX)?;
        within("t", t, Self::FLOOR.t, T_MAX)?;
        within("p", p, 1, P_MAX)?;
        Ok(Self { m_kib, t, p })
    }

    /// Parameters for tests of other things: a hash takes no time.
    #[cfg(test)]
    pub(crate) const fn tiny() -> Self {
        Self { m_kib: 8, t: 1, p: 1 }
    }

    /// Parameters of a ladder or a stored hash, which may lie below the floor.
    pub(super) const fn unchecked(m_kib: u32, t: u32, p: u32) -> Self {
        Self { m_kib, t, p }
    }

    /// Memory in KiB.
    pub const fn m_kib(self) -> u32 {
        self.m_kib
    }

    /// Passes.
    pub const fn t(self) -> u32 {
        self.t
    }

    /// Lanes.
    pub const fn p(self) -> u32 {
        self.p
    }

    /// Whether a hash with these parameters is cheaper to guess than one with others.
    pub fn is_weaker_than(self, other: Self) -> bool {
        let cost = |params: Self| u64::from(params.m_kib) * u64::from(params.t);
        self.m_kib < other.m_kib || cost(self) < cost(other)
    }

    pub(super) fn argon2(self) -> Result<Params, argon2::Error> {
        Params::new(self.m_kib, self.t, self.p, Some(32))
    }
}

impl fmt::Display for HashParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={},t={},p={}", self.m_kib, self.t, self.p)
    }
}

/// A stored password hash: `$argon2id$v=19$m=19456,t=2,p=1,keyid=<base64>$<salt>$<hash>`.
///
/// `keyid` names the pepper key; base64 is without padding, as in the PHC string format.
#[derive(Clone)]
pub struct Phc {
    pub(super) params: HashParams,
    pub(super) pepper_key: String,
    pub(super) salt: Vec<u8>,
    pub(super) mac: [u8; 32],
}

/// Why a text is no password hash, or parameters cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PhcError {
    /// Not of the form that [`Phc`] describes.
    #[error("not a password hash: {0}")]
    Form(&'static str),
    /// A parameter is out of its range.
    #[error("argon2id {name}={value} is out of range {low}..={high}")]
    Range {
        /// Which parameter.
        name: &'static str,
        /// What it is.
        value: u32,
        /// Least allowed.
        low: u32,
        /// Most allowed.
        high: u32,
    },
}

impl Phc {
    /// Reads a stored hash, strictly: there is one text for each hash.
    pub fn parse(text: &str) -> Result<Self, PhcError> {
        if text.len() > TEXT_LEN_MAX {
            return Err(PhcError::Form("too long"));
        }
        let mut parts = text.split('$');
        let mut part = || parts.next().ok_or(PhcError::Form("a part is missing"));
        if (part()?, part()?, part()?) != ("", "argon2id", "v=19") {
            return Err(PhcError::Form("not argon2id version 19"));
        }
        let (params, salt, mac) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(PhcError::Form("a part too many"));
        }
        let (params, pepper_key) = parse_params(params)?;
        let salt = decode(salt)?;
        if !(8..=64).contains(&salt.len()) {
            return Err(PhcError::Form("the salt is not 8 to 64 bytes"));
        }
        let mac = decode(mac)?.try_into().map_err(|_| PhcError::Form("the hash is not 32 bytes"))?;
        Ok(Self { params, pepper_key, salt, mac })
    }

    /// Its parameters.
    pub const fn params(&self) -> HashParams {
        self.params
    }

    /// Names the pepper key under which it was made.
    pub fn pepper_key(&self) -> &str {
        &self.pepper_key
    }

    /// Whether it should be made anew at the next right password (P9): weaker, or under an older pepper key.
    pub fn needs_rehash(&self, params: HashParams, pepper_key: &str) -> bool {
        self.params.is_weaker_than(params) || self.pepper_key != pepper_key
    }
}

fn parse_params(text: &str) -> Result<(HashParams, String), PhcError> {
    const FORM: PhcError = PhcError::Form("the parameters are not m, t, p, keyid");
    let mut fields = text.split(',');
    let mut number = |name: &'static str, low: u32, high: u32| {
        let digits = fields.next().and_then(|field| field.strip_prefix(name)?.strip_prefix('='));
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).ok_or(FORM)?;
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(FORM);
        }
        let value: u32 = digits.parse().map_err(|_| FORM)?;
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(PhcError::Range { name, value, low, high })
        }
    };
    let m_kib = number("m", 8, M_KIB_MAX)?;
    let t = number("t", 1, T_MAX)?;
    let p = number("p", 1, P_MAX)?;
    let params = HashParams { m_kib, t, p };
    params.argon2().map_err(|_| PhcError::Form("argon2id does not take these parameters"))?;
    let key = fields.next().and_then(|field| field.strip_prefix("keyid=")).ok_or(FORM)?;
    if fields.next().is_some() {
        return Err(FORM);
    }
    let key = String::from_utf8(decode(key)?).map_err(|_| PhcError::Form("the key's name is not UTF-8"))?;
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return Err(PhcError::Form("the key's name is not 1 to 64 bytes"));
    }
    Ok((params, key))
}

fn decode(text: &str) -> Result<Vec<u8>, PhcError> {
    BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| PhcError::Form("not base64 without padding"))
}

impl fmt::Display for Phc {
    /// The text to be stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { params, pepper_key, salt, mac } = self;
        let base64 = |bytes: &[u8]| BASE64_NOPAD.encode(bytes);
        let key = base64(pepper_key.as_bytes());
        write!(f, "$argon2id$v=19${params},keyid={key}${}${}", base64(salt), base64(mac))
    }
}

impl fmt::Debug for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phc({}, {})", self.params, self.pepper_key)
    }
}

/// Body for fuzzing: any text is a hash within its bounds that is written as it was read, or none.
pub fn fuzz_phc(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Phc::parse(text) {
        Ok(phc) => {
            assert_eq!(phc.to_string(), text, "two forms of a hash");
            assert!(phc.params.m_kib <= M_KIB_MAX && phc.params.t <= T_MAX && phc.params.p <= P_MAX);
            assert!((8..=64).contains(&phc.salt.len()) && (1..=KEY_LEN_MAX).contains(&phc.pepper_key.len()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "$argon2id$v=19$m=19456,t=2,p=1,keyid=c29mdDpwZXBwZXIvMDE$\
                        AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn p7_a_phc_string_reads_and_prints_alike() {
        let phc = Phc::parse(TEXT).unwrap();
        assert_eq!(phc.params(), HashParams::FLOOR);
        assert_eq!(phc.pepper_key(), "soft:pepper/01");
        assert_eq!(phc.to_string(), TEXT);
        assert!(!format!("{phc:?}").contains("AAEC"));
    }

    #[test]
    fn p7_bounds_are_strict() {
        for (from, to) in [
            ("m=19456", "m=262145"),
            ("m=19456", "m=7"),
            ("m=19456", "m=019456"),
            ("m=19456", "m=+19456"),
            ("m=19456", "m=4294967297"),
            ("m=19456", "m="),
            ("t=2", "t=0"),
            ("t=2", "t=11"),
            ("p=1", "p=0"),
            ("p=1", "p=5"),
            ("p=1,keyid", "keyid"),
            (",keyid=c29mdDpwZXBwZXIvMDE", ""),
            ("keyid=c29mdDpwZXBwZXIvMDE", "keyid="),
            ("MDE$", "MDE,data=AA$"),
            ("v=19", "v=16"),
            ("argon2id", "argon2i"),
            ("$argon2id", "argon2id"),
            ("AAECAwQFBgcICQoLDA0ODw$", "AAECAwQF$"),
            ("AAECAwQFBgcICQoLDA0ODw$", "AAECAwQFBgcICQoLDA0ODx$"),
            ("GxwdHh8", "GxwdHh8="),
            ("GxwdHh8", "GxwdHg"),
            ("GxwdHh8", "GxwdHh8$"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            assert!(Phc::parse(&text).is_err(), "{text}");
        }
        assert!(Phc::parse(&TEXT.replace("m=19456", "m=262144")).is_ok());
        assert!(Phc::parse("").is_err());
    }

    #[test]
    fn p7_parameters_below_the_floor_are_not_made() {
        assert!(HashParams::new(19_455, 2, 1).is_err());
        assert!(HashParams::new(19_456, 1, 1).is_err());
        assert!(HashParams::new(19_456, 2, 0).is_err());
        assert_eq!(
            HashParams::new(262_145, 2, 1).unwrap_err().to_string(),
            "argon2id m=262145 is out of range 19456..=262144"
        );
        assert_eq!(HashParams::new(65_536, 3, 1), Ok(HashParams::OFFERED_MAX));
    }

    #[test]
    fn p9_weaker_hashes_and_older_peppers_are_made_anew() {
        let phc = Phc::parse(TEXT).unwrap();
        let params = |m, t| HashParams::new(m, t, 1).unwrap();
        assert!(!phc.needs_rehash(HashParams::FLOOR, "soft:pepper/01"));
        assert!(phc.needs_rehash(HashParams::FLOOR, "soft:pepper/02"));
        assert!(phc.needs_rehash(params(19_456, 3), "soft:pepper/01"));
        assert!(phc.needs_rehash(params(32_768, 2), "soft:pepper/01"));
        assert!(!params(65_536, 3).is_weaker_than(params(19_456, 2)), "lowered parameters change nothing");
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in "(\\$argon2id\\$v=19\\$)?[mtp=,0-9$a-zA-Z/+]{0,80}") {
            if let Ok(phc) = Phc::parse(&text) {
                prop_assert_eq!(phc.to_string(), text);
            }
        }
    }
}
