//! What administrators do for the people of their firm, and the desk for administrators: each step with whoever asks,
//! their right, and where it is dangerous a fresh one-time password and a reason (Q1, Q2).

use std::collections::BTreeSet;

use super::link::{NewLink, make, revoke};
use super::password_set::password_set;
use super::person::{Edit, check_auth_system, check_email, edit};
use super::step_up::is_fresh;
use super::{Misuse, Reason, Ruling, View, authenticator, entry_on};
use crate::audit::{Actor, Context, Deny, Entry, Event, Factor, Record};
use crate::id::FirmCode;
use crate::identity::change::Change;
use crate::identity::link::Handed;
use crate::identity::notice::Notice;
use crate::identity::person::{Grant, Kind, Person, Phc, Profile, Right, Standing};
use crate::identity::policy::{AuthSystem, Effective};
use crate::table::table;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

table! {
    /// A step of an administrator or operator on somebody.
    pub enum Act {
        See = "see", "See what is known of somebody.";
        Add = "add", "Add somebody.";
        Edit = "edit", "Change what is known of somebody.";
        ChangeEmail = "change-email", "Change somebody's mail address.";
        SendLink = "send-link", "Mail somebody a setup link.";
        ShowLink = "show-link", "See a setup link of somebody, to copy it.";
        RevokeLink = "revoke-link", "Take somebody's setup link back.";
        ResetAuthenticator = "reset-authenticator", "Take somebody's authenticator away.";
        ResetAll = "reset-all", "Set somebody's password anew and take the authenticator away.";
        Unlock = "unlock", "Unlock somebody.";
        Disable = "disable", "Disable somebody who leaves.";
        Enable = "enable", "Enable somebody again.";
        RaiseAuthSystem = "raise-auth-system", "Ask somebody for a one-time password from now on.";
        LowerAuthSystem = "lower-auth-system", "Ask somebody for a password alone from now on.";
        SetRights = "set-rights", "Change the rights of an administrator.";
        SetNotices = "set-notices", "Change what an administrator is told of by mail.";
    }
}

impl Act {
    /// The right that an administrator needs for it.
    pub const fn right(self) -> Right {
        match self {
            Self::See => Right::ViewPeople,
            Self::ResetAuthenticator | Self::ResetAll => Right::ResetAuthenticator,
            Self::SetNotices => Right::EditNotices,
            Self::Add
            | Self::Edit
            | Self::ChangeEmail
            | Self::SendLink
            | Self::ShowLink
            | Self::RevokeLink
            | Self::Unlock
            | Self::Disable
            | Self::Enable
            | Self::RaiseAuthSystem
            | Self::LowerAuthSystem
            | Self::SetRights => Right::EditPeople,
        }
    }

    /// Whether it asks for a fresh one-time password and a reason (T14).
    pub const fn is_dangerous(self) -> bool {
        match self {
            Self::ShowLink
            | Self::ResetAuthenticator
            | Self::ResetAll
            | Self::Unlock
            | Self::Disable
            | Self::Enable
            | Self::LowerAuthSystem
            | Self::SetRights => true,
            Self::See
            | Self::Add
            | Self::Edit
            | Self::ChangeEmail
            | Self::SendLink
            | Self::RevokeLink
            | Self::RaiseAuthSystem
            | Self::SetNotices => false,
        }
    }

    /// Whether somebody may do it to themselves.
    pub const fn on_oneself(self) -> bool {
        match self {
            Self::See | Self::Edit | Self::ChangeEmail => true,
            Self::Add
            | Self::SendLink
            | Self::ShowLink
            | Self::RevokeLink
            | Self::ResetAuthenticator
            | Self::ResetAll
            | Self::Unlock
            | Self::Disable
            | Self::Enable
            | Self::RaiseAuthSystem
            | Self::LowerAuthSystem
            | Self::SetRights
            | Self::SetNotices => false,
        }
    }
}

/// Who asks, as the book knows them now.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The administrator or operator.
    pub person: &'a Person,
    /// When they gave a one-time password last in this session.
    pub factor_at: Option<Wall>,
}

