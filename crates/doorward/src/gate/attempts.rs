//! The attempt gate: every path that verifies a secret goes through it (S5), before anything is computed (S2).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward_core::id::PersonId;
use doorward_core::identity::attempt::{Access, Admission, InFlight, Tally};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::Settle;
use doorward_core::identity::policy::Effective;
use doorward_core::limits::Limit;
use doorward_core::time::Wall;
use tokio::sync::Notify;

/// How long an attempt waits for others of its source that are being verified.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Whose attempts are counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Who {
    /// Somebody's.
    Person(PersonId),
    /// Those on a user id that nobody has, in its canonical form; all that cannot be a user id count together.
    Nobody(String),
}

/// The counts of everybody, in memory; changes to them reach the book lazily.
#[derive(Debug, Default)]
pub struct Attempts {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<Who, Slot>,
    /// Names of nobody in the order in which they came, for forgetting the oldest (L1).
    nobodies: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Slot {
    access: Access,
    flying: BTreeMap<IpAddr, u16>,
    /// Turns of those who wait, in the order in which they came; who came first from a source goes first.
    waiting: BTreeSet<(IpAddr, u64)>,
    next_turn: u64,
    settled: Arc<Notify>,
}

impl Slot {
    fn in_flight(&self, source: IpAddr) -> InFlight {
        let person = self.flying.values().fold(0, |sum: u16, n| sum.saturating_add(*n));
        InFlight { source: self.flying.get(&source).copied().unwrap_or(0), person }
    }

    /// Whether nobody of this source has waited for longer than this turn; a newcomer has none.
    fn is_next(&self, source: IpAddr, turn: Option<u64>) -> bool {
        let first = self.waiting.range((source, 0)..=(source, u64::MAX)).next();
        first.is_none_or(|(_, first)| turn.is_some_and(|turn| turn <= *first))
    }

    fn land(&mut self, source: IpAddr) {
        if let Some(flying) = self.flying.get_mut(&source) {
            *flying = flying.saturating_sub(1);
            if *flying == 0 {
                self.flying.remove(&source);
            }
        }
        self.settled.notify_waiters();
    }
}

/// A place among those who wait.
#[derive(Debug)]
struct Turn<'a> {
    attempts: &'a Attempts,
    who: Who,
    source: IpAddr,
    number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.attempts.locked().slots.get_mut(&self.who) {
            slot.waiting.remove(&(self.source, self.number));
            // Whoever is next now may have looked already.
            slot.settled.notify_waiters();
        }
    }
}

/// An attempt that was let through; it counts as wrong until it is settled or dropped.
#[derive(Debug)]
pub struct Ticket<'a> {
    attempts: &'a Attempts,
    who: Who,
    source: IpAddr,
    open: bool,
}

impl Attempts {
    /// Counts as they were stored.
    pub fn restored(accesses: Vec<(PersonId, Access)>) -> Self {
        let slots = accesses.into_iter().map(|(person, access)| {
            let slot = Slot { access, ..Slot::default() };
            (Who::Person(person), slot)
        });
        Self { table: Mutex::new(Table { slots: slots.collect(), nobodies: VecDeque::new() }) }
    }

    /// Asks for an attempt. `Err` where it is refused; `Admission::Wait` where others of the source took too long. Those of a
    /// source who wait go in the order in which they came.
    pub async fn admit(
        &self,
        who: Who,
        source: IpAddr,
        policy: &Effective,
        now: impl Fn() -> Wall,
    ) -> Result<Ticket<'_>, Admission> {
        let waited = tokio::time::sleep(WAIT_MAX);
        tokio::pin!(waited);
        // Given back after the table's lock, which it takes.
        let mut turn: Option<Turn<'_>> = None;
        loop {
            let settled = {
                let mut table = self.locked();
                let slot = table.slot(&who);
                let is_next = slot.is_next(source, turn.as_ref().map(|turn| turn.number));
                match slot.access.admit(source, slot.in_flight(source), policy, now()) {
                    Admission::Go if is_next => {
                        *slot.flying.entry(source).or_default() += 1;
                        return Ok(Ticket { attempts: self, who, source, open: true });
                    }
                    Admission::Go | Admission::Wait => {
                        if turn.is_none() {
                            let number = slot.next_turn;
                            slot.next_turn += 1;
                            slot.waiting.insert((source, number));
                            turn = Some(Turn { attempts: self, who: who.clone(), source, number });
                        }
                        let mut settled = Box::pin(Arc::clone(&slot.settled).notified_owned());
                        settled.as_mut().enable();
                        settled
                    }
                    refused @ (Admission::BackedOff(_) | Admission::PersonLimit) => return Err(refused),
                }
            };
            tokio::select! {
                () = settled => {}
                () = &mut waited => return Err(Admission::Wait),
            }
        }
    }

    /// Forgets all counts of a person, as an administrator asks.
    pub fn forget(&self, person: PersonId) {
        let mut table = self.locked();
        let slot = table.slot(&Who::Person(person));
        slot.access.apply(&Change::AttemptsForgotten { person });
        slot.settled.notify_waiters();
    }

    /// What is counted of a person now.
    pub fn of(&self, person: PersonId) -> Access {
        let table = self.locked();
        table.slots.get(&Who::Person(person)).map(|slot| slot.access.clone()).unwrap_or_default()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn slot(&mut self, who: &Who) -> &mut Slot {
        if let Who::Nobody(name) = who
            && !self.slots.contains_key(who)
        {
            if self.nobodies.len() as u64 >= Limit::UnknownNames.max()
                && let Some(oldest) = self.nobodies.pop_front()
            {
                self.slots.remove(&Who::Nobody(oldest));
            }
            self.nobodies.push_back(name.clone());
        }
        self.slots.entry(who.clone()).or_default()
    }
}

