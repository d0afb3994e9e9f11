//! The market calendar, as data: the trading week, the daily close, holidays, the hours of the Customer Center.
//!
//! The week opens and closes at a weekday and time of the venue's time zone. A holiday is a date without a session:
//! it moves an open that falls on it to the next date, a close to the one before, both at their usual time; a week
//! that is left with nothing does not open. Inside a week it takes away the daily close and nothing else. A local time
//! that daylight saving skips is taken as much later, one that comes twice is taken the first time.

mod hours;

#[cfg(test)]
mod tests;

use jiff::civil::Date as CivilDate;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

pub use self::hours::{Date, DayTime, Hours, Mode, WeekTime};
use crate::time::Wall;

/// How long two key pairs are good together: to the first daily market close at or after so many days.
const OVERLAP_DAYS: i32 = 28;
/// How long a key pair lives at most, in months.
const LIFE_MONTHS: i32 = 12;
/// Instants beyond these are taken as these: 1970-01-01 and 9000-01-01, in microseconds.
const RANGE_US: (i64, i64) = (0, 221_845_392_000_000_000);

/// One trading week.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Week {
    /// Counts weeks; does not change when holidays are added or taken away.
    pub number: u32,
    /// When it opened; sequence numbers begin at 1 then.
    pub opened: Wall,
    /// When it closes or has closed; `None` where the market never closes.
    pub closes: Option<Wall>,
    /// When the next one opens.
    pub next_open: Wall,
}

impl Week {
    /// Whether the market is open at an instant between its open and the next one's.
    pub fn is_open(&self, at: Wall) -> bool {
        self.closes.is_none_or(|closes| at < closes)
    }
}

/// A market calendar.
#[derive(Clone, Debug)]
pub struct Calendar {
    hours: Hours,
    zone: TimeZone,
}

impl Calendar {
    /// A calendar of these hours; the error says which value is wrong.
    pub fn new(hours: Hours) -> Result<Self, String> {
        hours.check()?;
        let zone = TimeZone::get(&hours.time_zone)
            .map_err(|_| format!("time_zone: {:?} is no time zone of the IANA database", hours.time_zone))?;
        Ok(Self { hours, zone })
    }

    /// What it was made of.
    pub const fn hours(&self) -> &Hours {
        &self.hours
    }

    /// The week that opened last at an instant. Good to be kept until its [`Week::next_open`].
    pub fn week_at(&self, at: Wall) -> Week {
        // Each week that does not open has a holiday of its own, or is less than what daylight saving skipped of it,
        // which happens a few times a year.
        let holidays = self.hours.holidays.len() as i64;
        let tries = holidays + holidays / 8 + 4;
        let near = self.hours.week_of(self.local(at).date());
        let opened = (0..tries).map(|back| near + 1 - back).find_map(|number| {
            let span = self.span(number)?;
            (span.0 <= at).then_some((number, span))
        });
        // Before the first week that is counted, nothing is open.
        let (number, (opened, closes)) = opened.unwrap_or((0, (Wall::default(), Some(Wall::default()))));
        let next = (1..=tries).find_map(|ahead| self.span(number + ahead));
        let next_open = next.map_or(Wall::from_us(i64::MAX), |span| span.0);
        Week { number: u32::try_from(number).unwrap_or(0), opened, closes, next_open }
    }

    /// The number of the week that opened last.
    pub fn week(&self, at: Wall) -> u32 {
        self.week_at(at).number
    }

    /// Whether the market is open.
    pub fn is_open(&self, at: Wall) -> bool {
        self.week_at(at).is_open(at)
    }

    /// The first open after an instant.
    pub fn next_open(&self, at: Wall) -> Wall {
        self.week_at(at).next_open
    }

    /// When the week that is open closes; `None` where it is closed already, or never closes.
    pub fn close_of_week(&self, at: Wall) -> Option<Wall> {
        self.week_at(at).closes.filter(|closes| at < *closes)
    }

    /// The first daily market close at or after an instant, on a day with a session.
    pub fn market_close_at_or_after(&self, at: Wall) -> Wall {
        let days = 7 * (self.hours.holidays.len() + 2);
        let mut date = self.local(at).date();
        for _ in 0..days {
            if self.hours.has_session(date) {
                let close = self.instant(date, self.hours.daily_close);
                if close >= at {
                    return close;
                }
            }
            date = later(date, 1);
        }
        at // not reached: seven days without a holiday have a session
    }

    /// The end that a key pair gets from a newer one that is made at this instant.
    pub fn key_end(&self, made_at: Wall) -> Wall {
        let then = self.local(made_at).checked_add(OVERLAP_DAYS.days());
        self.market_close_at_or_after(then.map_or(made_at, |then| wall(&then)))
    }

    /// The end of a key pair's longest life.
    pub fn key_life_end(&self, made_at: Wall) -> Wall {
        let then = self.local(made_at).checked_add(LIFE_MONTHS.months());
        then.map_or(made_at, |then| wall(&then))
    }

    /// Whether key pairs may be made and shown at this time of the week.
    pub fn customer_center_open(&self, at: Wall) -> bool {
        self.customer_center_opens(at).is_none()
    }

    /// When key pairs may be made and shown again; `None` where they may now.
    pub fn customer_center_opens(&self, at: Wall) -> Option<Wall> {
        let (from, until) = match self.hours.mode {
            Mode::Always => return None,
            Mode::Weekly => self.hours.keys_closed?,
        };
        let today = self.local(at).date();
        // The closing that began last, at the latest a week ago.
        (0..=7)
            .map(|back| later(today, -back))
            .find_map(|date| {
                let begun = from.falls_on(date) && self.instant(date, from.time) <= at;
                begun.then(|| self.instant(later(date, from.days_until(until)), until.time))
            })
            .filter(|ends| at < *ends)
    }

    /// The date in the venue's time zone, counted from 1970-01-01.
    pub fn day(&self, at: Wall) -> i32 {
        hours::day_number(self.local(at).date())
    }

    /// When a week opens and closes; `None` where holidays leave nothing of it.
    fn span(&self, number: i64) -> Option<(Wall, Option<Wall>)> {
        let mut open = self.hours.open_date(number)?;
        match self.hours.mode {
            Mode::Always => Some((self.instant(open, self.hours.weekly_open.time), None)),
            Mode::Weekly => {
                let mut close = later(open, self.hours.weekly_open.days_until(self.hours.weekly_close));
                while self.hours.is_holiday(open) && open <= close {
                    open = later(open, 1);
                }
                while self.hours.is_holiday(close) && open <= close {
                    close = later(close, -1);
                }
                let opens = self.instant(open, self.hours.weekly_open.time);
                let closes = self.instant(close, self.hours.weekly_close.time);
                (opens < closes).then_some((opens, Some(closes)))
            }
        }
    }

    fn local(&self, at: Wall) -> Zoned {
        let us = at.as_us().clamp(RANGE_US.0, RANGE_US.1);
        Timestamp::from_microsecond(us).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }

    fn instant(&self, date: CivilDate, time: DayTime) -> Wall {
        date.to_datetime(time.civil()).to_zoned(self.zone.clone()).map_or(Wall::default(), |then| wall(&then))
    }
}

fn wall(then: &Zoned) -> Wall {
    Wall::from_us(then.timestamp().as_microsecond())
}

/// So many days later, or before.
fn later(date: CivilDate, days: i32) -> CivilDate {
    date.saturating_add(days.days())
}
