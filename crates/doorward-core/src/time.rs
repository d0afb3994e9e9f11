//! Time as an argument: the wall clock for people and standards, the monotonic clock for waiting.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant of the wall clock, in microseconds since the Unix epoch, UTC. May step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(i64);

impl Wall {
    /// The instant that lies so many microseconds after the Unix epoch.
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// The instant that lies so many whole seconds after the Unix epoch.
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_us(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, as the WebSocket door writes instants.
    pub const fn as_ms(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the Unix epoch, as RFC 6238 counts; negative before it.
    pub const fn as_s(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this instant lies; zero where it does not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an RFC 3339 instant such as `2026-11-21T20:00:00Z`.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// An instant of the monotonic clock, in nanoseconds since the process began. Never steps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(u64);

impl Mono {
    /// The instant so many nanoseconds after the process began.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the process began.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this instant lies; zero where it does not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// The wall clock.
    pub wall: Wall,
    /// The monotonic clock.
    pub mono: Mono,
}

impl Add<Duration> for Now {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self { wall: self.wall + span, mono: self.mono + span }
    }
}

/// Says whether the wall clock can be trusted for one-time passwords (T4).
///
/// The wall clock is watched against the monotonic one: a step of more than [`ClockGuard::STEP_MAX`] between
/// two looks makes it suspect, and 60 s of agreement make it good again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClockGuard {
    last: Option<Now>,
    suspect_since: Option<Mono>,
}

impl ClockGuard {
    /// The largest step of the wall clock that is taken for granted.
    pub const STEP_MAX: Duration = Duration::from_secs(2);
    /// How long both clocks must agree before the wall clock is good again.
    pub const AGREE_MIN: Duration = Duration::from_secs(60);

    /// Looks at both clocks; to be called about once a second. Returns [`Self::is_good`].
    pub fn look(&mut self, now: Now) -> bool {
        if let Some(last) = self.last.replace(now) {
            let expected_us = last.wall.as_us().saturating_add(duration_us(now.mono.since(last.mono)));
            let step_us = now.wall.as_us().saturating_sub(expected_us).unsigned_abs();
            if u128::from(step_us) > Self::STEP_MAX.as_micros() {
                self.suspect_since = Some(now.mono);
            }
        }
        if self.suspect_since.is_some_and(|since| now.mono.since(since) >= Self::AGREE_MIN) {
            self.suspect_since = None;
        }
        self.is_good()
    }

    /// Takes a step of the wall clock as agreed, as the demo's clock makes them.
    pub fn agree(&mut self, now: Now) {
        self.last = Some(now);
    }

    /// Whether codes may be checked and timers may fire.
    pub const fn is_good(&self) -> bool {
        self.suspect_since.is_none()
    }
}

fn duration_us(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_s: i64, mono_s: u64) -> Now {
        Now { wall: Wall::from_s(wall_s), mono: Mono::from_ns(mono_s * 1_000_000_000) }
    }

    #[test]
    fn instants_read_and_print_as_rfc_3339() {
        let instant = Wall::parse("2026-11-21T20:00:00.25Z").unwrap();
        assert_eq!(instant.as_us(), 1_795_291_200_250_000);
        assert_eq!(instant.to_string(), "2026-11-21T20:00:00.250Z");
        assert_eq!(Wall::parse("yesterday"), None);
        assert_eq!(Wall::from_us(-1).as_s(), -1);
    }

    #[test]
    fn t4_a_step_of_more_than_two_seconds_makes_the_clock_suspect_for_sixty_seconds() {
        let mut guard = ClockGuard::default();
        assert!(guard.look(at(1_000, 0)));
        assert!(guard.look(at(1_003, 1)), "two seconds are taken for granted");
        assert!(!guard.look(at(1_007, 2)), "three are not");
        assert!(!guard.look(at(1_066, 61)));
        assert!(guard.look(at(1_067, 62)), "sixty seconds of agreement");
        assert!(!guard.look(at(900, 63)), "backwards counts too");
    }

    #[test]
    fn t4_an_agreed_move_is_no_step() {
        let mut guard = ClockGuard::default();
        guard.look(at(1_000, 0));
        guard.agree(at(90_000, 1));
        assert!(guard.look(at(90_001, 2)));
    }
}