impl<'a> Ticket<'a> {
    /// Settles the attempt.
    pub fn settle(mut self, settle: Settle, policy: &Effective, now: Wall) -> Settled<'a> {
        self.open = false;
        let mut table = self.attempts.locked();
        let slot = table.slot(&self.who);
        slot.land(self.source);
        let before = (slot.access.sources.get(&self.source).copied(), slot.access.wrong);
        let tally = match settle {
            Settle::Wrong => Some(slot.access.count_wrong(self.source, policy, now)),
            Settle::Right => Some(slot.access.count_right(self.source, now)),
            Settle::Neutral => None,
        };
        let after = tally.map(|tally| (tally, slot.access.wrong));
        Settled { attempts: self.attempts, who: self.who.clone(), source: self.source, settle, before, after }
    }
}

/// An attempt that was settled in memory and is about to be written down.
#[derive(Debug)]
#[must_use = "undo it where it cannot be written down"]
pub struct Settled<'a> {
    attempts: &'a Attempts,
    who: Who,
    source: IpAddr,
    settle: Settle,
    before: (Option<Tally>, u16),
    after: Option<(Tally, u16)>,
}

impl Settled<'_> {
    /// The change to store with the decision, where it is somebody's.
    pub fn change(&self) -> Option<Change> {
        let (tally, wrong) = self.after?;
        match &self.who {
            Who::Person(person) => {
                Some(Change::Attempt { person: *person, source: self.source, tally, wrong })
            }
            Who::Nobody(_) => None,
        }
    }

    /// Takes the attempt back: the decision could not be written down, and the peer hears "try again later".
    pub fn undo(self) {
        let Some((tally, wrong)) = self.after else { return };
        let mut table = self.attempts.locked();
        let access = &mut table.slot(&self.who).access;
        let untouched = access.sources.get(&self.source) == Some(&tally) && access.wrong == wrong;
        match self.before {
            (Some(before), total) if untouched => access.set(self.source, before, total),
            (None, total) if untouched => {
                access.sources.remove(&self.source);
                access.wrong = total;
            }
            // Another attempt was settled meanwhile: only this one's wrong password is taken out.
            _ if self.settle == Settle::Wrong => {
                access.wrong = access.wrong.saturating_sub(1);
                if let Some(tally) = access.sources.get_mut(&self.source) {
                    tally.wrong = tally.wrong.saturating_sub(1);
                }
            }
            _ => {} // a right password that was followed by another attempt stays right
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.open
            && let Some(slot) = self.attempts.locked().slots.get_mut(&self.who)
        {
            slot.land(self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    const NOW: Wall = Wall::from_s(1_800_000_000);
    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test]
    async fn s2_two_hundred_parallel_guesses_are_five_attempts() {
        let attempts = Arc::new(Attempts::default());
        let hashed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let guesses = (0..200).map(|_| {
            let (attempts, hashed) = (Arc::clone(&attempts), Arc::clone(&hashed));
            tokio::spawn(async move {
                let who = Who::Nobody("julian".into());
                let policy = Effective::default();
                let Ok(ticket) = attempts.admit(who, SOURCE, &policy, || NOW).await else { return };
                hashed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
                drop(ticket.settle(Settle::Wrong, &policy, NOW));
            })
        });
        for guess in guesses.collect::<Vec<_>>() {
            guess.await.unwrap();
        }
        assert_eq!(hashed.load(std::sync::atomic::Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn s2_right_passwords_at_once_wait_for_each_other_and_all_pass() {
        let attempts = Arc::new(Attempts::default());
        let logins = (0..50).map(|_| {
            let attempts = Arc::clone(&attempts);
            tokio::spawn(async move {
                let policy = Effective::default();
                let who = Who::Person(PersonId::from_random(9));
                let ticket = attempts.admit(who, SOURCE, &policy, || NOW).await.unwrap();
                tokio::task::yield_now().await;
                assert!(ticket.settle(Settle::Right, &policy, NOW).change().is_some());
            })
        });
        for login in logins.collect::<Vec<_>>() {
            login.await.unwrap();
        }
    }

    /// Looks once at what is not ready yet, as its task does when it is woken.
    async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
    }

    #[tokio::test]
    async fn s2_who_waits_goes_in_the_order_of_coming_and_before_newcomers() {
        let attempts = Attempts::default();
        let policy = Effective::default();
        let admit =
            |source: IpAddr| attempts.admit(Who::Person(PersonId::from_random(9)), source, &policy, || NOW);
        let mut flying: Vec<_> = Vec::new();
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let mut attempt = Box::pin(admit(SOURCE));
            match once(&mut attempt).await {
                Poll::Ready(ticket) => flying.push(ticket.unwrap()),
                Poll::Pending => waiting.push(attempt),
            }
        }
        assert_eq!((flying.len(), waiting.len()), (5, 3));
        let other = IpAddr::from([192, 0, 2, 2]);
        drop(admit(other).await.unwrap());
        // A place is free: the last ones look first, and somebody new comes.
        drop(flying.pop());
        waiting.push(Box::pin(admit(SOURCE)));
        for attempt in waiting.iter_mut().skip(1).rev() {
            assert!(once(attempt).await.is_pending());
        }
        let mut first = waiting.remove(0);
        let Poll::Ready(Ok(ticket)) = once(&mut first).await else { panic!("not the first") };
        // Two places, and who is first now has gone away.
        drop((waiting.remove(0), ticket, flying.pop()));
        let looked = [once(&mut waiting[1]).await, once(&mut waiting[0]).await];
        assert!(looked[0].is_pending() && looked[1].is_ready(), "{looked:?}");
        assert!(once(&mut waiting[1]).await.is_ready(), "told that it is next");
        drop((looked, waiting, flying));
        assert!(attempts.locked().slots[&Who::Person(PersonId::from_random(9))].waiting.is_empty());
    }

    #[tokio::test]
    async fn l1_names_of_nobody_are_forgotten_oldest_first() {
        let attempts = Attempts::default();
        let policy = Effective::default();
        for n in 0..Limit::UnknownNames.max() + 10 {
            let ticket = attempts.admit(Who::Nobody(n.to_string()), SOURCE, &policy, || NOW).await.unwrap();
            drop(ticket.settle(Settle::Wrong, &policy, NOW));
        }
        let table = attempts.locked();
        assert_eq!(table.slots.len() as u64, Limit::UnknownNames.max());
        assert!(!table.slots.contains_key(&Who::Nobody("0".into())));
        assert!(table.slots.contains_key(&Who::Nobody("10".into())));
    }

    #[tokio::test]
    async fn an_attempt_that_is_given_up_does_not_count() {
        let attempts = Attempts::default();
        let (policy, who) = (Effective::default(), Who::Person(PersonId::from_random(4)));
        for _ in 0..20 {
            drop(attempts.admit(who.clone(), SOURCE, &policy, || NOW).await.unwrap());
        }
        assert!(attempts.locked().slots[&who].flying.is_empty());
    }

    #[tokio::test]
    async fn an_attempt_that_cannot_be_written_down_is_taken_back() {
        let attempts = Attempts::default();
        let (policy, person) = (Effective::default(), PersonId::from_random(4));
        for settle in [Settle::Wrong, Settle::Right] {
            let before = attempts.of(person);
            let ticket = attempts.admit(Who::Person(person), SOURCE, &policy, || NOW).await.unwrap();
            ticket.settle(settle, &policy, NOW).undo();
            assert_eq!(attempts.of(person), before);
        }
        let first = attempts.admit(Who::Person(person), SOURCE, &policy, || NOW).await.unwrap();
        let second = attempts.admit(Who::Person(person), SOURCE, &policy, || NOW).await.unwrap();
        let first = first.settle(Settle::Wrong, &policy, NOW);
        drop(second.settle(Settle::Wrong, &policy, NOW));
        first.undo();
        assert_eq!((attempts.of(person).wrong, attempts.of(person).sources[&SOURCE].wrong), (1, 1));
    }
}
