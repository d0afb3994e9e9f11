//! The own account: who one is, what proves it, and where one is signed in (S9).

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::words;
use crate::gate::ConnectionNo;
use crate::gate::web::own::{Own, OwnAuthenticator};
use crate::gate::web::{Asker, SessionNo};
use crate::http::web::WebState;
use crate::http::web::asking::SignedIn;
use crate::http::web::form::Form;
use crate::http::web::reply::{Answer, Oops, go, page};
use crate::http::web::shell::{Shell, When, door, role};
use crate::http::web::visit::Visit;

/// How many sign-ins are shown.
const LOGINS_SHOWN: usize = 5;
/// Recovery codes that are left, at and under which new ones are advised.
const FEW_CODES: usize = 3;

/// What went well just now, by its name behind the question mark.
const DONE: [(&str, &str); 5] = [
    ("password", "Your password is changed."),
    ("password-alone", "Your password is changed, and you are signed out everywhere else."),
    ("ended", "It is signed out there."),
    ("others-ended", "You are signed out everywhere else."),
    (
        "recovery",
        "You are signed in. The recovery code is used up now. If your authenticator is lost, ask your administrator to \
         reset it, and register a new one.",
    ),
];

/// What may stand behind the question mark.
#[derive(Deserialize, Default)]
pub(super) struct Behind {
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "portal/account.html")]
struct AccountPage {
    shell: Shell,
    userid: String,
    role: &'static str,
    firm: Option<String>,
    own: Own,
    password_set: When,
    authenticator: AuthenticatorView,
    sessions: Vec<SessionRow>,
    connections: Vec<ConnectionRow>,
    has_others: bool,
    logins: Vec<LoginRow>,
}

impl AccountPage {
    fn has_few_codes(&self) -> bool {
        self.own.recovery.is_some_and(|codes| codes.left <= FEW_CODES)
    }
}

/// [`OwnAuthenticator`], to be shown.
enum AuthenticatorView {
    NotAsked,
    Missing,
    Registered { since: When, used: When, is_locked: bool },
}

impl AuthenticatorView {
    fn of(own: OwnAuthenticator) -> Self {
        match own {
            OwnAuthenticator::NotAsked => Self::NotAsked,
            OwnAuthenticator::Missing => Self::Missing,
            OwnAuthenticator::Registered { since, used_at, is_locked } => {
                Self::Registered { since: When(since), used: When(used_at), is_locked }
            }
        }
    }
}

struct SessionRow {
    number: u64,
    agent: String,
    source: String,
    began: When,
    used: When,
    is_this: bool,
}

struct ConnectionRow {
    number: u64,
    door: &'static str,
    source: String,
    since: When,
}

struct LoginRow {
    at: When,
    source: String,
    door: &'static str,
    factor: &'static str,
}

/// `GET /account`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let done = behind.map(|Query(behind)| behind.done).unwrap_or_default();
    let done = DONE.iter().find(|(name, _)| *name == done).map(|(_, text)| *text);
    let sessions = sessions(&web, &asker);
    let connections = connections(&web, &asker);
    let own = web.gate.own(asker.person)?;
    page(&AccountPage {
        shell: Shell::of(&web, &visit, &asker, "My account").with_done(done),
        userid: asker.userid.to_string(),
        role: role(asker.kind),
        firm: asker.firm.as_ref().map(ToString::to_string),
        password_set: When(own.password_set_at),
        authenticator: AuthenticatorView::of(own.authenticator),
        own,
        has_others: sessions.len() + connections.len() > 1,
        sessions,
        connections,
        logins: logins(&web, &asker)?,
    })
}

/// Browsers, the last one first.
fn sessions(web: &WebState, asker: &Asker) -> Vec<SessionRow> {
    let row = |session: crate::gate::web::Session| SessionRow {
        number: session.number.0,
        agent: words::agent(&session.agent),
        source: session.source.to_string(),
        began: When(session.began_at),
        used: When(session.used_at),
        is_this: session.number == asker.session,
    };
    web.gate.browser_sessions(asker.person).into_iter().rev().map(row).collect()
}

/// At the other doors, the last one first.
fn connections(web: &WebState, asker: &Asker) -> Vec<ConnectionRow> {
    let all = web.gate.own_connections(asker.person).into_iter().rev();
    all.map(|(number, seat)| ConnectionRow {
        number: number.0,
        door: door(seat.door),
        source: seat.source.to_string(),
        since: When(seat.since),
    })
    .collect()
}

fn logins(web: &WebState, asker: &Asker) -> Result<Vec<LoginRow>, Oops> {
    let logins = web.gate.own_logins(asker.person, LOGINS_SHOWN)?.into_iter();
    let row = |login: crate::gate::web::explain::EntryView| LoginRow {
        at: When(login.at),
        source: login.source.map(|source| source.to_string()).unwrap_or_default(),
        door: door(login.door),
        factor: words::factor(login.factor),
    };
    Ok(logins.map(row).collect())
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
        Ok(go("/account?done=ended"))
    } else {
        Err(Oops::NotFound)
    }
}

/// `POST /account/connections/end`.
pub(super) async fn end_connection(
    State(web): State<WebState>,
    SignedIn(asker): SignedIn,
    form: Form,
) -> Answer {
    let number = form.text("connection").parse().map(ConnectionNo).map_err(|_| Oops::NotFound)?;
    if web.gate.end_own_connection(asker.person, number) {
        Ok(go("/account?done=ended"))
    } else {
        Err(Oops::NotFound)
    }
}

/// `POST /account/sessions/end-others`: here and at the other doors.
pub(super) async fn end_others(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    _: Form,
) -> Answer {
    web.gate.end_elsewhere(&asker, visit.browser()).await;
    Ok(go("/account?done=others-ended"))
}
