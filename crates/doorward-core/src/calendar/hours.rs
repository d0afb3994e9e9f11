//! What a calendar is made of, and how it is written down.

use std::collections::BTreeSet;
use std::fmt;

use jiff::civil::{Date as CivilDate, Time, Weekday, date};

use crate::table::table;

/// The first date that is counted from; day 0.
const DAY_0: CivilDate = date(1970, 1, 1);

table! {
    /// Whether the market closes.
    pub enum Mode {
        Weekly = "weekly", "Open from the weekly open to the weekly close.";
        Always = "always", "Never closed; sequence numbers begin anew at the weekly open, keys are made at all hours.";
    }
}

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("sunday", Weekday::Sunday),
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
];

fn weekday(text: &str) -> Option<Weekday> {
    WEEKDAYS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, day)| day)
}

/// A time of the day, to the minute. Written as `16:00`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DayTime {
    hour: i8,
    minute: i8,
}

impl DayTime {
    /// Reads `HH:MM`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time from 00:00 to 23:59");
        let two = |digits: &str| {
            (digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
        };
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let (hour, minute) = two(hour).zip(two(minute)).ok_or_else(wrong)?;
        Time::new(hour, minute, 0, 0).map_err(|_| wrong())?;
        Ok(Self { hour, minute })
    }

    pub(super) fn civil(self) -> Time {
        Time::new(self.hour, self.minute, 0, 0).unwrap_or(Time::midnight())
    }
}

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A time of the week. Written as `sunday 10:30`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeekTime {
    weekday: Weekday,
    /// The time of that day.
    pub time: DayTime,
}

impl WeekTime {
    /// Reads a weekday and a time.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time of the week such as \"sunday 10:30\"");
        let (day, time) = text.split_once(' ').ok_or_else(wrong)?;
        Ok(Self { weekday: weekday(day).ok_or_else(wrong)?, time: DayTime::parse(time.trim_start())? })
    }

    pub(super) fn falls_on(self, date: CivilDate) -> bool {
        date.weekday() == self.weekday
    }

    /// Days from the date of this time to that of another one that follows it.
    pub(super) fn days_until(self, other: Self) -> i32 {
        let days = i32::from(other.weekday.since(self.weekday));
        if days == 0 && other.time <= self.time { 7 } else { days }
    }
}

impl fmt::Display for WeekTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = WEEKDAYS.iter().find(|(_, day)| *day == self.weekday).map_or("", |(name, _)| name);
        write!(f, "{name} {}", self.time)
    }
}

/// A date of the venue's. Written as `2026-12-25`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date(CivilDate);

impl Date {
    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let date = (text.len() == 10).then(|| text.parse().ok()).flatten();
        date.map(Self).ok_or_else(|| format!("{text:?} is no date such as 2026-12-25"))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hours of a market.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hours {
    /// An IANA name, such as `America/Chicago`.
    pub time_zone: String,
    /// Whether the market closes at all.
    pub mode: Mode,
    /// When the week opens.
    pub weekly_open: WeekTime,
    /// When it closes.
    pub weekly_close: WeekTime,
    /// When the market closes on each day with a session.
    pub daily_close: DayTime,
    /// Dates without a session, beside Saturdays and Sundays. What opens on a Sunday is Monday's session.
    pub holidays: BTreeSet<Date>,
    /// From when to when in the week no key pairs are made or shown.
    pub keys_closed: Option<(WeekTime, WeekTime)>,
}

impl Default for Hours {
    /// Those of the page: US Central, Sunday 10:30 to Friday 17:00, daily close 16:00, no key pairs from Friday 16:30
    /// to Sunday 10:00.
    fn default() -> Self {
        let at = |weekday, hour, minute| WeekTime { weekday, time: DayTime { hour, minute } };
        Self {
            time_zone: "America/Chicago".to_owned(),
            mode: Mode::Weekly,
            weekly_open: at(Weekday::Sunday, 10, 30),
            weekly_close: at(Weekday::Friday, 17, 0),
            daily_close: DayTime { hour: 16, minute: 0 },
            holidays: BTreeSet::new(),
            keys_closed: Some((at(Weekday::Friday, 16, 30), at(Weekday::Sunday, 10, 0))),
        }
    }
}

impl Hours {
    /// Most holidays that a calendar takes.
    pub const HOLIDAYS_MAX: usize = 1_000;

    pub(super) fn check(&self) -> Result<(), String> {
        if self.weekly_open == self.weekly_close {
            return Err(format!("weekly_close: {} is the weekly open", self.weekly_close));
        }
        if let Some((from, until)) = self.keys_closed
            && from == until
        {
            return Err(format!("keys_closed: {from} is both its begin and its end"));
        }
        let count = self.holidays.len();
        if count > Self::HOLIDAYS_MAX {
            return Err(format!("holidays: {count} are more than {}", Self::HOLIDAYS_MAX));
        }
        Ok(())
    }

    pub(super) fn is_holiday(&self, date: CivilDate) -> bool {
        self.holidays.contains(&Date(date))
    }

    pub(super) fn has_session(&self, date: CivilDate) -> bool {
        let weekend = matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        !weekend && !self.is_holiday(date)
    }

    /// The number of the week whose usual open falls on this date or on one of the six before it.
    pub(super) fn week_of(&self, date: CivilDate) -> i64 {
        (i64::from(day_number(date)) - self.first_open_day()).div_euclid(7)
    }

    /// The date of a week's usual open; `None` before the first and far in the future.
    pub(super) fn open_date(&self, number: i64) -> Option<CivilDate> {
        let day = self.first_open_day() + number.checked_mul(7).filter(|_| number >= 0)?;
        DAY_0.checked_add(jiff::Span::new().try_days(day).ok()?).ok()
    }

    /// The first day from day 0 on that is of the weekday of the open.
    fn first_open_day(&self) -> i64 {
        i64::from(self.weekly_open.weekday.since(DAY_0.weekday()))
    }
}

/// A date, counted from 1970-01-01.
pub(super) fn day_number(date: CivilDate) -> i32 {
    let since = date.since(DAY_0);
    since.map_or(0, |span| span.get_days())
}
