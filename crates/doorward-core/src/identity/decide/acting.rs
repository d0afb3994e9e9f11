//! Who acts for others at a door: a program within what the desk listed, an administrator in the own firm.

use super::step_up::is_fresh;
use super::{Failed, View, entry_on, failed};
use crate::ask::{Declined, PersonShown, Verdict};
use crate::audit::{Actor, Context, Deny, Entry, Event, Record};
use crate::id::FirmCode;
use crate::identity::firm::Firm;
use crate::identity::person::{Grant, Kind, Person, Right, Standing};
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

/// Something that is done for others at a door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Verify a customer's login.
    Verify,
    /// Have a token made, looked at or ended.
    Token,
    /// The same for a customer who has proved nothing but a password.
    TokenOnPassword,
    /// Add a trader.
    Add,
    /// Change what is known of a trader, or the password with the present one.
    Change,
    /// Set a password without the present one.
    ResetPassword,
    /// Set a password that need not be changed.
    LastingPassword,
    /// Take an authenticator away.
    ResetAuthenticator,
    /// Set the commission rate.
    SetRate,
    /// See what is known of somebody.
    See,
}

impl Task {
    /// The right that a program needs for it; `None`: any one will do.
    const fn of_program(self) -> Option<Right> {
        match self {
            Self::Verify => Some(Right::Verify),
            Self::Token => Some(Right::Token),
            Self::TokenOnPassword => Some(Right::TokenOnPassword),
            Self::Add => Some(Right::Add),
            Self::Change | Self::SetRate => Some(Right::Change),
            Self::ResetPassword => Some(Right::ResetPassword),
            Self::LastingPassword => Some(Right::LastingPassword),
            Self::ResetAuthenticator => Some(Right::ResetAuthenticator),
            Self::See => None,
        }
    }

    /// The right that an administrator needs for it; `None`: none does it at a door.
    const fn of_administrator(self) -> Option<Right> {
        match self {
            Self::Add | Self::Change => Some(Right::EditPeople),
            Self::ResetAuthenticator => Some(Right::ResetAuthenticator),
            Self::See => Some(Right::ViewPeople),
            Self::Verify
            | Self::Token
            | Self::TokenOnPassword
            | Self::ResetPassword
            | Self::LastingPassword
            | Self::SetRate => None,
        }
    }
}

/// Whether somebody is within reach of whoever acts for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// A trader of a firm that is served.
    Served,
    /// Of such a firm, but no trader.
    NoTrader,
    /// To the asker there is nobody.
    Nobody,
}

/// Somebody who acts for others at a door, as the book knows them now.
#[derive(Clone, Copy, Debug)]
pub struct Agent<'a> {
    /// The program or administrator; whoever else, holds no right.
    pub person: &'a Person,
    /// Their own firm, if they are of one.
    pub firm: Option<&'a Firm>,
    /// When they gave a good one-time password in this login.
    pub factor_at: Option<Wall>,
}

