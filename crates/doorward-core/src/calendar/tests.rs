//! The calendar over daylight saving, holidays and years.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn at(text: &str) -> Wall {
    Wall::parse(text).unwrap_or_else(|| panic!("{text}"))
}

fn with(hours: Hours, holidays: &[&str]) -> Calendar {
    let holidays = holidays.iter().map(|text| Date::parse(text).unwrap()).collect();
    Calendar::new(Hours { holidays, ..hours }).unwrap()
}

fn chicago(holidays: &[&str]) -> Calendar {
    with(Hours::default(), holidays)
}

fn hours(zone: &str, open: &str, close: &str) -> Hours {
    Hours {
        time_zone: zone.to_owned(),
        weekly_open: WeekTime::parse(open).unwrap(),
        weekly_close: WeekTime::parse(close).unwrap(),
        ..Hours::default()
    }
}

fn always() -> Calendar {
    with(Hours { mode: Mode::Always, ..Hours::default() }, &[])
}

#[test]
fn the_week_opens_and_closes_by_the_clock_of_the_venue_summer_and_winter() {
    let calendar = chicago(&[]);
    for (open, close, next) in [
        ("2026-01-04T16:30:00Z", "2026-01-09T23:00:00Z", "2026-01-11T16:30:00Z"),
        // Summer time begins on 2026-03-08 at 02:00, before that Sunday's open.
        ("2026-03-01T16:30:00Z", "2026-03-06T23:00:00Z", "2026-03-08T15:30:00Z"),
        ("2026-03-08T15:30:00Z", "2026-03-13T22:00:00Z", "2026-03-15T15:30:00Z"),
        // It ends on 2026-11-01 at 02:00.
        ("2026-10-25T15:30:00Z", "2026-10-30T22:00:00Z", "2026-11-01T16:30:00Z"),
        ("2026-11-15T16:30:00Z", "2026-11-20T23:00:00Z", "2026-11-22T16:30:00Z"),
    ] {
        let (open, close, next) = (at(open), at(close), at(next));
        let us = Duration::from_micros(1);
        let week = calendar.week_at(open);
        assert_eq!((week.opened, week.closes, week.next_open), (open, Some(close), next));
        assert!(!calendar.is_open(open - us) && calendar.is_open(open));
        assert!(calendar.is_open(close - us) && !calendar.is_open(close));
        assert_eq!(calendar.close_of_week(open), Some(close));
        assert_eq!(calendar.close_of_week(close), None);
        assert_eq!(calendar.next_open(close), next);
        assert_eq!(calendar.next_open(open - us), open);
        assert_eq!(calendar.week(open - us) + 1, calendar.week(open), "the roll is at the open");
        assert_eq!(calendar.week(close), calendar.week(open));
        assert_eq!(calendar.week(next), calendar.week(open) + 1);
    }
}

#[test]
fn always_never_closes_rolls_at_the_open_and_makes_keys_at_all_hours() {
    let calendar = always();
    let saturday = at("2026-11-21T20:00:00Z");
    let week = calendar.week_at(saturday);
    assert_eq!((week.closes, week.next_open), (None, at("2026-11-22T16:30:00Z")));
    assert!(calendar.is_open(saturday) && calendar.customer_center_open(saturday));
    assert_eq!(calendar.close_of_week(saturday), None);
    assert_eq!(calendar.week(week.next_open), week.number + 1);
    assert_eq!(calendar.week(saturday), chicago(&[]).week(saturday), "the same weeks, closed or not");
    let holiday = with(Hours { mode: Mode::Always, ..Hours::default() }, &["2026-11-22"]);
    assert_eq!(holiday.next_open(saturday), at("2026-11-22T16:30:00Z"), "a holiday moves nothing");
}

