//! Registering an authenticator: after the password, in the browser session that it was given in (K9).

use askama::Template;
use axum::extract::State;

use super::seed::{CodesPage, SeedPage, SeedView, StopPage};
use super::words::not_registered;
use crate::gate::web::register::{Confirmed, Enrolling};
use crate::gate::web::{Present, Stage};
use crate::http::web::WebState;
use crate::http::web::asking::Underway;
use crate::http::web::form::{Form, code_text};
use crate::http::web::reply::{Answer, Oops, go, page};
use crate::http::web::shell::{self, Shell};
use crate::http::web::sign_in::path_of;
use crate::http::web::visit::Visit;

const TITLE: &str = "Register your authenticator";
const SIGN_IN: (&str, &str) = ("/signin", "To the sign-in page");

#[derive(Template)]
#[template(path = "portal/register.html")]
struct RegisterPage {
    shell: Shell,
    userid: String,
    problem: Option<&'static str>,
    step: usize,
}

/// `GET /register`: what comes, and the button that makes the seed. Nothing is made by looking (T11).
pub(super) async fn show(State(web): State<WebState>, visit: Visit, Underway(session): Underway) -> Answer {
    let link = match session.stage {
        Stage::Registering { must_change: true, .. } => return Ok(go("/password")),
        Stage::Registering { link, .. } => link,
        Stage::CodeDue | Stage::Changing { .. } | Stage::SignedIn { .. } => {
            return Ok(go(path_of(&session.stage)));
        }
    };
    let shell = Shell::open(&web, &visit, TITLE);
    if link.is_none() && web.gate.own(session.person)?.link_needed {
        let text = not_registered(doorward_core::audit::Deny::LinkNeeded);
        return StopPage { shell, text, way: SIGN_IN }.answer();
    }
    page(&RegisterPage { shell, userid: session.userid.to_string(), problem: None, step: 3 })
}

/// `POST /register`: a new seed, shown in the answer and nowhere else.
pub(super) async fn begin(
    State(web): State<WebState>,
    visit: Visit,
    Underway(_): Underway,
    _: Form,
) -> Answer {
    let shell = Shell::open(&web, &visit, TITLE);
    match web.gate.begin_enrolment(&visit.token(), visit.browser()).await {
        Enrolling::Shown(seed) => seed_page(shell, Some(SeedView::new(seed)), None),
        Enrolling::ChangeFirst => Ok(go("/password")),
        Enrolling::Refused(deny) => StopPage { shell, text: not_registered(deny), way: SIGN_IN }.answer(),
        Enrolling::Nowhere => Ok(go("/signin")),
        Enrolling::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

/// `POST /register/code`: the code that confirms it.
pub(super) async fn confirm(
    State(web): State<WebState>,
    visit: Visit,
    Underway(session): Underway,
    form: Form,
) -> Answer {
    let shell = Shell::open(&web, &visit, TITLE);
    match web.gate.confirm_enrolment(&visit.token(), &form.code(), visit.browser()).await {
        Confirmed::In { token, kind, recovery } => {
            visit.set_token(token);
            let shell = signed_in(&web, &visit, "Your authenticator is registered").await?;
            let userid = session.userid.to_string();
            let next = shell::home(kind);
            CodesPage { shell, userid, codes: recovery, is_new: true, next, step: 4 }.answer()
        }
        Confirmed::CodeRefused(refusal) => seed_page(shell, None, Some(code_text(refusal))),
        Confirmed::Over => {
            let problem = Some(
                "This QR code is over: it was shown more than 15 minutes ago, or too many codes were wrong. Remove \
                 it from your app and begin with a new one.",
            );
            let userid = session.userid.to_string();
            crate::http::web::reply::again(&RegisterPage { shell, userid, problem, step: 3 })
        }
        Confirmed::Refused(deny) => StopPage { shell, text: not_registered(deny), way: SIGN_IN }.answer(),
        Confirmed::Nowhere => Ok(go("/signin")),
        Confirmed::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

fn seed_page(shell: Shell, seed: Option<SeedView>, problem: Option<&'static str>) -> Answer {
    let (action, anew) = ("/register/code", Some("/register"));
    SeedPage { shell, action, anew, seed, problem, step: 3 }.answer()
}

/// The shell of a page for who has just been signed in by it.
pub(super) async fn signed_in(web: &WebState, visit: &Visit, title: &str) -> Result<Shell, Oops> {
    Ok(match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => Shell::of(web, visit, &asker, title),
        Present::Underway(_) | Present::Stranger => Shell::open(web, visit, title),
    })
}
