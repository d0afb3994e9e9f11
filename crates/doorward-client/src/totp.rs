//! One-time passwords from a seed (RFC 6238), as an authenticator application makes them.

use std::time::Duration;

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use crate::ClientError;

/// The hash under the HMAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1: what every authenticator application knows.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm of RFC 6238.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name in an `otpauth://` address.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// The algorithm of this name, in any case, with or without a hyphen.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.replace('-', "");
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(&name))
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A seed with what belongs to it.
#[derive(Clone, Debug)]
pub struct Totp {
    seed: Secret<Vec<u8>>,
    digits: u32,
    algorithm: Algorithm,
    period_s: i64,
}

impl Totp {
    /// Time step of RFC 6238 and of Doorward, in seconds.
    pub const PERIOD_S: i64 = 30;
    /// Length of a code unless something else is said.
    pub const DIGITS: u32 = 6;

    /// Reads a base32 seed (spaces, hyphens, lower case and `=` are fine) or an `otpauth://totp/` address.
    ///
    /// # Errors
    /// [`ClientError::Seed`] says what is wrong, never the seed.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let text = text.trim();
        match text.get(..10) {
            Some(scheme) if scheme.eq_ignore_ascii_case("otpauth://") => Self::parse_uri(&text[10..]),
            _ => Ok(Self {
                seed: decode(text)?,
                digits: Self::DIGITS,
                algorithm: Algorithm::default(),
                period_s: Self::PERIOD_S,
            }),
        }
    }

    fn parse_uri(rest: &str) -> Result<Self, ClientError> {
        let (path, query) =
            rest.split_once('?').ok_or(ClientError::Seed("no secret in the otpauth address"))?;
        if !path.split('/').next().is_some_and(|kind| kind.eq_ignore_ascii_case("totp")) {
            return Err(ClientError::Seed("only otpauth://totp/ addresses are known"));
        }
        let mut totp = Self {
            seed: Secret::new(Vec::new()),
            digits: Self::DIGITS,
            algorithm: Algorithm::default(),
            period_s: Self::PERIOD_S,
        };
        for (name, value) in
            query.split('#').next().unwrap_or("").split('&').filter_map(|p| p.split_once('='))
        {
            match name {
                "secret" => {
                    let text = value.replace("%3D", "=").replace("%3d", "=").replace("%20", " ");
                    totp.seed = decode(&text)?;
                }
                "digits" => totp = totp.with_digits(value.parse().unwrap_or(0))?,
                "algorithm" => {
                    totp.algorithm = Algorithm::from_name(value)
                        .ok_or(ClientError::Seed("algorithm is none of SHA1, SHA256, SHA512"))?;
                }
                "period" => {
                    totp.period_s = value
                        .parse()
                        .ok()
                        .filter(|period| (1..=3_600).contains(period))
                        .ok_or(ClientError::Seed("period is out of range 1..=3600"))?;
                }
                _ => {}
            }
        }
        if totp.seed.expose().is_empty() {
            return Err(ClientError::Seed("no secret in the otpauth address"));
        }
        Ok(totp)
    }

    /// With codes of another length: 6 to 8 digits.
    ///
    /// # Errors
    /// [`ClientError::Seed`] past that range.
    pub fn with_digits(mut self, digits: u32) -> Result<Self, ClientError> {
        if !(6..=8).contains(&digits) {
            return Err(ClientError::Seed("digits are out of range 6..=8"));
        }
        self.digits = digits;
        Ok(self)
    }

    /// With another algorithm.
    #[must_use]
    pub const fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// The number of the time step at an instant.
    pub fn step(&self, at: Wall) -> i64 {
        at.as_s().div_euclid(self.period_s)
    }

    /// The code at an instant (RFC 4226, 5.3), with leading zeros.
    pub fn code(&self, at: Wall) -> String {
        let key = hmac::Key::new(self.algorithm.hmac(), self.seed.expose());
        let tag = hmac::sign(&key, &self.step(at).to_be_bytes());
        let tag = tag.as_ref();
        let offset = tag.last().map_or(0, |last| usize::from(last & 0x0f));
        let word = tag.iter().skip(offset).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
        let code = (word & 0x7fff_ffff) % 10_u32.pow(self.digits);
        format!("{code:0width$}", width = self.digits as usize)
    }

    /// How long the code of an instant stays the newest.
    pub fn good_for(&self, at: Wall) -> Duration {
        Wall::from_s((self.step(at) + 1).saturating_mul(self.period_s)).since(at)
    }
}

