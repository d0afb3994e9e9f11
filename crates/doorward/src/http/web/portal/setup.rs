//! The setup link (workflow 3): its token is behind the `#`, which no server sees, and counts only together with the
//! password (K1, K4).

use askama::Template;
use axum::extract::State;

use crate::gate::web::Entered;
use crate::http::web::WebState;
use crate::http::web::form::Form;
use crate::http::web::reply::{Answer, Oops, again, go, page};
use crate::http::web::shell::{self, Shell};
use crate::http::web::visit::Visit;

/// The path of the form, to which the password is bound.
const SETUP: &str = "/setup";
/// One text, whichever of the three was not right (K4).
const REFUSED: &str = "User name, password or link are not right, or the link does not work any more. A link works \
                       once and for a limited time; your administrator can send another one.";
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 128;
/// Longest user name that is shown again, in characters.
const USERID_CHARS_MAX: usize = 128;

#[derive(Template)]
#[template(path = "portal/setup.html")]
struct SetupPage {
    shell: Shell,
    link: String,
    userid: String,
    problem: Option<&'static str>,
    step: usize,
}

/// `GET /setup`: a form; whoever else loads it, such as a mail scanner, uses up nothing (K3).
pub(super) async fn show(State(web): State<WebState>, visit: Visit) -> Answer {
    let shell = Shell::open(&web, &visit, "Set up your account");
    page(&SetupPage { shell, link: String::new(), userid: String::new(), problem: None, step: 1 })
}

/// `POST /setup`.
pub(super) async fn enter(State(web): State<WebState>, visit: Visit, form: Form) -> Answer {
    let userid = form.text("userid");
    let password = form.envelope(&web, &visit, SETUP, userid, "password")?;
    let link = Some(form.text("link")).filter(|link| link.len() <= TOKEN_BYTES_MAX).unwrap_or_default();
    let old = visit.token();
    let (token, path) = match web.gate.link_sign_in(link, userid, password, Some(&old), visit.browser()).await
    {
        Entered::Register(token) => (token, "/register"),
        Entered::CodeDue(token) => (token, "/signin/code"),
        Entered::Change(token) => (token, "/password"),
        Entered::In { token, kind } => (token, shell::home(kind)),
        Entered::Refused | Entered::CodeRefused(_) | Entered::Nowhere => {
            let shell = Shell::open(&web, &visit, "Set up your account");
            let (link, userid) = (link.to_owned(), userid.chars().take(USERID_CHARS_MAX).collect());
            return again(&SetupPage { shell, link, userid, problem: Some(REFUSED), step: 1 });
        }
        Entered::ChallengeNeeded => return Err(Oops::ChallengeNeeded),
        Entered::Later(retry_ms) => return Err(Oops::Later(retry_ms)),
    };
    visit.set_token(token);
    Ok(go(path))
}
