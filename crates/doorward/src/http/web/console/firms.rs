//! Firms, for the desk: the list, a new one, and one firm with what is in force, who serves it, and its switches.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use doorward_core::id::FirmCode;
use doorward_core::identity::person::Kind;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::AtDesk;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, go, page};
use super::super::shell::{Shell, When};
use super::super::visit::Visit;
use super::firm_policy::{self, Held};
use super::people::Row;
use super::{Thrown, Why, at_field, fresh, oops, sure, told};
use crate::gate::web::desk::FirmView;
use crate::gate::web::people::PeopleQuery;
use crate::gate::web::{Asker, Unserved};

/// Administrators of a firm that are shown; the rest is in the list of people.
const SHOWN: usize = 20;
/// Firms of one page.
const PAGE: usize = 100;

/// What was done just now, as the path says it, and what is said of it.
const DONE: [(&str, &str); 4] = [
    ("added", "The firm was set up. Add its first administrator next."),
    ("closed", "Closed; all that was open has ended."),
    ("opened", "Open again."),
    ("policy", "The policy is in force."),
];

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Behind {
    done: String,
    after: String,
}

struct FirmRow {
    code: String,
    name: String,
    since: When,
    is_closed: bool,
    is_halted: bool,
    has_policy: bool,
}

impl FirmRow {
    fn of(view: &FirmView) -> Self {
        Self {
            code: view.firm.code.to_string(),
            name: view.firm.name.clone(),
            since: When(view.firm.added_at),
            is_closed: view.firm.closed,
            is_halted: view.halt.is_some(),
            has_policy: firm_policy::says_anything(&view.firm.policy),
        }
    }
}

#[derive(Template)]
#[template(path = "console/firms.html")]
struct FirmsPage {
    shell: Shell,
    count: usize,
    firms: Vec<FirmRow>,
    next: Option<String>,
}

/// `GET /console/firms`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let Behind { after, .. } = behind.map(|Query(behind)| behind).unwrap_or_default();
    let all = web.gate.desk_firms(&asker).map_err(oops)?;
    let count = all.len();
    let mut rest = all.iter().filter(|view| view.firm.code.as_str() > after.as_str());
    let firms: Vec<FirmRow> = rest.by_ref().take(PAGE).map(FirmRow::of).collect();
    let last = firms.last().map(|row| format!("/console/firms?after={}", row.code));
    let next = last.filter(|_| rest.next().is_some());
    page(&FirmsPage { shell: Shell::of(&web, &visit, &asker, "Firms"), count, firms, next })
}

#[derive(Template)]
#[template(path = "console/firm_new.html")]
struct NewFirm {
    shell: Shell,
    firm: String,
    name: String,
    firm_problem: Option<String>,
    name_problem: Option<String>,
    why: Why,
}

/// `GET /console/firms/new`.
pub(super) async fn show_new(State(web): State<WebState>, visit: Visit, AtDesk(asker): AtDesk) -> Answer {
    page(&NewFirm {
        shell: Shell::of(&web, &visit, &asker, "New firm"),
        firm: String::new(),
        name: String::new(),
        firm_problem: None,
        name_problem: None,
        why: Why::of(&asker),
    })
}

/// `POST /console/firms/new`.
pub(super) async fn add(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    form: Form,
) -> Answer {
    let (firm, name) = (form.text("firm").trim().to_owned(), form.text("name").trim().to_owned());
    let plain = |asker: &Asker| NewFirm {
        shell: Shell::of(&web, &visit, asker, "New firm"),
        firm: firm.clone(),
        name: name.clone(),
        firm_problem: None,
        name_problem: None,
        why: Why::typed(asker, &form),
    };
    let Ok(code) = FirmCode::parse(&firm) else {
        let text = "A code has 1 to 16 letters, digits, - and _.".to_owned();
        return again(&NewFirm { firm_problem: Some(text), ..plain(&asker) });
    };
    if name.is_empty() {
        let text = "Say what the firm is called.".to_owned();
        return again(&NewFirm { name_problem: Some(text), ..plain(&asker) });
    }
    let asker = match fresh(&web, &visit, asker.clone(), &form).await? {
        Ok(asker) => asker,
        Err(text) => {
            let why = Why { code_problem: Some(text), ..Why::typed(&asker, &form) };
            return again(&NewFirm { why, ..plain(&asker) });
        }
    };
    match web.gate.desk_add_firm(&asker, code.clone(), &name, visit.browser()).await {
        Ok(()) => Ok(go(format!("/console/firms/{code}?done=added"))),
        Err(Unserved::Misuse(misuse)) if misuse.field == "name" => {
            again(&NewFirm { name_problem: Some(at_field(&misuse)), ..plain(&asker) })
        }
        Err(Unserved::Misuse(misuse)) => {
            again(&NewFirm { firm_problem: Some(at_field(&misuse)), ..plain(&asker) })
        }
        Err(unserved) => again(&NewFirm { firm_problem: Some(told(unserved)?), ..plain(&asker) }),
    }
}

