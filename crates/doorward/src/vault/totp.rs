//! One-time passwords by RFC 4226 and RFC 6238.

use aws_lc_rs::hmac;
pub use doorward_core::identity::totp::Algorithm as TotpAlgorithm;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// How many digits a code may have.
pub const DIGITS: std::ops::RangeInclusive<u8> = 6..=8;

/// The HMAC under an algorithm.
fn hmac_of(algorithm: TotpAlgorithm) -> hmac::Algorithm {
    match algorithm {
        TotpAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        TotpAlgorithm::Sha256 => hmac::HMAC_SHA256,
        TotpAlgorithm::Sha512 => hmac::HMAC_SHA512,
    }
}

/// The code of a step, as text with leading zeros.
pub fn totp_code(seed: &[u8], algorithm: TotpAlgorithm, digits: u8, step: u64) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac_of(algorithm), seed), &step.to_be_bytes());
    let code = hotp_code(mac.as_ref(), digits);
    format!("{code:0width$}", width = usize::from(digits))
}

/// Dynamic truncation of an HMAC to so many digits (RFC 4226, 5.3); no index depends on the HMAC.
///
/// The HMAC must have at least 20 bytes; beyond 9 digits the code is not cut further.
pub fn hotp_code(mac: &[u8], digits: u8) -> u32 {
    let offset = mac.last().copied().unwrap_or(0) & 0x0f;
    let mut word = 0_u32;
    for (at, window) in (0_u8..16).zip(mac.windows(4)) {
        let here = u32::from_be_bytes([window[0], window[1], window[2], window[3]]);
        word.conditional_assign(&here, at.ct_eq(&offset));
    }
    let value = word & 0x7fff_ffff;
    10_u32.checked_pow(u32::from(digits)).map_or(value, |modulus| value % modulus)
}

/// Which of the steps has this code: the first index, found without showing which (T8).
///
/// A code that is not exactly `digits` ASCII digits costs the same and fits nothing.
pub fn matching_step(
    seed: &[u8],
    algorithm: TotpAlgorithm,
    digits: u8,
    steps: &[u64],
    code: &[u8],
) -> Option<usize> {
    let key = hmac::Key::new(hmac_of(algorithm), seed);
    let len = usize::from(digits.min(9));
    let mut given = [0_u8; 9];
    let well_formed = code.len() == len && code.iter().all(u8::is_ascii_digit);
    for (to, from) in given.iter_mut().zip(code.iter().take(len)) {
        *to = *from;
    }
    let well_formed = Choice::from(u8::from(well_formed));
    let mut found = Choice::from(0);
    let mut index = 0_u64;
    for (at, step) in (0_u64..).zip(steps) {
        let mac = hmac::sign(&key, &step.to_be_bytes());
        let mut rest = hotp_code(mac.as_ref(), digits);
        let mut expected = [0_u8; 9];
        for digit in expected[..len].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let fits = expected[..len].ct_eq(&given[..len]) & well_formed & !found;
        index.conditional_assign(&at, fits);
        found |= fits;
    }
    if bool::from(found) { usize::try_from(index).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t1_rfc_4226_appendix_d() {
        let seed = b"12345678901234567890";
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        let truncated = [
            1_284_755_224,
            1_094_287_082,
            137_359_152,
            1_726_969_429,
            1_640_338_314,
            868_254_676,
            1_918_287_922,
            82_162_583,
            673_399_871,
            645_520_489,
        ];
        for (step, (code, whole)) in (0_u64..).zip(codes.into_iter().zip(truncated)) {
            assert_eq!(totp_code(seed, TotpAlgorithm::Sha1, 6, step), code, "count {step}");
            let mac = hmac::sign(&hmac::Key::new(hmac_of(TotpAlgorithm::Sha1), seed), &step.to_be_bytes());
            assert_eq!(hotp_code(mac.as_ref(), 10), whole, "count {step}");
            assert_eq!(matching_step(seed, TotpAlgorithm::Sha1, 6, &[step], code.as_bytes()), Some(0));
        }
    }

    #[test]
    fn t1_t2_rfc_6238_appendix_b() {
        let digits = b"1234567890".repeat(7);
        let rows: [(u64, [&str; 3]); 6] = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (time_s, codes) in rows {
            let algorithms = [TotpAlgorithm::Sha1, TotpAlgorithm::Sha256, TotpAlgorithm::Sha512];
            for (algorithm, code) in algorithms.into_iter().zip(codes) {
                let seed = &digits[..algorithm.seed_len()];
                assert_eq!(totp_code(seed, algorithm, 8, time_s / 30), code, "{algorithm:?} at {time_s}");
            }
        }
    }

    #[test]
    fn t8_only_exactly_n_ascii_digits_fit() {
        let seed = b"12345678901234567890";
        let check = |code: &[u8]| matching_step(seed, TotpAlgorithm::Sha1, 6, &[0, 1, 2], code);
        assert_eq!(check(b"755224"), Some(0));
        assert_eq!(check(b"359152"), Some(2));
        let bad: [&[u8]; 9] = [
            b"",
            b"35915",
            b"3591522",
            b" 359152",
            b"359152 ",
            b"35915a",
            b"+59152",
            "３５".as_bytes(),
            b"969429",
        ];
        for code in bad {
            assert_eq!(check(code), None, "{code:?}");
        }
        assert_eq!(matching_step(seed, TotpAlgorithm::Sha1, 6, &[], b"755224"), None);
        assert_eq!(
            matching_step(seed, TotpAlgorithm::Sha1, 0, &[0], b""),
            Some(0),
            "callers bound the digits"
        );
    }

    #[test]
    fn the_first_of_two_equal_steps_is_named() {
        let seed = b"12345678901234567890";
        assert_eq!(matching_step(seed, TotpAlgorithm::Sha1, 6, &[9, 1, 1], b"287082"), Some(1));
    }

    #[test]
    fn a_mac_that_is_too_short_does_no_harm() {
        assert_eq!(hotp_code(&[], 6), 0);
        assert_eq!(hotp_code(&[0xff; 3], 6), 0);
    }
}
