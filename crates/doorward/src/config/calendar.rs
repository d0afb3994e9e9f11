//! Sections `calendar` and `customer_center`: when the market is open, and when key pairs are made.

use std::collections::BTreeSet;
use std::sync::Arc;

use doorward_core::calendar::{Calendar, Date, DayTime, Hours, Mode, WeekTime};

use super::{Settings, Typed};

/// The calendar, or the key that is wrong and why.
pub(super) fn calendar(settings: &Settings) -> Result<Arc<Calendar>, (&'static str, String)> {
    let all = Typed(settings);
    let week = |path: &'static str| WeekTime::parse(&all.text(path)).map_err(|why| (path, why));
    let day = |path: &'static str| DayTime::parse(&all.text(path)).map_err(|why| (path, why));
    let date = |text: &String| Date::parse(text).map_err(|why| ("calendar.holidays", why));
    let holidays: BTreeSet<Date> =
        all.texts("calendar.holidays").iter().map(date).collect::<Result<_, _>>()?;
    let hours = Hours {
        time_zone: all.text("calendar.zone"),
        mode: Mode::from_id(&all.text("calendar.mode")).unwrap_or(Mode::Weekly),
        weekly_open: week("calendar.open")?,
        weekly_close: week("calendar.close")?,
        daily_close: day("calendar.daily_close")?,
        holidays,
        keys_closed: Some((week("customer_center.close")?, week("customer_center.open")?)),
    };
    let made = Calendar::new(hours).map_err(|why| {
        // What the calendar calls its parts, and the keys that they come from.
        let parts = [
            ("time_zone", "calendar.zone"),
            ("weekly_close", "calendar.close"),
            ("keys_closed", "customer_center.close"),
        ];
        let part = parts.into_iter().find_map(|(part, key)| Some((key, why.strip_prefix(part)?.to_owned())));
        let (key, rest) = part.unwrap_or(("calendar.holidays", why));
        (key, rest.trim_start_matches(": ").to_owned())
    });
    made.map(Arc::new)
}
