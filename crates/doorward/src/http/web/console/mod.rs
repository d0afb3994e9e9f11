//! The console: an administrator's own firm, and for the desk administrators, operators and all events.
//!
//! A step on somebody is a page of its own: what it does, why, and where it is dangerous a fresh one-time password.

mod adding;
mod events;
mod firm_policy;
mod firms;
mod home;
mod mails;
mod people;
mod person;
mod program;
mod step_rows;
mod switch;
#[cfg(test)]
mod tests;

use axum::routing::{get, post};
use doorward_core::identity::decide::{Misuse, Reason};
use doorward_core::identity::halt::{Halt, HaltScope};

use super::WebState;
use super::form::Form;
use super::pages::Pages;
use super::reply::Oops;
use super::shell::When;
use super::visit::Visit;
use crate::gate::web::{Asker, Present, Unserved};

/// The pages of the console.
pub(super) fn routes() -> Pages {
    Pages::new()
        .route("/console", get(home::show))
        .route("/console/people", get(people::list))
        .route("/console/people/new", get(adding::show).post(adding::add))
        .route("/console/people/send-links", post(people::send_links))
        .route("/console/people/{id}", get(person::show))
        .route("/console/people/{id}/grant", get(program::show_grant).post(program::set_grant))
        .route("/console/people/{id}/{act}", get(person::show_step).post(person::step))
        .route("/console/events", get(events::list))
        .route("/console/events/new", get(events::newer))
        .route("/console/mails", get(mails::list))
        .route("/console/mails/again", post(mails::again))
        .route("/console/firms", get(firms::list))
        .route("/console/firms/new", get(firms::show_new).post(firms::add))
        .route("/console/firms/{code}", get(firms::show))
        .route("/console/firms/{code}/close", get(firms::show_close).post(firms::close))
        .route("/console/firms/{code}/open", get(firms::show_open).post(firms::open))
        .route("/console/firms/{code}/policy", get(firm_policy::show_firm).post(firm_policy::set_firm))
        .route("/console/policy", get(firm_policy::show_venue).post(firm_policy::set_venue))
        .route("/console/switch", get(switch::show).post(switch::throw))
        .route("/console/switch/back", get(switch::show_back).post(switch::back))
}

/// What is said in the form where a step was not done; or the page that takes its place.
fn told(unserved: Unserved) -> Result<String, Oops> {
    match unserved {
        Unserved::NotFound => Err(Oops::NotFound),
        Unserved::Oneself => Ok("Nobody does this to themselves: another administrator does.".to_owned()),
        Unserved::Right(right) => Ok(format!("You were not given the right for this: {}", right.doc())),
        Unserved::Stale => Ok("Enter the code that your authenticator shows now.".to_owned()),
        Unserved::Refused(deny) => Ok(deny.doc().to_owned()),
        Unserved::Rule(rule) => Ok(format!("The password breaks a rule: {}", rule.doc())),
        Unserved::Misuse(misuse) => Ok(misuse.text),
        Unserved::ChallengeNeeded => Err(Oops::ChallengeNeeded),
        Unserved::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

/// The same where there is no form to say it in.
fn oops(unserved: Unserved) -> Oops {
    match told(unserved) {
        Ok(text) => Oops::Forbidden(text),
        Err(oops) => oops,
    }
}

/// Whoever asks, with a fresh one-time password; `Err` is what to show at its field (T14).
async fn fresh(
    web: &WebState,
    visit: &Visit,
    asker: Asker,
    form: &Form,
) -> Result<Result<Asker, &'static str>, Oops> {
    if asker.factor_fresh {
        return Ok(Ok(asker));
    }
    if !asker.has_authenticator {
        return Ok(Err("This takes a one-time password, and you have no authenticator."));
    }
    if let Err(text) = form.step_up(web, visit, &asker).await? {
        return Ok(Err(text));
    }
    // The step up made another session of it.
    match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => Ok(Ok(*asker)),
        Present::Stranger | Present::Underway(_) => Err(Oops::Go("/signin".to_owned())),
    }
}

/// The reason and the fresh one-time password of a dangerous step, as the end of a form; templates include
/// `console/why.html`.
#[derive(Clone, Debug, Default)]
pub(super) struct Why {
    reason: String,
    problem: Option<String>,
    needs_code: bool,
    code_problem: Option<&'static str>,
}

impl Why {
    /// For whoever asks, with nothing typed yet.
    fn of(asker: &Asker) -> Self {
        Self { needs_code: !asker.factor_fresh, ..Self::default() }
    }

    /// As it was typed.
    fn typed(asker: &Asker, form: &Form) -> Self {
        Self { reason: form.text("reason").to_owned(), ..Self::of(asker) }
    }
}

/// The reason and a fresh one-time password; `Err` is how the form shows what is lacking.
async fn sure(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    form: &Form,
) -> Result<Result<(Asker, Reason), Why>, Oops> {
    let typed = Why::typed(asker, form);
    let given = form.reason().map_err(ToOwned::to_owned);
    let reason = match given.and_then(|text| Reason::parse(text).map_err(|misuse| misuse.text)) {
        Ok(reason) => reason,
        Err(text) => return Ok(Err(Why { problem: Some(text), ..typed })),
    };
    match fresh(web, visit, asker.clone(), form).await? {
        Ok(asker) => Ok(Ok((asker, reason))),
        Err(text) => Ok(Err(Why { code_problem: Some(text), ..typed })),
    }
}

/// What is said at a field: without its name, which stands there already.
fn at_field(misuse: &Misuse) -> String {
    let text = misuse.text.strip_prefix(misuse.field).and_then(|rest| rest.strip_prefix(": "));
    let text = text.unwrap_or(&misuse.text).replace("..=", " to ");
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), chars.as_str()))
}

/// An emergency switch that is thrown, as pages show it.
#[derive(Clone, Debug)]
pub(super) struct Thrown {
    name: String,
    scope: String,
    since: When,
    reason: String,
}

impl Thrown {
    fn of(scope: &HaltScope, halt: &Halt) -> Self {
        let (scope, name) = (scope.to_string(), scope_words(scope));
        Self { name, scope, since: When(halt.since), reason: halt.reason.clone() }
    }
}

fn scope_words(scope: &HaltScope) -> String {
    match scope {
        HaltScope::Venue => "The whole venue".to_owned(),
        HaltScope::Firm(code) => format!("Firm {code}"),
        HaltScope::Session(id) => format!("FIX session {id}"),
    }
}