#[test]
fn a_holiday_moves_an_open_to_the_next_date_and_a_close_to_the_one_before() {
    // Christmas 2026 is a Friday, 2027-01-01 too; 2027-01-03 is the Sunday of the next open.
    let calendar = chicago(&["2026-12-25", "2027-01-01", "2027-01-03"]);
    let week = calendar.week_at(at("2026-12-22T12:00:00Z"));
    assert_eq!(week.closes, Some(at("2026-12-24T23:00:00Z")));
    let week = calendar.week_at(at("2026-12-29T12:00:00Z"));
    assert_eq!((week.closes, week.next_open), (Some(at("2026-12-31T23:00:00Z")), at("2027-01-04T16:30:00Z")));
    assert_eq!(calendar.week(at("2027-01-03T20:00:00Z")), week.number, "not rolled yet");
    assert_eq!(calendar.week(at("2027-01-04T16:30:00Z")), week.number + 1);
    let midweek = chicago(&["2026-11-26"]);
    assert!(midweek.is_open(at("2026-11-26T18:00:00Z")), "inside a week only the daily close is gone");
}

#[test]
fn a_week_of_holidays_does_not_open_and_its_number_is_not_given_away() {
    let days = ["2026-12-20", "2026-12-21", "2026-12-22", "2026-12-23", "2026-12-24", "2026-12-25"];
    let (calendar, plain) = (chicago(&days), chicago(&[]));
    let within = at("2026-12-23T18:00:00Z");
    assert!(!calendar.is_open(within));
    assert_eq!(calendar.next_open(within), at("2026-12-27T16:30:00Z"));
    assert_eq!(calendar.week(within) + 1, plain.week(within));
    let after = at("2026-12-28T18:00:00Z");
    assert_eq!(calendar.week(after), plain.week(after), "holidays that come later do not turn numbers back");
}

#[test]
fn a_daily_close_is_that_of_the_next_day_with_a_session() {
    let calendar = chicago(&["2026-11-26", "2026-12-25"]);
    for (from, close) in [
        ("2026-11-20T22:00:00Z", "2026-11-20T22:00:00Z"),
        ("2026-11-20T22:00:00.000001Z", "2026-11-23T22:00:00Z"), // behind Friday's: Monday's
        ("2026-11-22T18:00:00Z", "2026-11-23T22:00:00Z"),        // Sunday's trading is Monday's session
        ("2026-11-25T22:00:01Z", "2026-11-27T22:00:00Z"),        // Thanksgiving
        ("2026-12-24T23:00:00Z", "2026-12-28T22:00:00Z"),        // a holiday before a weekend
        ("2026-07-01T12:00:00Z", "2026-07-01T21:00:00Z"),        // summer
        ("2026-03-07T12:00:00Z", "2026-03-09T21:00:00Z"),        // the weekend of the change
    ] {
        assert_eq!(calendar.market_close_at_or_after(at(from)), at(close), "{from}");
    }
}

#[test]
fn h2_a_new_pair_gives_the_first_its_end_at_the_close_four_weeks_on() {
    let calendar = chicago(&["2026-12-25", "2027-01-01"]);
    for (made, end) in [
        // Monday 09:00 → Monday 16:00, four weeks later, into winter time.
        ("2026-10-12T14:00:00Z", "2026-11-09T22:00:00Z"),
        // Made at 16:00 sharp: the close of that very minute.
        ("2026-10-12T21:00:00Z", "2026-11-09T22:00:00Z"),
        // Made at 16:01: 28 days later that close is over.
        ("2026-10-12T21:01:00Z", "2026-11-10T22:00:00Z"),
        // Made on Friday after the close: Monday's.
        ("2026-10-09T21:10:00Z", "2026-11-09T22:00:00Z"),
        // Made on a Sunday: Monday's.
        ("2026-10-25T15:30:00Z", "2026-11-23T22:00:00Z"),
        // 28 days later is Christmas, a Friday: the Monday behind it.
        ("2026-11-27T15:00:00Z", "2026-12-28T22:00:00Z"),
        // 28 days later is New Year.
        ("2026-12-04T15:00:00Z", "2027-01-04T22:00:00Z"),
        // Over the change to summer time: the same wall-clock time, an hour less.
        ("2026-02-16T21:59:00Z", "2026-03-16T21:00:00Z"),
        ("2026-02-16T22:00:00Z", "2026-03-16T21:00:00Z"),
        ("2026-02-16T22:01:00Z", "2026-03-17T21:00:00Z"),
    ] {
        assert_eq!(calendar.key_end(at(made)), at(end), "{made}");
    }
}

