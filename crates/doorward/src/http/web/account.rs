//! The own account: who one is, and where one is signed in (S9).

use askama::Template;
use axum::extract::State;
use doorward_core::audit::{Door, Event};

use super::WebState;
use super::asking::SignedIn;
use super::form::Form;
use super::reply::{Answer, Oops, go, page};
use super::shell::{Shell, When, role};
use super::visit::Visit;
use crate::gate::admin::AuditFilter;
use crate::gate::web::{Asker, SessionNo};

/// How many sign-ins are shown.
const LOGINS_SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    shell: Shell,
    userid: String,
    role: &'static str,
    firm: Option<String>,
    sessions: Vec<SessionRow>,
    has_others: bool,
    logins: Vec<LoginRow>,
}

struct SessionRow {
    number: u64,
    agent: String,
    source: String,
    began: When,
    used: When,
    is_this: bool,
}

struct LoginRow {
    at: When,
    source: String,
    door: &'static str,
    factor: &'static str,
}

/// `GET /account`.
pub(super) async fn show(State(web): State<WebState>, visit: Visit, SignedIn(asker): SignedIn) -> Answer {
    render(&web, &visit, &asker)
}

fn render(web: &WebState, visit: &Visit, asker: &Asker) -> Answer {
    let sessions: Vec<SessionRow> = web
        .gate
        .browser_sessions(asker.person)
        .into_iter()
        .rev()
        .map(|session| SessionRow {
            number: session.number.0,
            agent: agent_words(&session.agent),
            source: session.source.to_string(),
            began: When(session.began_at),
            used: When(session.used_at),
            is_this: session.number == asker.session,
        })
        .collect();
    let granted = AuditFilter {
        person: Some(asker.person),
        event: Some(Event::LoginGranted),
        ..AuditFilter::default()
    };
    let logins = web.gate.audit(&granted, None, LOGINS_SHOWN)?;
    let logins = logins.into_iter().map(|(_, entry)| LoginRow {
        at: When(entry.at),
        source: entry.source.map(|source| source.to_string()).unwrap_or_default(),
        door: door_words(entry.door),
        factor: entry.factor.doc(),
    });
    page(&AccountPage {
        shell: Shell::of(web, visit, asker, "My account"),
        userid: asker.userid.to_string(),
        role: role(asker.kind),
        firm: asker.firm.as_ref().map(ToString::to_string),
        has_others: sessions.len() > 1,
        sessions,
        logins: logins.collect(),
    })
}

/// `POST /account/sessions/end`.
pub(super) async fn end_session(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    form: Form,
) -> Answer {
    let number = form.text("session").parse().map(SessionNo).map_err(|_| Oops::NotFound)?;
    if web.gate.end_browser_session(asker.person, number, visit.browser()).await {
        Ok(go("/account"))
    } else {
        Err(Oops::NotFound)
    }
}

/// `POST /account/sessions/end-others`.
pub(super) async fn end_others(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    _: Form,
) -> Answer {
    web.gate.end_other_sessions(asker.person, asker.session, visit.browser()).await;
    Ok(go("/account"))
}

/// A door in a word or two, for people.
const fn door_words(door: Door) -> &'static str {
    match door {
        Door::WebSocket => "WebSocket",
        Door::Fix => "FIX",
        Door::Portal => "Portal",
        Door::Console => "Console",
        Door::Local | Door::Node => "Server",
    }
}

/// Browser and system in a few words, as far as the browser's name for itself tells.
fn agent_words(agent: &str) -> String {
    let first = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name)
    };
    // The order matters: most browsers name others, too.
    let browser = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => "Another browser".to_owned(),
    }
}
