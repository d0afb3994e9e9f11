//! A fresh one-time password of somebody who is signed in, for a step that asks for one (T14).

use std::time::Duration;

use super::code::second_step;
use super::{Decision, View};
use crate::audit::{Context, Event};
use crate::identity::person::Person;
use crate::time::Wall;
use crate::trace::Walk;

/// For how long a one-time password counts as fresh (T14).
pub const FACTOR_FRESH: Duration = Duration::from_secs(5 * 60);

/// Whether a one-time password that was proved at an instant still counts as fresh.
pub fn is_fresh(factor_at: Option<Wall>, now: Wall) -> bool {
    factor_at.is_some_and(|at| at <= now && now.since(at) <= FACTOR_FRESH)
}

/// Decides a code that the vault found to match at `offset` steps from now, or nowhere near. Granted: the factor is
/// fresh from now on.
pub fn step_up(view: &View<'_>, person: &Person, offset: Option<i8>, context: &Context) -> Decision {
    let mut decision = second_step(view, person, offset, context, Walk::StepUp);
    if decision.record.entry.event == Event::LoginGranted {
        decision.record.entry.event = Event::FactorProved;
    }
    decision
}
