//! One-time passwords by time: RFC 6238 over RFC 4226. The vault computes; the rules are here.

use serde::{Deserialize, Serialize};

use crate::text::percent_encoded;
use crate::time::Wall;

/// The hash under the HMAC (RFC 6238, 1.2). Ordered by strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC-SHA-1: what every authenticator can do.
    #[serde(rename = "SHA1")]
    Sha1,
    /// HMAC-SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
    /// HMAC-SHA-512.
    #[serde(rename = "SHA512")]
    Sha512,
}

impl Algorithm {
    /// The name in an `otpauth` URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Length of a new seed, in bytes: that of the hash (RFC 4226, R6; RFC 6238, 5.1).
    pub const fn seed_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What an authenticator was made with; frozen for its life (T3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parameters {
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits of a code: 6 or 8.
    pub digits: u8,
    /// Length of a time step, in seconds.
    pub period_s: u8,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sha1, digits: 6, period_s: 30 }
    }
}

impl Parameters {
    /// The time step that an instant lies in; the epoch's first one before 1970.
    pub fn step_at(&self, at: Wall) -> u64 {
        u64::try_from(at.as_s()).unwrap_or(0) / u64::from(self.period_s.max(1))
    }

    /// Whether a text can be a code at all: exactly so many ASCII digits (T8).
    pub fn is_code(&self, text: &str) -> bool {
        text.len() == usize::from(self.digits) && text.bytes().all(|b| b.is_ascii_digit())
    }

    /// The `otpauth` URI that a QR code carries.
    pub fn uri(&self, issuer: &str, account: &str, seed_base32: &str) -> String {
        let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
        format!(
            "otpauth://totp/{issuer}:{account}?secret={seed_base32}&issuer={issuer}&algorithm={}&digits={}&period={}",
            self.algorithm.name(),
            self.digits,
            self.period_s
        )
    }
}

/// Most steps that an authenticator's clock may be known to be off (T9).
pub const DRIFT_MAX: i8 = 10;

/// How far a failure is looked into for the diagnosis, in steps either side. Never lets anybody in.
pub const DIAGNOSIS: i8 = 10;

/// Offsets from the present step that are accepted: one step either side of the remembered drift (T5).
///
/// While the drift is at most one step, the window around the server's own clock stays open too: a code typed late
/// teaches a drift of -1, and the next one typed in time must still be good one step either side.
pub fn window(drift: i8) -> std::ops::RangeInclusive<i8> {
    if drift.abs() <= 1 { (drift - 1).min(-1)..=(drift + 1).max(1) } else { drift - 1..=drift + 1 }
}

/// What a code proved to be, against one authenticator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    /// The code of a step within the window that is later than the last used one.
    Good {
        /// The step.
        step: u64,
        /// Its distance from the present step.
        offset: i8,
    },
    /// The code of a step within the window that was used, or lies before a used one (T6).
    Used,
    /// No code of the window; where it is one of the steps nearby, how far off.
    Wrong {
        /// For the diagnosis only.
        offset: Option<i8>,
    },
}

/// Judges a code by the offset, in steps from the present one, at which the vault found it to match.
pub fn judge(present: u64, drift: i8, last_step: Option<u64>, offset: Option<i8>) -> Match {
    let Some(offset) = offset else { return Match::Wrong { offset: None } };
    let Some(step) = present.checked_add_signed(offset.into()) else { return Match::Wrong { offset: None } };
    if !window(drift).contains(&offset) {
        return Match::Wrong { offset: Some(offset) };
    }
    if last_step.is_some_and(|last| step <= last) { Match::Used } else { Match::Good { step, offset } }
}

/// The drift to remember after a good code: one step a login towards what was seen, ten at most (T9).
pub fn learn(drift: i8, offset: i8) -> i8 {
    (drift + (offset - drift).signum()).clamp(-DRIFT_MAX, DRIFT_MAX)
}

