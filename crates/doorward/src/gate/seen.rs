//! Signed Logons that were seen, so that none is good twice (F5).

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use doorward_core::identity::decide::signed_logon::AHEAD_MAX;
use doorward_core::limits::Limit;
use doorward_core::time::{Mono, Now, Wall};

use super::Gate;

/// How long a Logon is remembered: longer than its SendingTime (52) can be fresh, which is 5 s before its receipt to
/// 1 s behind it.
const AGE_MAX: Duration = Duration::from_secs(10);

/// By how much the two clocks part where the wall clock was set, and not only kept in step.
const STEP_MIN: Duration = Duration::from_secs(1);
/// How long a Logon is remembered over a step of the wall clock, which may be taken back.
const STEPPED_MAX: Duration = Duration::from_secs(3_600);

/// Good signatures of the last seconds. A signature stands for access key, SendingTime and MsgSeqNum, all of which it
/// covers; a wrong one is never taken in, so strangers cannot fill it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    signatures: HashSet<[u8; 32]>,
    by_age: VecDeque<Good>,
    /// Those that are old enough by the steady clock, while the wall clock has gone another way since: it stepped, and
    /// may step back, and their SendingTime be fresh once more.
    stepped: VecDeque<Good>,
}

/// A signature that was good, and when.
#[derive(Clone, Copy, Debug)]
struct Good {
    mono: Mono,
    wall: Wall,
    signature: [u8; 32],
}

impl Kept {
    /// Forgets what can be fresh no more, whichever way the wall clock went meanwhile.
    fn forget_stale(&mut self, now: Now) {
        while let Some(good) = self.by_age.pop_front_if(|good| now.mono.since(good.mono) >= AGE_MAX) {
            let steady = good.wall + now.mono.since(good.mono);
            let apart = now.wall.since(steady).max(steady.since(now.wall));
            if apart < STEP_MIN {
                self.signatures.remove(&good.signature);
            } else {
                self.stepped.push_back(good);
            }
        }
        let is_over =
            |good: &mut Good| now.mono.since(good.mono) >= STEPPED_MAX && now.wall >= good.wall + AGE_MAX;
        while let Some(good) = self.stepped.pop_front_if(is_over) {
            self.signatures.remove(&good.signature);
        }
    }
}

/// From when on a Logon must be signed after a start at `now`, by the newest records: what was seen before the restart is
/// forgotten, so none is good that may have been, where the wall clock was set back meanwhile. No more than
/// [`STEPPED_MAX`] ahead, so that a clock that was far ahead locks nobody out.
pub(super) fn good_from(newest: impl Iterator<Item = Wall>, now: Wall) -> Wall {
    let Some(last) = newest.max().filter(|last| *last > now) else { return now };
    let from = (last + AHEAD_MAX).min(now + STEPPED_MAX);
    tracing::warn!(%last, %from, "the clock was set back: Logons signed before that are refused");
    from
}

/// What is known of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// It was not seen before.
    First,
    /// It was.
    Again,
    /// So many were seen that this one cannot be remembered.
    Full,
}

impl Gate {
    /// Takes Logons from now on: what was signed before is refused (F9).
    pub fn listens_now(&self) {
        let since = self.clock.now().wall.max(self.good_from);
        self.listening_since.store(since.as_us(), Ordering::Release);
    }

    pub(super) fn listening_since(&self) -> Wall {
        Wall::from_us(self.listening_since.load(Ordering::Acquire))
    }
}