#[derive(Template)]
#[template(path = "console/firm.html")]
struct FirmPage {
    shell: Shell,
    code: String,
    name: String,
    since: When,
    is_closed: bool,
    halt: Option<Thrown>,
    held: Vec<Held>,
    administrators: Vec<Row>,
    has_more: bool,
}

fn firm_code(code: &str) -> Result<FirmCode, Oops> {
    let parsed = FirmCode::parse(code).map_err(|_| Oops::NotFound)?;
    // One address for each.
    if parsed.as_str() == code { Ok(parsed) } else { Err(Oops::NotFound) }
}

/// `GET /console/firms/{code}`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let view = web.gate.desk_firm(&asker, &firm_code(&code)?).map_err(oops)?;
    let behind = behind.map(|Query(behind)| behind).unwrap_or_default();
    let done = DONE.iter().find(|(name, _)| *name == behind.done).map(|(_, text)| *text);
    let query = PeopleQuery {
        kind: Some(Kind::Administrator),
        firm: Some(view.firm.code.clone()),
        ..PeopleQuery::default()
    };
    let found = web.gate.people_page(&asker, &query, None, SHOWN).map_err(oops)?;
    let scope = doorward_core::identity::halt::HaltScope::Firm(view.firm.code.clone());
    page(&FirmPage {
        shell: Shell::of(&web, &visit, &asker, view.firm.name.as_str()).with_done(done),
        code,
        name: view.firm.name.clone(),
        since: When(view.firm.added_at),
        is_closed: view.firm.closed,
        halt: view.halt.as_ref().map(|halt| Thrown::of(&scope, halt)),
        held: firm_policy::in_force(&view.firm.policy, &view.in_force),
        has_more: found.next.is_some(),
        administrators: found.people.into_iter().map(Row::of).collect(),
    })
}

#[derive(Template)]
#[template(path = "console/sure.html")]
pub(super) struct SurePage {
    pub(super) shell: Shell,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) action: String,
    pub(super) button: &'static str,
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) back: String,
    pub(super) problem: Option<String>,
    pub(super) why: Why,
}

/// `GET /console/firms/{code}/close`.
pub(super) async fn show_close(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
) -> Answer {
    let view = web.gate.desk_firm(&asker, &firm_code(&code)?).map_err(oops)?;
    page(&closing(&web, &visit, &asker, &view, true, Why::of(&asker)))
}

/// `GET /console/firms/{code}/open`.
pub(super) async fn show_open(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
) -> Answer {
    let view = web.gate.desk_firm(&asker, &firm_code(&code)?).map_err(oops)?;
    page(&closing(&web, &visit, &asker, &view, false, Why::of(&asker)))
}

fn closing(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    view: &FirmView,
    closes: bool,
    why: Why,
) -> SurePage {
    let (code, name) = (&view.firm.code, &view.firm.name);
    let (title, text, button, path) = if closes {
        (
            format!("Close {name}"),
            "Nobody of the firm comes in any more, at any door, and all that its people and FIX sessions have open \
             ends at once. Nothing is deleted.",
            "Close the firm",
            "close",
        )
    } else {
        (format!("Open {name} again"), "Its people come in with what they had.", "Open the firm", "open")
    };
    SurePage {
        shell: Shell::of(web, visit, asker, title.as_str()),
        title,
        text: text.to_owned(),
        action: format!("/console/firms/{code}/{path}"),
        button,
        hidden: Vec::new(),
        back: format!("/console/firms/{code}"),
        problem: None,
        why,
    }
}

/// `POST /console/firms/{code}/close`.
pub(super) async fn close(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
    form: Form,
) -> Answer {
    set_closed(&web, &visit, asker, &code, true, &form).await
}

/// `POST /console/firms/{code}/open`.
pub(super) async fn open(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
    form: Form,
) -> Answer {
    set_closed(&web, &visit, asker, &code, false, &form).await
}

async fn set_closed(
    web: &WebState,
    visit: &Visit,
    asker: Asker,
    code: &str,
    closed: bool,
    form: &Form,
) -> Answer {
    let code = firm_code(code)?;
    let view = web.gate.desk_firm(&asker, &code).map_err(oops)?;
    let (asker, reason) = match sure(web, visit, &asker, form).await? {
        Ok(sure) => sure,
        Err(why) => return again(&closing(web, visit, &asker, &view, closed, why)),
    };
    match web.gate.desk_set_closed(&asker, &code, closed, &reason, visit.browser()).await {
        Ok(()) => {
            let done = if closed { "closed" } else { "opened" };
            Ok(go(format!("/console/firms/{code}?done={done}")))
        }
        Err(unserved) => {
            let before = closing(web, visit, &asker, &view, closed, Why::typed(&asker, form));
            again(&SurePage { problem: Some(told(unserved)?), ..before })
        }
    }
}
