//! Decisions: pure functions over a snapshot and facts, one use case a file.

pub mod acting;
pub mod add_user;
pub mod authenticator;
pub mod claim;
pub mod code;
pub mod enrol;
pub mod firm;
pub mod fix_session;
pub mod grant;
pub mod halt;
pub mod key_pair;
pub mod link;
pub mod login;
pub mod password_change;
pub mod password_set;
pub mod person;
mod reason;
pub mod recovery;
pub mod serve;
pub mod sign_in;
pub mod signed_logon;
pub mod step_up;
#[cfg(test)]
mod tests;
pub mod token;
pub mod verify;

use self::reason::check_reason;
pub use self::reason::{REASON_CHARS_MAX, Reason};
use super::change::Change;
use super::enrolment::{Authenticator, CodeResult};
use super::firm::Firm;
use super::person::{Kind, Person, Standing};
use super::policy::Effective;
use crate::ask::{Granted, Verdict};
use crate::audit::{Actor, Context, Deny, Entry, Event, Outcome, Record, Subject};
use crate::trace::{Check, Trace};

/// What is known when a decision about somebody is made.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The person, if there is one of that name.
    pub person: Option<&'a Person>,
    /// Their firm, if they are of one.
    pub firm: Option<&'a Firm>,
    /// The policy in force for them.
    pub policy: Effective,
    /// Whether the server's clock can be trusted (T4).
    pub clock_good: bool,
    /// Whether the emergency switch is thrown for the venue or their firm. The desk is let in whatever it says.
    pub halted: bool,
}

/// A one-time password as the vault found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodeFact {
    /// None came.
    NotGiven,
    /// One came. It matches the step this many steps from now, or none nearby; `None` too where it was no code at all
    /// or there is nothing to compare with.
    Given {
        /// Steps from the present one.
        offset: Option<i8>,
    },
}

/// What the attempt gate is to do with the attempt that it admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settle {
    /// The password was wrong: count it.
    Wrong,
    /// The password was right: forget the counts.
    Right,
    /// Neither: give the attempt back.
    Neutral,
}

/// A decision: the answer, and the one record that makes it true.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// For the door.
    pub verdict: Verdict,
    /// For the attempt gate.
    pub settle: Settle,
    /// For the store.
    pub record: Record,
}

/// A decision that no door waits for. A refusal has a record too, to be written all the same: a wrong code counts.
#[derive(Clone, PartialEq, Debug)]
pub struct Ruling {
    /// What came of it.
    pub result: Result<(), Deny>,
    /// For the store.
    pub record: Record,
}

/// A request of an administrator that cannot be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misuse {
    /// Which kind.
    pub kind: MisuseKind,
    /// The field that is wrong; empty where it is none.
    pub field: &'static str,
    /// What was wrong, with the value and the limit.
    pub text: String,
}

/// Kinds of [`Misuse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MisuseKind {
    /// What is asked for does not exist.
    NotFound,
    /// It exists already, or was changed meanwhile.
    Conflict,
    /// A value is not allowed.
    Invalid,
}

impl Misuse {
    /// A value that is not allowed.
    pub fn invalid(field: &'static str, text: impl Into<String>) -> Self {
        Self { kind: MisuseKind::Invalid, field, text: text.into() }
    }

    /// Something that does not exist.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { kind: MisuseKind::NotFound, field: "", text: text.into() }
    }

    /// Something that exists already, or was changed meanwhile.
    pub fn conflict(field: &'static str, text: impl Into<String>) -> Self {
        Self { kind: MisuseKind::Conflict, field, text: text.into() }
    }
}

/// A check that failed: the reason, and what was expected and seen.
struct Failed {
    check: Check,
    deny: Deny,
    expected: &'static str,
    seen: String,
}

fn failed(check: Check, deny: Deny, expected: &'static str, seen: impl Into<String>) -> Failed {
    Failed { check, deny, expected, seen: seen.into() }
}

impl Failed {
    /// From what [`standing`] found.
    fn of_standing((check, deny): (Check, Deny)) -> Self {
        let (expected, seen) = words(check);
        failed(check, deny, expected, seen)
    }

    /// The ruling that refuses, with what the failure itself changes.
    fn refuse(self, entry: Entry, trace: Trace, changes: Vec<Change>) -> Ruling {
        let trace = trace.fail(self.check, self.expected, self.seen);
        let entry = Entry { trace: Some(trace), ..entry.refused(self.deny) };
        Ruling { result: Err(self.deny), record: Record { entry, changes } }
    }
}

