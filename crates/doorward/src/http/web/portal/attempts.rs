//! What was tried in one's own name, with every check in plain words.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::audit::Outcome;
use serde::Deserialize;

use crate::gate::web::explain::{EntryView, StepState, StepView};
use crate::http::web::WebState;
use crate::http::web::asking::SignedIn;
use crate::http::web::reply::{Answer, Oops, page};
use crate::http::web::shell::{Shell, When, door};
use crate::http::web::visit::Visit;

/// Attempts on one page.
const SHOWN: usize = 20;

/// What may stand behind the question mark.
#[derive(Deserialize, Default)]
pub(super) struct From {
    before: Option<u64>,
}

#[derive(Template)]
#[template(path = "portal/attempts.html")]
struct AttemptsPage {
    shell: Shell,
    attempts: Vec<Attempt>,
    is_first: bool,
    before: Option<u64>,
}

struct Attempt {
    at: When,
    outcome: Outcome,
    door: &'static str,
    source: String,
    words: String,
    detail: Option<String>,
    steps: Vec<StepView>,
}

impl Attempt {
    /// Class and text of the mark.
    const fn mark(&self) -> (&'static str, &'static str) {
        match self.outcome {
            Outcome::Allowed => ("good", "Went well"),
            Outcome::Asked => ("", "Asked for more"),
            Outcome::Refused => ("bad", "Refused"),
        }
    }

    fn of(entry: EntryView) -> Self {
        Self {
            at: When(entry.at),
            outcome: entry.outcome,
            door: door(entry.door),
            source: entry.source.map(|source| source.to_string()).unwrap_or_default(),
            words: entry.words,
            detail: entry.detail,
            steps: entry.steps,
        }
    }
}

/// `GET /account/attempts`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    from: Result<Query<From>, QueryRejection>,
) -> Answer {
    let Query(From { before }) = from.map_err(|_| Oops::NotFound)?;
    let found = web.gate.own_attempts(asker.person, before, SHOWN)?;
    page(&AttemptsPage {
        shell: Shell::of(&web, &visit, &asker, "Sign-in attempts"),
        attempts: found.items.into_iter().map(Attempt::of).collect(),
        is_first: before.is_none(),
        before: found.before,
    })
}
