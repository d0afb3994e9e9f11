//! Attempts at a password, from scripts of any bytes, beside a model that knows the rules S2 to S4 and no more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::identity::attempt::{Access, Admission, FORGET_AFTER, InFlight, KNOWN_FOR};
use crate::identity::policy::Effective;
use crate::limits::Limit;
use crate::time::Wall;

/// Longest script, in steps.
const STEPS_MAX: usize = 1_024;
/// Sources that the model knows; strangers are others.
const SOURCES: u8 = 4;

/// What the model knows of one source.
#[derive(Clone, Copy, Default)]
struct Known {
    wrong: u16,
    until: Option<Wall>,
    good_at: Option<Wall>,
    last_at: Wall,
}

/// Plays bytes as attempts that begin, overlap and end, from some sources: what is under way counts as wrong, waits
/// double, a right password is forgotten by nobody but time, and the table stays small.
pub fn attempts(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next();
    let policy = Effective {
        wrong_passwords_source_max: 1 + u16::from(next().unwrap_or(4)) % 6,
        wrong_passwords_person_max: 1 + u16::from(next().unwrap_or(9)) % 40,
        ..Effective::default()
    };
    let mut script = Script {
        access: Access::default(),
        known: BTreeMap::new(),
        total: 0,
        under_way: Vec::new(),
        now: Wall::from_s(1_795_550_400),
        policy,
    };
    for _ in 0..STEPS_MAX {
        let Some(byte) = next() else { break };
        let operand = next().unwrap_or(0);
        match byte % 8 {
            0..=3 => script.attempt(source(operand % SOURCES)),
            4 | 5 => script.settle(operand, byte & 8 != 0),
            6 => script.now = script.now + Duration::from_secs(u64::from(operand)),
            _ => script.now = script.now + Duration::from_secs(u64::from(operand) * 3_600),
        }
        script.holds();
    }
    // Strangers come and go; the model's own sources may be forgotten by then.
    for stranger in 0..u32::from(next().unwrap_or(0)) {
        let from = IpAddr::from(0xC633_6400_u32.wrapping_add(stranger * 7).to_be_bytes());
        script.access.count_wrong(from, &policy, script.now);
        assert!(script.access.sources.contains_key(&from), "the one that was just counted is forgotten");
        assert!(script.access.sources.len() as u64 <= Limit::SourcesPerPerson.max());
    }
}

fn source(n: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, n])
}

struct Script {
    access: Access,
    known: BTreeMap<IpAddr, Known>,
    /// Wrong passwords in a row, over all sources.
    total: u16,
    under_way: Vec<IpAddr>,
    now: Wall,
    policy: Effective,
}

impl Script {
    fn in_flight(&self, source: IpAddr) -> InFlight {
        let of = |source| self.under_way.iter().filter(|from| **from == source).count();
        let few = |count| u16::try_from(count).unwrap_or(u16::MAX);
        InFlight { source: few(of(source)), person: few(self.under_way.len()) }
    }

    /// What is known of a source now: counts of a day ago are forgotten.
    fn known(&self, source: IpAddr) -> Known {
        let mut known = self.known.get(&source).copied().unwrap_or_default();
        if self.now.since(known.last_at) >= FORGET_AFTER {
            (known.wrong, known.until) = (0, None);
        }
        known
    }

    fn attempt(&mut self, source: IpAddr) {
        let in_flight = self.in_flight(source);
        let known = self.known(source);
        let (max, person_max) =
            (self.policy.wrong_passwords_source_max, self.policy.wrong_passwords_person_max);
        let is_own = known.good_at.is_some_and(|at| self.now.since(at) <= KNOWN_FOR);
        match self.access.admit(source, in_flight, &self.policy, self.now) {
            Admission::Go => {
                assert!(known.until.is_none_or(|until| until <= self.now), "goes before its time");
                // S2: at most so many may turn out wrong; past that, one by one.
                assert!(known.wrong + in_flight.source < max.max(known.wrong + 1), "more than {max} at once");
                assert!(is_own || self.total + in_flight.person < person_max, "a stranger goes past S4");
                self.under_way.push(source);
            }
            Admission::Wait => assert!(in_flight.person > 0, "waits for nobody"),
            Admission::BackedOff(until) => {
                assert_eq!(Some(until), known.until);
                assert!(until > self.now && known.wrong >= max, "backed off without a reason");
                assert!(until.since(self.now) <= Duration::from_secs(15 * 60));
            }
            Admission::PersonLimit => {
                assert!(!is_own && self.total >= person_max, "locked out without a reason");
            }
        }
    }

    fn settle(&mut self, which: u8, right: bool) {
        if self.under_way.is_empty() {
            return;
        }
        let source = self.under_way.swap_remove(usize::from(which) % self.under_way.len());
        let mut known = self.known(source);
        let tally = if right {
            known = Known { good_at: Some(self.now), ..Known::default() };
            self.total = 0;
            self.access.count_right(source, self.now)
        } else {
            known.wrong += 1;
            self.total += 1;
            let beyond = known.wrong.checked_sub(self.policy.wrong_passwords_source_max);
            known.until = beyond.map(|times| {
                let wait = (0..times).fold(30_u64, |wait, _| (wait * 2).min(900));
                self.now + Duration::from_secs(wait)
            });
            self.access.count_wrong(source, &self.policy, self.now)
        };
        known.last_at = self.now;
        assert_eq!(
            (tally.wrong, tally.until, tally.good_at, tally.last_at),
            (known.wrong, known.until, known.good_at, known.last_at)
        );
        self.known.insert(source, known);
    }

    fn holds(&self) {
        assert_eq!(self.access.wrong, self.total);
        assert_eq!(self.access.sources.len(), self.known.len());
    }
}