#[test]
fn h2_a_pair_lives_twelve_months_of_the_calendar() {
    let calendar = chicago(&[]);
    for (made, end) in [
        ("2026-11-21T20:00:00Z", "2027-11-21T20:00:00Z"),
        ("2028-02-29T18:00:00Z", "2029-02-28T18:00:00Z"),
        ("2026-03-08T07:30:00Z", "2027-03-08T07:30:00Z"),
        // Made in winter time, ends in summer time: the same time on the wall.
        ("2026-03-08T01:00:00Z", "2027-03-08T01:00:00Z"),
        ("2026-03-14T18:00:00Z", "2027-03-14T18:00:00Z"),
        ("2027-03-10T18:00:00Z", "2028-03-10T18:00:00Z"),
        ("2025-11-02T18:00:00Z", "2026-11-02T18:00:00Z"),
        ("2026-11-01T06:30:00Z", "2027-11-01T06:30:00Z"),
    ] {
        assert_eq!(calendar.key_life_end(at(made)), at(end), "{made}");
    }
}

#[test]
fn keys_are_not_made_from_friday_afternoon_to_sunday_morning() {
    let calendar = chicago(&[]);
    for (instant, opens) in [
        ("2026-11-20T22:29:59.999999Z", None),
        ("2026-11-20T22:30:00Z", Some("2026-11-22T16:00:00Z")),
        ("2026-11-21T12:00:00Z", Some("2026-11-22T16:00:00Z")),
        ("2026-11-22T15:59:59.999999Z", Some("2026-11-22T16:00:00Z")),
        ("2026-11-22T16:00:00Z", None),
        ("2026-11-25T12:00:00Z", None),
        // The clocks change on the Sunday in between.
        ("2026-03-07T12:00:00Z", Some("2026-03-08T15:00:00Z")),
        ("2026-10-31T12:00:00Z", Some("2026-11-01T16:00:00Z")),
    ] {
        assert_eq!(calendar.customer_center_opens(at(instant)), opens.map(at), "{instant}");
    }
    let never = with(Hours { keys_closed: None, ..Hours::default() }, &[]);
    assert!(never.customer_center_open(at("2026-11-21T12:00:00Z")));
    let whole_week = (WeekTime::parse("friday 10:00").unwrap(), WeekTime::parse("friday 09:00").unwrap());
    let nearly_always = with(Hours { keys_closed: Some(whole_week), ..Hours::default() }, &[]);
    let opens = nearly_always.customer_center_opens(at("2026-11-20T14:00:00Z"));
    assert_eq!(opens, Some(at("2026-11-20T15:00:00Z")));
    assert!(nearly_always.customer_center_open(at("2026-11-20T15:30:00Z")));
}

#[test]
fn h4_a_day_is_one_of_the_venue() {
    let calendar = chicago(&[]);
    assert_eq!(calendar.day(at("1970-01-01T12:00:00Z")), 0);
    assert_eq!(calendar.day(at("2026-11-22T05:59:59Z")), calendar.day(at("2026-11-21T06:00:00Z")));
    assert_eq!(calendar.day(at("2026-11-22T06:00:00Z")), calendar.day(at("2026-11-21T06:00:00Z")) + 1);
    let short = calendar.day(at("2026-03-08T06:00:00Z"));
    assert_eq!(calendar.day(at("2026-03-09T04:59:59Z")), short, "a day of 23 hours");
    assert_eq!(calendar.day(at("2026-03-09T05:00:00Z")), short + 1);
}

