//! Who may stay: how many connections are open, and which one makes room (S10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use doorward_core::limits::Limit;
use tokio::sync::Notify;

use crate::metrics;

/// Most connections where the descriptors would allow more; each takes memory as well.
const OPEN_MAX: u64 = Limit::Connections.max();
/// Of those, not logged in.
const SILENT_PERCENT: usize = Limit::ConnectionsSilentPercent.max() as usize;
/// Evicted connections that may still be winding down while others take their places.
const LEAVING_MAX: usize = Limit::ConnectionsLeaving.max() as usize;
/// Connections that are let in only to hear that the server is full.
const TURNED_AWAY_MAX: usize = Limit::ConnectionsTurnedAway.max() as usize;

/// How many connections a door holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open at one time.
    pub open_max: usize,
    /// Of these, not logged in: 60 %.
    pub silent_max: usize,
}

impl Limits {
    /// Limits for a process that may open so many descriptors; `wanted` is `ws.connections_max`.
    ///
    /// Some descriptors stay free for files, the administration socket and connections on their way out.
    pub fn new(descriptors: u64, wanted: Option<usize>) -> Self {
        Self::by("ws.connections_max", descriptors, wanted)
    }

    /// The same for `wanted` of another configuration key.
    pub fn by(key: &str, descriptors: u64, wanted: Option<usize>) -> Self {
        let kept_free = (descriptors / 8).clamp(96, 512);
        let possible = descriptors.saturating_sub(kept_free).max(1);
        let open_max = match wanted {
            None => possible.min(OPEN_MAX),
            Some(wanted) => (wanted as u64).clamp(1, possible),
        };
        let open_max = usize::try_from(open_max).unwrap_or(usize::MAX);
        if let Some(wanted) = wanted.filter(|wanted| *wanted > open_max) {
            tracing::warn!(
                "{key}: {wanted} does not fit into {descriptors} file descriptors, {open_max} it is"
            );
        }
        Self {
            open_max,
            silent_max: (open_max / 100 * SILENT_PERCENT + open_max % 100 * SILENT_PERCENT / 100).max(1),
        }
    }
}

/// Raises the soft limit of file descriptors to the hard one and tells what is in force.
pub fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!("file descriptors: the limit {:?} could not be raised: {error}", limit.current);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Why nobody is let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// Evicted connections are still leaving; [`Admission::freed`] tells when one has.
    MakingRoom,
    /// Everybody inside is logged in.
    Everybody,
}

/// The connections of one door.
#[derive(Debug)]
pub struct Admission {
    door: &'static str,
    limits: Limits,
    state: Mutex<State>,
    freed: Notify,
}

/// Connections by age: numbers are given in order.
#[derive(Debug, Default)]
struct State {
    next: u64,
    open: usize,
    /// Let in only to be turned away; counted apart.
    turned_away: usize,
    /// Not logged in and not one message yet.
    mute: BTreeMap<u64, Arc<Notify>>,
    /// Not logged in, but on their way.
    speaking: BTreeMap<u64, Arc<Notify>>,
    /// Told to go.
    leaving: BTreeSet<u64>,
}

impl State {
    fn silent(&self) -> usize {
        self.mute.len() + self.speaking.len()
    }

    /// Tells the oldest connection that has not logged in to go; one that never spoke goes first.
    fn evict(&mut self) -> bool {
        let oldest = self.mute.pop_first().or_else(|| self.speaking.pop_first());
        let Some((id, evicted)) = oldest else { return false };
        self.leaving.insert(id);
        evicted.notify_one();
        true
    }
}

impl Admission {
    /// An empty door; `door` is its label in measurements.
    pub fn new(door: &'static str, limits: Limits) -> Arc<Self> {
        Arc::new(Self { door, limits, state: Mutex::default(), freed: Notify::new() })
    }

