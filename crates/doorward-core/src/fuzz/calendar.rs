//! Market calendars, from any bytes.

use crate::calendar::{Calendar, Date, DayTime, Hours, Mode, WeekTime};
use crate::time::Wall;

/// Most holidays that a body's calendar has.
const HOLIDAYS_MAX: usize = 40;
/// Zones with daylight saving on both halves of the earth, by half an hour, at midnight, and without.
const ZONES: [&str; 8] = [
    "America/Chicago",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Asia/Kolkata",
    "Africa/Cairo",
    "Pacific/Apia",
    "UTC",
];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const DAY_US: i64 = 86_400_000_000;

/// Makes hours, holidays and instants of bytes: weeks follow each other without a gap, whatever falls into them.
///
/// The first byte is the zone and whether the market closes; then two bytes each are a time of the week, the first
/// of them the open; then a length and so many holidays of two bytes; then instants of four.
pub fn calendar(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next().unwrap_or(0);
    let kind = next();
    let mut week_time = || {
        let (day, time) = (next(), u16::from(next()) * 6);
        let text = format!("{} {:02}:{:02}", WEEKDAYS[usize::from(day % 7)], time / 60 % 24, time % 60);
        match WeekTime::parse(&text) {
            Ok(time) => (text, time),
            Err(wrong) => panic!("{wrong}"),
        }
    };
    let (text, weekly_open) = week_time();
    assert_eq!(weekly_open.to_string(), text);
    let ((_, weekly_close), (_, daily), (_, from), (_, until)) =
        (week_time(), week_time(), week_time(), week_time());
    let mut hours = Hours {
        time_zone: ZONES[usize::from(kind % 8)].to_owned(),
        mode: if kind & 8 == 0 { Mode::Weekly } else { Mode::Always },
        weekly_open,
        weekly_close,
        daily_close: daily.time,
        holidays: Default::default(),
        keys_closed: (kind & 16 == 0).then_some((from, until)),
    };
    for _ in 0..usize::from(next()) % HOLIDAYS_MAX {
        let day = i64::from(u16::from_be_bytes([next(), next()]));
        // A date after 2025, in the order of the days.
        let then = Wall::from_us((20_089 + day % 1_024) * DAY_US).to_string();
        hours.holidays.extend(Date::parse(&then[..10]));
    }
    assert!(DayTime::parse(&hours.daily_close.to_string()) == Ok(hours.daily_close));
    let equal = hours.weekly_open == hours.weekly_close || hours.keys_closed.is_some_and(|(a, b)| a == b);
    let calendar = match Calendar::new(hours) {
        Ok(calendar) => calendar,
        Err(wrong) => {
            assert!(equal, "{wrong}");
            return;
        }
    };
    let mut before: Option<Wall> = None;
    for _ in 0..8 {
        let seconds = u32::from_be_bytes([next(), next(), next(), next()]);
        // From 2025 on, some years.
        let at = Wall::from_us(1_735_689_600_000_000 + i64::from(seconds % 126_230_400) * 1_000_000);
        holds_at(&calendar, at);
        if let Some(other) = before {
            let (first, last) = (at.min(other), at.max(other));
            assert!(calendar.week(first) <= calendar.week(last), "weeks run backwards");
            assert!(calendar.day(first) <= calendar.day(last), "days run backwards");
            let closes = [first, last].map(|at| calendar.market_close_at_or_after(at));
            assert!(closes[0] <= closes[1], "daily closes run backwards");
        }
        before = Some(at);
    }
}

fn holds_at(calendar: &Calendar, at: Wall) {
    let week = calendar.week_at(at);
    assert!(week.opened <= at && at < week.next_open, "{at} is not in {week:?}");
    assert_eq!(calendar.week_at(week.opened), week, "at its open");
    let next = calendar.week_at(week.next_open);
    assert_eq!(next.opened, week.next_open, "the next one opens at another time");
    assert!(next.number > week.number, "{next:?} after {week:?}");
    let last = Wall::from_us(week.next_open.as_us() - 1);
    assert_eq!(calendar.week_at(last), week, "until the next one");
    assert_eq!(calendar.is_open(at), week.is_open(at));
    if let Some(closes) = week.closes {
        assert!(week.opened < closes, "{week:?}");
        assert_eq!(calendar.close_of_week(at), Some(closes).filter(|closes| at < *closes));
    }
    let close = calendar.market_close_at_or_after(at);
    assert!(close >= at);
    assert_eq!(calendar.market_close_at_or_after(close), close, "a close is not its own");
    let (end, life) = (calendar.key_end(at), calendar.key_life_end(at));
    let day = |days: i64| Wall::from_us(at.as_us() + days * DAY_US);
    assert!(day(27) < end, "{end} for {at}");
    assert!(day(363) < life && life < day(368), "{life} for {at}");
    match calendar.customer_center_opens(at) {
        Some(opens) => assert!(at < opens && !calendar.customer_center_open(at)),
        None => assert!(calendar.customer_center_open(at)),
    }
}
