//! A login: a password, and a one-time password where one came along.

use super::{CodeFact, Decision, Settle, View, granted, own_entry, standing, take_code, words};
use crate::ask::{Padding, Verdict};
use crate::audit::{Actor, Context, Deny, Entry, Event, Factor, Outcome, Record};
use crate::identity::attempt::Admission;
use crate::identity::change::Change;
use crate::identity::enrolment::Authenticator;
use crate::identity::person::{Password, Person};
use crate::trace::{Check, Trace, Walk};

/// How a ciphertext opened. The peer never learns which (rule 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// To well-formed text.
    Good,
    /// It did not; a pseudo-random password was compared instead.
    Bad,
    /// It was seen before; a pseudo-random password was compared instead.
    Replayed,
}

/// What was found out about a login before it is decided.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The user id as sent.
    pub userid: &'a str,
    /// What the attempt gate said; where it refuses, no password was compared. `Wait` is no answer yet: the gate asks
    /// again until it is another.
    pub admission: Admission,
    /// How the ciphertext opened.
    pub opened: Opened,
    /// How it was padded; `None` for a password in clear, which had no ciphertext.
    pub padding: Option<Padding>,
    /// Whether the password is the person's.
    pub password_matches: bool,
    /// The one-time password.
    pub code: CodeFact,
    /// Where somebody registers an authenticator.
    pub register_url: Option<&'a str>,
}

/// Decides a login. What must not be told apart ends in [`Verdict::Refused`], whatever the reason (S1).
pub fn login(view: &View<'_>, facts: &Facts<'_>, context: &Context) -> Decision {
    judge(view, facts, context, Trace::of(Walk::Login))
}

/// The checks of a login, in a walk that has them.
pub(super) fn judge(view: &View<'_>, facts: &Facts<'_>, context: &Context, mut trace: Trace) -> Decision {
    if facts.padding.is_none() {
        CIPHERTEXT_CHECKS.into_iter().for_each(|check| trace.skip(check));
    }
    if let Some((check, deny, expected, seen)) = before_password(facts) {
        return refuse(view, facts, context, trace.fail(check, expected, seen), deny);
    }
    let Some(person) = view.person else {
        let trace = trace.fail(Check::PersonKnown, "a known user id", "another one");
        return refuse(view, facts, context, trace, Deny::UnknownUser);
    };
    if facts.padding == Some(Padding::Pkcs1) && !view.policy.pkcs1_allowed {
        let trace = trace.fail(Check::PaddingAllowed, "OAEP-SHA256", "PKCS1");
        return refuse(view, facts, context, trace, Deny::PaddingOff);
    }
    if !facts.password_matches {
        let trace = trace.fail(Check::PasswordMatches, "the person's password", "another one");
        return refuse(view, facts, context, trace, Deny::WrongPassword);
    }
    right_password(view, person, facts, context, trace)
}

/// The checks that a password in clear has no need of.
pub(super) const CIPHERTEXT_CHECKS: [Check; 4] =
    [Check::KeyLive, Check::CiphertextFresh, Check::CiphertextOpens, Check::PaddingAllowed];

/// The checks that somebody without a second factor has no need of.
pub(super) const CODE_CHECKS: [Check; 6] = [
    Check::AuthenticatorRegistered,
    Check::CodeGiven,
    Check::ClockGood,
    Check::CodeAdmitted,
    Check::CodeMatches,
    Check::CodeUnused,
];

