//! People: adding, changing, disabling.

use super::authenticator::taken_along;
use super::link::revoke_live;
use super::password_set::initial;
use super::{Misuse, entry_on, grant};
use crate::audit::{Actor, Context, Entry, Event, Record, Subject};
use crate::id::{FirmCode, PersonId, UserId};
use crate::identity::change::Change;
use crate::identity::enrolment::Authenticator;
use crate::identity::person::{KeyCodes, Kind, Password, Person, Profile, Standing};
use crate::identity::policy::{AuthSystem, Effective};
use crate::identity::token::Tokens;
use crate::limits::Limit;

/// Somebody who is to be added.
#[derive(Clone, Debug)]
pub struct New {
    /// A fresh random id.
    pub id: PersonId,
    /// The name to log in with.
    pub userid: UserId,
    /// What they are.
    pub kind: Kind,
    /// Their firm.
    pub firm: Option<FirmCode>,
    /// How they prove themselves.
    pub auth_system: AuthSystem,
    /// Their first password.
    pub password: Password,
    /// The rest.
    pub profile: Profile,
}

/// Adds somebody. Administrators and traders are of a firm, the desk is of none.
pub fn add(new: New, policy: &Effective, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    check_new(&new, policy)?;
    let entry = Entry {
        subject: Some(Subject { id: new.id, userid: new.userid.clone() }),
        firm: new.firm.clone(),
        ..Entry::new(context, Event::PersonAdded, actor)
    };
    let person = newcomer(new, context);
    Ok(Record { entry, changes: vec![Change::PersonAdded { person: Box::new(person) }] })
}

/// Whether somebody can be added as they are to be.
pub(super) fn check_new(new: &New, policy: &Effective) -> Result<(), Misuse> {
    match (new.kind, &new.firm) {
        (Kind::Desk, Some(_)) => return Err(Misuse::invalid("firm", "firm: the desk is of no firm")),
        (Kind::Administrator | Kind::Trader, None) => {
            return Err(Misuse::invalid("firm", format!("firm: missing; every {} is of one", new.kind)));
        }
        (Kind::Desk | Kind::Service, None)
        | (Kind::Administrator | Kind::Trader | Kind::Service, Some(_)) => {}
    }
    check_auth_system(new.kind, new.auth_system, policy)?;
    check_profile(new.kind, &new.profile)
}

/// Somebody as they begin.
pub(super) fn newcomer(new: New, context: &Context) -> Person {
    Person {
        id: new.id,
        userid: new.userid,
        firm: new.firm,
        kind: new.kind,
        added_at: context.at,
        standing: Standing::Active,
        auth_system: new.auth_system,
        password: new.password,
        authenticator: Authenticator::None,
        seeds: 0,
        key_codes: KeyCodes::default(),
        link: None,
        links_made: Vec::new(),
        recovery: None,
        notices: std::collections::BTreeSet::new(),
        tokens: Tokens::default(),
        profile: new.profile,
        version: 1,
    }
}

/// A password that was chosen beside a one-time password may be too short to be the only factor (P1), and nobody can
/// look: it is good once more, to be changed.
fn short_password_ends(
    person: &Person,
    auth_system: AuthSystem,
    policy: &Effective,
    context: &Context,
) -> Option<Change> {
    match (auth_system, &person.password) {
        (AuthSystem::Password, Password::Own { phc, .. }) => {
            let password = initial(phc.clone(), policy, None, context);
            Some(Change::Password { person: person.id, password })
        }
        (AuthSystem::Password, Password::Initial { .. }) | (AuthSystem::Otp, _) => None,
    }
}

/// Whether a person of a kind may prove themselves with a system under a policy.
pub fn check_auth_system(kind: Kind, system: AuthSystem, policy: &Effective) -> Result<(), Misuse> {
    match (kind, system) {
        (Kind::Service, AuthSystem::Otp) => Err(Misuse::invalid(
            "auth_system",
            "auth_system: a service user has a password, never a one-time password",
        )),
        (Kind::Desk | Kind::Administrator | Kind::Trader, AuthSystem::Password) if policy.otp_demanded => {
            Err(Misuse::invalid(
                "auth_system",
                "auth_system: password is not allowed, the policy demands otp",
            ))
        }
        (Kind::Desk | Kind::Administrator | Kind::Trader, AuthSystem::Password) if !policy.password_alone => {
            let text = "auth_system: password is not allowed, the policy has password_alone off";
            Err(Misuse::invalid("auth_system", text))
        }
        (
            Kind::Desk | Kind::Administrator | Kind::Trader | Kind::Service,
            AuthSystem::Password | AuthSystem::Otp,
        ) => Ok(()),
    }
}

