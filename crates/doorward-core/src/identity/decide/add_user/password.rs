//! Passwords that somebody sets for others: with the present one, or without.

use super::steps::Steps;
use super::{CHANGE, Stepped};
use crate::ask::{Declined, Padding, TraderDetails, Verdict};
use crate::audit::{Context, Deny, Entry, Event, Record};
use crate::identity::attempt::Admission;
use crate::identity::change::Change;
use crate::identity::decide::acting::{Agent, Task};
use crate::identity::decide::link::knows_password;
use crate::identity::decide::login::Opened;
use crate::identity::decide::password_set::{initial, password_set};
use crate::identity::decide::{Failed, Settle, View, entry_on, failed, standing};
use crate::identity::enrolment::Authenticator;
use crate::identity::password::Rule;
use crate::identity::person::{Kind, Password, Person, Phc};
use crate::identity::policy::Effective;
use crate::trace::{Check, Trace, Walk};

/// A new password as it was found, and its hash if it can be one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPassword {
    /// How it was padded; `None` for one in clear.
    pub padding: Option<Padding>,
    /// How its ciphertext opened.
    pub opened: Opened,
    /// Against the rules.
    pub hashed: Result<Phc, Rule>,
}

/// The password of a change, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordFacts {
    /// With the present one beside it.
    Changed {
        /// What the attempt gate said.
        admission: Admission,
        /// How the present one was padded.
        padding: Option<Padding>,
        /// How its ciphertext opened.
        opened: Opened,
        /// Whether it is right.
        matches: bool,
        /// The new one.
        new: NewPassword,
    },
    /// Without.
    Reset(NewPassword),
}

impl PasswordFacts {
    /// Whether a new password is looked at at all. With a present one that proves nothing it is not, whatever the reason:
    /// what it costs would tell that the password was right, for instance of somebody who is disabled (E3).
    pub fn is_proved(&self, view: &View<'_>, person: &Person, context: &Context) -> bool {
        match self {
            Self::Reset(_) => true,
            Self::Changed { admission, padding, opened, matches, new: _ } => {
                proved(view, person, (*admission, *padding, *opened, *matches), context).is_ok()
            }
        }
    }
}

/// A password that cannot be set.
pub(super) struct Unusable {
    failed: Failed,
    verdict: Verdict,
}

impl Unusable {
    pub(super) fn stepped(
        self,
        agent: &Agent<'_>,
        target: Option<&Person>,
        settle: Settle,
        what: &str,
        context: &Context,
    ) -> Stepped {
        let records = vec![agent.refused(self.failed, target, Walk::Act, what, context)];
        Stepped { verdict: self.verdict, settle, records }
    }

    fn of_rule(check: Check, deny: Deny, expected: &'static str, seen: &'static str, rule: Rule) -> Self {
        let verdict = Verdict::PasswordIssue { reason: rule.id() };
        Self { failed: failed(check, deny, expected, seen), verdict }
    }
}

/// The hash of a new password, if it can be set; `field`: the one that it was sent in.
pub(super) fn usable(
    new: &NewPassword,
    field: &'static str,
    policy: &Effective,
) -> Result<Phc, Box<Unusable>> {
    let unreadable = |check, deny, expected, seen, field| {
        let verdict = Verdict::Declined(Declined::Invalid { field });
        Err(Box::new(Unusable { failed: failed(check, deny, expected, seen), verdict }))
    };
    if new.padding == Some(Padding::Pkcs1) && !policy.pkcs1_allowed {
        return unreadable(Check::PaddingAllowed, Deny::PaddingOff, "OAEP-SHA256", "PKCS1", "padding");
    }
    match (new.opened, &new.hashed) {
        (Opened::Good, Ok(phc)) => Ok(phc.clone()),
        (Opened::Good, Err(rule)) => {
            let (check, deny) = (Check::NewPasswordGood, Deny::PasswordRule);
            Err(Box::new(Unusable::of_rule(check, deny, "a password by the rules", rule.id(), *rule)))
        }
        // Nobody is told whether it was too long or did not open, here where any number of ciphertexts can be tried: what
        // a broken one decrypts to by chance is nearly always long (E3).
        (Opened::Bad, _) => {
            let (check, deny) = (Check::CiphertextOpens, Deny::BadCiphertext);
            let (expected, seen) = ("a ciphertext that opens to text that can be a password", "another one");
            Err(Box::new(Unusable::of_rule(check, deny, expected, seen, Rule::TooLong)))
        }
        (Opened::Replayed, _) => {
            let (check, deny) = (Check::CiphertextFresh, Deny::ReplayedCiphertext);
            unreadable(check, deny, "a fresh ciphertext", "one seen before", field)
        }
    }
}

/// The field of a new password in a change.
const NEW: &str = "newpass";