impl Seen {
    /// Looks a signature up and, where it is good and new, takes it in.
    pub(super) fn look(&self, signature: &[u8; 32], is_good: bool, now: Now) -> Sight {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.forget_stale(now);
        if kept.signatures.contains(signature) {
            return Sight::Again;
        }
        if kept.signatures.len() as u64 >= Limit::LogonsSeen.max() {
            return Sight::Full;
        }
        if is_good {
            kept.signatures.insert(*signature);
            kept.by_age.push_back(Good { mono: now.mono, wall: now.wall, signature: *signature });
        }
        Sight::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Now {
        stepped(s, 0)
    }

    /// An instant after the wall clock stepped by some seconds.
    fn stepped(s: u64, step_s: i64) -> Now {
        let wall_s = 1_000_000 + i64::try_from(s).unwrap() + step_s;
        Now { mono: Mono::from_ns(s * 1_000_000_000), wall: Wall::from_s(wall_s) }
    }

    #[test]
    fn f5_a_wall_clock_that_steps_back_makes_no_seen_logon_good_again() {
        let seen = Seen::default();
        assert_eq!(seen.look(&[1; 32], true, at(100)), Sight::First);
        assert_eq!(seen.look(&[2; 32], true, stepped(111, -60)), Sight::First);
        assert_eq!(seen.look(&[1; 32], true, stepped(160, -60)), Sight::Again, "its second has come again");
        assert_eq!(seen.look(&[1; 32], true, stepped(169, -60)), Sight::Again);
        let later = seen.look(&[2; 32], true, stepped(169, -60));
        assert_eq!(later, Sight::First, "later ones end in their time");
        assert_eq!(seen.look(&[1; 32], true, stepped(3_699, -60)), Sight::Again);
        assert_eq!(seen.look(&[1; 32], true, stepped(3_700, -60)), Sight::First, "stale for good");
        assert_eq!(seen.look(&[3; 32], true, stepped(4_000, 0)), Sight::First);
        assert_eq!(
            seen.look(&[3; 32], true, stepped(7_700, -7_200)),
            Sight::Again,
            "not before its second has come"
        );
    }

    #[test]
    fn f5_a_step_forward_that_is_taken_back_makes_no_seen_logon_good_again() {
        let seen = Seen::default();
        assert_eq!(seen.look(&[1; 32], true, at(100)), Sight::First);
        assert_eq!(seen.look(&[2; 32], true, stepped(111, 1_000)), Sight::First);
        assert_eq!(seen.look(&[1; 32], true, stepped(112, -12)), Sight::Again, "its second has come again");
        assert_eq!(seen.look(&[2; 32], true, stepped(122, 989)), Sight::Again);
    }

    #[test]
    fn f5_after_a_restart_with_the_clock_set_back_what_may_have_been_seen_is_refused() {
        let at = Wall::from_s;
        let good_from = |newest: &[i64], now| good_from(newest.iter().map(|s| at(*s)), at(now));
        assert_eq!(good_from(&[], 500), at(500));
        assert_eq!(good_from(&[499, 480], 500), at(500));
        assert_eq!(good_from(&[505, 560, 480], 500), at(561), "its SendingTime may be a second ahead");
        assert_eq!(good_from(&[1_000_000], 500), at(4_100), "within reason");
    }

    #[test]
    fn f5_a_good_signature_is_good_once() {
        let seen = Seen::default();
        assert_eq!(seen.look(&[1; 32], false, at(0)), Sight::First);
        assert_eq!(seen.look(&[1; 32], true, at(0)), Sight::First, "a wrong one is not remembered");
        assert_eq!(seen.look(&[1; 32], true, at(9)), Sight::Again);
        assert_eq!(seen.look(&[1; 32], false, at(9)), Sight::Again);
        assert_eq!(seen.look(&[1; 32], true, at(10)), Sight::First, "its SendingTime is stale by now");
    }

    #[test]
    fn l1_more_signatures_than_fit_are_not_let_through() {
        let seen = Seen::default();
        let signature = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        for n in 0..Limit::LogonsSeen.max() {
            assert_eq!(seen.look(&signature(n), true, at(1)), Sight::First);
        }
        assert_eq!(seen.look(&[0xff; 32], true, at(2)), Sight::Full);
        assert_eq!(seen.look(&signature(7), true, at(2)), Sight::Again, "what is known is still known");
        assert_eq!(seen.look(&[0xff; 32], true, at(11)), Sight::First);
    }
}
