//! Self-registration of an authenticator, in a browser: begun after the right password, confirmed by its first code.

use super::link::{link_live, may_register, with_link};
use super::{Failed, Ruling, View, allow, failed, own_entry, seen_of, standing};
use crate::audit::{Context, Deny, Entry, Event, Factor};
use crate::identity::change::Change;
use crate::identity::enrolment::{Authenticator, CodeResult, Enrolment, EnrolmentId, Seed};
use crate::identity::link::{LinkHash, LinkState, SetupLink};
use crate::identity::person::{Password, Person};
use crate::identity::policy::AuthSystem;
use crate::identity::recovery::RecoveryCodes;
use crate::trace::{Check, Trace, Walk};

/// An enrolment that somebody begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begun {
    /// Fresh from the vault.
    pub seed: Seed,
    /// The browser session's.
    pub id: EnrolmentId,
    /// The setup link that the browser session came with.
    pub link: Option<LinkHash>,
}

/// Begins an enrolment for somebody who has given the right password. The seed is pending and lets nobody in (T12); it
/// takes the place of an earlier one that was not confirmed, never of a registered one (T13).
pub fn begin(
    view: &View<'_>,
    person: &Person,
    begun: Begun,
    mail_is_set_up: bool,
    context: &Context,
) -> Ruling {
    let mut trace = Trace::of(Walk::Enrol);
    let entry = |event| Entry { factor: Factor::Password, ..own_entry(context, event, person) };
    let link_needed = view.policy.link_needed(mail_is_set_up);
    if let Err(failed) = may_begin(view, person, begun.link.as_ref(), link_needed, context, &mut trace) {
        return failed.refuse(entry(Event::EnrolmentRefused), trace, Vec::new());
    }
    let seeds = begun.seed.version;
    let enrolment = Some(Enrolment { id: begun.id, link: begun.link });
    let authenticator =
        Authenticator::Pending { seed: begun.seed, issued_us: context.at, wrong: 0, enrolment };
    let change = Change::Authenticator { person: person.id, authenticator, seeds };
    allow(entry(Event::EnrolmentBegun), trace, vec![change])
}

fn may_begin(
    view: &View<'_>,
    person: &Person,
    link: Option<&LinkHash>,
    link_needed: bool,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), Failed> {
    standing(view, person, context, trace).map_err(Failed::of_standing)?;
    may_register(person, &view.policy)?;
    match person.password {
        Password::Own { .. } => {}
        Password::Initial { .. } => {
            let (check, deny) = (Check::PasswordOwn, Deny::InitialPassword);
            return Err(failed(check, deny, "a password of one's own", "an initial one"));
        }
    }
    match link {
        Some(hash) => link_live(Some(person), hash, context.at).map(|_| ()),
        None => {
            trace.skip(Check::LinkLive);
            if link_needed {
                let (check, deny) = (Check::LinkGiven, Deny::LinkNeeded);
                return Err(failed(check, deny, "a setup link", "none"));
            }
            trace.skip(Check::LinkGiven);
            Ok(())
        }
    }
}

/// Confirms an enrolment by a code that the vault found to match its seed at `offset` steps from now, or nowhere near:
/// in the browser session that began it (K9), within 15 minutes (K5). The code is used up (T7), and so is the link.
/// The recovery codes are kept where the policy gives any; they are shown if all this is so.
pub fn confirm(
    view: &View<'_>,
    person: &Person,
    id: EnrolmentId,
    offset: Option<i8>,
    recovery: Option<RecoveryCodes>,
    context: &Context,
) -> Ruling {
    let mut trace = Trace::of(Walk::EnrolConfirm);
    let entry = |event, factor| Entry { factor, ..own_entry(context, event, person) };
    let refused = |event| entry(event, Factor::Password);
    if let Err(failed) = may_confirm(view, person, id, context, &mut trace) {
        let event =
            if failed.check == Check::ClockGood { Event::CodeRefused } else { Event::EnrolmentRefused };
        return failed.refuse(refused(event), trace, Vec::new());
    }
    match person.authenticator.take_enrolling(id, offset, &view.policy, context.at) {
        CodeResult::Good { next, .. } => {
            let changes = registered(view, person, next, recovery, context);
            allow(entry(Event::AuthenticatorConfirmed, Factor::Code), trace, changes)
        }
        CodeResult::Bad { next, used, offset } => {
            let seen =
                format!("{}; the authenticator is now {}", seen_of(person, used, offset), next.state());
            let failed =
                failed(Check::CodeMatches, Deny::WrongCode, "the code of a step within the window", seen);
            failed.refuse(refused(Event::CodeRefused), trace, vec![set(person, next)])
        }
        // Not reached: that there is such a seed was checked above.
        CodeResult::Waits(_) | CodeResult::Locked | CodeResult::Nothing => {
            ended(person).refuse(refused(Event::EnrolmentRefused), trace, Vec::new())
        }
    }
}

