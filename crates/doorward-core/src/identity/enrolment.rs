//! An authenticator's life: none → pending → active → backed off → locked → revoked.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::link::LinkHash;
use super::policy::Effective;
use super::sealed::Sealed;
use super::totp::{self, Match, Parameters};
use crate::time::Wall;

/// How long a backed-off authenticator waits (T10).
pub const BACK_OFF: Duration = Duration::from_secs(30);

/// How long after its begin an enrolment can be confirmed (K5).
pub const ENROLMENT_MAX: Duration = Duration::from_secs(15 * 60);

/// Names an enrolment; printed as `e` and 16 hexadecimal digits. Only the browser session that began it knows it (K9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnrolmentId(u64);

impl EnrolmentId {
    /// Makes an id of random bits.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits)
    }

    fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits =
            text.strip_prefix('e').filter(|digits| digits.len() == 16 && digits.bytes().all(is_digit))?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for EnrolmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{:016x}", self.0)
    }
}

impl fmt::Debug for EnrolmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for EnrolmentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnrolmentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no enrolment id"))
    }
}

/// A registration that somebody has begun in a browser.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrolment {
    /// Which browser session's.
    pub id: EnrolmentId,
    /// The setup link that it came with; taken back, it takes the enrolment along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkHash>,
}

/// A sealed seed and what it was made with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seed {
    /// The seed; only the vault opens it.
    pub sealed: Sealed,
    /// Counts the seeds of this person; part of the seal's place.
    pub version: u32,
    /// Algorithm, digits and period.
    pub parameters: Parameters,
}

/// A registered authenticator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Factor {
    /// Its seed.
    pub seed: Seed,
    /// Since when it is registered.
    #[serde(rename = "since_us")]
    pub since: Wall,
    /// The last used step: this one and all before it are used up, for ever (T6).
    pub last_step: u64,
    /// Known drift of the device, in steps.
    #[serde(default)]
    pub drift: i8,
    /// Wrong or used codes in a row.
    #[serde(default)]
    pub wrong: u8,
    /// When a code was good last.
    #[serde(rename = "used_us")]
    pub used_at: Wall,
}

/// Where an authenticator stands. Each state owns what belongs to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Authenticator {
    /// There is none.
    #[default]
    None,
    /// A seed was made; its first good code registers it.
    Pending {
        /// The seed.
        seed: Seed,
        /// When it was made.
        issued_us: Wall,
        /// Wrong codes so far.
        wrong: u8,
        /// The browser session that made it, where alone it can be confirmed (K9); absent: an administrator handed it
        /// out, and it is confirmed at any door.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enrolment: Option<Enrolment>,
    },
    /// Registered and in use.
    Active(Factor),
    /// Registered; refuses every code until an instant.
    BackedOff {
        /// The registered factor.
        factor: Factor,
        /// When codes are looked at again.
        until_us: Wall,
    },
    /// Registered; refuses everything until an administrator unlocks it.
    Locked {
        /// The registered factor.
        factor: Factor,
        /// Since when.
        since_us: Wall,
    },
    /// Taken away; another must be registered.
    Revoked {
        /// When.
        at_us: Wall,
    },
}

/// What a code did to an authenticator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodeResult {
    /// It was good: the authenticator as it is from now on; `confirmed` when this code registered it (T7).
    Good {
        /// The next state.
        next: Authenticator,
        /// Whether the code registered it.
        confirmed: bool,
    },
    /// It was wrong or used and counts: the authenticator as it is from now on.
    Bad {
        /// The next state.
        next: Authenticator,
        /// Whether the code had been used.
        used: bool,
        /// How far off the device's clock seems, in steps; for the diagnosis only.
        offset: Option<i8>,
    },
    /// Backed off until an instant: the code was not looked at and does not count.
    Waits(Wall),
    /// Locked.
    Locked,
    /// There is no seed to look at.
    Nothing,
}

impl Authenticator {
    /// The seed that a code at a door is to be compared with, and the drift; `None` without one, and while somebody
    /// registers with it in a browser.
    pub const fn comparable(&self) -> Option<(&Seed, i8)> {
        match self {
            Self::Pending { seed, enrolment: None, .. } => Some((seed, 0)),
            Self::Active(factor) | Self::BackedOff { factor, .. } | Self::Locked { factor, .. } => {
                Some((&factor.seed, factor.drift))
            }
            Self::None | Self::Pending { enrolment: Some(_), .. } | Self::Revoked { .. } => None,
        }
    }

