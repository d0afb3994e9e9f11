//! Traders are added and changed at a door, by a program or by an administrator of their firm (rules 10 to 12).
//!
//! Each step is planned before a password is hashed or a seed is made: who may not do it, or says something that cannot
//! be, costs next to nothing.

mod password;
mod steps;

pub use self::password::{NewPassword, PasswordFacts};
use self::password::{new_password, usable};
use self::steps::{Steps, signed};
use super::acting::{Agent, Reach, Task, not_served};
use super::link::knows_password;
use super::password_set::initial;
use super::person::{self, Edit, New, check_auth_system, check_profile};
use super::{Failed, Misuse, Reason, Settle, View, failed};
use crate::ask::{Declined, ShownSeed, TraderDetails, Verdict};
use crate::audit::{Context, Deny, Outcome, Record};
use crate::id::{FirmCode, PersonId, UserId};
use crate::identity::enrolment::Seed;
use crate::identity::person::{Kind, Password, Person, Phc, Profile};
use crate::identity::policy::{AuthSystem, Effective};
use crate::trace::{Check, Walk};

/// A step that was decided: what the asker hears, what becomes of the attempt, and what is written down.
#[derive(Clone, PartialEq, Debug)]
pub struct Stepped {
    /// For the door.
    pub verdict: Verdict,
    /// For the attempt gate, where a present password was compared.
    pub settle: Settle,
    /// For the store, in order, in one batch.
    pub records: Vec<Record>,
}

impl Stepped {
    /// The same, with the user id that was named written down, where it was refused of nobody.
    fn naming(mut self, userid: &str) -> Self {
        for record in &mut self.records {
            if record.entry.outcome == Outcome::Refused {
                record.entry = record.entry.clone().naming(userid);
            }
        }
        self
    }
}

/// A seed that is made if all is well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSeed {
    /// As it is kept.
    pub seed: Seed,
    /// As it is shown.
    pub shown: ShownSeed,
}

/// What an addition is made of beside what was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// A fresh random id.
    pub id: PersonId,
    /// The first password.
    pub password: NewPassword,
    /// The field that it was sent in.
    pub sent_as: &'static str,
    /// The seed, where one is asked for.
    pub seed: Option<NewSeed>,
}

/// Which password a change sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sets {
    /// None.
    Nothing,
    /// Another one, with the present one beside it.
    Changed,
    /// Another one, without.
    Reset,
}

/// A change as it is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose, as sent.
    pub userid: &'a str,
    /// The firm as sent; it never changes.
    pub firm: Option<&'a str>,
    /// Which password it sets.
    pub sets: Sets,
    /// All but the password.
    pub details: &'a TraderDetails,
}

/// A trader as they are to be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addition {
    /// The name to log in with.
    pub userid: UserId,
    /// The firm.
    pub firm: FirmCode,
    /// How they prove themselves, which says how long the password must be.
    pub auth_system: AuthSystem,
}

impl Addition {
    /// The trader as they would begin, to hold a password against; nothing is added.
    pub fn draft(&self, id: PersonId, context: &Context) -> Person {
        let password = Password::Own { phc: Phc(String::new()), set_us: context.at };
        let new = New {
            id,
            userid: self.userid.clone(),
            kind: Kind::Trader,
            firm: Some(self.firm.clone()),
            auth_system: self.auth_system,
            password,
            profile: Profile::default(),
        };
        person::newcomer(new, context)
    }
}

/// Why a step is not done: what the asker hears, and what is written down of it.
struct No {
    declined: Declined,
    why: Option<Box<Why>>,
}

/// The check that failed, and whom the asker may know of.
struct Why {
    failed: Failed,
    target: Option<Person>,
}

impl No {
    const fn invalid(field: &'static str) -> Self {
        Self { declined: Declined::Invalid { field }, why: None }
    }

    const fn missing(field: &'static str) -> Self {
        Self { declined: Declined::Missing { field }, why: None }
    }

    /// Not permitted; because of a field, where one is named. `target`: whom the asker may know of.
    fn denied(field: Option<&'static str>, failed: Failed, target: Option<&Person>) -> Self {
        Self::because(Declined::NotPermitted { field }, failed, target)
    }

    fn because(declined: Declined, failed: Failed, target: Option<&Person>) -> Self {
        Self { declined, why: Some(Box::new(Why { failed, target: target.cloned() })) }
    }

