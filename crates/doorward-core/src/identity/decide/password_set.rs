//! An administrator sets somebody's password: it is initial, must be changed, and ends (P11).

use std::time::Duration;

use super::link::revoke_live;
use crate::audit::{Actor, Context, Entry, Event, Record, Subject};
use crate::id::PersonId;
use crate::identity::change::Change;
use crate::identity::person::{Password, Person, Phc};
use crate::identity::policy::Effective;

/// An initial password, good for the time that the policy gives. `by`: who set it, or saw it when it was made.
pub fn initial(phc: Phc, policy: &Effective, by: Option<PersonId>, context: &Context) -> Password {
    let expires_us = context.at + Duration::from_secs(u64::from(policy.initial_password_h) * 3600);
    Password::Initial { phc, set_us: context.at, expires_us, by }
}

/// Sets an initial password for somebody; a live setup link is taken back (K2).
pub fn password_set(
    person: &Person,
    phc: Phc,
    policy: &Effective,
    actor: Actor,
    context: &Context,
) -> Record {
    let entry = Entry {
        subject: Some(Subject { id: person.id, userid: person.userid.clone() }),
        firm: person.firm.clone(),
        ..Entry::new(context, Event::PasswordSet, actor)
    };
    let password = initial(phc, policy, entry.actor.person(), context);
    let changes = [Change::Password { person: person.id, password }];
    Record { entry, changes: changes.into_iter().chain(revoke_live(person, context.at)).collect() }
}
