//! A program has a customer's login verified: one request, by which nobody is let in (rule 9).

use std::net::IpAddr;
use std::time::Duration;

use super::acting::{Agent, Task};
use super::login::{self, CIPHERTEXT_CHECKS, CODE_CHECKS, before_password, may_enter};
use super::{CodeFact, Decision, Failed, Settle, View, entry_on, failed, outcome_of, take_code};
use crate::ask::{Declined, MadeToken, OnceShown, Padding, Verdict, Verified};
use crate::audit::{Context, Deny, Entry, Event, Factor, Outcome, Record};
use crate::identity::change::Change;
use crate::identity::person::{Password, Person};
use crate::identity::token::{Token, TokenHash};
use crate::trace::{Check, Trace, Walk};

/// A token that is made if all is well.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Of the token as it is shown.
    pub hash: TokenHash,
    /// The token.
    pub shown: OnceShown,
    /// For how long it is good.
    pub valid: Duration,
}

/// What was found out before it is decided.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// As at a login.
    pub login: login::Facts<'a>,
    /// The customer's address, as the program says.
    pub source: Option<IpAddr>,
    /// The token, where one is wanted.
    pub token: Option<NewToken>,
}

/// One customer of one program.
struct Case<'a> {
    agent: &'a Agent<'a>,
    view: &'a View<'a>,
    facts: &'a Facts<'a>,
    context: &'a Context,
}

/// Whether a program may have logins verified, with a token or without; the refusal where it may not. To be asked before
/// any password is looked at.
pub fn may_verify(agent: &Agent<'_>, wants_token: bool, context: &Context) -> Result<(), Box<Decision>> {
    let tasks = [(Task::Verify, None), (Task::Token, Some("gentoken"))];
    for (task, field) in tasks.into_iter().take(if wants_token { 2 } else { 1 }) {
        if let Err(failed) = agent.may(task, context) {
            let record = agent.refused(failed, None, Walk::Verify, "verify", context);
            let verdict = Verdict::Declined(Declined::NotPermitted { field });
            return Err(Box::new(Decision { verdict, settle: Settle::Neutral, record }));
        }
    }
    Ok(())
}

/// Decides the login of a customer for a program. Whom the program does not serve is nobody to it: the gate compares
/// nobody's password. What must not be told apart ends in [`Verdict::Refused`] (rule 4); that a customer is disabled is
/// told after the right password only.
pub fn verify(agent: &Agent<'_>, view: &View<'_>, facts: &Facts<'_>, context: &Context) -> Decision {
    if let Err(refused) = may_verify(agent, facts.token.is_some(), context) {
        return *refused;
    }
    let case = Case { agent, view, facts, context };
    let mut trace = Trace::of(Walk::Verify);
    if facts.login.padding.is_none() {
        CIPHERTEXT_CHECKS.into_iter().for_each(|check| trace.skip(check));
    }
    let served = view.person.filter(|person| agent.serves(person));
    if let Some((check, deny, expected, seen)) = before_password(&facts.login) {
        return case.refuse(served, failed(check, deny, expected, seen), trace);
    }
    let Some(person) = served else {
        let (check, deny) = (Check::PersonKnown, Deny::UnknownUser);
        return case.refuse(
            None,
            failed(check, deny, "a user id of somebody who is served", "another"),
            trace,
        );
    };
    if facts.login.padding == Some(Padding::Pkcs1) && !view.policy.pkcs1_allowed {
        let failed = failed(Check::PaddingAllowed, Deny::PaddingOff, "OAEP-SHA256", "PKCS1");
        return case.refuse(Some(person), failed, trace);
    }
    if !facts.login.password_matches {
        let (check, deny) = (Check::PasswordMatches, Deny::WrongPassword);
        return case.refuse(Some(person), failed(check, deny, "the person's password", "another one"), trace);
    }
    case.right_password(person, trace)
}

/// Whether a one-time password is looked at, once the password is right: not for somebody who may not come in, or has
/// something to do first.
pub fn looks_at_code(view: &View<'_>, person: &Person, context: &Context) -> bool {
    may_enter(view, person, context, &mut Trace::of(Walk::Verify)).is_ok()
        && person.authenticator.comparable().is_some()
        && is_own(&person.password)
}

const fn is_own(password: &Password) -> bool {
    match password {
        Password::Own { .. } => true,
        Password::Initial { .. } => false,
    }
}

/// Marks what comes from a check on as not needed.
fn skip_from(trace: &mut Trace, first: Check) {
    let checks = trace.walk.checks();
    for check in checks.iter().skip_while(|check| **check != first) {
        trace.skip(*check);
    }
}

