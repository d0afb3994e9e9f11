//! Recovery codes: one in place of a one-time password, and a person's own made anew (T16).

use super::step_up::is_fresh;
use super::{Decision, Failed, Ruling, Settle, View, allow, failed, granted, own_entry, standing};
use crate::ask::Verdict;
use crate::audit::{Context, Deny, Entry, Event, Factor};
use crate::identity::change::Change;
use crate::identity::enrolment::{Authenticator, CodeResult};
use crate::identity::person::Person;
use crate::identity::recovery::RecoveryCodes;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

/// Decides a recovery code after a right password; `at` is the place of the unused code that it matches, `None`: it
/// matches none. A good one is used up; a wrong one counts like a wrong one-time password (T10).
pub fn use_code(view: &View<'_>, person: &Person, at: Option<usize>, context: &Context) -> Decision {
    let mut trace = Trace::of(Walk::Recovery);
    let decided =
        |verdict, ruling: Ruling| Decision { verdict, settle: Settle::Neutral, record: ruling.record };
    let refused = Entry { factor: Factor::Password, ..own_entry(context, Event::CodeRefused, person) };
    if let Err(failed) = standing(view, person, context, &mut trace).map_err(Failed::of_standing) {
        return decided(Verdict::Refused, failed.refuse(refused, trace, Vec::new()));
    }
    let left = person.recovery.as_ref().zip(at).and_then(|(codes, at)| without(codes, at));
    let left = left.filter(|_| view.policy.recovery_codes);
    match person.authenticator.take_recovery(left.is_some(), &view.policy, context.at) {
        CodeResult::Good { next, .. } => {
            let mut changes = vec![Change::Recovery { person: person.id, codes: left }];
            changes.extend((next != person.authenticator).then(|| set(person, next)));
            let entry = own_entry(context, Event::RecoveryCodeUsed, person);
            let ruling = allow(Entry { factor: Factor::RecoveryCode, ..entry }, trace, changes);
            decided(Verdict::Granted(granted(person)), ruling)
        }
        CodeResult::Bad { next, .. } => {
            let seen = format!("none of them; the authenticator is now {}", next.state());
            let (check, deny) = (Check::RecoveryCodeMatches, Deny::WrongRecoveryCode);
            let failed =
                recovery_on(view).err().unwrap_or(failed(check, deny, "an unused recovery code", seen));
            decided(
                Verdict::CodeRefused(granted(person)),
                failed.refuse(refused, trace, vec![set(person, next)]),
            )
        }
        CodeResult::Waits(until) => {
            let seen = format!("wrong codes; waits until {until}");
            let failed = failed(Check::CodeAdmitted, Deny::CodeBackedOff, "no back-off", seen);
            decided(Verdict::CodeRefused(granted(person)), failed.refuse(refused, trace, Vec::new()))
        }
        CodeResult::Locked => {
            let (check, deny) = (Check::AuthenticatorUnlocked, Deny::Locked);
            let failed = failed(check, deny, "an authenticator that is not locked", "a locked one");
            decided(Verdict::Refused, failed.refuse(refused, trace, Vec::new()))
        }
        CodeResult::Nothing => {
            decided(Verdict::Refused, not_registered(person).refuse(refused, trace, Vec::new()))
        }
    }
}

/// Makes somebody's own recovery codes anew: the old ones are gone, the new ones are shown once. It asks for a fresh
/// one-time password (T14).
pub fn make(
    view: &View<'_>,
    person: &Person,
    codes: RecoveryCodes,
    factor_at: Option<Wall>,
    context: &Context,
) -> Ruling {
    let mut trace = Trace::of(Walk::RecoveryMake);
    match may_make(view, person, factor_at, context, &mut trace) {
        Ok(()) => {
            let change = Change::Recovery { person: person.id, codes: Some(codes) };
            let entry = own_entry(context, Event::RecoveryCodesMade, person);
            allow(Entry { factor: Factor::Code, ..entry }, trace, vec![change])
        }
        Err(failed) => failed.refuse(own_entry(context, Event::StepRefused, person), trace, Vec::new()),
    }
}

fn may_make(
    view: &View<'_>,
    person: &Person,
    factor_at: Option<Wall>,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), Failed> {
    standing(view, person, context, trace).map_err(Failed::of_standing)?;
    if !is_fresh(factor_at, context.at) {
        let (check, deny) = (Check::FactorFresh, Deny::FactorStale);
        return Err(failed(check, deny, "a one-time password of the last 5 minutes", "none"));
    }
    if !person.authenticator.is_registered() {
        return Err(not_registered(person));
    }
    recovery_on(view)
}

fn recovery_on(view: &View<'_>) -> Result<(), Failed> {
    let off = || failed(Check::RecoveryOn, Deny::RecoveryOff, "recovery codes by policy", "none");
    if view.policy.recovery_codes { Ok(()) } else { Err(off()) }
}

fn not_registered(person: &Person) -> Failed {
    let (check, deny) = (Check::AuthenticatorRegistered, Deny::NotRegistered);
    failed(check, deny, "a registered authenticator", person.authenticator.state())
}

fn set(person: &Person, authenticator: Authenticator) -> Change {
    Change::Authenticator { person: person.id, authenticator, seeds: person.seeds }
}

/// The codes without the one at a place, if there is one.
fn without(codes: &RecoveryCodes, at: usize) -> Option<RecoveryCodes> {
    let mut left = codes.clone();
    (at < left.unused.len()).then(|| {
        left.unused.remove(at);
        left
    })
}