    /// Lets a connection in, where need be in place of the oldest one on which nobody has logged in.
    ///
    /// # Errors
    /// See [`Full`].
    pub fn admit(self: &Arc<Self>) -> Result<Slot, Full> {
        let mut state = self.state();
        if state.leaving.len() >= LEAVING_MAX {
            return Err(Full::MakingRoom);
        }
        let staying = state.open - state.leaving.len();
        let needs_room = staying >= self.limits.open_max || state.silent() >= self.limits.silent_max;
        if needs_room && state.evict() {
            metrics::connection_evicted(self.door);
        } else if needs_room {
            if state.turned_away >= TURNED_AWAY_MAX {
                return Err(Full::Everybody);
            }
            state.turned_away += 1;
            return Ok(self.slot(&mut state, true));
        }
        let slot = self.slot(&mut state, false);
        state.open += 1;
        state.mute.insert(slot.id, Arc::clone(&slot.evicted));
        self.measure(&state);
        Ok(slot)
    }

    /// Tells the oldest connection on which nobody has logged in to go, such as when descriptors ran out.
    pub fn evict_oldest(&self) {
        let mut state = self.state();
        if state.leaving.len() < LEAVING_MAX && state.evict() {
            metrics::connection_evicted(self.door);
            self.measure(&state);
        }
    }

    /// Waits until a connection has gone; returns at once where one went since the last call.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Connections that are open, and how many of them are not logged in.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.open, state.silent())
    }

    /// The door's label in measurements.
    pub fn door(&self) -> &'static str {
        self.door
    }

    fn slot(self: &Arc<Self>, state: &mut State, must_refuse: bool) -> Slot {
        state.next += 1;
        Slot { admission: Arc::clone(self), id: state.next, evicted: Arc::default(), must_refuse }
    }

    /// Each change under the lock is whole, so a poisoned one is as good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, state: &State) {
        metrics::connections(self.door, state.open as u64);
        metrics::connections_silent(self.door, state.silent() as u64);
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    admission: Arc<Admission>,
    id: u64,
    evicted: Arc<Notify>,
    must_refuse: bool,
}

impl Slot {
    /// Whether this connection was let in only to be told that the server is full (1013), and that soon.
    pub fn must_refuse(&self) -> bool {
        self.must_refuse
    }

    /// Waits until the connection must go to make room. It is to be closed at once, without a word more.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The peer sent its first message: it is no longer among the first to go.
    pub fn spoke(&self) {
        let mut state = self.admission.state();
        if let Some(evicted) = state.mute.remove(&self.id) {
            state.speaking.insert(self.id, evicted);
        }
    }