    /// The seed that the confirming code of an enrolment is to be compared with; `None` once it is over (K5, K9).
    pub fn enrolling(&self, id: EnrolmentId, now: Wall) -> Option<&Seed> {
        match self {
            Self::Pending { seed, issued_us, enrolment: Some(enrolment), .. } => {
                let is_own = enrolment.id == id && *issued_us <= now && now.since(*issued_us) < ENROLMENT_MAX;
                is_own.then_some(seed)
            }
            Self::None
            | Self::Pending { enrolment: None, .. }
            | Self::Active(_)
            | Self::BackedOff { .. }
            | Self::Locked { .. }
            | Self::Revoked { .. } => None,
        }
    }

    /// Whether there is a seed at all, registered or not.
    pub const fn has_seed(&self) -> bool {
        match self {
            Self::Pending { .. } | Self::Active(_) | Self::BackedOff { .. } | Self::Locked { .. } => true,
            Self::None | Self::Revoked { .. } => false,
        }
    }

    /// Whether a first good code has registered it, locked or not.
    pub const fn is_registered(&self) -> bool {
        match self {
            Self::Active(_) | Self::BackedOff { .. } | Self::Locked { .. } => true,
            Self::None | Self::Pending { .. } | Self::Revoked { .. } => false,
        }
    }

    /// The state's name, as shown to people.
    pub const fn state(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending { .. } => "pending",
            Self::Active(_) => "active",
            Self::BackedOff { .. } => "backed-off",
            Self::Locked { .. } => "locked",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// Takes a code that the vault found to match at `offset` steps from now, or nowhere near.
    ///
    /// Every wrong or used code counts (T10): a registered authenticator backs off, then locks; a pending one, whose
    /// seed may be in the wrong hands, is revoked where a registered one would back off or be locked.
    pub fn take_code(&self, offset: Option<i8>, policy: &Effective, now: Wall) -> CodeResult {
        match self {
            Self::None | Self::Pending { enrolment: Some(_), .. } | Self::Revoked { .. } => {
                CodeResult::Nothing
            }
            Self::Locked { .. } => CodeResult::Locked,
            Self::BackedOff { until_us, .. } if now < *until_us => CodeResult::Waits(*until_us),
            Self::Pending { enrolment: None, .. } => self.take_first(offset, policy, now),
            Self::Active(factor) | Self::BackedOff { factor, .. } => factor.take_code(offset, policy, now),
        }
    }

    /// Takes the confirming code of an enrolment, in the browser session that began it.
    pub fn take_enrolling(
        &self,
        id: EnrolmentId,
        offset: Option<i8>,
        policy: &Effective,
        now: Wall,
    ) -> CodeResult {
        match self.enrolling(id, now) {
            Some(_) => self.take_first(offset, policy, now),
            None => CodeResult::Nothing,
        }
    }

    /// Takes a recovery code in place of a one-time password. A wrong one counts like a wrong one-time password; a good
    /// one ends the count and uses no step up.
    pub fn take_recovery(&self, matches: bool, policy: &Effective, now: Wall) -> CodeResult {
        match self {
            Self::None | Self::Pending { .. } | Self::Revoked { .. } => CodeResult::Nothing,
            Self::Locked { .. } => CodeResult::Locked,
            Self::BackedOff { until_us, .. } if now < *until_us => CodeResult::Waits(*until_us),
            Self::Active(factor) | Self::BackedOff { factor, .. } if matches => {
                let next = Self::Active(Factor { wrong: 0, ..factor.clone() });
                CodeResult::Good { next, confirmed: false }
            }
            Self::Active(factor) | Self::BackedOff { factor, .. } => {
                CodeResult::Bad { next: factor.after_bad(policy, now), used: false, offset: None }
            }
        }
    }

    /// The first code of a pending seed.
    fn take_first(&self, offset: Option<i8>, policy: &Effective, now: Wall) -> CodeResult {
        match self {
            Self::Pending { seed, issued_us, wrong, enrolment } => {
                let begun = Begun { issued_us: *issued_us, wrong: *wrong, enrolment: *enrolment };
                take_first(seed, begun, offset, policy, now)
            }
            Self::None
            | Self::Active(_)
            | Self::BackedOff { .. }
            | Self::Locked { .. }
            | Self::Revoked { .. } => CodeResult::Nothing,
        }
    }

    /// The authenticator after an administrator unlocked it; `None` where nothing is locked.
    pub fn unlocked(&self) -> Option<Self> {
        match self {
            Self::Locked { factor, .. } | Self::BackedOff { factor, .. } => {
                Some(Self::Active(Factor { wrong: 0, ..factor.clone() }))
            }
            Self::Active(factor) if factor.wrong > 0 => {
                Some(Self::Active(Factor { wrong: 0, ..factor.clone() }))
            }
            Self::None | Self::Pending { .. } | Self::Active(_) | Self::Revoked { .. } => None,
        }
    }
}

/// What a pending authenticator holds beside its seed.
#[derive(Clone, Copy)]
struct Begun {
    issued_us: Wall,
    wrong: u8,
    enrolment: Option<Enrolment>,
}

fn take_first(seed: &Seed, begun: Begun, offset: Option<i8>, policy: &Effective, now: Wall) -> CodeResult {
    match totp::judge(seed.parameters.step_at(now), 0, None, offset) {
        Match::Good { step, offset } => {
            let factor = Factor::confirmed(seed.clone(), step, offset, now);
            CodeResult::Good { next: Authenticator::Active(factor), confirmed: true }
        }
        Match::Used => {
            CodeResult::Bad { next: Authenticator::Revoked { at_us: now }, used: true, offset: None }
        }
        Match::Wrong { offset } => {
            let wrong = begun.wrong.saturating_add(1);
            let next = if wrong >= policy.wrong_codes_back_off.min(policy.wrong_codes_lock) {
                Authenticator::Revoked { at_us: now }
            } else {
                let Begun { issued_us, enrolment, .. } = begun;
                Authenticator::Pending { seed: seed.clone(), issued_us, wrong, enrolment }
            };
            CodeResult::Bad { next, used: false, offset }
        }
    }
}

impl Factor {
    /// The factor that a first good code has registered; the code's step is used up (T7).
    pub(crate) fn confirmed(seed: Seed, step: u64, offset: i8, now: Wall) -> Self {
        Self { seed, since: now, last_step: step, drift: totp::learn(0, offset), wrong: 0, used_at: now }
    }

