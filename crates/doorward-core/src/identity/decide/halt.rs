//! The emergency switch: thrown and taken back by the desk.

use super::{Misuse, Reason};
use crate::audit::{Actor, Context, Entry, Event, Record};
use crate::id::FirmCode;
use crate::identity::change::Change;
use crate::identity::halt::{Halt, HaltScope};

/// Throws the switch: no new logons. With `end_all` whoever carries it out ends what is open as well; a switch that is
/// thrown can be thrown again for that. `firm` is whose the FIX session is.
pub fn throw(
    scope: HaltScope,
    firm: Option<FirmCode>,
    present: Option<&Halt>,
    reason: &Reason,
    end_all: bool,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    if let Some(present) = present.filter(|_| !end_all) {
        return Err(Misuse::conflict(
            "scope",
            format!("{scope}: the switch is thrown since {}", present.since),
        ));
    }
    let since = present.map_or(context.at, |present| present.since);
    let what = if end_all { "no new logons, and an end to all" } else { "no new logons" };
    let entry = entry(Event::Halted, &scope, firm, actor, context);
    let entry = entry.with_detail(format!("{scope}: {what}: {}", reason.as_str()));
    let halt = Some(Halt { since, reason: reason.as_str().to_owned() });
    Ok(Record { entry, changes: vec![Change::Halt { scope, halt }] })
}

/// Takes the switch back.
pub fn take_back(
    scope: HaltScope,
    firm: Option<FirmCode>,
    present: Option<&Halt>,
    reason: &Reason,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    if present.is_none() {
        return Err(Misuse::conflict("scope", format!("{scope}: the switch is not thrown")));
    }
    let entry = entry(Event::Resumed, &scope, firm, actor, context);
    let entry = entry.with_detail(format!("{scope}: {}", reason.as_str()));
    Ok(Record { entry, changes: vec![Change::Halt { scope, halt: None }] })
}

fn entry(event: Event, scope: &HaltScope, firm: Option<FirmCode>, actor: Actor, context: &Context) -> Entry {
    let entry = Entry::new(context, event, actor);
    match scope {
        HaltScope::Venue => entry,
        HaltScope::Firm(code) => Entry { firm: Some(code.clone()), ..entry },
        HaltScope::Session(id) => Entry { firm, session: Some(*id), ..entry },
    }
}