impl Asker<'_> {
    /// As it is written down.
    pub fn actor(&self) -> Actor {
        Actor::Person { id: self.person.id, userid: self.person.userid.clone() }
    }

    /// Whether they hold a right; an operator holds every one on those whom the desk serves.
    pub fn holds(&self, right: Right) -> bool {
        match self.person.kind {
            Kind::Desk => true,
            Kind::Administrator => {
                self.person.profile.grant.as_ref().is_some_and(|grant| grant.rights.contains(&right))
            }
            Kind::Trader | Kind::Service => false,
        }
    }

    /// Whether they serve people of a kind and firm at all: an administrator the own firm's, the desk those who are of
    /// its own and of any firm but traders.
    pub fn serves(&self, kind: Kind, firm: Option<&FirmCode>) -> bool {
        if self.person.standing == Standing::Disabled {
            return false;
        }
        match (self.person.kind, kind) {
            (Kind::Desk, Kind::Desk | Kind::Administrator | Kind::Service) => true,
            (Kind::Administrator, Kind::Administrator | Kind::Trader | Kind::Service) => {
                firm.is_some() && self.person.firm.as_ref() == firm
            }
            (Kind::Desk, Kind::Trader)
            | (Kind::Administrator, Kind::Desk)
            | (Kind::Trader | Kind::Service, _) => false,
        }
    }
}

/// Why a step may not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// The asker does not serve such a person; to them there is none (Q1).
    NotFound,
    /// A right is missing.
    Right(Right),
    /// It is not done to oneself.
    Oneself,
    /// It asks for a fresh one-time password.
    Stale,
}

impl Denied {
    /// As it is written down.
    pub const fn deny(self) -> Deny {
        match self {
            Self::NotFound | Self::Right(_) => Deny::RightMissing,
            Self::Oneself => Deny::Oneself,
            Self::Stale => Deny::FactorStale,
        }
    }
}

/// Why a step was not done.
#[derive(Clone, PartialEq, Debug)]
pub enum NotServed {
    /// It may not be; the record says so.
    Denied(Denied, Box<Record>),
    /// It cannot be.
    Misuse(Misuse),
}

impl From<Misuse> for NotServed {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

/// Whether somebody may do something to somebody now.
pub fn may(asker: &Asker<'_>, act: Act, target: &Person, now: Wall) -> Result<(), Denied> {
    if !asker.serves(target.kind, target.firm.as_ref()) {
        return Err(Denied::NotFound);
    }
    if !asker.holds(act.right()) {
        return Err(Denied::Right(act.right()));
    }
    if asker.person.id == target.id && !act.on_oneself() {
        return Err(Denied::Oneself);
    }
    if act.is_dangerous() && !is_fresh(asker.factor_at, now) { Err(Denied::Stale) } else { Ok(()) }
}

/// Whether somebody may add a person of a kind to a firm, with rights: nobody gives one that they have not. Who gets power
/// over others, anybody but a trader, is added with a fresh one-time password only (T14).
pub fn may_add(
    asker: &Asker<'_>,
    kind: Kind,
    firm: Option<&FirmCode>,
    rights: &BTreeSet<Right>,
    now: Wall,
) -> Result<(), Denied> {
    if !asker.serves(kind, firm) {
        return Err(Denied::NotFound);
    }
    let missing = |right: &Right| !asker.holds(*right);
    match std::iter::once(Act::Add.right()).chain(rights.iter().copied()).find(missing) {
        Some(right) => Err(Denied::Right(right)),
        None if kind != Kind::Trader && !is_fresh(asker.factor_at, now) => Err(Denied::Stale),
        None => Ok(()),
    }
}

/// Whether somebody may do what is the desk's alone: firms, policies, switches.
pub fn may_rule(asker: &Asker<'_>, now: Wall) -> Result<(), Denied> {
    match (asker.person.kind, asker.person.standing) {
        (Kind::Desk, Standing::Active) if is_fresh(asker.factor_at, now) => Ok(()),
        (Kind::Desk, Standing::Active) => Err(Denied::Stale),
        (Kind::Desk | Kind::Administrator | Kind::Trader | Kind::Service, _) => Err(Denied::NotFound),
    }
}

/// The record of a step that may not be done. Of somebody whom the asker does not serve it says nothing.
pub fn refusal(
    asker: &Asker<'_>,
    act: Act,
    target: Option<&Person>,
    denied: Denied,
    context: &Context,
) -> Record {
    let (check, expected, seen) = match denied {
        Denied::NotFound => (Check::AskerAllowed, "somebody whom the asker serves".to_owned(), "another"),
        Denied::Right(right) => (Check::AskerAllowed, format!("the right {right}"), "an asker without it"),
        Denied::Oneself => (Check::NotOneself, "another person".to_owned(), "the asker"),
        Denied::Stale => (Check::FactorFresh, "a one-time password of the last 5 minutes".to_owned(), "none"),
    };
    let entry = match target.filter(|_| denied != Denied::NotFound) {
        Some(target) => entry_on(context, Event::StepRefused, target, asker.actor()),
        None => {
            let entry = Entry::new(context, Event::StepRefused, asker.actor());
            Entry { firm: asker.person.firm.clone(), ..entry }
        }
    };
    let entry = entry.refused(denied.deny()).with_detail(act.id());
    let trace = Some(Trace::of(Walk::Serve).fail(check, expected, seen));
    Record { entry: Entry { trace, ..entry }, changes: Vec::new() }
}

/// Asks whether a step may be done; the refusal with its record where it may not.
fn ask(asker: &Asker<'_>, act: Act, target: &Person, context: &Context) -> Result<(), NotServed> {
    may(asker, act, target, context.at).map_err(|denied| {
        NotServed::Denied(denied, Box::new(refusal(asker, act, Some(target), denied, context)))
    })
}

/// The record as this asker's: what they proved, and why they did it.
fn done(asker: &Asker<'_>, mut record: Record, reason: Option<&Reason>) -> Record {
    record.entry.factor = if asker.factor_at.is_some() { Factor::PasswordAndCode } else { Factor::Password };
    if let Some(reason) = reason {
        let before = record.entry.detail.take().map(|detail| format!("{detail}: ")).unwrap_or_default();
        record.entry.detail = Some(format!("{before}{}", reason.as_str()));
    }
    record
}

/// Takes somebody's authenticator away, with the recovery codes and the live link; another must be registered.
pub fn reset_authenticator(
    asker: &Asker<'_>,
    target: &Person,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::ResetAuthenticator, target, context)?;
    let record = authenticator::revoke(target, asker.actor(), context)?;
    Ok(done(asker, record, Some(reason)))
}