    fn take_code(&self, offset: Option<i8>, policy: &Effective, now: Wall) -> CodeResult {
        let present = self.seed.parameters.step_at(now);
        match totp::judge(present, self.drift, Some(self.last_step), offset) {
            Match::Good { step, offset } => {
                let drift = totp::learn(self.drift, offset);
                let factor = Self { last_step: step, drift, wrong: 0, used_at: now, ..self.clone() };
                CodeResult::Good { next: Authenticator::Active(factor), confirmed: false }
            }
            Match::Used => CodeResult::Bad { next: self.after_bad(policy, now), used: true, offset: None },
            Match::Wrong { offset } => {
                CodeResult::Bad { next: self.after_bad(policy, now), used: false, offset }
            }
        }
    }

    fn after_bad(&self, policy: &Effective, now: Wall) -> Authenticator {
        let factor = Self { wrong: self.wrong.saturating_add(1), ..self.clone() };
        if factor.wrong >= policy.wrong_codes_lock {
            Authenticator::Locked { factor, since_us: now }
        } else if factor.wrong >= policy.wrong_codes_back_off {
            Authenticator::BackedOff { factor, until_us: now + BACK_OFF }
        } else {
            Authenticator::Active(factor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Wall = Wall::from_s(1_800_000_000);

    fn seed() -> Seed {
        let sealed = Sealed { key: "k".into(), blob: "b".into() };
        Seed { sealed, version: 1, parameters: Parameters::default() }
    }

    fn active() -> Authenticator {
        let factor = Factor { seed: seed(), since: NOW, last_step: 1, drift: 0, wrong: 0, used_at: NOW };
        Authenticator::Active(factor)
    }

    fn step(authenticator: &Authenticator, offset: Option<i8>, now: Wall) -> Authenticator {
        match authenticator.take_code(offset, &Effective::default(), now) {
            CodeResult::Good { next, .. } | CodeResult::Bad { next, .. } => next,
            CodeResult::Waits(_) | CodeResult::Locked | CodeResult::Nothing => authenticator.clone(),
        }
    }

    #[test]
    fn t6_a_code_is_good_once() {
        let after = step(&active(), Some(0), NOW);
        let again = after.take_code(Some(0), &Effective::default(), NOW);
        assert!(matches!(again, CodeResult::Bad { used: true, .. }), "{again:?}");
        let older = after.take_code(Some(-1), &Effective::default(), NOW);
        assert!(matches!(older, CodeResult::Bad { used: true, .. }), "{older:?}");
    }

    #[test]
    fn t7_t12_the_first_good_code_registers_and_is_used_up() {
        let pending = Authenticator::Pending { seed: seed(), issued_us: NOW, wrong: 0, enrolment: None };
        assert!(!pending.is_registered());
        let CodeResult::Good { next, confirmed: true } =
            pending.take_code(Some(0), &Effective::default(), NOW)
        else {
            panic!("not confirmed")
        };
        assert!(next.is_registered());
        assert!(matches!(
            next.take_code(Some(0), &Effective::default(), NOW),
            CodeResult::Bad { used: true, .. }
        ));
    }

    #[test]
    fn t10_five_wrong_codes_back_off_and_ten_lock() {
        let mut authenticator = active();
        let mut now = NOW;
        for wrong in 1..=10 {
            authenticator = step(&authenticator, None, now);
            match wrong {
                1..=4 => assert_eq!(authenticator.state(), "active"),
                5..=9 => {
                    assert_eq!(authenticator.state(), "backed-off");
                    let waits = authenticator.take_code(Some(0), &Effective::default(), now);
                    assert_eq!(waits, CodeResult::Waits(now + BACK_OFF), "not looked at and not counted");
                }
                _ => assert_eq!(authenticator.state(), "locked"),
            }
            now = now + BACK_OFF;
        }
        assert_eq!(authenticator.take_code(Some(0), &Effective::default(), now), CodeResult::Locked);
        let unlocked = authenticator.unlocked().unwrap();
        assert!(matches!(unlocked.take_code(Some(0), &Effective::default(), now), CodeResult::Good { .. }));
    }

    #[test]
    fn t10_a_used_code_counts_like_a_wrong_one() {
        let mut authenticator = step(&active(), Some(0), NOW);
        for used in 1..=5 {
            let result = authenticator.take_code(Some(0), &Effective::default(), NOW);
            let CodeResult::Bad { next, used: true, .. } = result else { panic!("{used}: {result:?}") };
            authenticator = next;
        }
        assert_eq!(authenticator.state(), "backed-off");
        let mixed = step(&step(&active(), Some(0), NOW), None, NOW);
        let Authenticator::Active(factor) = step(&mixed, Some(0), NOW) else { panic!("{mixed:?}") };
        assert_eq!(factor.wrong, 2, "wrong and used ones make one row");
    }

    #[test]
    fn t12_a_pending_seed_is_revoked_after_five_wrong_codes() {
        let mut authenticator =
            Authenticator::Pending { seed: seed(), issued_us: NOW, wrong: 0, enrolment: None };
        for _ in 0..5 {
            authenticator = step(&authenticator, None, NOW);
        }
        assert_eq!(authenticator.state(), "revoked");
        assert_eq!(authenticator.take_code(Some(0), &Effective::default(), NOW), CodeResult::Nothing);
    }

    #[test]
    fn t12_a_pending_seed_is_revoked_where_a_registered_one_would_be_locked() {
        let policy = Effective { wrong_codes_lock: 2, ..Effective::default() };
        let mut pending = Authenticator::Pending { seed: seed(), issued_us: NOW, wrong: 0, enrolment: None };
        for _ in 0..2 {
            let CodeResult::Bad { next, .. } = pending.take_code(None, &policy, NOW) else {
                panic!("not bad")
            };
            pending = next;
        }
        assert_eq!(pending.state(), "revoked");
    }

    proptest! {
        #[test]
        fn t6_no_run_of_codes_uses_a_step_twice(codes in proptest::collection::vec((proptest::option::of(-3i8..=3), 0u64..90), 1..60)) {
            let mut authenticator = active();
            let mut now = NOW;
            let mut used = Vec::new();
            for (offset, pause_s) in codes {
                now = now + Duration::from_secs(pause_s);
                if let CodeResult::Good { next, .. } = authenticator.take_code(offset, &Effective::default(), now) {
                    let Authenticator::Active(factor) = &next else { panic!("good and not active") };
                    prop_assert!(used.iter().all(|step| *step < factor.last_step));
                    used.push(factor.last_step);
                }
                authenticator = step(&authenticator, offset, now);
            }
        }

        #[test]
        fn t10_ten_wrong_codes_in_a_row_always_lock(pauses in proptest::collection::vec(0u64..60, 10..200)) {
            let mut authenticator = active();
            let (mut now, mut counted) = (NOW, 0);
            for pause_s in pauses {
                now = now + Duration::from_secs(pause_s);
                if let CodeResult::Bad { next, .. } = authenticator.take_code(None, &Effective::default(), now) {
                    authenticator = next;
                    counted += 1;
                }
            }
            prop_assert_eq!(authenticator.state() == "locked", counted >= 10);
        }
    }

    #[test]
    fn each_state_reads_back_as_it_was_stored() {
        let Authenticator::Active(factor) = active() else { unreachable!() };
        for state in [
            Authenticator::None,
            Authenticator::Pending { seed: seed(), issued_us: NOW, wrong: 2, enrolment: None },
            active(),
            Authenticator::BackedOff { factor: factor.clone(), until_us: NOW },
            Authenticator::Locked { factor, since_us: NOW },
            Authenticator::Revoked { at_us: NOW },
        ] {
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<Authenticator>(&text).unwrap(), state, "{text}");
        }
    }
}