/// The steps to compare a code with, as offsets from the present step: the window first, then what is looked at for
/// the diagnosis. Steps before the epoch are left out.
pub fn candidates(present: u64, drift: i8) -> Vec<(i8, u64)> {
    let near = window(drift);
    let wide = (-DIAGNOSIS).min(*near.start())..=DIAGNOSIS.max(*near.end());
    let beyond = wide.filter(|offset| !window(drift).contains(offset));
    near.chain(beyond)
        .filter_map(|offset| present.checked_add_signed(offset.into()).map(|step| (offset, step)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t5_the_window_is_one_step_either_side_of_the_drift() {
        assert_eq!(window(0), -1..=1);
        assert_eq!(window(-1), -2..=1);
        assert_eq!(window(1), -1..=2);
        assert_eq!(window(4), 3..=5);
        assert_eq!(window(-10), -11..=-9);
    }

    #[test]
    fn t6_a_step_at_or_below_the_last_used_one_is_used() {
        assert_eq!(judge(100, 0, Some(100), Some(0)), Match::Used);
        assert_eq!(judge(100, 0, Some(100), Some(-1)), Match::Used);
        assert_eq!(judge(100, 0, Some(100), Some(1)), Match::Good { step: 101, offset: 1 });
        assert_eq!(judge(100, 0, Some(101), Some(1)), Match::Used);
        assert_eq!(judge(100, 0, None, Some(5)), Match::Wrong { offset: Some(5) });
    }

    #[test]
    fn t8_a_code_is_exactly_so_many_ascii_digits() {
        let six = Parameters::default();
        assert!(six.is_code("012345"));
        for text in ["", "12345", "1234567", "12345a", " 12345", "+12345", "１２３４５６", "12345\n"] {
            assert!(!six.is_code(text), "{text:?}");
        }
    }

    #[test]
    fn t9_a_drift_grows_one_step_a_login_and_ten_at_most() {
        let mut drift = 0;
        for offset in 1..=10 {
            assert!(window(drift).contains(&offset), "offset {offset} at drift {drift}");
            drift = learn(drift, offset);
            assert_eq!(drift, offset);
        }
        assert!(window(drift).contains(&11));
        assert_eq!(learn(drift, 11), 10);
        assert!(!window(10).contains(&12));
    }

    #[test]
    fn t9_one_login_moves_the_drift_by_one_step_however_far_the_code_was_off() {
        for drift in -DRIFT_MAX..=DRIFT_MAX {
            for offset in window(drift) {
                let learnt = learn(drift, offset);
                assert!((learnt - drift).abs() <= 1, "{drift} and {offset} make {learnt}");
                assert!(
                    (offset - learnt).abs() <= (offset - drift).abs(),
                    "{drift} and {offset} make {learnt}"
                );
            }
        }
        assert_eq!(learn(-1, 1), 0);
        assert_eq!(learn(1, -1), 0);
    }

    proptest! {
        #[test]
        fn t5_t6_only_later_steps_of_the_window_are_good(
            present in 0u64..1_000_000, drift in -10i8..=10, last in proptest::option::of(0u64..1_000_000),
            offset in proptest::option::of(-12i8..=12),
        ) {
            if let Match::Good { step, offset } = judge(present, drift, last, offset) {
                prop_assert!(window(drift).contains(&offset));
                prop_assert!(last.is_none_or(|used| step > used));
                prop_assert_eq!(step as i64 - present as i64, i64::from(offset));
            }
        }

        #[test]
        fn every_offset_of_the_window_is_a_candidate(present in 20u64..1_000_000, drift in -10i8..=10) {
            let all = candidates(present, drift);
            for offset in window(drift) {
                prop_assert!(all.iter().any(|(o, _)| *o == offset));
            }
            prop_assert!(all.len() <= 25);
        }
    }

    #[test]
    fn the_first_steps_after_the_epoch_have_no_steps_before_them() {
        assert_eq!(candidates(0, 0).iter().filter(|(offset, _)| *offset < 0).count(), 0);
    }

    #[test]
    fn the_uri_escapes_issuer_and_account() {
        let uri = Parameters::default().uri("Doorward Demo", "a+b@x.y", "ABC");
        assert!(
            uri.starts_with("otpauth://totp/Doorward%20Demo:a%2Bb%40x.y?secret=ABC&issuer=Doorward%20Demo&"),
            "{uri}"
        );
    }
}
