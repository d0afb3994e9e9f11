//! Recovery codes: one of them in place of a one-time password, and new ones (T16).

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;

use super::seed::CodesPage;
use crate::gate::web::account::RecoveryMade;
use crate::gate::web::own::OwnAuthenticator;
use crate::gate::web::{Asker, CodeRefusal, Entered, Stage};
use crate::http::web::WebState;
use crate::http::web::asking::{SignedIn, Underway};
use crate::http::web::form::{Form, code_text};
use crate::http::web::reply::{Answer, Oops, go, own_path, page, page_with};
use crate::http::web::shell::Shell;
use crate::http::web::sign_in::{Behind, path_of, with_next};
use crate::http::web::visit::Visit;

#[derive(Template)]
#[template(path = "portal/recovery.html")]
struct RecoveryPage {
    shell: Shell,
    userid: String,
    next: String,
    back: String,
    problem: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "portal/new_codes.html")]
struct NewCodesPage {
    shell: Shell,
    /// How many are left of the present ones; they go with it.
    left: Option<usize>,
    needs_code: bool,
    is_possible: bool,
    problem: Option<&'static str>,
}

/// `GET /signin/recovery`.
pub(super) async fn show(
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
    page(&recovery_page(&web, &visit, session.userid.to_string(), &next, None))
}

/// `POST /signin/recovery`.
pub(super) async fn enter(
    State(web): State<WebState>,
    visit: Visit,
    Underway(session): Underway,
    form: Form,
) -> Answer {
    let ask_again = |status, problem| {
        let userid = session.userid.to_string();
        page_with(status, &recovery_page(&web, &visit, userid, form.text("next"), Some(problem)))
    };
    match web.gate.sign_in_recovery(&visit.token(), &form.code(), visit.browser()).await {
        Entered::In { token, .. } => {
            visit.set_token(token);
            Ok(go("/account?done=recovery"))
        }
        Entered::Change(token) => {
            visit.set_token(token);
            Ok(go("/password"))
        }
        Entered::CodeRefused(refusal) => {
            let text = match refusal {
                CodeRefusal::Wrong | CodeRefusal::Used => {
                    "That recovery code is not right, or it was used before. Each works once."
                }
                CodeRefusal::BackedOff | CodeRefusal::ClockSuspect => code_text(refusal),
            };
            ask_again(StatusCode::UNPROCESSABLE_ENTITY, text)
        }
        Entered::Later(_) => ask_again(
            StatusCode::SERVICE_UNAVAILABLE,
            "Busy just now: nothing was decided. Try again in a moment.",
        ),
        Entered::Refused
        | Entered::Nowhere
        | Entered::ChallengeNeeded
        | Entered::CodeDue(_)
        | Entered::Register(_) => Ok(go("/signin")),
    }
}

fn recovery_page(
    web: &WebState,
    visit: &Visit,
    userid: String,
    next: &str,
    problem: Option<&'static str>,
) -> RecoveryPage {
    let next = own_path(next).unwrap_or_default().to_owned();
    let back = with_next("/signin/code", &next);
    RecoveryPage { shell: Shell::open(web, visit, "Use a recovery code"), userid, next, back, problem }
}

/// `GET /account/recovery-codes`.
pub(super) async fn show_codes(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
) -> Answer {
    page(&new_codes_page(&web, &visit, &asker, None)?)
}

/// `POST /account/recovery-codes`: new ones, for a fresh one-time password (T14).
pub(super) async fn make_codes(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    form: Form,
) -> Answer {
    let ask_again = |problem| {
        let form = new_codes_page(&web, &visit, &asker, Some(problem))?;
        page_with(StatusCode::UNPROCESSABLE_ENTITY, &form)
    };
    if let Err(problem) = form.step_up(&web, &visit, &asker).await? {
        return ask_again(problem);
    }
    // With the one-time password that was proved just now.
    let SignedIn(asker) = SignedIn::anew(&web, &visit).await?;
    match web.gate.make_recovery_codes(&asker, visit.browser()).await {
        RecoveryMade::Codes(codes) => {
            let shell = Shell::of(&web, &visit, &asker, "Your new recovery codes");
            let (userid, next) = (asker.userid.to_string(), "/account");
            CodesPage { shell, userid, codes, is_new: false, next, step: 0 }.answer()
        }
        RecoveryMade::Stale => ask_again("Enter the code that your authenticator shows now."),
        RecoveryMade::Refused(deny) => Err(Oops::Forbidden(deny.doc().to_owned())),
        RecoveryMade::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

fn new_codes_page(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    problem: Option<&'static str>,
) -> Result<NewCodesPage, Oops> {
    let own = web.gate.own(asker.person)?;
    let is_registered = matches!(own.authenticator, OwnAuthenticator::Registered { .. });
    Ok(NewCodesPage {
        shell: Shell::of(web, visit, asker, "New recovery codes"),
        left: own.recovery.map(|codes| codes.left),
        needs_code: !asker.factor_fresh,
        is_possible: own.recovery_on && is_registered,
        problem,
    })
}