/// Whether the present password of somebody proves that the change is theirs. What fails here is one answer.
fn proved(
    view: &View<'_>,
    person: &Person,
    facts: (Admission, Option<Padding>, Opened, bool),
    context: &Context,
) -> Result<(), Failed> {
    let (admission, padding, opened, matches) = facts;
    match admission {
        Admission::BackedOff(until) => {
            let seen = format!("the source waits until {until}");
            return Err(failed(Check::AttemptAdmitted, Deny::BackedOff, "no back-off", seen));
        }
        Admission::PersonLimit => {
            let seen = "another, past the person's limit";
            return Err(failed(Check::AttemptAdmitted, Deny::PersonLimit, "a known source", seen));
        }
        Admission::Go | Admission::Wait => {}
    }
    match opened {
        Opened::Good => {}
        Opened::Replayed => {
            let (check, deny) = (Check::CiphertextFresh, Deny::ReplayedCiphertext);
            return Err(failed(check, deny, "a fresh ciphertext", "one seen before"));
        }
        Opened::Bad => {
            let (check, deny) = (Check::CiphertextOpens, Deny::BadCiphertext);
            return Err(failed(check, deny, "a ciphertext that opens to text", "one that does not"));
        }
    }
    if padding == Some(Padding::Pkcs1) && !view.policy.pkcs1_allowed {
        return Err(failed(Check::PaddingAllowed, Deny::PaddingOff, "OAEP-SHA256", "PKCS1"));
    }
    if !matches {
        let (check, deny) = (Check::PasswordMatches, Deny::WrongPassword);
        return Err(failed(check, deny, "the present password", "another one"));
    }
    standing(view, person, context, &mut Trace::of(Walk::Act)).map_err(Failed::of_standing)?;
    if matches!(person.authenticator, Authenticator::Locked { .. }) {
        return Err(Failed::of_standing((Check::AuthenticatorUnlocked, Deny::Locked)));
    }
    match &person.password {
        Password::Initial { expires_us, .. } if context.at >= *expires_us => {
            Err(Failed::of_standing((Check::PasswordInForce, Deny::PasswordExpired)))
        }
        Password::Initial { .. } | Password::Own { .. } => Ok(()),
    }
}

/// Sets another password as it was found; the refusal where it cannot be.
pub(super) fn new_password(
    steps: &mut Steps<'_>,
    view: &View<'_>,
    person: &Person,
    details: &TraderDetails,
    facts: &PasswordFacts,
) -> Result<Settle, Box<Stepped>> {
    let (agent, context) = (steps.agent, steps.context);
    let refused =
        |unusable: Unusable, settle| Box::new(unusable.stepped(agent, Some(person), settle, CHANGE, context));
    match facts {
        PasswordFacts::Reset(new) => {
            let phc = usable(new, NEW, &view.policy).map_err(|no| refused(*no, Settle::Neutral))?;
            let mut record = password_set(person, phc.clone(), &view.policy, agent.actor(), context);
            if details.initial == Some(false) {
                let password = Password::Own { phc, set_us: context.at };
                let set = Change::Password { person: person.id, password };
                let first = record.changes.iter_mut().find(|change| is_password(change));
                first.into_iter().for_each(|change| *change = set.clone());
            }
            steps.push(record);
            Ok(Settle::Neutral)
        }
        PasswordFacts::Changed { admission, padding, opened, matches, new } => {
            proved(view, person, (*admission, *padding, *opened, *matches), context).map_err(|failed| {
                let wrong = matches!(
                    failed.deny,
                    Deny::WrongPassword | Deny::BadCiphertext | Deny::ReplayedCiphertext
                );
                let verdict = Verdict::PasswordIssue { reason: Rule::PresentWrong.id() };
                let settle = if wrong { Settle::Wrong } else { Settle::Neutral };
                refused(Unusable { failed, verdict }, settle)
            })?;
            let phc = usable(new, NEW, &view.policy).map_err(|no| refused(*no, Settle::Right))?;
            let password = if details.initial == Some(true) || may_not_last(agent, person) {
                initial(phc, &view.policy, Some(agent.person.id), context)
            } else {
                Password::Own { phc, set_us: context.at }
            };
            let entry = entry_on(context, Event::PasswordChanged, person, agent.actor());
            let entry = Entry { trace: Some(Trace::of(Walk::Act)), ..entry };
            steps.push(Record { entry, changes: vec![Change::Password { person: person.id, password }] });
            Ok(Settle::Right)
        }
    }
}

/// Whether the present password does not prove that its owner chose the new one: the asker set it, or is an
/// administrator, who knows both from now on. The right to set lasting ones is for whoever relays a first change.
fn may_not_last(agent: &Agent<'_>, person: &Person) -> bool {
    let knows = agent.person.kind == Kind::Administrator || knows_password(person, &agent.actor());
    knows && !agent.holds(Task::LastingPassword)
}

const fn is_password(change: &Change) -> bool {
    matches!(change, Change::Password { .. })
}