pub(super) type Failed = (Check, Deny, &'static str, String);

pub(super) fn before_password(facts: &Facts<'_>) -> Option<Failed> {
    let admitted = Check::AttemptAdmitted;
    match facts.admission {
        Admission::BackedOff(until) => {
            return Some((
                admitted,
                Deny::BackedOff,
                "no back-off",
                format!("the source waits until {until}"),
            ));
        }
        Admission::PersonLimit => {
            let seen =
                "too many wrong passwords in a row, and a source that is none of the person's".to_owned();
            return Some((admitted, Deny::PersonLimit, "a known source", seen));
        }
        Admission::Go | Admission::Wait => {}
    }
    match facts.opened {
        Opened::Good => None,
        Opened::Replayed => Some((
            Check::CiphertextFresh,
            Deny::ReplayedCiphertext,
            "a fresh ciphertext",
            "one seen before".to_owned(),
        )),
        Opened::Bad => Some((
            Check::CiphertextOpens,
            Deny::BadCiphertext,
            "a ciphertext that opens to text",
            "one that does not".to_owned(),
        )),
    }
}

fn right_password(
    view: &View<'_>,
    person: &Person,
    facts: &Facts<'_>,
    context: &Context,
    mut trace: Trace,
) -> Decision {
    if let Err((check, deny)) = may_enter(view, person, context, &mut trace) {
        let (expected, seen) = words(check);
        let mut decision = refuse(view, facts, context, trace.fail(check, expected, seen), deny);
        decision.record.entry.factor = Factor::Password;
        return decision;
    }
    let entry = |event| Entry { factor: Factor::Password, ..own_entry(context, event, person) };
    let decided = |verdict, entry, changes: Vec<Change>| Decision {
        verdict,
        settle: Settle::Right,
        record: Record { entry, changes },
    };
    // Whoever has an authenticator is asked for its code, whatever their authentication system says (rule 6).
    let has_seed = person.authenticator.comparable().is_some();
    if !person.needs_otp(&view.policy) && !has_seed {
        CODE_CHECKS.into_iter().for_each(|check| trace.skip(check));
        let entry = Entry { trace: Some(trace), ..entry(Event::LoginGranted) };
        return decided(Verdict::Granted(granted(person)), entry, Vec::new());
    }
    if !has_seed {
        let trace = trace.fail(
            Check::AuthenticatorRegistered,
            "a registered authenticator",
            person.authenticator.state(),
        );
        let entry = Entry { outcome: Outcome::Asked, trace: Some(trace), ..entry(Event::RegistrationAsked) };
        let entry = Entry { reason: Some(Deny::NotRegistered), ..entry };
        let register_url = facts.register_url.map(str::to_owned);
        return decided(
            Verdict::RegistrationNeeded { who: granted(person), register_url },
            entry,
            Vec::new(),
        );
    }
    let CodeFact::Given { offset } = facts.code else {
        let trace = trace.fail(Check::CodeGiven, "a one-time password", "none yet");
        let entry = Entry { outcome: Outcome::Asked, trace: Some(trace), ..entry(Event::CodeAsked) };
        return decided(Verdict::CodeNeeded(granted(person)), entry, Vec::new());
    };
    let code = take_code(view, person, offset, context, trace);
    let factor = if code.factor_proved { Factor::PasswordAndCode } else { Factor::Password };
    let entry = Entry {
        factor,
        outcome: super::outcome_of(code.reason),
        reason: code.reason,
        trace: Some(code.trace),
        ..entry(code.event)
    };
    decided(code.verdict, entry, code.changes)
}

/// Whether a one-time password is looked at, once the password is right: not for somebody who may not come in anyway,
/// or their refusal would take longer than that of a wrong password (S1).
pub fn looks_at_code(view: &View<'_>, person: &Person, context: &Context) -> bool {
    may_enter(view, person, context, &mut Trace::of(Walk::Login)).is_ok()
}

/// The checks between the password and the code.
pub(super) fn may_enter(
    view: &View<'_>,
    person: &Person,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), (Check, Deny)> {
    standing(view, person, context, trace)?;
    if matches!(person.authenticator, Authenticator::Locked { .. }) {
        return Err((Check::AuthenticatorUnlocked, Deny::Locked));
    }
    match &person.password {
        Password::Initial { expires_us, .. } if context.at >= *expires_us => {
            Err((Check::PasswordInForce, Deny::PasswordExpired))
        }
        Password::Initial { .. } | Password::Own { .. } => Ok(()),
    }
}

pub(super) fn refuse(
    view: &View<'_>,
    facts: &Facts<'_>,
    context: &Context,
    trace: Trace,
    deny: Deny,
) -> Decision {
    // Every other reason leaves the counts alone: the password was right, or it was not compared.
    let wrong = matches!(
        deny,
        Deny::BadCiphertext | Deny::ReplayedCiphertext | Deny::UnknownUser | Deny::WrongPassword
    );
    let settle = if wrong { Settle::Wrong } else { Settle::Neutral };
    let entry = match view.person {
        Some(person) => own_entry(context, Event::LoginRefused, person),
        None => Entry::new(context, Event::LoginRefused, Actor::unknown(facts.userid)),
    };
    let entry = Entry { trace: Some(trace), ..entry.refused(deny) };
    Decision { verdict: Verdict::Refused, settle, record: Record { entry, changes: Vec::new() } }
}
