//! The second step of a login: the one-time password alone, after a right password on the same connection.

use super::{Decision, Settle, View, outcome_of, own_entry, standing, take_code, words};
use crate::ask::Verdict;
use crate::audit::{Context, Entry, Event, Factor, Record};
use crate::identity::person::Person;
use crate::trace::{Trace, Walk};

/// Decides a one-time password that the vault found to match at `offset` steps from now, or nowhere near.
pub fn code(view: &View<'_>, person: &Person, offset: Option<i8>, context: &Context) -> Decision {
    second_step(view, person, offset, context, Walk::Code)
}

/// A code alone, in a walk that has its checks.
pub(super) fn second_step(
    view: &View<'_>,
    person: &Person,
    offset: Option<i8>,
    context: &Context,
    walk: Walk,
) -> Decision {
    let mut trace = Trace::of(walk);
    if let Err((check, deny)) = standing(view, person, context, &mut trace) {
        let (expected, seen) = words(check);
        let entry = own_entry(context, Event::CodeRefused, person).refused(deny);
        let entry = Entry { trace: Some(trace.fail(check, expected, seen)), ..entry };
        let record = Record { entry, changes: Vec::new() };
        return Decision { verdict: Verdict::Refused, settle: Settle::Neutral, record };
    }
    let outcome = take_code(view, person, offset, context, trace);
    let entry = Entry {
        factor: if outcome.factor_proved { Factor::Code } else { Factor::Password },
        outcome: outcome_of(outcome.reason),
        reason: outcome.reason,
        trace: Some(outcome.trace),
        ..own_entry(context, outcome.event, person)
    };
    let record = Record { entry, changes: outcome.changes };
    Decision { verdict: outcome.verdict, settle: Settle::Neutral, record }
}
