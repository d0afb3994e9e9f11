//! Events of the firm, and attempts with their checks in plain words; the page brings in what is new by itself.

use std::time::Duration;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use doorward_core::audit::{Door, Event, Outcome};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::person::Kind;
use doorward_core::text::percent_encoded;
use doorward_core::time::Wall;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::{OnConsole, Watching};
use super::super::reply::{Answer, Oops, page};
use super::super::shell::{Shell, When};
use super::super::visit::Visit;
use super::oops;
use crate::gate::web::events::{EventQuery, Start};
use crate::gate::web::explain::{EntryView, StepState};

/// Events of one page.
const PAGE: usize = 25;
/// Attempts of one page: each brings its checks.
const ATTEMPTS: usize = 15;
/// From so many numbers on, a page that found nothing new looks from further on the next time.
const BEHIND_MAX: u64 = 500;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Where something came in, for the select box.
const DOORS: [(&str, &str); 6] = [
    ("websocket", "WebSocket"),
    ("fix", "FIX"),
    ("portal", "Portal"),
    ("console", "Console"),
    ("local", "Command line"),
    ("node", "Server"),
];
const OUTCOMES: [(&str, &str); 3] =
    [("allowed", "Done"), ("asked", "Asked for more"), ("refused", "Refused")];

/// What was asked for, as the path has it.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    person: String,
    user: String,
    event: String,
    outcome: String,
    door: String,
    since: String,
    until: String,
    firm: String,
    attempts: String,
    before: Option<u64>,
    after: Option<u64>,
}

impl Wanted {
    fn attempts(&self) -> bool {
        !self.attempts.is_empty()
    }

    const fn limit(attempts: bool) -> usize {
        if attempts { ATTEMPTS } else { PAGE }
    }

    /// What was asked for; what cannot be is not there.
    fn query(&self) -> Result<EventQuery, Oops> {
        fn read<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Oops> {
            let text = text.trim();
            if text.is_empty() { Ok(None) } else { read(text).map(Some).ok_or(Oops::NotFound) }
        }
        let day = |text: &str| Wall::parse(&format!("{text}T00:00:00Z"));
        let until = read(&self.until, day)?.map(|day| day + DAY);
        Ok(EventQuery {
            firm: read(&self.firm, |text| FirmCode::parse(text).ok())?,
            person: read(&self.person, PersonId::parse)?,
            userid: read(&self.user, |text| Some(text.to_owned()))?,
            event: read(&self.event, |text| Event::from_id(&text.replace(' ', "-")))?,
            outcome: read(&self.outcome, Outcome::from_id)?,
            door: read(&self.door, Door::from_id)?,
            since: read(&self.since, day)?,
            until,
            attempts: self.attempts(),
            ..EventQuery::default()
        })
    }

    /// The filters that are set, for a path.
    fn path(&self, page: &str) -> String {
        let fields = [
            ("person", &self.person),
            ("user", &self.user),
            ("event", &self.event),
            ("outcome", &self.outcome),
            ("door", &self.door),
            ("since", &self.since),
            ("until", &self.until),
            ("firm", &self.firm),
            ("attempts", &self.attempts),
        ];
        let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let set = set.map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        format!("{page}?{}", set.collect::<Vec<_>>().join("&"))
    }

    fn is_filtered(&self) -> bool {
        let fields = [&self.person, &self.user, &self.event, &self.outcome, &self.door, &self.since];
        fields.iter().chain([&&self.until, &&self.firm]).any(|text| !text.is_empty())
    }
}

