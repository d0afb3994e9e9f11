//! Events of the firm, and attempts with their checks in plain words; the page brings in what is new by itself.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::id::PersonId;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::reply::{Answer, Oops, page};
use super::super::shell::{Shell, When};
use super::super::visit::Visit;
use super::oops;
use crate::gate::web::events::{EventQuery, Start};
use crate::gate::web::explain::EntryView;

/// Events of one page.
const PAGE: usize = 50;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    person: Option<String>,
    user: String,
    attempts: Option<String>,
    before: Option<u64>,
    after: Option<u64>,
}

struct Row {
    at: When,
    words: String,
    who: String,
    door: &'static str,
    source: String,
    detail: String,
    is_refused: bool,
    steps: Vec<(&'static str, String)>,
}

impl Row {
    fn of(entry: EntryView) -> Self {
        let on = entry.subject.map(|subject| format!(" on {subject}")).unwrap_or_default();
        Self {
            at: When(entry.at),
            words: entry.words,
            who: format!("{}{on}", entry.actor),
            door: entry.door.id(),
            source: entry.source.map(|source| source.to_string()).unwrap_or_default(),
            detail: entry.detail.unwrap_or_default(),
            is_refused: entry.outcome == doorward_core::audit::Outcome::Refused,
            steps: entry.steps.into_iter().map(|step| (step.state.name(), step.words)).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "console/events.html")]
struct EventsPage {
    shell: Shell,
    title: &'static str,
    user: String,
    attempts: bool,
    rows: Vec<Row>,
    older: Option<String>,
    newer: Option<String>,
}

/// `GET /console/events`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let person = match wanted.person.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(PersonId::parse(text).ok_or(Oops::NotFound)?),
        None => None,
    };
    let attempts = wanted.attempts.is_some();
    let userid = Some(wanted.user.trim().to_owned()).filter(|text| !text.is_empty());
    let query = EventQuery { person, userid, attempts, ..EventQuery::default() };
    let start = match (wanted.before, wanted.after) {
        (Some(no), _) => Start::Before(no),
        (None, Some(no)) => Start::After(no),
        (None, None) => Start::Newest,
    };
    let found = web.gate.events(&asker, &query, start, PAGE).map_err(oops)?;
    let user = doorward_core::text::percent_encoded(&wanted.user);
    let person = person.map(|id| format!("&person={id}")).unwrap_or_default();
    let only = if attempts { "&attempts=1" } else { "" };
    let path = |way: &str, no: u64| format!("/console/events?user={user}{person}{only}&{way}={no}");
    let title = if attempts { "Attempts" } else { "Events" };
    page(&EventsPage {
        shell: Shell::of(&web, &visit, &asker, title),
        title,
        attempts,
        older: found.older.map(|no| path("before", no)),
        newer: found.has_newer.then(|| path("after", found.newer)),
        rows: found.items.into_iter().map(Row::of).collect(),
        user: wanted.user,
    })
}