impl Agent<'_> {
    /// As it is written down.
    pub fn actor(&self) -> Actor {
        Actor::Person { id: self.person.id, userid: self.person.userid.clone() }
    }

    fn grant(&self) -> Option<&Grant> {
        self.person.profile.grant.as_ref()
    }

    /// Whether they hold the right for something.
    pub fn holds(&self, task: Task) -> bool {
        let Some(grant) = self.grant() else { return false };
        match self.person.kind {
            Kind::Service => match task.of_program() {
                Some(right) => grant.rights.contains(&right),
                None => !grant.rights.is_empty(),
            },
            Kind::Administrator => task.of_administrator().is_some_and(|right| grant.rights.contains(&right)),
            Kind::Desk | Kind::Trader => false,
        }
    }

    /// Whether they serve a firm's traders: a program those of the listed firms, an administrator the own firm's.
    pub fn serves_firm(&self, firm: &FirmCode) -> bool {
        match self.person.kind {
            Kind::Service => self.grant().is_some_and(|grant| grant.firms.contains(firm)),
            Kind::Administrator => self.person.firm.as_ref() == Some(firm),
            Kind::Desk | Kind::Trader => false,
        }
    }

    /// The firm whose traders they serve, where it is only one.
    pub fn only_firm(&self) -> Option<&FirmCode> {
        match self.person.kind {
            Kind::Service => {
                let firms = &self.grant()?.firms;
                firms.first().filter(|_| firms.len() == 1)
            }
            Kind::Administrator => self.person.firm.as_ref(),
            Kind::Desk | Kind::Trader => None,
        }
    }

    /// Whether somebody is within their reach: traders only, never the desk, administrators or programs (rule 10).
    pub fn reach(&self, target: &Person) -> Reach {
        match (target.kind, &target.firm) {
            (Kind::Trader, Some(firm)) if self.serves_firm(firm) => Reach::Served,
            (Kind::Administrator | Kind::Service, Some(firm)) if self.serves_firm(firm) => Reach::NoTrader,
            (Kind::Desk | Kind::Administrator | Kind::Trader | Kind::Service, _) => Reach::Nobody,
        }
    }

    /// Whether somebody is a trader whom they serve.
    pub fn serves(&self, target: &Person) -> bool {
        self.reach(target) == Reach::Served
    }

    /// Whether they may do something now: active, of an open firm, from a listed address, with the right for it.
    pub(super) fn may(&self, task: Task, context: &Context) -> Result<(), Failed> {
        let refused = |deny, expected, seen| Err(failed(Check::AskerAllowed, deny, expected, seen));
        if self.person.standing == Standing::Disabled {
            return refused(Deny::Disabled, "an active asker", "a disabled one");
        }
        if self.firm.is_some_and(|firm| firm.closed) {
            return refused(Deny::FirmClosed, "an asker of an open firm", "one of a closed firm");
        }
        let listed = match self.person.kind {
            Kind::Service => {
                context.source.is_some_and(|at| self.grant().is_some_and(|grant| grant.permits(at)))
            }
            Kind::Desk | Kind::Administrator | Kind::Trader => true,
        };
        if !listed {
            return refused(Deny::SourceNotPermitted, "a listed source address", "another one");
        }
        if self.holds(task) {
            return Ok(());
        }
        let right = match self.person.kind {
            Kind::Service => task.of_program(),
            Kind::Administrator => task.of_administrator(),
            Kind::Desk | Kind::Trader => None,
        };
        match right {
            Some(right) => Err(failed(
                Check::AskerAllowed,
                Deny::RightMissing,
                right.id(),
                "an asker without this right",
            )),
            None => refused(Deny::RightMissing, "a program with the right for it", "another asker"),
        }
    }

    /// Whether a good one-time password is fresh, where one is asked for: of an administrator, never of a program (T14).
    pub(super) fn is_fresh(&self, context: &Context) -> Result<(), Failed> {
        match self.person.kind {
            Kind::Service => Ok(()),
            Kind::Desk | Kind::Administrator | Kind::Trader if is_fresh(self.factor_at, context.at) => Ok(()),
            Kind::Desk | Kind::Administrator | Kind::Trader => {
                let expected = "a one-time password of the last 5 minutes";
                Err(failed(Check::FactorFresh, Deny::FactorStale, expected, "none"))
            }
        }
    }

    /// The record of something that may not be done; `target`: only whom the asker may know of.
    pub(super) fn refused(
        &self,
        failed: Failed,
        target: Option<&Person>,
        walk: Walk,
        detail: &str,
        context: &Context,
    ) -> Record {
        let entry = match target {
            Some(target) => entry_on(context, Event::StepRefused, target, self.actor()),
            None => {
                let entry = Entry::new(context, Event::StepRefused, self.actor());
                Entry { firm: self.person.firm.clone(), ..entry }
            }
        };
        failed.refuse(entry.with_detail(detail), Trace::of(walk), Vec::new()).record
    }
}

/// What somebody may be told of a person: of themselves, or of a trader whom they serve; `named`: the user id as sent. A
/// reading is not written down, that it was refused is.
pub fn see(
    agent: &Agent<'_>,
    view: &View<'_>,
    named: Option<&str>,
    context: &Context,
) -> (Verdict, Option<Record>) {
    let shown = |person: &Person| Verdict::Person(Box::new(shown(person, view)));
    if let Some(oneself) = view.person.filter(|person| person.id == agent.person.id) {
        return (shown(oneself), None);
    }
    let refused = |failed, target, declined| {
        let Record { entry, changes } = agent.refused(failed, target, Walk::Act, "see", context);
        let entry = entry.naming(named.unwrap_or_default());
        (Verdict::Declined(declined), Some(Record { entry, changes }))
    };
    if let Err(failed) = agent.may(Task::See, context) {
        return refused(failed, None, Declined::NotPermitted { field: None });
    }
    match view.person.map(|person| (person, agent.reach(person))) {
        Some((person, Reach::Served)) => (shown(person), None),
        Some((person, Reach::NoTrader)) => {
            let declined = Declined::NotPermitted { field: None };
            refused(not_served("somebody else of the firm"), Some(person), declined)
        }
        Some((_, Reach::Nobody)) | None => refused(not_served("another"), None, Declined::UnknownUser),
    }
}

/// Whoever is asked for is not served.
pub(super) fn not_served(seen: &'static str) -> Failed {
    failed(Check::AskerAllowed, Deny::RightMissing, "a trader whom the asker serves", seen)
}

fn shown(person: &Person, view: &View<'_>) -> PersonShown {
    PersonShown {
        userid: person.userid.clone(),
        firm: person.firm.clone(),
        roles: person.profile.roles.clone(),
        active: person.standing == Standing::Active,
        otp: person.needs_otp(&view.policy),
        registered: person.authenticator.is_registered(),
        attr: person.profile.attr.clone(),
    }
}
