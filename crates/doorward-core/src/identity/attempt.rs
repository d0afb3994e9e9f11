//! Wrong passwords: counted by person and source, so that a stranger cannot lock anybody out (S2-S4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Effective;
use crate::limits::Limit;
use crate::time::Wall;

/// The first wait of a source (S3); doubled by each further wrong password.
pub const WAIT_FIRST: Duration = Duration::from_secs(30);
/// The longest wait of a source (S3).
pub const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// After so long without a wrong password a source's count is forgotten (S3).
pub const FORGET_AFTER: Duration = Duration::from_secs(24 * 3600);
/// For how long a source counts as the person's own (S4).
pub const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is known of one source of one person.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Wrong passwords in a row.
    pub wrong: u16,
    /// Until when it must wait.
    #[serde(default, rename = "until_us", skip_serializing_if = "Option::is_none")]
    pub until: Option<Wall>,
    /// When a password was right last.
    #[serde(default, rename = "good_us", skip_serializing_if = "Option::is_none")]
    pub good_at: Option<Wall>,
    /// When anything was tried last.
    #[serde(rename = "last_us")]
    pub last_at: Wall,
}

/// The attempts on one person, over all sources and doors.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Access {
    /// Wrong passwords in a row, over all sources.
    pub wrong: u16,
    /// By source, at most [`Limit::SourcesPerPerson`].
    pub sources: BTreeMap<IpAddr, Tally>,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Yes; it counts as wrong until it is settled.
    Go,
    /// Others of the same source are being verified and may use up what is left: wait for them.
    Wait,
    /// No: the source waits until an instant.
    BackedOff(Wall),
    /// No: too many wrong passwords for the person, and the source is none of theirs.
    PersonLimit,
}

/// Attempts that are being verified at this moment; each counts as wrong (S2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InFlight {
    /// From the same source.
    pub source: u16,
    /// From all sources.
    pub person: u16,
}

impl Access {
    /// Whether an attempt from a source may be made now.
    pub fn admit(&self, source: IpAddr, in_flight: InFlight, policy: &Effective, now: Wall) -> Admission {
        let tally = self.tally(source, now);
        if let Some(until) = tally.until.filter(|until| now < *until) {
            return Admission::BackedOff(until);
        }
        let known = tally.good_at.is_some_and(|at| now.since(at) <= KNOWN_FOR);
        if !known {
            let left = policy.wrong_passwords_person_max.saturating_sub(self.wrong);
            if left == 0 {
                return Admission::PersonLimit;
            }
            if in_flight.person >= left {
                return Admission::Wait;
            }
        }
        let left = policy.wrong_passwords_source_max.saturating_sub(tally.wrong).max(1);
        if in_flight.source >= left { Admission::Wait } else { Admission::Go }
    }

    /// Counts a wrong password; the source's tally as it is from now on.
    pub fn count_wrong(&mut self, source: IpAddr, policy: &Effective, now: Wall) -> Tally {
        let mut tally = self.tally(source, now);
        tally.wrong = tally.wrong.saturating_add(1);
        tally.last_at = now;
        let beyond = tally.wrong.checked_sub(policy.wrong_passwords_source_max);
        tally.until = beyond.map(|times| now + wait_after(times));
        let total = self.wrong.saturating_add(1);
        self.set(source, tally, total);
        tally
    }

    /// Counts a right password: the source is known and every count is forgotten.
    pub fn count_right(&mut self, source: IpAddr, now: Wall) -> Tally {
        let tally = Tally { wrong: 0, until: None, good_at: Some(now), last_at: now };
        self.set(source, tally, 0);
        tally
    }

    /// Sets a tally and the total, as a record says.
    pub fn set(&mut self, source: IpAddr, tally: Tally, wrong: u16) {
        self.wrong = wrong;
        self.sources.insert(source, tally);
        while self.sources.len() as u64 > Limit::SourcesPerPerson.max() {
            // Never the one that was just counted: it would begin anew with each attempt.
            let others = self.sources.iter().filter(|(at, _)| **at != source);
            let least = others.min_by_key(|(at, tally)| (tally.good_at, tally.last_at, **at));
            let Some(forgotten) = least.map(|(source, _)| *source) else { return };
            self.sources.remove(&forgotten);
        }
    }

    fn tally(&self, source: IpAddr, now: Wall) -> Tally {
        let mut tally = self.sources.get(&source).copied().unwrap_or_default();
        if now.since(tally.last_at) >= FORGET_AFTER {
            tally.wrong = 0;
            tally.until = None;
        }
        tally
    }
}