    fn stepped(self, agent: &Agent<'_>, what: &str, context: &Context) -> Stepped {
        let record = |why: Box<Why>| {
            let Why { failed, target } = *why;
            agent.refused(failed, target.as_ref(), Walk::Act, what, context)
        };
        let records = self.why.map(record).into_iter().collect();
        Stepped { verdict: Verdict::Declined(self.declined), settle: Settle::Neutral, records }
    }
}

impl From<Misuse> for No {
    /// A value that cannot be kept; its field is named as on the wire.
    fn from(misuse: Misuse) -> Self {
        Self::invalid(misuse.field)
    }
}

const ADD: &str = "add";
const CHANGE: &str = "change";

/// What a trader is to become of, if the asker may add one so; `view`: the firm's policy, settled as to links
/// ([`Effective::settled`]), and whoever has the user id.
pub fn plan_add(
    agent: &Agent<'_>,
    userid: &str,
    firm: Option<&str>,
    details: &TraderDetails,
    view: &View<'_>,
    context: &Context,
) -> Result<Addition, Box<Stepped>> {
    let planned = may_add(agent, userid, firm, details, view, context);
    planned.map_err(|no| Box::new(no.stepped(agent, ADD, context).naming(userid)))
}

fn may_add(
    agent: &Agent<'_>,
    userid: &str,
    firm: Option<&str>,
    details: &TraderDetails,
    view: &View<'_>,
    context: &Context,
) -> Result<Addition, No> {
    may(agent, Task::Add, None, None, context)?;
    let userid = UserId::parse(userid).map_err(|_| No::invalid("userid"))?;
    let firm = firm_of(agent, firm)?;
    if !agent.serves_firm(&firm) || view.firm.is_none_or(|there| there.code != firm) {
        let failed =
            failed(Check::AskerAllowed, Deny::RightMissing, "a firm that the asker serves", "another");
        return Err(No::because(Declined::UnknownFirm, failed, None));
    }
    check_details(agent, details, None, context)?;
    check_profile(Kind::Trader, &profile_of(&Profile::default(), details))?;
    let auth_system = match details.otp {
        Some(true) => {
            agent.is_fresh(context).map_err(|failed| No::denied(Some("use2fa"), failed, None))?;
            // Whoever adds somebody sets the password.
            may_see_seed(agent, true, &view.policy, None)?;
            AuthSystem::Otp
        }
        Some(false) => {
            password_alone(&view.policy, None)?;
            AuthSystem::Password
        }
        None if check_auth_system(Kind::Trader, AuthSystem::Password, &view.policy).is_ok() => {
            AuthSystem::Password
        }
        None => AuthSystem::Otp,
    };
    if view.person.is_some() {
        let failed =
            failed(Check::AskerAllowed, Deny::UserIdTaken, "a user id that nobody has", "somebody's");
        return Err(No::because(Declined::UserExists, failed, None));
    }
    Ok(Addition { userid, firm, auth_system })
}

/// The firm that is meant: the named one, or the only one that the asker serves.
fn firm_of(agent: &Agent<'_>, named: Option<&str>) -> Result<FirmCode, No> {
    match named {
        Some(text) => FirmCode::parse(text).map_err(|_| No::invalid("firm")),
        None => agent.only_firm().cloned().ok_or(No::missing("firm")),
    }
}

/// The firm code that an addition names or means; to load it by. `None`: it names none, or what cannot be one.
pub fn firm_meant(agent: &Agent<'_>, named: Option<&str>) -> Option<FirmCode> {
    firm_of(agent, named).ok()
}

/// Adds a trader as planned.
pub fn add(
    agent: &Agent<'_>,
    addition: Addition,
    details: &TraderDetails,
    made: Made,
    policy: &Effective,
    context: &Context,
) -> Stepped {
    let (actor, by) = (agent.actor(), Some(agent.person.id));
    let Made { id, password, sent_as, seed } = made;
    let phc = match usable(&password, sent_as, policy) {
        Ok(phc) => phc,
        Err(no) => {
            let stepped = no.stepped(agent, None, Settle::Neutral, ADD, context);
            return stepped.naming(addition.userid.as_str());
        }
    };
    let password = if details.initial == Some(false) {
        Password::Own { phc, set_us: context.at }
    } else {
        initial(phc, policy, by, context)
    };
    let profile = profile_of(&Profile::default(), details);
    let Addition { userid, firm, auth_system } = addition;
    let new = New { id, userid, kind: Kind::Trader, firm: Some(firm), auth_system, password, profile };
    let newcomer = person::newcomer(new.clone(), context);
    let added = match person::add(new, policy, actor, context) {
        Ok(record) => record,
        Err(misuse) => return No::from(misuse).stepped(agent, ADD, context),
    };
    let reason = details.reason.as_deref().and_then(|text| Reason::parse(text).ok());
    let mut steps = Steps { agent, person: newcomer, records: Vec::new(), reason, context };
    steps.records.push(signed(agent, added, steps.reason.as_ref()));
    let issued = match seed {
        Some(new) => steps.issue(new).map(Some),
        None => Ok(None),
    };
    match issued {
        Ok(shown) => steps.done(shown, Settle::Neutral),
        Err(misuse) => No::from(misuse).stepped(agent, ADD, context),
    }
}

