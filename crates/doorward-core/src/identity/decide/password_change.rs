//! Somebody changes the own password: the present one proves who asks (P6).

use super::login::Opened;
use super::{Decision, Settle, View, own_entry, standing, words};
use crate::ask::{Padding, Verdict};
use crate::audit::{Context, Deny, Entry, Event, Factor, Record};
use crate::identity::attempt::Admission;
use crate::identity::change::Change;
use crate::identity::password::Rule;
use crate::identity::person::{Password, Person, Phc};
use crate::trace::{Check, Trace, Walk};

/// What was found out before the change is decided.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the attempt gate said.
    pub admission: Admission,
    /// How the two ciphertexts opened; the worse of both.
    pub opened: Opened,
    /// Whether either was padded with PKCS#1 v1.5.
    pub padding: Padding,
    /// Whether the present password is right.
    pub present_matches: bool,
    /// The new password against the rules, and its hash if it keeps them.
    pub new: Result<Phc, Rule>,
}

/// Decides a change of the own password.
pub fn password_change(view: &View<'_>, person: &Person, facts: &Facts, context: &Context) -> Decision {
    let mut trace = Trace::of(Walk::PasswordChange);
    let refuse = |trace: Trace, check, deny, expected: &str, seen: &str, rule: Rule| {
        let settle = if matches!(deny, Deny::WrongPassword | Deny::BadCiphertext | Deny::ReplayedCiphertext) {
            Settle::Wrong
        } else if facts.present_matches && deny == Deny::PasswordRule {
            Settle::Right
        } else {
            Settle::Neutral
        };
        let entry = own_entry(context, Event::PasswordChangeRefused, person).refused(deny);
        let entry = Entry { trace: Some(trace.fail(check, expected, seen)), ..entry };
        let record = Record { entry, changes: Vec::new() };
        Decision { verdict: Verdict::PasswordIssue { reason: rule.id() }, settle, record }
    };
    let wrong = Rule::PresentWrong;
    match facts.admission {
        Admission::BackedOff(_) => {
            return refuse(
                trace,
                Check::AttemptAdmitted,
                Deny::BackedOff,
                "no back-off",
                "the source waits",
                wrong,
            );
        }
        Admission::PersonLimit => {
            let (expected, seen) = ("a known source", "another, past the person's limit");
            return refuse(trace, Check::AttemptAdmitted, Deny::PersonLimit, expected, seen, wrong);
        }
        Admission::Go | Admission::Wait => {}
    }
    match facts.opened {
        Opened::Good => {}
        Opened::Replayed => {
            let (expected, seen) = ("a fresh ciphertext", "one seen before");
            return refuse(trace, Check::CiphertextFresh, Deny::ReplayedCiphertext, expected, seen, wrong);
        }
        Opened::Bad => {
            let (expected, seen) = ("ciphertexts that open to text", "one that does not");
            return refuse(trace, Check::CiphertextOpens, Deny::BadCiphertext, expected, seen, wrong);
        }
    }
    if facts.padding == Padding::Pkcs1 && !view.policy.pkcs1_allowed {
        return refuse(trace, Check::PaddingAllowed, Deny::PaddingOff, "OAEP-SHA256", "PKCS1", wrong);
    }
    if !facts.present_matches {
        let (expected, seen) = ("the present password", "another one");
        return refuse(trace, Check::PasswordMatches, Deny::WrongPassword, expected, seen, wrong);
    }
    if let Err((check, deny)) = standing(view, person, context, &mut trace) {
        let (expected, seen) = words(check);
        return refuse(trace, check, deny, expected, seen, wrong);
    }
    let phc = match &facts.new {
        Ok(phc) => phc.clone(),
        Err(rule) => {
            return refuse(
                trace,
                Check::NewPasswordGood,
                Deny::PasswordRule,
                "a password by the rules",
                rule.id(),
                *rule,
            );
        }
    };
    let entry = Entry {
        factor: Factor::Password,
        trace: Some(trace),
        ..own_entry(context, Event::PasswordChanged, person)
    };
    let password = Password::Own { phc, set_us: context.at };
    let record = Record { entry, changes: vec![Change::Password { person: person.id, password }] };
    let verdict = Verdict::PasswordChanged { broker_comm_rate: person.profile.broker_comm_rate.clone() };
    Decision { verdict, settle: Settle::Right, record }
}