/// The ruling that all checks held.
fn allow(entry: Entry, trace: Trace, changes: Vec<Change>) -> Ruling {
    let entry = Entry { trace: Some(trace), ..entry };
    Ruling { result: Ok(()), record: Record { entry, changes } }
}

/// The entry of a step of one on another.
fn entry_on(context: &Context, event: Event, person: &Person, actor: Actor) -> Entry {
    let subject = Some(Subject { id: person.id, userid: person.userid.clone() });
    Entry { subject, firm: person.firm.clone(), ..Entry::new(context, event, actor) }
}

/// The entry of somebody's own decision.
fn own_entry(context: &Context, event: Event, person: &Person) -> Entry {
    let actor = Actor::Person { id: person.id, userid: person.userid.clone() };
    Entry { firm: person.firm.clone(), ..Entry::new(context, event, actor) }
}

fn granted(person: &Person) -> Granted {
    let must_change = match person.password {
        super::person::Password::Own { .. } => false,
        super::person::Password::Initial { .. } => true,
    };
    let serves = match person.kind {
        Kind::Administrator | Kind::Service => true,
        Kind::Desk | Kind::Trader => false,
    };
    Granted { person: person.id, userid: person.userid.clone(), must_change, serves, factor_at: None }
}

/// Whether somebody may come in at all, apart from what they prove: the checks that every walk shares.
fn standing(
    view: &View<'_>,
    person: &Person,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), (Check, Deny)> {
    if person.standing == Standing::Disabled {
        return Err((Check::PersonActive, Deny::Disabled));
    }
    match view.firm {
        Some(firm) if firm.closed => return Err((Check::FirmActive, Deny::FirmClosed)),
        Some(_) => {}
        None => trace.skip(Check::FirmActive),
    }
    let walks = |check| trace.walk.checks().contains(&check);
    if walks(Check::DoorsOpen) && view.halted && person.kind != Kind::Desk {
        return Err((Check::DoorsOpen, Deny::Halted));
    }
    if walks(Check::KindPermitted) && person.kind == Kind::Service {
        return Err((Check::KindPermitted, Deny::WrongKind));
    }
    if trace.walk.checks().contains(&Check::SourcePermitted) {
        match person.kind {
            Kind::Service => {
                let permitted = context.source.is_some_and(|source| {
                    person.profile.grant.as_ref().is_some_and(|grant| grant.permits(source))
                });
                if !permitted {
                    return Err((Check::SourcePermitted, Deny::SourceNotPermitted));
                }
            }
            Kind::Desk | Kind::Administrator | Kind::Trader => trace.skip(Check::SourcePermitted),
        }
    }
    Ok(())
}

/// Expected and seen, in words, for the checks of [`standing`].
const fn words(check: Check) -> (&'static str, &'static str) {
    match check {
        Check::PersonActive => ("an active person", "a disabled one"),
        Check::FirmActive => ("an open firm", "a closed one"),
        Check::DoorsOpen => ("no emergency switch", "one that is thrown"),
        Check::KindPermitted => ("a person", "a program"),
        Check::SourcePermitted => ("a listed source address", "another one"),
        Check::AuthenticatorUnlocked => ("an authenticator that is not locked", "a locked one"),
        Check::PasswordInForce => ("an initial password before its end", "an expired one"),
        Check::KeyLive
        | Check::AttemptAdmitted
        | Check::CiphertextOpens
        | Check::CiphertextFresh
        | Check::PaddingAllowed
        | Check::PersonKnown
        | Check::PasswordMatches
        | Check::AuthenticatorRegistered
        | Check::CodeGiven
        | Check::ClockGood
        | Check::CodeAdmitted
        | Check::CodeMatches
        | Check::CodeUnused
        | Check::NewPasswordGood
        | Check::LogonWellFormed
        | Check::CredentialsGiven
        | Check::FieldsGiven
        | Check::HeaderRight
        | Check::HeartBtIntRight
        | Check::SchemeNamed
        | Check::SignatureDecodes
        | Check::CompIdKnown
        | Check::IndicatorPermitted
        | Check::SessionActive
        | Check::AccessKeyKnown
        | Check::AccessKeyLive
        | Check::SessionUnlocked
        | Check::OperatorPermitted
        | Check::SendingTimeFresh
        | Check::SignatureMatches
        | Check::LogonUnseen
        | Check::AfterListening
        | Check::StreamFree
        | Check::WeekOpen
        | Check::ResetFlagRight
        | Check::SequenceRight
        | Check::RightHeld
        | Check::HoursOpen
        | Check::PairsAdmitted
        | Check::CodesLeft
        | Check::LinkLive
        | Check::LinkGiven
        | Check::OtpChosen
        | Check::AuthenticatorFree
        | Check::PasswordOwn
        | Check::EnrolmentLive
        | Check::LinkAdmitted
        | Check::LinkShown
        | Check::AddressGiven
        | Check::RecoveryOn
        | Check::RecoveryCodeMatches
        | Check::AskerAllowed
        | Check::NotOneself
        | Check::FactorFresh
        | Check::TokenLive
        | Check::DeskUnclaimed => ("", ""),
    }
}

