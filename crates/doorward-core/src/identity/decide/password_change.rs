//! Somebody changes the own password: the present one proves who asks (P6).

use super::login::{CIPHERTEXT_CHECKS, Opened};
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
    /// PKCS#1 v1.5 where either was padded so; `None` for passwords in clear, which had no ciphertext.
    pub padding: Option<Padding>,
    /// Whether the present password is right.
    pub present_matches: bool,
    /// The new password against the rules, and its hash if it keeps them.
    pub new: Result<Phc, Rule>,
}

/// Why a change is refused: the check that failed, with what was expected and seen.
struct Failed {
    check: Check,
    deny: Deny,
    expected: &'static str,
    seen: &'static str,
}

const fn failed(check: Check, deny: Deny, expected: &'static str, seen: &'static str) -> Failed {
    Failed { check, deny, expected, seen }
}

/// Decides a change of the own password.
pub fn password_change(view: &View<'_>, person: &Person, facts: &Facts, context: &Context) -> Decision {
    let mut trace = Trace::of(Walk::PasswordChange);
    if facts.padding.is_none() {
        CIPHERTEXT_CHECKS.into_iter().for_each(|check| trace.skip(check));
    }
    let proved = proves_present(view, person, facts, context, &mut trace);
    let (failure, rule) = match (proved, &facts.new) {
        (Ok(()), Ok(phc)) => return changed(person, phc, trace, context),
        // Told, and counted like a wrong password all the same: whoever tries many ciphertexts here learns next to nothing.
        (Err(failure), Err(Rule::TooLong)) if failure.check == Check::CiphertextOpens => {
            (failure, Rule::TooLong)
        }
        (Err(failure), _) => (failure, Rule::PresentWrong),
        (Ok(()), Err(rule)) => {
            let (expected, seen) = ("a password by the rules", rule.id());
            (failed(Check::NewPasswordGood, Deny::PasswordRule, expected, seen), *rule)
        }
    };
    let settle =
        if matches!(failure.deny, Deny::WrongPassword | Deny::BadCiphertext | Deny::ReplayedCiphertext) {
            Settle::Wrong
        } else if failure.deny == Deny::PasswordRule {
            Settle::Right
        } else {
            Settle::Neutral
        };
    let factor = if settle == Settle::Right { Factor::Password } else { Factor::Nothing };
    let entry = own_entry(context, Event::PasswordChangeRefused, person).refused(failure.deny);
    let trace = trace.fail(failure.check, failure.expected, failure.seen);
    let record = Record { entry: Entry { factor, trace: Some(trace), ..entry }, changes: Vec::new() };
    Decision { verdict: Verdict::PasswordIssue { reason: rule.id() }, settle, record }
}

/// The checks up to the new password. All that fails here is the present password's fault to the peer.
fn proves_present(
    view: &View<'_>,
    person: &Person,
    facts: &Facts,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), Failed> {
    let admitted = Check::AttemptAdmitted;
    match facts.admission {
        Admission::BackedOff(_) => {
            return Err(failed(admitted, Deny::BackedOff, "no back-off", "the source waits"));
        }
        Admission::PersonLimit => {
            let seen = "another, past the person's limit";
            return Err(failed(admitted, Deny::PersonLimit, "a known source", seen));
        }
        Admission::Go | Admission::Wait => {}
    }
    match facts.opened {
        Opened::Good => {}
        Opened::Replayed => {
            let (expected, seen) = ("a fresh ciphertext", "one seen before");
            return Err(failed(Check::CiphertextFresh, Deny::ReplayedCiphertext, expected, seen));
        }
        Opened::Bad => {
            let (expected, seen) = ("ciphertexts that open to text", "one that does not");
            return Err(failed(Check::CiphertextOpens, Deny::BadCiphertext, expected, seen));
        }
    }
    if facts.padding == Some(Padding::Pkcs1) && !view.policy.pkcs1_allowed {
        return Err(failed(Check::PaddingAllowed, Deny::PaddingOff, "OAEP-SHA256", "PKCS1"));
    }
    if !facts.present_matches {
        let (expected, seen) = ("the present password", "another one");
        return Err(failed(Check::PasswordMatches, Deny::WrongPassword, expected, seen));
    }
    let in_force = match &person.password {
        Password::Initial { expires_us, .. } if context.at >= *expires_us => {
            Err((Check::PasswordInForce, Deny::PasswordExpired))
        }
        Password::Initial { .. } | Password::Own { .. } => Ok(()),
    };
    standing(view, person, context, trace).and(in_force).map_err(|(check, deny)| {
        let (expected, seen) = words(check);
        failed(check, deny, expected, seen)
    })
}

fn changed(person: &Person, phc: &Phc, trace: Trace, context: &Context) -> Decision {
    let entry = own_entry(context, Event::PasswordChanged, person);
    let entry = Entry { factor: Factor::Password, trace: Some(trace), ..entry };
    let password = Password::Own { phc: phc.clone(), set_us: context.at };
    let record = Record { entry, changes: vec![Change::Password { person: person.id, password }] };
    let verdict = Verdict::PasswordChanged { broker_comm_rate: person.profile.broker_comm_rate.clone() };
    Decision { verdict, settle: Settle::Right, record }
}
