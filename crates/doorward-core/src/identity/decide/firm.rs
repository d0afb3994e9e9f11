//! Firms and policies: adding, closing, setting.

use std::time::Duration;

use super::Misuse;
use crate::audit::{Actor, Context, Entry, Event, Record};
use crate::id::FirmCode;
use crate::identity::change::Change;
use crate::identity::firm::Firm;
use crate::identity::policy::{Effective, Policy};

/// Adds a firm.
pub fn add(code: FirmCode, name: &str, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    let name = name.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > Firm::NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(Misuse::invalid(
            "name",
            format!("name: {chars} characters, or a control character; allowed 1..=128"),
        ));
    }
    let (name, added_at) = (name.to_owned(), context.at);
    let firm = Firm {
        code: code.clone(),
        name,
        added_at,
        closed: false,
        policy: Policy::default(),
        key_hours_until: None,
        version: 1,
    };
    let entry = Entry { firm: Some(code), ..Entry::new(context, Event::FirmAdded, actor) };
    Ok(Record { entry, changes: vec![Change::Firm { firm }] })
}

/// Closes a firm, or opens it again.
pub fn set_closed(firm: &Firm, closed: bool, actor: Actor, context: &Context) -> Record {
    let event = if closed { Event::FirmClosed } else { Event::FirmOpened };
    let entry = Entry { firm: Some(firm.code.clone()), ..Entry::new(context, event, actor) };
    let firm = Firm { closed, version: firm.version + 1, ..firm.clone() };
    Record { entry, changes: vec![Change::Firm { firm }] }
}

/// How long the desk opens the making and showing of key pairs for a firm.
const KEY_HOURS: Duration = Duration::from_secs(3_600);

/// Opens the making and showing of key pairs for one firm for an hour, whatever the time of the week.
pub fn open_key_hours(firm: &Firm, reason: &str, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    super::check_reason(reason)?;
    let until = context.at + KEY_HOURS;
    let entry =
        Entry::new(context, Event::KeyHoursOpened, actor).with_detail(format!("until {until}: {reason}"));
    let entry = Entry { firm: Some(firm.code.clone()), ..entry };
    let firm = Firm { key_hours_until: Some(until), version: firm.version + 1, ..firm.clone() };
    Ok(Record { entry, changes: vec![Change::Firm { firm }] })
}

/// Sets the venue's policy; `given.version` names the one that it replaces.
pub fn set_venue_policy(
    present: &Policy,
    given: &Policy,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    admit(&Effective::default(), present, given)?;
    let policy = Policy { version: present.version + 1, ..given.clone() };
    let entry =
        Entry::new(context, Event::PolicySet, actor).with_detail(format!("version {}", policy.version));
    Ok(Record { entry, changes: vec![Change::VenuePolicy { policy }] })
}

/// Sets a firm's policy, never looser than the venue's; `given.version` names the one that it replaces.
pub fn set_firm_policy(
    venue: &Policy,
    firm: &Firm,
    given: &Policy,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    admit(&Effective::of(venue, None), &firm.policy, given)?;
    let policy = Policy { version: firm.policy.version + 1, ..given.clone() };
    let entry =
        Entry::new(context, Event::PolicySet, actor).with_detail(format!("version {}", policy.version));
    let entry = Entry { firm: Some(firm.code.clone()), ..entry };
    let firm = Firm { policy, version: firm.version + 1, ..firm.clone() };
    Ok(Record { entry, changes: vec![Change::Firm { firm }] })
}

fn admit(above: &Effective, present: &Policy, given: &Policy) -> Result<(), Misuse> {
    if given.version != present.version {
        let text = format!(
            "version: {} was given, {} is in force; read the policy again",
            given.version, present.version
        );
        return Err(Misuse::conflict("version", text));
    }
    above.admits(given).map_err(|bad| {
        Misuse::invalid(
            bad.field,
            format!("{}: {} is not allowed, only {}", bad.field, bad.given, bad.allowed),
        )
    })
}