fn may_confirm(
    view: &View<'_>,
    person: &Person,
    id: EnrolmentId,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), Failed> {
    standing(view, person, context, trace).map_err(Failed::of_standing)?;
    if person.authenticator.enrolling(id, context.at).is_none() {
        return Err(ended(person));
    }
    match link_of(&person.authenticator) {
        None => trace.skip(Check::LinkLive),
        Some(hash) => {
            let link = person.link.as_ref().filter(|link| link.hash == hash);
            if !link.is_some_and(is_not_taken_back) {
                let (check, deny) = (Check::LinkLive, Deny::LinkEnded);
                return Err(failed(
                    check,
                    deny,
                    "the setup link that it began with",
                    "one that was taken back",
                ));
            }
        }
    }
    if !view.clock_good {
        let (check, deny) = (Check::ClockGood, Deny::ClockSuspect);
        return Err(failed(check, deny, "a clock that agrees", "a clock that stepped"));
    }
    Ok(())
}

/// A link that came to its end meanwhile has done its work: the enrolment has its own time.
fn is_not_taken_back(link: &SetupLink) -> bool {
    match link.state {
        LinkState::Live | LinkState::Expired { .. } => true,
        LinkState::Used { .. } | LinkState::Revoked { .. } => false,
    }
}

fn link_of(authenticator: &Authenticator) -> Option<LinkHash> {
    match authenticator {
        Authenticator::Pending { enrolment, .. } => enrolment.and_then(|enrolment| enrolment.link),
        Authenticator::None
        | Authenticator::Active(_)
        | Authenticator::BackedOff { .. }
        | Authenticator::Locked { .. }
        | Authenticator::Revoked { .. } => None,
    }
}

fn ended(person: &Person) -> Failed {
    let seen = format!("an authenticator that is {}, or another enrolment", person.authenticator.state());
    let expected = "the enrolment of this browser session, at most 15 minutes old";
    failed(Check::EnrolmentLive, Deny::EnrolmentEnded, expected, seen)
}

fn set(person: &Person, authenticator: Authenticator) -> Change {
    Change::Authenticator { person: person.id, authenticator, seeds: person.seeds }
}

/// All that a registration changes.
fn registered(
    view: &View<'_>,
    person: &Person,
    next: Authenticator,
    recovery: Option<RecoveryCodes>,
    context: &Context,
) -> Vec<Change> {
    let mut changes = vec![set(person, next)];
    match person.auth_system {
        AuthSystem::Otp => {}
        AuthSystem::Password => {
            changes.push(Change::AuthSystem { person: person.id, auth_system: AuthSystem::Otp });
        }
    }
    if let Some(link) = person.link.as_ref().filter(|link| link.state == LinkState::Live) {
        let state = LinkState::Used { at_us: context.at };
        changes.push(with_link(person, SetupLink { state, ..link.clone() }));
    }
    let codes = recovery.filter(|_| view.policy.recovery_codes);
    if codes.is_some() || person.recovery.is_some() {
        changes.push(Change::Recovery { person: person.id, codes });
    }
    changes
}
