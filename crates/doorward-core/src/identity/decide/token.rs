//! Tokens: a login with one, and what the program that had it made may do with it (rule 9).

use super::acting::{Agent, Task};
use super::{Decision, Failed, Settle, View, allow, entry_on, failed, granted, own_entry, standing};
use crate::ask::{Declined, Verdict};
use crate::audit::{Actor, Context, Deny, Entry, Event, Factor, Record};
use crate::id::UserId;
use crate::identity::attempt::Admission;
use crate::identity::change::Change;
use crate::identity::enrolment::Authenticator;
use crate::identity::person::{Kind, Password, Person};
use crate::identity::token::{Token, TokenHash};
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

/// What was found out about a login with a token before it is decided.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The user id as sent.
    pub userid: &'a str,
    /// What the attempt gate said: a token is a secret like any other (S5).
    pub admission: Admission,
    /// Of the token as sent.
    pub hash: TokenHash,
}

/// Decides a login with a token. Whatever the reason, a refusal is one answer.
pub fn login(view: &View<'_>, facts: &Facts<'_>, context: &Context) -> Decision {
    let mut trace = Trace::of(Walk::TokenLogin);
    match may_enter(view, facts, context, &mut trace) {
        Ok((person, token)) => {
            let entry = own_entry(context, Event::LoginGranted, person);
            let entry =
                Entry { factor: Factor::Token, ..entry }.with_detail(format!("level {}", token.level));
            let record = allow(entry, trace, Vec::new()).record;
            Decision { verdict: Verdict::Granted(granted(person)), settle: Settle::Neutral, record }
        }
        Err(failed) => {
            // What was one of theirs once is no guess: it is over, or proves less than is asked of them now.
            let theirs = |person: &Person| person.tokens.iter().any(|token| token.hash == facts.hash);
            let guessed = failed.deny == Deny::TokenUnknown && !view.person.is_some_and(theirs);
            let wrong = guessed || failed.deny == Deny::UnknownUser;
            let settle = if wrong { Settle::Wrong } else { Settle::Neutral };
            let entry = match view.person {
                Some(person) => own_entry(context, Event::LoginRefused, person),
                None => Entry::new(context, Event::LoginRefused, Actor::unknown(facts.userid)),
            };
            let record = failed.refuse(entry, trace, Vec::new()).record;
            Decision { verdict: Verdict::Declined(Declined::InvalidToken), settle, record }
        }
    }
}

fn may_enter<'a>(
    view: &View<'a>,
    facts: &Facts<'_>,
    context: &Context,
    trace: &mut Trace,
) -> Result<(&'a Person, &'a Token), Failed> {
    let admitted = Check::AttemptAdmitted;
    match facts.admission {
        Admission::BackedOff(until) => {
            let seen = format!("the source waits until {until}");
            return Err(failed(admitted, Deny::BackedOff, "no back-off", seen));
        }
        Admission::PersonLimit => {
            let seen = "too many wrong passwords in a row, and a source that is none of the person's";
            return Err(failed(admitted, Deny::PersonLimit, "a known source", seen));
        }
        Admission::Go | Admission::Wait => {}
    }
    let Some(person) = view.person else {
        return Err(failed(Check::PersonKnown, Deny::UnknownUser, "a known user id", "another one"));
    };
    let Some(token) = good(view, person, &facts.hash, context.at) else {
        let expected = "a token of the person's that is good";
        return Err(failed(Check::TokenLive, Deny::TokenUnknown, expected, "another one"));
    };
    standing(view, person, context, trace).map_err(Failed::of_standing)?;
    if matches!(person.authenticator, Authenticator::Locked { .. }) {
        return Err(Failed::of_standing((Check::AuthenticatorUnlocked, Deny::Locked)));
    }
    match person.password {
        Password::Own { .. } => Ok((person, token)),
        Password::Initial { .. } => {
            let (check, deny) = (Check::PasswordOwn, Deny::InitialPassword);
            Err(failed(check, deny, "a password of one's own", "an initial one"))
        }
    }
}

/// A trader's token while it is good: in time, and proved by as much as is asked of them now.
fn good<'a>(view: &View<'_>, person: &'a Person, hash: &TokenHash, now: Wall) -> Option<&'a Token> {
    let token = person.tokens.live(hash, now)?;
    let proved = token.level > 0 || !person.needs_otp(&view.policy);
    (person.kind == Kind::Trader && proved).then_some(token)
}

/// A token of a trader whom a program serves, whether it lets anybody in just now or not.
fn found<'a>(
    agent: &Agent<'_>,
    view: &View<'a>,
    hash: &TokenHash,
    userid: Option<&str>,
    now: Wall,
) -> Option<(&'a Person, &'a Token)> {
    let person = view.person.filter(|person| agent.serves(person))?;
    let named = userid.is_none_or(|of| UserId::parse(of).as_ref() == Ok(&person.userid));
    let token = person.tokens.live(hash, now)?;
    named.then_some((person, token))
}

fn not_permitted(agent: &Agent<'_>, failed: Failed, what: &str, context: &Context) -> (Verdict, Record) {
    let record = agent.refused(failed, None, Walk::Act, what, context);
    (Verdict::Declined(Declined::NotPermitted { field: None }), record)
}

/// Whose a token is and until when it is good; `view`: of whoever has it. A reading is not written down, that it was
/// refused is.
pub fn check(
    agent: &Agent<'_>,
    view: &View<'_>,
    hash: &TokenHash,
    userid: Option<&str>,
    context: &Context,
) -> (Verdict, Option<Record>) {
    if let Err(failed) = agent.may(Task::Token, context) {
        let (verdict, record) = not_permitted(agent, failed, "check-token", context);
        return (verdict, Some(record));
    }
    let open = !view.halted && !view.firm.is_some_and(|firm| firm.closed);
    let found = found(agent, view, hash, userid, context.at);
    match found.filter(|(person, _)| open && good(view, person, hash, context.at).is_some()) {
        Some((person, token)) => (known(person, token), None),
        None => (Verdict::Declined(Declined::InvalidToken), None),
    }
}

/// Ends a token, one that sleeps as well: its firm may be opened again, or less be asked of its customer; `view`: of
/// whoever has it.
pub fn revoke(
    agent: &Agent<'_>,
    view: &View<'_>,
    hash: &TokenHash,
    userid: Option<&str>,
    context: &Context,
) -> (Verdict, Option<Record>) {
    if let Err(failed) = agent.may(Task::Token, context) {
        let (verdict, record) = not_permitted(agent, failed, "revoke-token", context);
        return (verdict, Some(record));
    }
    match found(agent, view, hash, userid, context.at) {
        Some((person, token)) => {
            let tokens = person.tokens.without(hash);
            let entry = entry_on(context, Event::TokenRevoked, person, agent.actor());
            let changes = vec![Change::Tokens { person: person.id, tokens }];
            (known(person, token), Some(Record { entry, changes }))
        }
        None => (Verdict::Declined(Declined::InvalidToken), None),
    }
}

fn known(person: &Person, token: &Token) -> Verdict {
    Verdict::TokenKnown { userid: person.userid.clone(), expires: token.expires_at }
}