/// Whether a trader may be changed as is wanted; the refusal where not. The policy in `view` is settled as to links
/// ([`Effective::settled`]).
pub fn plan_change(
    agent: &Agent<'_>,
    wanted: &Wanted<'_>,
    view: &View<'_>,
    context: &Context,
) -> Result<(), Box<Stepped>> {
    let planned = may_change(agent, wanted, view, context);
    planned.map(|_| ()).map_err(|no| Box::new(no.stepped(agent, CHANGE, context).naming(wanted.userid)))
}

fn may_change<'a>(
    agent: &Agent<'_>,
    wanted: &Wanted<'_>,
    view: &View<'a>,
    context: &Context,
) -> Result<&'a Person, No> {
    // Whether there is somebody is told to those only who may change somebody at all.
    let some = [Task::Change, Task::ResetPassword, Task::ResetAuthenticator];
    let any = some.into_iter().find(|task| agent.holds(*task)).unwrap_or(Task::Change);
    may(agent, any, None, None, context)?;
    let nobody = || No::because(Declined::UnknownUser, not_served("another"), None);
    let person = view.person.ok_or_else(nobody)?;
    match agent.reach(person) {
        Reach::Served => {}
        Reach::NoTrader => {
            return Err(No::denied(None, not_served("somebody else of the firm"), Some(person)));
        }
        Reach::Nobody => return Err(nobody()),
    }
    let details = wanted.details;
    let firm = wanted.firm.map(|text| FirmCode::parse(text).map_err(|_| No::invalid("firm"))).transpose()?;
    if firm.is_some_and(|firm| person.firm.as_ref() != Some(&firm)) {
        return Err(No::invalid("firm"));
    }
    check_details(agent, details, Some(person), context)?;
    let profile = profile_of(&person.profile, details);
    let alters = profile != person.profile || (wanted.sets == Sets::Nothing && details.otp.is_none());
    if alters || wanted.sets == Sets::Changed {
        may(agent, Task::Change, None, Some(person), context)?;
        check_profile(person.kind, &profile)?;
    }
    if wanted.sets == Sets::Reset {
        may(agent, Task::ResetPassword, Some("resetpass"), Some(person), context)?;
    }
    match details.otp {
        None => {}
        Some(true) => {
            may_issue(agent, details, person, context)?;
            let knows = wanted.sets != Sets::Nothing || knows_password(person, &agent.actor());
            may_see_seed(agent, knows, &view.policy, Some(person))?;
        }
        Some(false) => {
            password_alone(&view.policy, Some(person))?;
            if person.authenticator.has_seed() || person.auth_system == AuthSystem::Otp {
                may_issue(agent, details, person, context)?;
            }
        }
    }
    Ok(person)
}

/// Whether somebody's authenticator may be made, replaced or taken away: what is registered is reset, with its own right
/// and, by an administrator, with a reason (T13, T14).
fn may_issue(
    agent: &Agent<'_>,
    details: &TraderDetails,
    person: &Person,
    context: &Context,
) -> Result<(), No> {
    let field = Some("use2fa");
    let resets = person.authenticator.is_registered();
    let task = if resets { Task::ResetAuthenticator } else { Task::Change };
    may(agent, task, field, Some(person), context)?;
    agent.is_fresh(context).map_err(|failed| No::denied(field, failed, Some(person)))?;
    let explained = details.reason.is_some() || agent.person.kind != Kind::Administrator;
    if !explained && (resets || details.otp == Some(false)) {
        return Err(No::missing("reason"));
    }
    Ok(())
}