#[test]
fn a_skipped_time_is_taken_later_and_one_that_comes_twice_the_first_time() {
    // New York skips 02:00 to 03:00 on 2026-03-08 and has 01:00 to 02:00 twice on 2026-11-01.
    let skipped = with(hours("America/New_York", "sunday 02:30", "friday 17:00"), &[]);
    assert_eq!(skipped.next_open(at("2026-03-07T12:00:00Z")), at("2026-03-08T07:30:00Z"));
    let twice = with(hours("America/New_York", "sunday 01:30", "friday 17:00"), &[]);
    assert_eq!(twice.next_open(at("2026-10-31T12:00:00Z")), at("2026-11-01T05:30:00Z"));
    let number = twice.week(at("2026-11-01T05:30:00Z"));
    assert_eq!(twice.week(at("2026-11-01T06:30:00Z")), number, "it rolls once");
    // Lord Howe moves by half an hour.
    let half = with(hours("Australia/Lord_Howe", "monday 10:00", "friday 17:00"), &[]);
    assert_eq!(half.next_open(at("2026-10-03T00:00:00Z")), at("2026-10-04T23:00:00Z"));
    assert_eq!(half.next_open(at("2026-09-25T12:00:00Z")), at("2026-09-27T23:30:00Z"));
}

#[test]
fn a_week_that_daylight_saving_skips_does_not_open_and_the_one_before_goes_on() {
    let calendar = with(hours("Europe/Berlin", "sunday 02:30", "sunday 03:00"), &[]);
    let week = calendar.week_at(at("2028-03-20T12:00:00Z"));
    // 02:30 on the 26th is taken as 03:30, after the close.
    assert_eq!(week.next_open, at("2028-04-02T00:30:00Z"));
    for time in ["2028-03-26T12:00:00Z", "2028-04-01T12:00:00Z", "2028-04-02T00:29:59Z"] {
        assert_eq!(calendar.week_at(at(time)), week, "{time}");
    }
}

