//! The console: an administrator's own firm, and for the desk administrators, operators and all events.
//!
//! A step on somebody is a page of its own: what it does, why, and where it is dangerous a fresh one-time password.

mod events;
mod people;
mod person;
mod step_rows;

use axum::routing::{get, post};

use super::WebState;
use super::form::Form;
use super::pages::Pages;
use super::reply::Oops;
use super::visit::Visit;
use crate::gate::web::{Asker, Present, Unserved};

/// The pages of the console.
pub(super) fn routes() -> Pages {
    Pages::new()
        .route("/console/people", get(people::list))
        .route("/console/people/new", get(people::show_new).post(people::add))
        .route("/console/people/send-links", post(people::send_links))
        .route("/console/people/{id}", get(person::show))
        .route("/console/people/{id}/{act}", get(person::show_step).post(person::step))
        .route("/console/events", get(events::list))
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
    if let Err(text) = form.step_up(web, visit, &asker).await? {
        return Ok(Err(text));
    }
    // The step up made another session of it.
    match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => Ok(Ok(*asker)),
        Present::Stranger | Present::Underway(_) => Err(Oops::Go("/signin".to_owned())),
    }
}