    /// Somebody has logged in: from now on the connection does not make room for others.
    ///
    /// False where it was told to go already.
    pub fn logged_in(&self) -> bool {
        let mut state = self.admission.state();
        state.mute.remove(&self.id);
        state.speaking.remove(&self.id);
        self.admission.measure(&state);
        !state.leaving.contains(&self.id) && !self.must_refuse
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        if self.must_refuse {
            state.turned_away -= 1;
        } else {
            state.open -= 1;
            state.mute.remove(&self.id);
            state.speaking.remove(&self.id);
            state.leaving.remove(&self.id);
            self.admission.measure(&state);
        }
        drop(state);
        self.admission.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn door(open_max: usize, silent_max: usize) -> Arc<Admission> {
        Admission::new("test", Limits { open_max, silent_max })
    }

    fn is_evicted(slot: &Slot) -> bool {
        slot.evicted().now_or_never().is_some()
    }

    #[test]
    fn s10_the_silent_take_at_most_60_percent_of_the_descriptors() {
        for descriptors in [1, 64, 256, 1024, 65_536, 1 << 20, u64::MAX] {
            let limits = Limits::new(descriptors, None);
            assert!(limits.open_max >= 1 && limits.silent_max >= 1);
            assert!(limits.open_max as u64 <= descriptors.min(OPEN_MAX));
            assert!(limits.silent_max as u64 <= (descriptors / 5 * 3).max(1));
        }
        assert_eq!(Limits::new(1024, None), Limits { open_max: 896, silent_max: 537 });
        assert_eq!(Limits::new(1024, Some(100)), Limits { open_max: 100, silent_max: 60 });
        assert_eq!(Limits::new(1024, Some(5000)).open_max, 896);
        assert_eq!(Limits::new(1 << 20, Some(500_000)).open_max, 500_000);
    }

    #[test]
    fn s10_past_the_limit_the_oldest_silent_one_goes() {
        let door = door(10, 3);
        let slots: Vec<Slot> = (0..4).map(|_| door.admit().unwrap()).collect();
        assert_eq!(slots.iter().map(is_evicted).collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(door.counts(), (4, 3));
        assert!(!slots[0].logged_in(), "too late");
        drop(slots);
        assert_eq!(door.counts(), (0, 0));
    }

    #[test]
    fn s10_who_has_logged_in_stays() {
        let door = door(10, 1);
        let first = door.admit().unwrap();
        assert!(first.logged_in());
        let second = door.admit().unwrap();
        let third = door.admit().unwrap();
        assert!(!is_evicted(&first) && is_evicted(&second) && !is_evicted(&third));
    }

    #[test]
    fn s10_who_never_spoke_goes_before_who_is_logging_in() {
        let door = door(10, 2);
        let speaking = door.admit().unwrap();
        speaking.spoke();
        let mute = door.admit().unwrap();
        let _third = door.admit().unwrap();
        assert!(!is_evicted(&speaking) && is_evicted(&mute));
    }

    #[test]
    fn s10_a_full_door_makes_room_from_the_silent_and_then_turns_away() {
        let door = door(3, 2);
        let silent = door.admit().unwrap();
        let inside: Vec<Slot> =
            (0..2).map(|_| door.admit().inspect(|s| assert!(s.logged_in())).unwrap()).collect();
        let last = door.admit().unwrap();
        assert!(is_evicted(&silent) && !last.must_refuse());
        assert!(last.logged_in());
        let away: Vec<Slot> = (0..TURNED_AWAY_MAX).map(|_| door.admit().unwrap()).collect();
        assert!(away.iter().all(|slot| slot.must_refuse() && !slot.logged_in()));
        assert_eq!(door.admit().unwrap_err(), Full::Everybody);
        drop((away, silent, inside));
        assert!(!door.admit().unwrap().must_refuse());
    }

    #[test]
    fn s10_those_who_leave_are_waited_for() {
        let door = door(10, 1);
        let mut slots: Vec<Slot> = (0..=LEAVING_MAX).map(|_| door.admit().unwrap()).collect();
        assert_eq!(door.admit().unwrap_err(), Full::MakingRoom);
        assert!(door.freed().now_or_never().is_none());
        slots.remove(0);
        assert!(door.freed().now_or_never().is_some());
        assert!(door.admit().is_ok());
    }

    proptest! {
        #[test]
        fn s10_the_limits_hold_in_every_order(steps in proptest::collection::vec((0..5_u8, 0..64_usize), 0..300)) {
            let door = door(12, 7);
            let mut slots: Vec<Slot> = Vec::new();
            for (step, at) in steps {
                let at = if slots.is_empty() { 0 } else { at % slots.len() };
                match step {
                    0 | 1 => slots.extend(door.admit()),
                    2 if !slots.is_empty() => drop(slots.remove(at)),
                    3 => { if let Some(slot) = slots.get(at) { slot.logged_in(); } }
                    _ => { if let Some(slot) = slots.get(at) { slot.spoke(); } }
                }
                let (open, silent) = door.counts();
                prop_assert!(silent <= 7 && open <= 12 + LEAVING_MAX && silent <= open);
                prop_assert_eq!(open, slots.iter().filter(|slot| !slot.must_refuse()).count());
            }
            drop(slots);
            prop_assert_eq!(door.counts(), (0, 0));
        }
    }
}
