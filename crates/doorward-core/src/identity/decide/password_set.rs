//! An administrator sets somebody's password: it is initial, must be changed, and ends (P11).

use std::time::Duration;

use crate::audit::{Actor, Context, Entry, Event, Record, Subject};
use crate::identity::change::Change;
use crate::identity::person::{Password, Person, Phc};
use crate::identity::policy::Effective;

/// An initial password, good for the time that the policy gives.
pub fn initial(phc: Phc, policy: &Effective, context: &Context) -> Password {
    let expires_us = context.at + Duration::from_secs(u64::from(policy.initial_password_h) * 3600);
    Password::Initial { phc, set_us: context.at, expires_us, by: None }
}

/// Sets an initial password for somebody.
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
    let password = initial(phc, policy, context);
    Record { entry, changes: vec![Change::Password { person: person.id, password }] }
}