/// Whether an asker may be shown somebody's seed. To an administrator it is what a setup link is: shown only where the
/// desk lets a link be shown, to nobody who knows the password where the hand-over is split, and nowhere where a link is
/// needed to register. A program has its rights from the desk.
fn may_see_seed(
    agent: &Agent<'_>,
    knows_password: bool,
    policy: &Effective,
    target: Option<&Person>,
) -> Result<(), No> {
    let (deny, expected, seen) = match agent.person.kind {
        Kind::Administrator if !policy.show_setup_link => {
            (Deny::LinkNotShown, "seeds and links that the desk lets administrators see", "none")
        }
        Kind::Administrator if policy.split_handover && knows_password => {
            (Deny::LinkNotShown, "an asker who does not know the password", "one who set or saw it")
        }
        Kind::Administrator if policy.registration_needs_link == Some(true) => {
            (Deny::LinkNeeded, "people who register without a setup link", "people who need one")
        }
        Kind::Administrator | Kind::Desk | Kind::Trader | Kind::Service => return Ok(()),
    };
    Err(No::denied(Some("use2fa"), failed(Check::AskerAllowed, deny, expected, seen), target))
}

fn may(
    agent: &Agent<'_>,
    task: Task,
    field: Option<&'static str>,
    target: Option<&Person>,
    context: &Context,
) -> Result<(), No> {
    agent.may(task, context).map_err(|failed| No::denied(field, failed, target))
}

/// Whether a password alone may be asked for; where one-time passwords are demanded, nobody at a door switches them off.
fn password_alone(policy: &Effective, target: Option<&Person>) -> Result<(), No> {
    check_auth_system(Kind::Trader, AuthSystem::Password, policy).map_err(|_| {
        let (check, deny) = (Check::AskerAllowed, Deny::RightMissing);
        let failed = failed(check, deny, "a policy that lets a password alone do", "one that demands more");
        No::denied(Some("use2fa"), failed, target)
    })
}

/// What holds of the details whoever they are for.
fn check_details(
    agent: &Agent<'_>,
    details: &TraderDetails,
    target: Option<&Person>,
    context: &Context,
) -> Result<(), No> {
    if let Some(reason) = &details.reason {
        Reason::parse(reason)?;
    }
    if details.broker_comm_rate.is_some() {
        may(agent, Task::SetRate, Some("broker_comm_rate"), target, context)?;
    }
    if details.initial == Some(false) {
        may(agent, Task::LastingPassword, Some("initial"), target, context)?;
    }
    Ok(())
}

/// A profile with what is given set, and all else as it was.
fn profile_of(before: &Profile, details: &TraderDetails) -> Profile {
    let TraderDetails { roles, broker_comm_rate, attr, otp: _, initial: _, reason: _ } = details;
    let mut profile = before.clone();
    for (field, given) in [(&mut profile.roles, roles), (&mut profile.broker_comm_rate, broker_comm_rate)] {
        if given.is_some() {
            field.clone_from(given);
        }
    }
    if attr.is_some() {
        profile.attr.clone_from(attr);
    }
    profile
}

/// Changes a trader as planned. Whoever gives the present password is its owner: the new one is their own, unless the
/// asker knows the present one without them; one that is set without it is initial, unless the desk lets the program say
/// otherwise (rule 7).
pub fn change(
    agent: &Agent<'_>,
    wanted: &Wanted<'_>,
    view: &View<'_>,
    password: Option<&PasswordFacts>,
    seed: Option<NewSeed>,
    context: &Context,
) -> Stepped {
    let person = match may_change(agent, wanted, view, context) {
        Ok(person) => person,
        Err(no) => return no.stepped(agent, CHANGE, context).naming(wanted.userid),
    };
    let reason = wanted.details.reason.as_deref().and_then(|text| Reason::parse(text).ok());
    let mut steps = Steps { agent, person: person.clone(), records: Vec::new(), reason, context };
    let settle = match password {
        None => Settle::Neutral,
        Some(facts) => match new_password(&mut steps, view, person, wanted.details, facts) {
            Ok(settle) => settle,
            Err(refused) => return *refused,
        },
    };
    match rest_of_change(&mut steps, wanted.details, &view.policy, seed) {
        Ok(shown) => steps.done(shown, settle),
        Err(misuse) => No::from(misuse).stepped(agent, CHANGE, context),
    }
}

fn rest_of_change(
    steps: &mut Steps<'_>,
    details: &TraderDetails,
    policy: &Effective,
    seed: Option<NewSeed>,
) -> Result<Option<ShownSeed>, Misuse> {
    let profile = profile_of(&steps.person.profile, details);
    steps.edit(Edit { profile: Some(profile), ..Edit::default() }, policy)?;
    match (details.otp, seed) {
        (Some(true), Some(new)) => steps.issue(new).map(Some),
        (Some(false), _) => {
            steps.edit(Edit { auth_system: Some(AuthSystem::Password), ..Edit::default() }, policy)?;
            Ok(None)
        }
        (Some(true) | None, _) => Ok(None),
    }
}
