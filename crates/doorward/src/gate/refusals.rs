//! Closed connections on which nobody had logged in, and refusals that change nothing: written down one by one, then as
//! a count (Q10).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use doorward_core::ask::Verdict;
use doorward_core::audit::{Outcome, Record};
use doorward_core::limits::Limit;
use doorward_core::time::Mono;

use super::{Gate, Origin};
use crate::fault::Fault;

const MINUTE: Duration = Duration::from_secs(60);
/// Refused logins are answered at multiples of it after the request. Their steps are alike, but not to the microsecond:
/// what runs seldom finds less of the machine's memory close by.
const BEAT: Duration = Duration::from_millis(2);
/// Of how many of the last records it is remembered how long they took.
const SAMPLES: usize = 31;

/// Counts refusals by source and minute.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    sources: Mutex<HashMap<Option<IpAddr>, Minute>>,
    /// The disk is nearly full: none is written down on its own, and all sources are counted together.
    scarce: AtomicBool,
    /// How long the last records took to be written down.
    took: Mutex<VecDeque<Duration>>,
}

#[derive(Debug)]
struct Minute {
    began: Mono,
    count: u64,
    /// How many of them were written down one by one.
    written: u64,
}

/// Refusals of one source and minute beyond those that were written down one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    /// The source; `None` for all that are not counted apart.
    pub(super) source: Option<IpAddr>,
    /// How many more there were.
    pub(super) more: u64,
}

impl Refusals {
    /// Counts a refusal; whether it is to be written down on its own.
    pub(super) fn count(&self, source: IpAddr, now: Mono) -> bool {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let scarce = self.scarce.load(Ordering::Acquire);
        let full =
            sources.len() as u64 >= Limit::RefusalSources.max() && !sources.contains_key(&Some(source));
        let apart = (!full && !scarce).then_some(source);
        let minute = sources.entry(apart).or_insert(Minute { began: now, count: 0, written: 0 });
        minute.count += 1;
        let write = !scarce && minute.written < Limit::RefusalsPerMinute.max();
        minute.written += u64::from(write);
        write
    }

    /// Remembers how long a batch took to be written down: one of a single record, as a refusal is, whatever it says, so
    /// that the times are known from the node's start on (S1).
    pub(super) fn written_in(&self, span: Duration, records: usize) {
        if records != 1 {
            return;
        }
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        if took.len() >= SAMPLES {
            took.pop_front();
        }
        took.push_back(span);
    }

    /// How long one of the last took, by chance, so that the times spread alike.
    fn drawn(&self) -> Duration {
        let mut chance = [0];
        // Without chance it is always the same one.
        let _ = rand::fill(&mut chance);
        let took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took.get(usize::from(chance[0]) % took.len().max(1)).copied().unwrap_or_default()
    }

    /// Whether room for records is scarce from now on.
    pub(super) fn set_scarce(&self, scarce: bool) {
        self.scarce.store(scarce, Ordering::Release);
    }

    /// Takes the minutes that are over; the counts are to be written down.
    pub(super) fn take_over(&self, now: Mono) -> Vec<Counted> {
        self.take(|minute| now.since(minute.began) >= MINUTE)
    }

    /// Takes all minutes, over or not, as the node stops.
    pub(super) fn take_all(&self) -> Vec<Counted> {
        self.take(|_| true)
    }

    fn take(&self, over: impl Fn(&Minute) -> bool) -> Vec<Counted> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counted = Vec::new();
        sources.retain(|source, minute| {
            if !over(minute) {
                return true;
            }
            let more = minute.count.saturating_sub(minute.written);
            if more > 0 {
                counted.push(Counted { source: *source, more });
            }
            false
        });
        counted.sort_by_key(|counted| counted.source);
        counted
    }
}

/// Whether a record says that something was refused, and changes nothing.
pub(super) fn is_bare(record: &Record) -> bool {
    record.changes.is_empty() && record.entry.outcome == Outcome::Refused
}

impl Gate {
    /// Commits records that change nobody, and gives the verdict. A refusal that changes nothing is written down as long
    /// as there are few of the source; then it is counted, and takes as long as if it were written: somebody's wrong
    /// password is always written, and must not be told from nobody's (S1, Q10).
    pub(super) async fn finish_counted(
        &self,
        verdict: Verdict,
        records: Vec<Record>,
        source: IpAddr,
        origin: &Origin,
    ) -> Result<Verdict, Fault> {
        if !records.iter().all(is_bare) {
            return self.finish(verdict, records, origin).await;
        }
        if !self.refusals.count(source, self.clock.now().mono) {
            self.hashes.linger(self.refusals.drawn()).await;
            return Ok(verdict);
        }
        self.finish(verdict, records, origin).await
    }

