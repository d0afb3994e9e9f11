//! Signing in and out: one page for everybody.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::WebState;
use super::asking::Underway;
use super::form::{Form, code_text};
use super::reply::{Answer, Oops, again, go, own_path, page, page_with};
use super::shell::{self, Shell};
use super::visit::Visit;
use crate::gate::web::{Entered, Present, Session, Stage};

/// The path of the form, to which a password is bound.
const SIGN_IN: &str = "/signin";
/// One text for whoever is not let in (S1).
const REFUSED: &str = "User name or password are not right, or you may not sign in now.";

/// What may stand behind the question mark.
#[derive(Deserialize, Default)]
pub(super) struct Behind {
    #[serde(default)]
    pub(super) next: String,
    #[serde(default)]
    out: String,
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    shell: Shell,
    userid: String,
    next: String,
    problem: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "signin_code.html")]
struct CodePage {
    shell: Shell,
    userid: String,
    next: String,
    /// Where a recovery code is taken instead, where there are any left.
    recovery: Option<String>,
    problem: Option<&'static str>,
}

impl CodePage {
    fn new(
        web: &WebState,
        visit: &Visit,
        session: &Session,
        next: &str,
        problem: Option<&'static str>,
    ) -> Result<Self, Oops> {
        let own = web.gate.own(session.person)?;
        let has_codes = own.recovery_on && own.recovery.is_some_and(|codes| codes.left > 0);
        Ok(Self {
            shell: Shell::open(web, visit, "Enter your code"),
            userid: session.userid.to_string(),
            recovery: has_codes.then(|| with_next("/signin/recovery", next)),
            next: next.to_owned(),
            problem,
        })
    }
}

/// `GET /`: to where somebody begins.
pub(super) async fn home(State(web): State<WebState>, visit: Visit) -> Answer {
    match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => Ok(go(shell::home(asker.kind))),
        Present::Underway(session) => Ok(go(path_of(&session.stage))),
        Present::Stranger => Ok(go(SIGN_IN)),
    }
}

/// `GET /signin`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let Behind { next, out } = behind.map(|Query(behind)| behind).unwrap_or_default();
    let next = own_path(&next).unwrap_or_default().to_owned();
    if let Present::SignedIn(asker) = web.gate.present(&visit.token(), visit.browser(), true).await? {
        let next = if next.is_empty() { shell::home(asker.kind).to_owned() } else { next };
        return Ok(go(next));
    }
    let done = (out == "1").then_some("You are signed out.");
    let shell = Shell::open(&web, &visit, "Sign in").with_done(done);
    page(&SignInPage { shell, userid: String::new(), next, problem: None })
}

/// `POST /signin`.
pub(super) async fn password(State(web): State<WebState>, visit: Visit, form: Form) -> Answer {
    let userid = form.text("userid");
    let password = form.envelope(&web, &visit, SIGN_IN, userid, "password")?;
    let next = own_path(form.text("next")).unwrap_or_default().to_owned();
    let old = visit.token();
    let (token, path) = match web.gate.sign_in(userid, password, Some(&old), visit.browser()).await {
        Entered::In { token, kind } => {
            let next = if next.is_empty() { shell::home(kind).to_owned() } else { next };
            (token, next)
        }
        Entered::CodeDue(token) => (token, with_next("/signin/code", &next)),
        Entered::Register(token) => (token, "/register".to_owned()),
        Entered::Change(token) => (token, "/password".to_owned()),
        Entered::Refused | Entered::CodeRefused(_) | Entered::Nowhere => {
            let shell = Shell::open(&web, &visit, "Sign in");
            let userid = userid.chars().take(128).collect();
            return again(&SignInPage { shell, userid, next, problem: Some(REFUSED) });
        }
        Entered::ChallengeNeeded => return Err(Oops::ChallengeNeeded),
        Entered::Later(retry_ms) => return Err(Oops::Later(retry_ms)),
    };
    visit.set_token(token);
    Ok(go(path))
}

/// `GET /signin/code`.
pub(super) async fn show_code(
    State(web): State<WebState>,
    visit: Visit,
    Underway(session): Underway,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    match session.stage {
        Stage::CodeDue => {}
        Stage::Registering { .. } | Stage::Changing { .. } | Stage::SignedIn { .. } => {
            return Ok(go(path_of(&session.stage)));
        }
    }
    let next = behind.map(|Query(behind)| behind.next).unwrap_or_default();
    page(&CodePage::new(&web, &visit, &session, own_path(&next).unwrap_or_default(), None)?)
}

/// `POST /signin/code`.
pub(super) async fn code(
    State(web): State<WebState>,
    visit: Visit,
    Underway(session): Underway,
    form: Form,
) -> Answer {
    let next = own_path(form.text("next")).unwrap_or_default().to_owned();
    let ask_again = |status: StatusCode, problem: &'static str| {
        page_with(status, &CodePage::new(&web, &visit, &session, &next, Some(problem))?)
    };
    match web.gate.sign_in_code(&visit.token(), &form.code(), visit.browser()).await {
        Entered::In { token, kind } => {
            visit.set_token(token);
            Ok(go(if next.is_empty() { shell::home(kind).to_owned() } else { next }))
        }
        Entered::Change(token) => {
            visit.set_token(token);
            Ok(go("/password"))
        }
        Entered::CodeRefused(refusal) => ask_again(StatusCode::UNPROCESSABLE_ENTITY, code_text(refusal)),
        Entered::Later(_) => ask_again(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy just now: nothing was decided. Try again in a moment.",
        ),
        Entered::Refused => {
            let shell = Shell::open(&web, &visit, "Sign in");
            again(&SignInPage { shell, userid: String::new(), next: String::new(), problem: Some(REFUSED) })
        }
        Entered::Nowhere | Entered::ChallengeNeeded | Entered::CodeDue(_) | Entered::Register(_) => {
            Ok(go(SIGN_IN))
        }
    }
}

/// `POST /signout`.
pub(super) async fn sign_out(State(web): State<WebState>, visit: Visit, _: Form) -> Answer {
    web.gate.sign_out(&visit.token(), visit.browser()).await;
    visit.set_token(crate::gate::web::Token::random()?);
    Ok(go("/signin?out=1"))
}

/// Where a stage goes on.
pub(super) fn path_of(stage: &Stage) -> &'static str {
    match stage {
        Stage::CodeDue => "/signin/code",
        Stage::Registering { .. } => "/register",
        Stage::Changing { .. } => "/password",
        Stage::SignedIn { .. } => "/",
    }
}

/// A path of ours that knows where to go on afterwards.
pub(super) fn with_next(path: &str, next: &str) -> String {
    if next.is_empty() {
        return path.to_owned();
    }
    format!("{path}?next={}", doorward_core::text::percent_encoded(next))
}