impl Case<'_> {
    fn entry(&self, event: Event, person: Option<&Person>) -> Entry {
        let entry = match person {
            Some(person) => entry_on(self.context, event, person, self.agent.actor()),
            None => Entry::new(self.context, event, self.agent.actor()).naming(self.facts.login.userid),
        };
        match self.facts.source {
            Some(source) => entry.with_detail(format!("for {source}")),
            None => entry,
        }
    }

    /// No, and nothing more is said.
    fn refuse(&self, person: Option<&Person>, failed: Failed, trace: Trace) -> Decision {
        let wrong = matches!(
            failed.deny,
            Deny::BadCiphertext | Deny::ReplayedCiphertext | Deny::UnknownUser | Deny::WrongPassword
        );
        let settle = if wrong { Settle::Wrong } else { Settle::Neutral };
        let ruling = failed.refuse(self.entry(Event::VerifyRefused, person), trace, Vec::new());
        Decision { verdict: Verdict::Refused, settle, record: ruling.record }
    }

    fn right_password(&self, person: &Person, mut trace: Trace) -> Decision {
        match may_enter(self.view, person, self.context, &mut trace) {
            Ok(()) => {}
            Err((first @ Check::PersonActive, _)) => {
                skip_from(&mut trace, first);
                let told = Verified { active: false, ..self.told(person) };
                return self.known(told, person, trace, "disabled");
            }
            Err(found) => {
                let mut decision = self.refuse(Some(person), Failed::of_standing(found), trace);
                decision.record.entry.factor = Factor::Password;
                return decision;
            }
        }
        let has_seed = person.authenticator.comparable().is_some();
        let must_change = !is_own(&person.password);
        let must_register = !has_seed && person.needs_otp(&self.view.policy);
        if must_change || must_register {
            skip_from(&mut trace, Check::AuthenticatorRegistered);
            let told = Verified { must_register, must_change, ..self.told(person) };
            let what = if must_change { "the password is to be changed" } else { "not registered" };
            return self.known(told, person, trace, what);
        }
        match self.facts.login.code {
            CodeFact::Given { offset } if has_seed => self.with_code(person, offset, trace),
            CodeFact::Given { .. } | CodeFact::NotGiven => self.without_code(person, has_seed, trace),
        }
    }

    /// By the password alone: level 0.
    fn without_code(&self, person: &Person, has_seed: bool, mut trace: Trace) -> Decision {
        let wanted = self.facts.token.is_some();
        if wanted && (has_seed || !self.agent.holds(Task::TokenOnPassword)) {
            let trace = trace.fail(Check::CodeGiven, "a one-time password beside gentoken", "none");
            let entry = self.entry(Event::CodeAsked, Some(person));
            let entry = Entry { factor: Factor::Password, outcome: Outcome::Asked, ..entry };
            let record = Record { entry: Entry { trace: Some(trace), ..entry }, changes: Vec::new() };
            let verdict = Verdict::Declined(Declined::CodeMissing);
            return Decision { verdict, settle: Settle::Right, record };
        }
        CODE_CHECKS.into_iter().for_each(|check| trace.skip(check));
        let entry = Entry { factor: Factor::Password, ..self.entry(Event::LoginVerified, Some(person)) };
        self.verified(person, 0, Entry { trace: Some(trace), ..entry }, Vec::new())
    }

    /// By a one-time password as well: level 1 where it is good.
    fn with_code(&self, person: &Person, offset: Option<i8>, trace: Trace) -> Decision {
        let code = take_code(self.view, person, offset, self.context, trace);
        // Another one: the code registered the authenticator, or was refused.
        let verified = code.event == Event::LoginGranted;
        let event = if verified { Event::LoginVerified } else { code.event };
        let entry = Entry {
            factor: if code.factor_proved { Factor::PasswordAndCode } else { Factor::Password },
            outcome: outcome_of(code.reason),
            reason: code.reason,
            trace: Some(code.trace),
            ..self.entry(event, Some(person))
        };
        if code.factor_proved {
            return self.verified(person, 1, entry, code.changes);
        }
        // Another one: the clock is suspect, or there is nothing to compare with any more.
        let refused = matches!(code.verdict, Verdict::CodeRefused(_));
        let verdict = if refused { Verdict::Declined(Declined::InvalidToken) } else { code.verdict };
        Decision { verdict, settle: Settle::Right, record: Record { entry, changes: code.changes } }
    }

    /// All is well: with the token, where one is wanted.
    fn verified(&self, person: &Person, level: u8, entry: Entry, mut changes: Vec<Change>) -> Decision {
        let made = self.facts.token.as_ref().map(|new| {
            // The code may have registered an authenticator, and that ends what was there.
            let mut after = person.clone();
            changes.iter().for_each(|change| after.apply(change));
            let expires_at = self.context.at + new.valid;
            let (hash, by, made_at) = (new.hash, self.agent.person.id, self.context.at);
            let token = Token { hash, made_at, expires_at, by, level };
            let tokens = after.tokens.with(token, self.context.at);
            changes.push(Change::Tokens { person: person.id, tokens });
            MadeToken { token: new.shown.clone(), expires: expires_at }
        });
        let before = entry.detail.clone().map(|detail| format!("; {detail}")).unwrap_or_default();
        let until = made.as_ref().map(|made| format!(", token until {}", made.expires)).unwrap_or_default();
        let entry = entry.with_detail(format!("level {level}{until}{before}"));
        let told = Verified { level, token: made, ..self.told(person) };
        let verdict = Verdict::Verified(Box::new(told));
        Decision { verdict, settle: Settle::Right, record: Record { entry, changes } }
    }

    /// The password was right, and something keeps the customer from coming in: level 0, never a token.
    fn known(&self, told: Verified, person: &Person, trace: Trace, what: &str) -> Decision {
        let entry = Entry { factor: Factor::Password, ..self.entry(Event::LoginVerified, Some(person)) };
        let before = entry.detail.clone().map(|detail| format!("; {detail}")).unwrap_or_default();
        let entry = Entry { trace: Some(trace), ..entry.with_detail(format!("level 0, {what}{before}")) };
        let verdict = Verdict::Verified(Box::new(told));
        Decision { verdict, settle: Settle::Right, record: Record { entry, changes: Vec::new() } }
    }

    fn told(&self, person: &Person) -> Verified {
        Verified {
            userid: person.userid.clone(),
            active: true,
            level: 0,
            attr: person.profile.attr.clone(),
            token: None,
            must_register: false,
            must_change: false,
        }
    }
}