fn wait_after(times: u16) -> Duration {
    WAIT_FIRST.saturating_mul(1 << times.min(10)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Wall = Wall::from_s(1_800_000_000);

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admit(access: &Access, last: u8, now: Wall) -> Admission {
        access.admit(source(last), InFlight::default(), &Effective::default(), now)
    }

    #[test]
    fn s3_five_wrong_then_thirty_seconds_doubled_to_fifteen_minutes() {
        let (mut access, mut now) = (Access::default(), NOW);
        for _ in 0..4 {
            assert_eq!(access.count_wrong(source(1), &Effective::default(), now).until, None);
        }
        for wait_s in [30, 60, 120, 240, 480, 900, 900, 900] {
            assert_eq!(admit(&access, 1, now), Admission::Go);
            let until = access.count_wrong(source(1), &Effective::default(), now).until.unwrap();
            assert_eq!(until, now + Duration::from_secs(wait_s));
            assert_eq!(admit(&access, 1, now), Admission::BackedOff(until));
            assert_eq!(admit(&access, 2, now), Admission::Go, "another source is not held back");
            now = until;
        }
    }

    #[test]
    fn s3_a_count_is_forgotten_after_a_right_password_or_a_day() {
        let mut access = Access::default();
        for _ in 0..5 {
            access.count_wrong(source(1), &Effective::default(), NOW);
        }
        let tomorrow = NOW + FORGET_AFTER;
        assert_eq!(access.tally(source(1), tomorrow).wrong, 0);
        access.count_right(source(1), NOW);
        assert_eq!(admit(&access, 1, NOW), Admission::Go);
        assert_eq!(access.wrong, 0);
    }

    #[test]
    fn s4_past_a_hundred_wrong_only_known_sources_get_through() {
        let mut access = Access::default();
        access.count_right(source(200), NOW);
        for last in 0..100 {
            assert_eq!(admit(&access, last, NOW), Admission::Go);
            access.count_wrong(source(last), &Effective::default(), NOW);
        }
        assert_eq!(admit(&access, 150, NOW), Admission::PersonLimit);
        assert_eq!(admit(&access, 200, NOW), Admission::Go);
        let later = NOW + KNOWN_FOR + Duration::from_secs(1);
        assert_eq!(admit(&access, 200, later), Admission::PersonLimit, "not used for thirty days");
        access.count_right(source(200), NOW);
        assert_eq!(admit(&access, 150, NOW), Admission::Go, "in a row: a right one ends the count");
    }

    #[test]
    fn s2_attempts_in_flight_count_as_wrong() {
        let access = Access::default();
        let policy = Effective::default();
        let flights = |source, person| InFlight { source, person };
        assert_eq!(access.admit(source(1), flights(4, 4), &policy, NOW), Admission::Go);
        assert_eq!(access.admit(source(1), flights(5, 5), &policy, NOW), Admission::Wait);
        assert_eq!(access.admit(source(1), flights(0, 100), &policy, NOW), Admission::Wait);
    }

    #[test]
    fn l1_a_person_remembers_so_many_sources_and_the_known_ones_longest() {
        let mut access = Access::default();
        access.count_right(source(255), NOW);
        for n in 0..500u32 {
            let far = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            access.count_wrong(far, &Effective::default(), NOW + Duration::from_secs(n.into()));
        }
        assert_eq!(access.sources.len() as u64, Limit::SourcesPerPerson.max());
        assert!(access.sources.contains_key(&source(255)));
    }

    #[test]
    fn s3_a_source_is_counted_even_where_every_place_is_taken_by_a_known_one() {
        let mut access = Access::default();
        for last in 0..64 {
            access.count_right(source(last), NOW);
        }
        for _ in 0..5 {
            assert_eq!(admit(&access, 200, NOW), Admission::Go);
            access.count_wrong(source(200), &Effective::default(), NOW);
        }
        assert!(matches!(admit(&access, 200, NOW), Admission::BackedOff(_)));
        assert_eq!(access.sources.len() as u64, Limit::SourcesPerPerson.max());
        assert_eq!(access.sources.values().filter(|tally| tally.good_at.is_some()).count(), 63);
    }

    proptest! {
        #[test]
        fn s2_whatever_the_order_no_more_wrong_attempts_pass_than_the_limit(
            settles in proptest::collection::vec(any::<bool>(), 0..400),
        ) {
            let (mut access, policy) = (Access::default(), Effective::default());
            let (mut flying, mut made) = (0u16, 0);
            for settle in settles {
                if settle && flying > 0 {
                    flying -= 1;
                    access.count_wrong(source(1), &policy, NOW);
                } else if access.admit(source(1), InFlight { source: flying, person: flying }, &policy, NOW) == Admission::Go {
                    flying += 1;
                    made += 1;
                }
            }
            prop_assert!(made <= 5, "{made} attempts passed");
        }
    }
}
