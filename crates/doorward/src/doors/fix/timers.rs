//! When to look at which connection again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use doorward_core::time::Mono;

use super::slab::Token;

/// Deadlines by time. One that moved later stays where it is until its time comes, and is then put back: a connection
/// that is heard of often costs nothing here.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Mono, Token)>>,
}

impl Timers {
    /// Wakes for a connection at `at`. `armed` is when it will be woken already.
    pub(super) fn arm(&mut self, token: Token, at: Option<Mono>, armed: &mut Option<Mono>) {
        let Some(at) = at else { return };
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.heap.push(Reverse((at, token)));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one whose time has come, with that time.
    pub(super) fn due(&mut self, now: Mono) -> Option<(Mono, Token)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::fix::slab::Slab;

    #[test]
    fn a_deadline_that_moves_later_is_not_put_in_again() {
        let mut slab = Slab::default();
        let token = slab.vacant();
        slab.insert(token, ());
        let (mut timers, mut armed) = (Timers::default(), None);
        let at = |s: u64| Some(Mono::from_ns(s));
        timers.arm(token, at(30), &mut armed);
        for later in 31..1000 {
            timers.arm(token, at(later), &mut armed);
        }
        assert_eq!((timers.heap.len(), timers.next()), (1, at(30)));
        timers.arm(token, at(10), &mut armed);
        assert_eq!((timers.next(), armed), (at(10), at(10)));
        assert_eq!(timers.due(Mono::from_ns(9)), None);
        assert_eq!(timers.due(Mono::from_ns(50)), Some((Mono::from_ns(10), token)));
        assert_eq!(timers.due(Mono::from_ns(50)), Some((Mono::from_ns(30), token)), "stale, to be ignored");
        assert_eq!((timers.due(Mono::from_ns(50)), timers.next()), (None, None));
    }
}