pub(super) fn check_profile(kind: Kind, profile: &Profile) -> Result<(), Misuse> {
    if let Some(email) = &profile.email {
        check_email(email)?;
    }
    for (field, text) in [("roles", &profile.roles), ("broker_comm_rate", &profile.broker_comm_rate)] {
        if let Some(text) = text
            && (text.chars().count() > 256 || text.chars().any(char::is_control))
        {
            return Err(Misuse::invalid(
                field,
                format!("{field}: longer than 256 characters, or a control character"),
            ));
        }
    }
    if let Some(attr) = &profile.attr {
        check_attr(attr)?;
    }
    profile.grant.as_ref().map_or(Ok(()), |grant| grant::check(kind, grant))
}

pub(super) fn check_email(email: &str) -> Result<(), Misuse> {
    let plausible = email.len() <= 254
        && email
            .split_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'))
        && email.bytes().all(|b| b.is_ascii_graphic() && !b"<>()[],;:\\\"".contains(&b));
    if plausible {
        Ok(())
    } else {
        Err(Misuse::invalid("email", "email: not an address of at most 254 characters"))
    }
}

fn check_attr(attr: &serde_json::Map<String, serde_json::Value>) -> Result<(), Misuse> {
    let bytes = serde_json::to_vec(attr).map_or(usize::MAX, |json| json.len());
    if bytes as u64 <= Limit::AttrBytes.max() {
        return Ok(());
    }
    Err(Misuse::invalid("attr", format!("attr: {bytes} bytes are more than {}", Limit::AttrBytes.max())))
}

/// Changes to somebody; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Whether they may come in.
    pub standing: Option<Standing>,
    /// How they prove themselves.
    pub auth_system: Option<AuthSystem>,
    /// The rest, as a whole.
    pub profile: Option<Profile>,
}

/// Changes somebody: one record for each thing that is different. A change from one-time passwords to a password alone
/// takes the authenticator away; disabling and another mail address take the live setup link back (K2).
pub fn edit(
    person: &Person,
    edit: Edit,
    policy: &Effective,
    actor: &Actor,
    context: &Context,
) -> Result<Vec<Record>, Misuse> {
    let mut records = Vec::new();
    if let Some(standing) = edit.standing.filter(|standing| *standing != person.standing) {
        records.push(stand(person, standing, actor, context));
    }
    if let Some(auth_system) = edit.auth_system.filter(|system| *system != person.auth_system) {
        check_auth_system(person.kind, auth_system, policy)?;
        records.push(prove(person, auth_system, policy, actor, context));
    }
    if let Some(profile) = edit.profile.filter(|profile| *profile != person.profile) {
        check_profile(person.kind, &profile)?;
        let profile_record = |event, detail: &str, profile: Profile| {
            let changes = vec![Change::Profile { person: person.id, profile: Box::new(profile) }];
            let entry = entry_on(context, event, person, actor.clone()).with_detail(detail);
            Record { entry, changes }
        };
        let moved = Profile { email: profile.email.clone(), ..person.profile.clone() };
        if profile.email != person.profile.email {
            let mut record = profile_record(Event::EmailChanged, "mail address", moved.clone());
            record.changes.extend(revoke_live(person, context.at));
            records.push(record);
        }
        let granted = Profile { grant: profile.grant.clone(), ..moved.clone() };
        if granted != moved {
            let words = grant::words(person.kind, profile.grant.as_ref());
            records.push(profile_record(Event::RightsChanged, &words, granted.clone()));
        }
        if profile != granted {
            records.push(profile_record(Event::PersonChanged, "profile", profile));
        }
    }
    Ok(records)
}

fn stand(person: &Person, standing: Standing, actor: &Actor, context: &Context) -> Record {
    let mut changes = vec![Change::Standing { person: person.id, standing }];
    let event = match standing {
        Standing::Active => Event::PersonEnabled,
        Standing::Disabled => {
            changes.extend(revoke_live(person, context.at));
            Event::PersonDisabled
        }
    };
    Record { entry: entry_on(context, event, person, actor.clone()).with_detail("standing"), changes }
}

fn prove(
    person: &Person,
    auth_system: AuthSystem,
    policy: &Effective,
    actor: &Actor,
    context: &Context,
) -> Record {
    let mut changes = vec![Change::AuthSystem { person: person.id, auth_system }];
    changes.extend(short_password_ends(person, auth_system, policy, context));
    if auth_system == AuthSystem::Password && person.authenticator.has_seed() {
        let authenticator = Authenticator::Revoked { at_us: context.at };
        changes.push(Change::Authenticator { person: person.id, authenticator, seeds: person.seeds });
    }
    if auth_system == AuthSystem::Password {
        changes.extend(taken_along(person, context));
    }
    let entry = entry_on(context, Event::PersonChanged, person, actor.clone());
    Record { entry: entry.with_detail("authentication system"), changes }
}
