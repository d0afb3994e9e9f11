//! The desk's first operator, and an operator who has lost everything (S11).

use super::authenticator::taken_along;
use super::password_set::initial;
use super::person::{New, check_new, newcomer};
use super::{Failed, Misuse, Reason, Ruling, allow, entry_on, failed};
use crate::audit::{Actor, Context, Deny, Entry, Event, Factor, Record};
use crate::id::{PersonId, UserId};
use crate::identity::change::Change;
use crate::identity::enrolment::{Authenticator, CodeResult, Seed};
use crate::identity::link::{Handed, LinkHash, LinkState, SetupLink};
use crate::identity::person::{Kind, Password, Person, Phc, Profile, Standing};
use crate::identity::policy::{AuthSystem, Effective};
use crate::identity::recovery::RecoveryCodes;
use crate::trace::{Check, Trace, Walk};
use std::time::Duration;

/// The desk's first operator as they make themselves.
#[derive(Clone, Debug)]
pub struct NewOperator {
    /// A fresh random id, of which the seed's seal knows.
    pub id: PersonId,
    /// The name to log in with.
    pub userid: UserId,
    /// Where mail goes.
    pub email: Option<String>,
    /// The hash of their password.
    pub phc: Phc,
    /// The seed of their authenticator.
    pub seed: Seed,
}

/// Makes the desk's first operator, by the claim link, once a code has confirmed the authenticator: nothing is kept
/// before. `offset`: where the vault found the code to match.
pub fn first(
    desk_exists: bool,
    clock_good: bool,
    new: NewOperator,
    offset: Option<i8>,
    recovery: Option<RecoveryCodes>,
    policy: &Effective,
    context: &Context,
) -> Result<Ruling, Misuse> {
    let profile = Profile { email: new.email, ..Profile::default() };
    let password = Password::Own { phc: new.phc, set_us: context.at };
    let seeds = new.seed.version;
    let operator = New {
        id: new.id,
        userid: new.userid,
        kind: Kind::Desk,
        firm: None,
        auth_system: AuthSystem::Otp,
        password,
        profile,
    };
    check_new(&operator, policy)?;
    let trace = Trace::of(Walk::Claim);
    match may_claim(desk_exists, clock_good, new.seed, offset, policy, context) {
        Ok(authenticator) => {
            let actor = Actor::Person { id: operator.id, userid: operator.userid.clone() };
            let recovery = recovery.filter(|_| policy.recovery_codes);
            let person = Person { authenticator, seeds, recovery, ..newcomer(operator, context) };
            let entry = Entry::new(context, Event::OperatorClaimed, actor);
            let entry = Entry { factor: Factor::PasswordAndCode, ..entry };
            Ok(allow(entry, trace, vec![Change::PersonAdded { person: Box::new(person) }]))
        }
        Err(failed) => {
            let entry = Entry::new(context, Event::EnrolmentRefused, Actor::Nobody);
            Ok(failed.refuse(entry, trace, Vec::new()))
        }
    }
}

/// The registered authenticator that a claim ends in.
fn may_claim(
    desk_exists: bool,
    clock_good: bool,
    seed: Seed,
    offset: Option<i8>,
    policy: &Effective,
    context: &Context,
) -> Result<Authenticator, Failed> {
    if desk_exists {
        let (check, deny) = (Check::DeskUnclaimed, Deny::DeskClaimed);
        return Err(failed(check, deny, "a desk without an operator", "one with"));
    }
    if !clock_good {
        let (check, deny) = (Check::ClockGood, Deny::ClockSuspect);
        return Err(failed(check, deny, "a clock that agrees", "a clock that stepped"));
    }
    let pending = Authenticator::Pending { seed, issued_us: context.at, wrong: 0, enrolment: None };
    match pending.take_code(offset, policy, context.at) {
        CodeResult::Good { next, .. } => Ok(next),
        CodeResult::Bad { .. } | CodeResult::Waits(_) | CodeResult::Locked | CodeResult::Nothing => {
            let expected = "the code of a step within the window";
            Err(failed(Check::CodeMatches, Deny::WrongCode, expected, "another one"))
        }
    }
}

/// Recovers an operator at the machine: an initial password and a setup link, both printed there; the authenticator
/// and the recovery codes are gone, counts of wrong passwords forgotten, and whoever was disabled is active again.
pub fn recover(
    operator: &Person,
    phc: Phc,
    link: LinkHash,
    policy: &Effective,
    reason: &Reason,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    match operator.kind {
        Kind::Desk => {}
        Kind::Administrator | Kind::Trader | Kind::Service => {
            let text = format!("{}: a {}, no operator of the desk", operator.userid, operator.kind);
            return Err(Misuse::invalid("userid", text));
        }
    }
    let (person, by) = (operator.id, actor.person());
    let mut changes = vec![Change::Password { person, password: initial(phc, policy, by, context) }];
    if operator.authenticator.has_seed() {
        let authenticator = Authenticator::Revoked { at_us: context.at };
        changes.push(Change::Authenticator { person, authenticator, seeds: operator.seeds });
    }
    if operator.auth_system == AuthSystem::Password {
        changes.push(Change::AuthSystem { person, auth_system: AuthSystem::Otp });
    }
    if operator.standing == Standing::Disabled {
        changes.push(Change::Standing { person, standing: Standing::Active });
    }
    changes.extend(taken_along(operator, context));
    let expires_at = context.at + Duration::from_secs(60 * u64::from(policy.setup_link_min));
    let (made_at, handed, state) = (context.at, Handed::Shown, LinkState::Live);
    let link = SetupLink { hash: link, made_at, expires_at, handed, by, wrong: 0, state };
    changes.push(Change::Link { person, link: Some(link), made: vec![context.at] });
    changes.push(Change::AttemptsForgotten { person });
    let detail = format!("setup link shown, until {expires_at}: {}", reason.as_str());
    let entry = entry_on(context, Event::OperatorRecovered, operator, actor).with_detail(detail);
    Ok(Record { entry, changes })
}
