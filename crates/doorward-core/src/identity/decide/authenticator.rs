//! An administrator's steps on somebody's authenticator: make a seed, take it away, unlock it.

use super::Misuse;
use super::link::revoke_live;
use crate::audit::{Actor, Context, Entry, Event, Record, Subject};
use crate::identity::change::Change;
use crate::identity::enrolment::{Authenticator, Seed};
use crate::identity::person::{Kind, Person};
use crate::identity::policy::AuthSystem;

fn record(
    person: &Person,
    event: Event,
    next: Authenticator,
    seeds: u32,
    actor: Actor,
    context: &Context,
) -> Record {
    let entry = Entry {
        subject: Some(Subject { id: person.id, userid: person.userid.clone() }),
        firm: person.firm.clone(),
        ..Entry::new(context, event, actor)
    };
    Record { entry, changes: vec![Change::Authenticator { person: person.id, authenticator: next, seeds }] }
}

/// Gives somebody a new seed, pending until its first good code (T12). A registered authenticator is not replaced:
/// it is taken away first (T13). From now on they prove themselves with it: a password alone lets them in no more,
/// not even when the seed is revoked after wrong codes. A live setup link is taken back (K2).
pub fn issue(person: &Person, seed: Seed, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    if person.kind == Kind::Service {
        return Err(Misuse::invalid(
            "userid",
            format!("{}: a service user has no authenticator", person.userid),
        ));
    }
    if person.authenticator.is_registered() {
        let text = format!("{}: an authenticator is registered; reset it first", person.userid);
        return Err(Misuse::conflict("authenticator", text));
    }
    let seeds = seed.version;
    let next = Authenticator::Pending { seed, issued_us: context.at, wrong: 0, enrolment: None };
    let mut record = record(person, Event::AuthenticatorIssued, next, seeds, actor, context);
    if person.auth_system == AuthSystem::Password {
        record.changes.push(Change::AuthSystem { person: person.id, auth_system: AuthSystem::Otp });
    }
    record.changes.extend(revoke_live(person, context.at));
    Ok(record)
}

/// Takes an authenticator away; another must be registered. The live setup link and the recovery codes go along (K2).
pub fn revoke(person: &Person, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    match person.authenticator {
        Authenticator::None | Authenticator::Revoked { .. } => Err(Misuse::conflict(
            "authenticator",
            format!("{}: there is no authenticator to reset", person.userid),
        )),
        Authenticator::Pending { .. }
        | Authenticator::Active(_)
        | Authenticator::BackedOff { .. }
        | Authenticator::Locked { .. } => {
            let next = Authenticator::Revoked { at_us: context.at };
            let mut record = record(person, Event::AuthenticatorRevoked, next, person.seeds, actor, context);
            record.changes.extend(taken_along(person, context));
            Ok(record)
        }
    }
}

/// What goes with an authenticator that is taken away.
pub(super) fn taken_along(person: &Person, context: &Context) -> impl Iterator<Item = Change> {
    let codes = person.recovery.as_ref().map(|_| Change::Recovery { person: person.id, codes: None });
    codes.into_iter().chain(revoke_live(person, context.at))
}

/// Unlocks somebody: the authenticator, and all counts of wrong passwords.
pub fn unlock(person: &Person, actor: Actor, context: &Context) -> Record {
    let forgotten = Change::AttemptsForgotten { person: person.id };
    match person.authenticator.unlocked() {
        Some(next) => {
            let mut record = record(person, Event::AuthenticatorUnlocked, next, person.seeds, actor, context);
            record.changes.push(forgotten);
            record
        }
        None => {
            let entry = Entry {
                subject: Some(Subject { id: person.id, userid: person.userid.clone() }),
                firm: person.firm.clone(),
                ..Entry::new(context, Event::AttemptsForgotten, actor)
            };
            Record { entry, changes: vec![forgotten] }
        }
    }
}
