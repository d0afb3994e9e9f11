//! The first start (workflow 0): whoever has the claim link of the terminal becomes the first desk operator (S11).

use askama::Template;
use axum::extract::State;
use doorward_core::identity::policy::Effective;

use super::register::signed_in;
use super::seed::{CodesPage, SeedPage, SeedView, StopPage};
use super::words;
use crate::gate::web::claim::{ClaimGiven, Claimed};
use crate::gate::web::register::Confirmed;
use crate::http::web::WebState;
use crate::http::web::form::{Form, code_text};
use crate::http::web::reply::{Answer, Oops, again, go, page};
use crate::http::web::shell::{self, Shell};
use crate::http::web::visit::Visit;

/// The path of the form, to which the password is bound.
const CLAIM: &str = "/claim";
const TITLE: &str = "The first desk operator";
const NO_LINK: &str = "This claim link does not work: it is of an earlier start, more than a day old, or was used. \
                       The server prints a new one when it starts without a desk operator.";
const UNREADABLE: &str = "Your password could not be read. Type it once more.";

#[derive(Template)]
#[template(path = "portal/claim.html")]
struct ClaimPage {
    shell: Shell,
    link: String,
    userid: String,
    email: String,
    chars_min: u16,
    problem: Option<&'static str>,
    userid_wrong: Option<String>,
    email_wrong: Option<String>,
    password_wrong: Option<String>,
    step: usize,
}

impl ClaimPage {
    fn new(shell: Shell, form: Option<&Form>) -> Self {
        let text =
            |name: &str| form.map(|form| form.text(name).chars().take(256).collect()).unwrap_or_default();
        Self {
            shell,
            link: text("link"),
            userid: text("userid"),
            email: text("email"),
            chars_min: Effective::default().password_chars_min_with_otp,
            problem: None,
            userid_wrong: None,
            email_wrong: None,
            password_wrong: None,
            step: 1,
        }
    }
}

/// `GET /claim`.
pub(super) async fn show(State(web): State<WebState>, visit: Visit) -> Answer {
    page(&ClaimPage::new(Shell::open(&web, &visit, TITLE), None))
}

/// `POST /claim`: name, address and password; the answer has the seed.
pub(super) async fn begin(State(web): State<WebState>, visit: Visit, form: Form) -> Answer {
    let userid = form.text("userid");
    let password = form.envelope(&web, &visit, CLAIM, userid, "password")?;
    let given = ClaimGiven { token: form.text("link"), userid, email: form.text("email"), password };
    let form = ClaimPage::new(Shell::open(&web, &visit, TITLE), Some(&form));
    match web.gate.claim(&visit.token(), given, visit.browser()).await {
        Claimed::Shown(seed) => {
            let seed = Some(SeedView::new(seed));
            SeedPage { shell: form.shell, action: "/claim/code", anew: None, seed, problem: None, step: 2 }
                .answer()
        }
        Claimed::NoLink => again(&ClaimPage { problem: Some(NO_LINK), ..form }),
        Claimed::Misuse(misuse) if misuse.field == "userid" => {
            again(&ClaimPage { userid_wrong: Some(misuse.text), ..form })
        }
        Claimed::Misuse(misuse) => again(&ClaimPage { email_wrong: Some(misuse.text), ..form }),
        Claimed::Rule(rule) => again(&ClaimPage { password_wrong: Some(words::rule(rule, None)), ..form }),
        Claimed::Unreadable => again(&ClaimPage { problem: Some(UNREADABLE), ..form }),
        Claimed::ChallengeNeeded => Err(Oops::ChallengeNeeded),
        Claimed::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

/// `POST /claim/code`: the code that makes the operator.
pub(super) async fn confirm(State(web): State<WebState>, visit: Visit, form: Form) -> Answer {
    let stop = |text| {
        let shell = Shell::open(&web, &visit, TITLE);
        StopPage { shell, text, way: ("/signin", "To the sign-in page") }.answer()
    };
    match web.gate.confirm_claim(&visit.token(), &form.code(), visit.browser()).await {
        Confirmed::In { token, kind, recovery } => {
            visit.set_token(token);
            let shell = signed_in(&web, &visit, "You are the first desk operator").await?;
            let userid = shell.who.as_ref().map(|who| who.userid.to_string()).unwrap_or_default();
            let next = shell::home(kind);
            CodesPage { shell, userid, codes: recovery, is_new: true, next, step: 3 }.answer()
        }
        Confirmed::CodeRefused(refusal) => {
            let shell = Shell::open(&web, &visit, TITLE);
            let problem = Some(code_text(refusal));
            SeedPage { shell, action: "/claim/code", anew: None, seed: None, problem, step: 2 }.answer()
        }
        Confirmed::Over => stop(
            "This QR code is over: it was shown more than 15 minutes ago, or too many codes were wrong. Remove it from \
             your app and open the claim link once more.",
        ),
        Confirmed::Refused(deny) => stop(words::not_registered(deny)),
        Confirmed::Nowhere => Ok(go(CLAIM)),
        Confirmed::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}