/// The code of a base32 seed or `otpauth://` address at an instant.
///
/// # Errors
/// [`ClientError::Seed`] where the seed cannot be read or `digits` is not 6 to 8.
pub fn code(seed: &str, at: Wall, digits: u32, algorithm: Algorithm) -> Result<String, ClientError> {
    Ok(Totp::parse(seed)?.with_digits(digits)?.with_algorithm(algorithm).code(at))
}

fn decode(text: &str) -> Result<Secret<Vec<u8>>, ClientError> {
    let letters: Secret<Vec<u8>> = Secret::new(
        text.bytes()
            .filter(|b| !b.is_ascii_whitespace() && *b != b'-' && *b != b'=')
            .map(|b| b.to_ascii_uppercase())
            .collect(),
    );
    if letters.expose().is_empty() {
        return Err(ClientError::Seed("empty"));
    }
    let seed = BASE32_NOPAD.decode(letters.expose());
    seed.map(Secret::new).map_err(|_| ClientError::Seed("not base32 (letters A-Z and digits 2-7)"))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE32;

    use super::*;

    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        let seed = |length: usize| BASE32.encode(&b"1234567890".repeat(7)[..length]);
        let seeds = [seed(20), seed(32), seed(64)];
        let vectors = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (at_s, codes) in vectors {
            for ((algorithm, seed), expected) in Algorithm::ALL.into_iter().zip(&seeds).zip(codes) {
                assert_eq!(
                    code(seed, Wall::from_s(at_s), 8, algorithm).unwrap(),
                    expected,
                    "{algorithm:?} {at_s}"
                );
            }
        }
    }

    #[test]
    fn the_vectors_of_rfc_4226_hold() {
        let seed = BASE32.encode(b"12345678901234567890");
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        for (step, expected) in (0..).zip(codes) {
            assert_eq!(code(&seed, Wall::from_s(step * 30), 6, Algorithm::Sha1).unwrap(), expected);
        }
    }

    #[test]
    fn seeds_are_read_as_people_write_them() {
        let at = Wall::from_s(59);
        for text in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            " gezd gnbv gy3t qojq gezd gnbv gy3t qojq \n",
            "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ====",
            "otpauth://totp/Venue:trader%40firm?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ%3D&issuer=Venue&digits=6",
        ] {
            assert_eq!(Totp::parse(text).unwrap().code(at), "287082", "{text}");
        }
    }

    #[test]
    fn an_otpauth_address_carries_its_parameters() {
        let seed = BASE32.encode(&b"1234567890".repeat(7)[..32]).replace('=', "");
        let uri = format!("OTPAUTH://totp/x?digits=8&algorithm=SHA256&period=60&secret={seed}#f");
        let totp = Totp::parse(&uri).unwrap();
        assert_eq!(totp.code(Wall::from_s(118)), "46119246", "step 1 of 60 s");
        assert_eq!(totp.good_for(Wall::from_s(118)), Duration::from_secs(2));
    }

    #[test]
    fn what_is_no_seed_is_refused_without_repeating_it() {
        for (text, why) in [
            ("", "seed: empty"),
            ("  ==", "seed: empty"),
            ("GEZD1", "seed: not base32 (letters A-Z and digits 2-7)"),
            ("GÉZD", "seed: not base32 (letters A-Z and digits 2-7)"),
            ("otpauth://hotp/x?secret=GEZDGNBV", "seed: only otpauth://totp/ addresses are known"),
            ("otpauth://totp/x?issuer=y", "seed: no secret in the otpauth address"),
            ("otpauth://totp/x", "seed: no secret in the otpauth address"),
            ("otpauth://totp/x?secret=GEZDGNBV&period=0", "seed: period is out of range 1..=3600"),
            ("otpauth://totp/x?secret=GEZDGNBV&digits=9", "seed: digits are out of range 6..=8"),
        ] {
            assert_eq!(Totp::parse(text).unwrap_err().to_string(), why, "{text}");
        }
        assert!(code("GEZDGNBV", Wall::from_s(0), 5, Algorithm::Sha1).is_err());
    }

    #[test]
    fn a_code_is_the_newest_until_its_step_ends() {
        let totp = Totp::parse("GEZDGNBV").unwrap();
        assert_eq!(totp.good_for(Wall::from_s(0)), Duration::from_secs(30));
        assert_eq!(totp.good_for(Wall::from_us(29_500_000)), Duration::from_millis(500));
        assert_eq!(totp.step(Wall::from_s(-1)), -1);
    }
}