/// How a code fared, with the change that it makes.
struct CodeOutcome {
    verdict: Verdict,
    event: Event,
    reason: Option<Deny>,
    changes: Vec<Change>,
    trace: Trace,
    factor_proved: bool,
}

/// When to try again while the clock is suspect, in milliseconds: so long it must agree (T4).
const CLOCK_RETRY_MS: u32 = 60_000;

/// Takes a code on behalf of a person whose password was right.
fn take_code(
    view: &View<'_>,
    person: &Person,
    offset: Option<i8>,
    context: &Context,
    trace: Trace,
) -> CodeOutcome {
    let refused = |trace: Trace, reason: Deny, changes: Vec<Change>| CodeOutcome {
        verdict: Verdict::CodeRefused(granted(person)),
        event: Event::CodeRefused,
        reason: Some(reason),
        changes,
        trace,
        factor_proved: false,
    };
    let change = |authenticator: Authenticator| Change::Authenticator {
        person: person.id,
        authenticator,
        seeds: person.seeds,
    };
    match person.authenticator.take_code(offset, &view.policy, context.at) {
        CodeResult::Good { .. } | CodeResult::Bad { .. } | CodeResult::Waits(_) if !view.clock_good => {
            let trace = trace.fail(Check::ClockGood, "a clock that agrees", "a clock that stepped");
            let verdict = Verdict::TryAgainLater { retry_ms: CLOCK_RETRY_MS };
            CodeOutcome { verdict, ..refused(trace, Deny::ClockSuspect, Vec::new()) }
        }
        CodeResult::Good { next, confirmed } => CodeOutcome {
            verdict: Verdict::Granted(Granted { factor_at: Some(context.at), ..granted(person) }),
            event: if confirmed { Event::AuthenticatorConfirmed } else { Event::LoginGranted },
            reason: None,
            // A link is of no use to somebody who is registered.
            changes: [change(next)]
                .into_iter()
                .chain(link::revoke_live(person, context.at).filter(|_| confirmed))
                .collect(),
            trace,
            factor_proved: true,
        },
        CodeResult::Bad { next, used, offset } => {
            let (check, deny) = if used {
                (Check::CodeUnused, Deny::UsedCode)
            } else {
                (Check::CodeMatches, Deny::WrongCode)
            };
            let seen = seen_of(person, used, offset);
            let seen = format!("{seen}; the authenticator is now {}", next.state());
            refused(trace.fail(check, "a step within the window, unused", seen), deny, vec![change(next)])
        }
        CodeResult::Waits(until) => {
            let seen = format!("wrong codes; waits until {until}");
            refused(trace.fail(Check::CodeAdmitted, "no back-off", seen), Deny::CodeBackedOff, Vec::new())
        }
        CodeResult::Locked => {
            let trace = trace.fail(
                Check::AuthenticatorUnlocked,
                "an authenticator that is not locked",
                "a locked one",
            );
            CodeOutcome { verdict: Verdict::Refused, ..refused(trace, Deny::Locked, Vec::new()) }
        }
        CodeResult::Nothing => {
            let trace =
                trace.fail(Check::AuthenticatorRegistered, "an authenticator", person.authenticator.state());
            CodeOutcome { verdict: Verdict::Refused, ..refused(trace, Deny::NotRegistered, Vec::new()) }
        }
    }
}

/// What a bad code was seen to be, for the diagnosis.
fn seen_of(person: &Person, used: bool, offset: Option<i8>) -> String {
    match (used, offset) {
        (true, _) => "a used or older step".to_owned(),
        (false, Some(steps)) => format!(
            "a step {} s {}",
            i32::from(steps).abs() * i32::from(period_s(person)),
            if steps < 0 { "behind: the device is slow" } else { "ahead: the device is fast" }
        ),
        (false, None) => "no step nearby".to_owned(),
    }
}

fn period_s(person: &Person) -> u8 {
    person.authenticator.comparable().map_or(30, |(seed, _)| seed.parameters.period_s)
}

fn outcome_of(reason: Option<Deny>) -> Outcome {
    if reason.is_some() { Outcome::Refused } else { Outcome::Allowed }
}