#[test]
fn a_week_may_begin_and_end_on_any_day() {
    let monday = with(hours("Europe/London", "monday 00:00", "friday 23:59"), &[]);
    let week = monday.week_at(at("2026-11-21T12:00:00Z"));
    assert_eq!((week.opened, week.next_open), (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
    assert!(!week.is_open(at("2026-11-21T12:00:00Z")));
    let long = with(hours("UTC", "wednesday 12:00", "wednesday 11:00"), &[]);
    assert!(long.is_open(at("2026-11-24T12:00:00Z")) && !long.is_open(at("2026-11-25T11:30:00Z")));
}

#[test]
fn wrong_hours_are_refused_with_what_is_wrong() {
    for (hours, words) in [
        (hours("Mars/Olympus", "sunday 10:30", "friday 17:00"), "time_zone: \"Mars/Olympus\""),
        (hours("UTC", "sunday 10:30", "sunday 10:30"), "weekly_close: sunday 10:30"),
    ] {
        let error = Calendar::new(hours).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    for text in
        ["", "10:30", "sun 10:30", "sunday 24:00", "sunday 1:30", "sunday 10:60", "sunday -1:00", "sunday 10"]
    {
        assert!(WeekTime::parse(text).is_err(), "{text}");
    }
    assert_eq!(WeekTime::parse("Friday  17:00").unwrap().to_string(), "friday 17:00");
    for text in ["", "2026-12-32", "20261225", "2026-12-25T00:00", "+002026-1-1"] {
        assert!(Date::parse(text).is_err(), "{text}");
    }
    assert_eq!(Date::parse("2026-12-25").unwrap().to_string(), "2026-12-25");
}

#[test]
fn no_instant_is_too_far_away() {
    let calendar = chicago(&["2026-12-25"]);
    for us in [i64::MIN, -1, 0, 1, i64::MAX] {
        let far = Wall::from_us(us);
        calendar.week_at(far);
        calendar.key_end(far);
        calendar.key_life_end(far);
        calendar.customer_center_opens(far);
        calendar.day(far);
    }
    assert!(!calendar.is_open(Wall::from_s(60)), "nothing is open before the first week");
}

/// Any instant from 2020 to 2045.
fn instants() -> impl Strategy<Value = Wall> {
    (1_577_836_800_000_000i64..2_366_841_600_000_000).prop_map(Wall::from_us)
}

/// A calendar with any holidays from 2020 to 2045, some of them in a row.
fn calendars() -> impl Strategy<Value = Calendar> {
    let zones =
        prop::sample::select(vec!["America/Chicago", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe"]);
    let runs = prop::collection::vec((18_262i32..27_393, 1i32..12), 0..40);
    (zones, runs).prop_map(|(zone, runs)| {
        let day_0 = jiff::civil::date(1970, 1, 1);
        let days = runs.into_iter().flat_map(|(first, count)| first..first + count);
        let holidays = days.map(|day| Date::parse(&later(day_0, day).to_string()).unwrap()).collect();
        Calendar::new(Hours { time_zone: zone.to_owned(), holidays, ..Hours::default() }).unwrap()
    })
}

proptest! {
    #[test]
    fn a_week_rolls_once_at_its_open_and_never_back(calendar in calendars(), now in instants()) {
        let us = Duration::from_micros(1);
        let week = calendar.week_at(now);
        let next = calendar.week_at(week.next_open);
        prop_assert!(week.opened <= now && now < week.next_open);
        prop_assert_eq!(calendar.week_at(week.opened), week);
        prop_assert_eq!(calendar.week_at(week.next_open - us), week);
        prop_assert!(next.number > week.number && next.opened == week.next_open);
        prop_assert!(calendar.is_open(week.next_open));
        let closes = week.closes.unwrap();
        prop_assert!(week.opened < closes && closes < week.next_open);
        prop_assert_eq!(calendar.is_open(now), now < closes);
        prop_assert_eq!(calendar.close_of_week(now).is_some(), now < closes);
    }

    #[test]
    fn weeks_have_the_same_number_whatever_the_holidays(calendar in calendars(), now in instants()) {
        let plain = Calendar::new(Hours { holidays: Default::default(), ..calendar.hours().clone() }).unwrap();
        if calendar.is_open(now) {
            prop_assert_eq!(calendar.week(now), plain.week(now));
        }
        prop_assert!(calendar.week(now) <= plain.week(now));
    }

    #[test]
    fn a_market_close_is_the_first_one_and_on_a_day_with_a_session(calendar in calendars(), now in instants()) {
        let close = calendar.market_close_at_or_after(now);
        prop_assert!(close >= now);
        prop_assert_eq!(calendar.market_close_at_or_after(close), close);
        prop_assert!(calendar.hours.has_session(calendar.local(close).date()));
        let mut day = calendar.local(now).date();
        while day < calendar.local(close).date() {
            let there = calendar.instant(day, calendar.hours.daily_close);
            prop_assert!(there < now || !calendar.hours.has_session(day), "{} was passed over", day);
            day = later(day, 1);
        }
    }

    #[test]
    fn h2_a_key_end_is_a_close_28_days_on_by_the_clock(calendar in calendars(), made in instants()) {
        let (end, hour) = (calendar.key_end(made), Duration::from_secs(3_600));
        prop_assert!(end >= made + DAY * 28 - hour);
        prop_assert_eq!(end, calendar.market_close_at_or_after(end));
        let plain = chicago(&[]);
        prop_assert!(plain.key_end(made) <= made + DAY * 28 + hour + DAY * 3);
        prop_assert!(calendar.key_life_end(made) > made + DAY * 364);
        prop_assert!(calendar.key_life_end(made) <= made + DAY * 366 + hour);
    }

    #[test]
    fn the_hours_of_keys_are_the_same_every_week(calendar in calendars(), now in instants()) {
        if let Some(opens) = calendar.customer_center_opens(now) {
            prop_assert!(now < opens && opens <= now + DAY * 2);
            prop_assert!(calendar.customer_center_open(opens));
            let local = calendar.local(opens);
            prop_assert_eq!((local.hour(), local.minute()), (10, 0));
        }
    }
}