/// Sets an initial password and takes the authenticator away, in one batch.
pub fn reset_all(
    asker: &Asker<'_>,
    target: &Person,
    phc: Phc,
    policy: &Effective,
    reason: &Reason,
    context: &Context,
) -> Result<Vec<Record>, NotServed> {
    ask(asker, Act::ResetAll, target, context)?;
    if target.kind == Kind::Service {
        let text = format!("{}: a service user has no initial password", target.userid);
        return Err(Misuse::invalid("userid", text).into());
    }
    let first = done(asker, password_set(target, phc, policy, asker.actor(), context), Some(reason));
    let after = target.after(&first);
    let mut records = vec![first];
    if after.authenticator.has_seed() {
        let second = authenticator::revoke(&after, asker.actor(), context)?;
        records.push(done(asker, second, Some(reason)));
    }
    Ok(records)
}

/// Unlocks somebody: the authenticator, and all counts of wrong passwords.
pub fn unlock(
    asker: &Asker<'_>,
    target: &Person,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::Unlock, target, context)?;
    Ok(done(asker, authenticator::unlock(target, asker.actor(), context), Some(reason)))
}

/// Disables somebody who leaves; `is_last`: nobody else of the firm could add another, or no other operator is active.
pub fn disable(
    asker: &Asker<'_>,
    target: &Person,
    is_last: bool,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::Disable, target, context)?;
    if is_last {
        let text = format!("{}: the last one who can serve others; add another first", target.userid);
        return Err(Misuse::conflict("standing", text).into());
    }
    set_standing(asker, target, Standing::Disabled, reason, context)
}

/// Enables somebody again.
pub fn enable(
    asker: &Asker<'_>,
    target: &Person,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::Enable, target, context)?;
    set_standing(asker, target, Standing::Active, reason, context)
}

fn set_standing(
    asker: &Asker<'_>,
    target: &Person,
    standing: Standing,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    let wanted = Edit { standing: Some(standing), ..Edit::default() };
    let records = edit(target, wanted, &Effective::default(), &asker.actor(), context)?;
    match records.into_iter().next() {
        Some(record) => Ok(done(asker, record, Some(reason))),
        None => Err(unchanged(target, "standing")),
    }
}

fn unchanged(target: &Person, field: &'static str) -> NotServed {
    NotServed::Misuse(Misuse::conflict(field, format!("{}: {field}: it is so already", target.userid)))
}

/// Changes somebody's mail address; a live setup link is taken back (K2). Whoever mails it tells both addresses.
pub fn change_email(
    asker: &Asker<'_>,
    target: &Person,
    email: Option<String>,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::ChangeEmail, target, context)?;
    if let Some(email) = &email {
        check_email(email)?;
    }
    let profile = Some(Profile { email, ..target.profile.clone() });
    let wanted = Edit { profile, ..Edit::default() };
    let records = edit(target, wanted, &Effective::default(), &asker.actor(), context)?;
    match records.into_iter().next() {
        Some(record) => Ok(done(asker, record, None)),
        None => Err(unchanged(target, "email")),
    }
}