    /// Gives a refusal on the next beat after the request: what else it took is not told by the time (S1).
    pub(super) async fn on_a_beat(&self, verdict: Verdict, began: Instant) -> Verdict {
        if matches!(verdict, Verdict::Refused | Verdict::Declined(_)) {
            self.hashes.linger(left_to_beat(began.elapsed())).await;
        }
        verdict
    }
}

/// From so long after a request to the next beat.
fn left_to_beat(since: Duration) -> Duration {
    let into = since.as_nanos() % BEAT.as_nanos();
    BEAT - Duration::from_nanos(into as u64) // holds: less than BEAT
}

#[cfg(test)]
mod tests {
    use doorward_core::identity::policy::AuthSystem;

    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn q10_more_than_twenty_refusals_a_minute_become_a_count() {
        let refusals = Refusals::default();
        let written = (0..10_000).filter(|_| refusals.count(SOURCE, Mono::from_ns(5))).count();
        assert_eq!(written, 20);
        assert_eq!(refusals.take_over(Mono::from_ns(6)), []);
        let later = Mono::from_ns(5) + MINUTE;
        assert_eq!(refusals.take_over(later), [Counted { source: Some(SOURCE), more: 9_980 }]);
        assert!(refusals.count(SOURCE, later), "a new minute begins");
    }

    #[test]
    fn q10_while_the_disk_is_nearly_full_refusals_are_only_counted_all_together() {
        let refusals = Refusals::default();
        assert!(refusals.count(SOURCE, Mono::default()));
        refusals.set_scarce(true);
        for n in 0..5_000_u32 {
            assert!(!refusals.count(IpAddr::from(n.to_be_bytes()), Mono::default()));
        }
        assert!(!refusals.count(SOURCE, Mono::default()));
        refusals.set_scarce(false);
        assert!(refusals.count(SOURCE, Mono::default()));
        let later = Mono::default() + MINUTE;
        assert_eq!(refusals.take_over(later), [Counted { source: None, more: 5_001 }]);
    }

    #[tokio::test]
    async fn s1_a_refusal_that_is_only_counted_takes_as_long_as_a_record_from_the_first_one_on() {
        let world = crate::gate::testing::world();
        world.person("julian", AuthSystem::Password, false).await;
        world.gate.refusals.set_scarce(true);
        assert!(world.gate.refusals.drawn() > Duration::ZERO, "whatever was written is a sample");
        for _ in 0..SAMPLES {
            world.gate.refusals.written_in(Duration::ZERO, 1);
        }
        world.login("julian", "not the password of his", None).await;
        let took = world.gate.refusals.took.lock().unwrap().back().copied();
        assert!(took.unwrap() > Duration::ZERO, "a wrong password of somebody as well");
    }

    #[test]
    fn l1_sources_beyond_the_limit_are_counted_together() {
        let refusals = Refusals::default();
        for n in 0..Limit::RefusalSources.max() + 30 {
            refusals.count(IpAddr::from(u32::try_from(n).unwrap().to_be_bytes()), Mono::default());
        }
        assert!(refusals.sources.lock().unwrap().len() as u64 <= Limit::RefusalSources.max() + 1);
        assert_eq!(refusals.take_all(), [Counted { source: None, more: 10 }]);
    }

    #[test]
    fn s1_a_beat_is_a_multiple_of_two_milliseconds_after_the_request() {
        let us = Duration::from_micros;
        for (since, left) in [(0, 2_000), (1, 1_999), (1_999, 1), (2_000, 2_000), (15_460, 540)] {
            assert_eq!(left_to_beat(us(since)), us(left), "{since}");
        }
    }

    #[tokio::test]
    async fn s1_a_refused_login_is_answered_on_a_beat_whoever_it_is() {
        let world = crate::gate::testing::world();
        world.person("julian", AuthSystem::Password, false).await;
        for userid in ["julian", "nobody"] {
            let began = Instant::now();
            let verdict = world.login(userid, "not the password of his", None).await;
            assert_eq!(verdict, Verdict::Refused);
            assert!(began.elapsed() >= BEAT);
            let token = doorward_core::secret::Secret::new("no such token".to_owned());
            let began = Instant::now();
            let verdict =
                world.ask(1, doorward_core::ask::Ask::TokenLogin { userid: userid.to_owned(), token }).await;
            assert!(matches!(verdict, Verdict::Declined(_)), "{verdict:?}");
            assert!(began.elapsed() >= BEAT, "{userid}: {:?}", began.elapsed());
        }
    }
}