struct Row {
    no: u64,
    at: When,
    words: String,
    who: String,
    door: &'static str,
    source: String,
    detail: String,
    mark: Option<(&'static str, &'static str)>,
    steps: Vec<(&'static str, String)>,
}

impl Row {
    fn of(entry: EntryView, with_steps: bool) -> Self {
        let on = entry.subject.map(|subject| format!(" on {subject}")).unwrap_or_default();
        let steps = entry.steps.into_iter().filter(|step| with_steps && was_reached(step.state));
        Self {
            no: entry.no,
            at: When(entry.at),
            words: entry.words,
            who: format!("{}{on}", entry.actor),
            door: door_words(entry.door),
            source: entry.source.map(|source| source.to_string()).unwrap_or_default(),
            detail: entry.detail.unwrap_or_default(),
            mark: match entry.outcome {
                Outcome::Allowed if with_steps => Some(("good", "went well")),
                Outcome::Allowed => None,
                Outcome::Asked => Some(("", "asked for more")),
                Outcome::Refused => Some(("warn", "refused")),
            },
            steps: steps.map(|step| (step.state.name(), step.words)).collect(),
        }
    }
}

/// What says something: the rest was not looked at, or did not matter.
const fn was_reached(state: StepState) -> bool {
    match state {
        StepState::Passed | StepState::Failed => true,
        StepState::NotNeeded | StepState::NotReached => false,
    }
}

fn door_words(door: Door) -> &'static str {
    DOORS.iter().find(|(id, _)| *id == door.id()).map_or(door.id(), |(_, words)| words)
}

#[derive(Template)]
#[template(path = "console/events.html")]
struct EventsPage {
    shell: Shell,
    title: &'static str,
    wanted: Wanted,
    attempts: bool,
    is_desk: bool,
    is_filtered: bool,
    /// All kinds of events, as words.
    events: Vec<String>,
    outcomes: [(&'static str, &'static str); 3],
    doors: [(&'static str, &'static str); 6],
    rows: Vec<Row>,
    newest: String,
    is_newest: bool,
    older: Option<String>,
    newer: Option<String>,
    /// Where the page asks for what is new; only the newest page does.
    live: Option<String>,
}

/// `GET /console/events`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let wanted = wanted.map(|Query(wanted)| wanted).map_err(|_| Oops::NotFound)?;
    let attempts = wanted.attempts();
    let start = match (wanted.before, wanted.after) {
        (Some(no), _) => Start::Before(no),
        (None, Some(no)) => Start::After(no),
        (None, None) => Start::Newest,
    };
    let limit = Wanted::limit(attempts);
    let found = web.gate.events(&asker, &wanted.query()?, start, limit).map_err(oops)?;
    let newest = wanted.path("/console/events");
    let is_newest = start == Start::Newest;
    // What has an end will have nothing new.
    let live = (is_newest && wanted.until.is_empty()).then(|| live_path(&wanted, found.newer));
    let title = if attempts { "Attempts" } else { "Events" };
    page(&EventsPage {
        shell: Shell::of(&web, &visit, &asker, title),
        title,
        attempts,
        is_desk: asker.kind == Kind::Desk,
        is_filtered: wanted.is_filtered(),
        events: Event::ALL.iter().map(|event| event.id().replace('-', " ")).collect(),
        outcomes: OUTCOMES,
        doors: DOORS,
        older: found.older.map(|no| format!("{newest}&before={no}")),
        newer: found.has_newer.then(|| format!("{newest}&after={}", found.newer)),
        rows: found.items.into_iter().map(|entry| Row::of(entry, attempts)).collect(),
        newest,
        is_newest,
        live,
        wanted,
    })
}

fn live_path(wanted: &Wanted, after: u64) -> String {
    format!("{}&after={after}", wanted.path("/console/events/new"))
}

#[derive(Template)]
#[template(path = "console/events_new.html")]
struct NewEvents {
    live: String,
    rows: Vec<Row>,
    news: String,
}

/// `GET /console/events/new`: the rows behind the newest one that the page has.
pub(super) async fn newer(
    State(web): State<WebState>,
    Watching(asker): Watching,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let wanted = wanted.map(|Query(wanted)| wanted).map_err(|_| Oops::NotFound)?;
    let after = wanted.after.filter(|_| asker.is_console()).ok_or(Oops::NotFound)?;
    let attempts = wanted.attempts();
    let limit = Wanted::limit(attempts);
    let found = web.gate.events(&asker, &wanted.query()?, Start::After(after), limit).map_err(oops)?;
    if found.items.is_empty() && found.newer.saturating_sub(after) < BEHIND_MAX {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let what = if attempts { "attempt" } else { "event" };
    page(&NewEvents {
        live: live_path(&wanted, found.newer),
        news: match found.items.len() {
            0 => String::new(),
            1 => format!("1 new {what}"),
            count => format!("{count} new {what}s"),
        },
        rows: found.items.into_iter().map(|entry| Row::of(entry, attempts)).collect(),
    })
}
