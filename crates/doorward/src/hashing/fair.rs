//! A bounded queue that serves its sources in turn (S12).

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

/// What a queue is fair by: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceKey(IpAddr);

impl From<IpAddr> for SourceKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            // One customer has at least a /64 and could fill the queue from as many addresses as it likes.
            IpAddr::V6(v6) => Self(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))),
        }
    }
}

/// Names something that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket {
    source: SourceKey,
    number: u64,
}

/// A queue for each source; they are served in turn, one from each.
pub(super) struct FairQueue<T> {
    waiting: BTreeMap<SourceKey, VecDeque<(u64, T)>>,
    /// Sources with something waiting, in the order in which they are served.
    turns: VecDeque<SourceKey>,
    len: usize,
    len_max: usize,
    per_source_max: usize,
    next_number: u64,
}

/// How an entry came in.
pub(super) enum Entered<T> {
    /// It waits.
    Waiting(Ticket),
    /// It waits; the newest of the source that had most was put out for it.
    Displaced(Ticket, T),
    /// There is no room for it.
    Full(T),
}

impl<T> FairQueue<T> {
    pub(super) fn new(len_max: usize, per_source_max: usize) -> Self {
        let (waiting, turns) = (BTreeMap::new(), VecDeque::new());
        Self { waiting, turns, len: 0, len_max, per_source_max, next_number: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Enters something. Where the queue is full, a source with few makes room at the expense of the one with
    /// most, so that many busy sources cannot shut out a quiet one.
    pub(super) fn enter(&mut self, source: SourceKey, item: T) -> Entered<T> {
        let own = self.waiting.get(&source).map_or(0, VecDeque::len);
        if own >= self.per_source_max {
            return Entered::Full(item);
        }
        let mut displaced = None;
        if self.len >= self.len_max {
            let most = self.waiting.iter().max_by_key(|(_, queue)| queue.len());
            let Some((&busiest, _)) = most.filter(|(_, queue)| queue.len() > own + 1) else {
                return Entered::Full(item);
            };
            displaced = self.waiting.get_mut(&busiest).and_then(VecDeque::pop_back).map(|(_, item)| item);
            self.len -= usize::from(displaced.is_some());
        }
        self.next_number += 1;
        let ticket = Ticket { source, number: self.next_number };
        let queue = self.waiting.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        queue.push_back((ticket.number, item));
        self.len += 1;
        match displaced {
            Some(item) => Entered::Displaced(ticket, item),
            None => Entered::Waiting(ticket),
        }
    }

    /// The next in turn.
    pub(super) fn take(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let queue = self.waiting.get_mut(&source)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.len -= usize::from(item.is_some());
        item.map(|(_, item)| item)
    }

    /// Takes something back that still waits.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<T> {
        let queue = self.waiting.get_mut(&ticket.source)?;
        let at = queue.iter().position(|(number, _)| *number == ticket.number)?;
        let item = queue.remove(at);
        if queue.is_empty() {
            self.waiting.remove(&ticket.source);
            self.turns.retain(|source| *source != ticket.source);
        }
        self.len -= usize::from(item.is_some());
        item.map(|(_, item)| item)
    }

    /// Empties the queue.
    pub(super) fn drain(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(last: u8) -> SourceKey {
        SourceKey::from(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn s12_sources_are_served_in_turn() {
        let mut queue = FairQueue::new(100, 50);
        for n in 0..4 {
            queue.enter(source(1), ("flood", n));
        }
        queue.enter(source(2), ("quiet", 0));
        queue.enter(source(3), ("other", 0));
        queue.enter(source(3), ("other", 1));
        let order: Vec<_> = queue.drain();
        assert_eq!(
            order,
            [
                ("flood", 0),
                ("quiet", 0),
                ("other", 0),
                ("flood", 1),
                ("other", 1),
                ("flood", 2),
                ("flood", 3)
            ]
        );
    }

    #[test]
    fn l1_a_source_and_the_whole_are_bounded() {
        let mut queue = FairQueue::new(5, 3);
        for n in 0..3 {
            assert!(matches!(queue.enter(source(1), n), Entered::Waiting(_)));
        }
        assert!(matches!(queue.enter(source(1), 3), Entered::Full(3)));
        assert!(matches!(queue.enter(source(2), 10), Entered::Waiting(_)));
        assert!(matches!(queue.enter(source(2), 11), Entered::Waiting(_)));
        assert!(matches!(queue.enter(source(3), 20), Entered::Displaced(_, 2)), "the newest of the busiest");
        assert!(matches!(queue.enter(source(4), 30), Entered::Displaced(_, 1 | 11)));
        assert!(matches!(queue.enter(source(5), 40), Entered::Displaced(_, 1 | 11)));
        assert!(matches!(queue.enter(source(6), 50), Entered::Full(50)), "one each is fair");
        assert_eq!(queue.len(), 5);
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let key = |text: &str| SourceKey::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_served_twice(moves in proptest::collection::vec((0_u8..4, 0_u8..6), 0..200)) {
            let mut queue = FairQueue::new(12, 5);
            let (mut tickets, mut inside) = (Vec::new(), std::collections::BTreeSet::new());
            for (n, (kind, from)) in moves.into_iter().enumerate() {
                match kind {
                    0 | 1 => match queue.enter(source(from), n) {
                        Entered::Waiting(ticket) => {
                            tickets.push((ticket, n));
                            prop_assert!(inside.insert(n));
                        }
                        Entered::Displaced(ticket, out) => {
                            tickets.push((ticket, n));
                            prop_assert!(inside.remove(&out) && inside.insert(n));
                        }
                        Entered::Full(back) => prop_assert_eq!(back, n),
                    },
                    2 => match queue.take() {
                        Some(out) => prop_assert!(inside.remove(&out)),
                        None => prop_assert!(inside.is_empty()),
                    },
                    _ => if let Some((ticket, n)) = tickets.pop() {
                        prop_assert_eq!(queue.withdraw(ticket).is_some(), inside.remove(&n));
                    },
                }
                prop_assert_eq!(queue.len(), inside.len());
                prop_assert!(queue.len() <= 12);
            }
            let rest: std::collections::BTreeSet<_> = queue.drain().into_iter().collect();
            prop_assert_eq!(rest, inside);
        }
    }
}
