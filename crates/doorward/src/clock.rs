//! The one place that reads the clocks of the machine.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use doorward_core::time::{Mono, Now, Wall};

/// Reads both clocks. The demo may start its wall clock elsewhere and move it forward.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    offset_us: AtomicI64,
    #[cfg(test)]
    waited_ns: std::sync::atomic::AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            offset_us: AtomicI64::new(0),
            #[cfg(test)]
            waited_ns: std::sync::atomic::AtomicU64::new(0),
        }
    }
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock whose wall time begins at `wall` now (demo and tests).
    pub fn starting_at(wall: Wall) -> Self {
        let clock = Self::default();
        clock.set(wall);
        clock
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        let wall_us = system_us().saturating_add(self.offset_us.load(Ordering::Relaxed));
        let elapsed_ns = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        #[cfg(test)]
        let elapsed_ns = elapsed_ns.saturating_add(self.waited_ns.load(Ordering::Relaxed));
        Now { wall: Wall::from_us(wall_us), mono: Mono::from_ns(elapsed_ns) }
    }

    /// Sets the wall clock (demo and tests only).
    pub fn set(&self, wall: Wall) {
        self.offset_us.store(wall.as_us().saturating_sub(system_us()), Ordering::Relaxed);
    }

    /// Moves the wall clock forward (demo and tests only).
    pub fn advance(&self, span: Duration) {
        let span_us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.offset_us.fetch_add(span_us, Ordering::Relaxed);
    }

    /// Moves the monotonic clock forward, as if so long had gone by.
    #[cfg(test)]
    pub(crate) fn wait(&self, span: Duration) {
        let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.waited_ns.fetch_add(span_ns, Ordering::Relaxed);
    }

    /// How long from now until an instant of [`Now::mono`]; zero when it has passed.
    pub fn until(&self, instant: Mono) -> Duration {
        instant.since(self.now().mono)
    }
}

fn system_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}