/// Changes how somebody proves themselves. Lowering it asks for a reason and takes the authenticator away.
pub fn change_auth_system(
    asker: &Asker<'_>,
    target: &Person,
    system: AuthSystem,
    policy: &Effective,
    reason: Option<&Reason>,
    context: &Context,
) -> Result<Vec<Record>, NotServed> {
    let lowers = system < target.auth_system;
    let act = if lowers { Act::LowerAuthSystem } else { Act::RaiseAuthSystem };
    ask(asker, act, target, context)?;
    if lowers && reason.is_none() {
        let text = "reason: missing; this step is written down with one";
        return Err(Misuse::invalid("reason", text).into());
    }
    check_auth_system(target.kind, system, policy)?;
    let wanted = Edit { auth_system: Some(system), ..Edit::default() };
    let records = edit(target, wanted, policy, &asker.actor(), context)?;
    if records.is_empty() {
        return Err(unchanged(target, "auth_system"));
    }
    Ok(records.into_iter().map(|record| done(asker, record, reason)).collect())
}

/// Changes the rights of an administrator. Nobody gives a right that they have not; `is_last`: nobody else of the firm
/// has the right to edit people.
pub fn set_rights(
    asker: &Asker<'_>,
    target: &Person,
    rights: BTreeSet<Right>,
    is_last: bool,
    reason: &Reason,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::SetRights, target, context)?;
    only_administrators(target, "rights")?;
    if let Some(foreign) = rights.iter().find(|right| !Right::ADMINISTRATOR.contains(right)) {
        return Err(Misuse::invalid("rights", format!("rights: {foreign} is for service users")).into());
    }
    let present = target.profile.grant.clone().unwrap_or_default();
    if let Some(missing) = rights.difference(&present.rights).find(|right| !asker.holds(**right)) {
        let denied = Denied::Right(*missing);
        let record = refusal(asker, Act::SetRights, Some(target), denied, context);
        return Err(NotServed::Denied(denied, Box::new(record)));
    }
    if present.rights == rights {
        return Err(unchanged(target, "rights"));
    }
    if is_last && present.rights.contains(&Right::EditPeople) && !rights.contains(&Right::EditPeople) {
        let text = format!("{}: the last one who can serve others keeps edit-people", target.userid);
        return Err(Misuse::conflict("rights", text).into());
    }
    let names: Vec<&str> = rights.iter().map(|right| right.id()).collect();
    let detail = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let profile = Profile { grant: Some(Grant { rights, ..present }), ..target.profile.clone() };
    let changes = vec![Change::Profile { person: target.id, profile: Box::new(profile) }];
    let entry = entry_on(context, Event::RightsChanged, target, asker.actor()).with_detail(detail);
    Ok(done(asker, Record { entry, changes }, Some(reason)))
}

/// Changes what an administrator is told of by mail.
pub fn set_notices(
    asker: &Asker<'_>,
    target: &Person,
    notices: BTreeSet<Notice>,
    context: &Context,
) -> Result<Record, NotServed> {
    ask(asker, Act::SetNotices, target, context)?;
    only_administrators(target, "notices")?;
    if target.notices == notices {
        return Err(unchanged(target, "notices"));
    }
    let names: Vec<&str> = notices.iter().map(|notice| notice.id()).collect();
    let detail = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let entry = entry_on(context, Event::NoticesChanged, target, asker.actor()).with_detail(detail);
    let changes = vec![Change::Notices { person: target.id, notices }];
    Ok(done(asker, Record { entry, changes }, None))
}

fn only_administrators(target: &Person, field: &'static str) -> Result<(), Misuse> {
    match target.kind {
        Kind::Administrator => Ok(()),
        Kind::Desk | Kind::Trader | Kind::Service => {
            let text = format!("{field}: {} is a {}, no administrator", target.userid, target.kind);
            Err(Misuse::invalid(field, text))
        }
    }
}

/// Makes a setup link for somebody, to be mailed or shown (K6).
pub fn make_link(
    asker: &Asker<'_>,
    view: &View<'_>,
    target: &Person,
    new: &NewLink,
    mail_is_set_up: bool,
    context: &Context,
) -> Result<Ruling, NotServed> {
    let act = match new.handed {
        Handed::Mailed => Act::SendLink,
        Handed::Shown => Act::ShowLink,
    };
    ask(asker, act, target, context)?;
    let Ruling { result, record } = make(view, target, new, mail_is_set_up, asker.actor(), context);
    Ok(Ruling { result, record: done(asker, record, None) })
}

/// Takes somebody's live setup link back.
pub fn revoke_link(asker: &Asker<'_>, target: &Person, context: &Context) -> Result<Record, NotServed> {
    ask(asker, Act::RevokeLink, target, context)?;
    Ok(done(asker, revoke(target, asker.actor(), context)?, None))
}
