//! The own password: in place of an initial one on the way in (P11), or changed by somebody who is signed in (P6).

use askama::Template;
use axum::extract::State;
use doorward_core::identity::password::Rule;

use super::seed::StopPage;
use super::words;
use crate::gate::web::account::PasswordChanged;
use crate::gate::web::own::Own;
use crate::gate::web::register::Chosen;
use crate::gate::web::{Asker, Present, Session, Stage};
use crate::http::web::WebState;
use crate::http::web::form::Form;
use crate::http::web::reply::{Answer, Oops, again, go, page, sign_in_path};
use crate::http::web::shell::{self, Shell};
use crate::http::web::sign_in::path_of;
use crate::http::web::visit::Visit;

/// The path of the form, to which the passwords are bound.
const PASSWORD: &str = "/password";
const UNREADABLE: &str = "Your password could not be read. Nothing was changed; type it once more.";
const EXPIRED: &str = "Your initial password has expired, or was set anew meanwhile. Ask your administrator for a new \
                       one.";

#[derive(Template)]
#[template(path = "portal/password.html")]
struct PasswordPage {
    shell: Shell,
    userid: String,
    chars_min: u16,
    /// Whether it takes the place of an initial one, which was given a moment ago.
    is_first: bool,
    /// Whether an authenticator is registered next.
    then_register: bool,
    end_others: bool,
    problem: Option<&'static str>,
    present_wrong: Option<String>,
    new_wrong: Option<String>,
    step: usize,
}

/// What was wrong with the fields, to be shown at them.
#[derive(Default)]
struct Wrong {
    problem: Option<&'static str>,
    present: Option<String>,
    new: Option<String>,
}

impl Wrong {
    fn of(rule: Rule, own: &Own) -> Self {
        let text = Some(words::rule(rule, Some(own)));
        if rule == Rule::PresentWrong {
            Self { present: text, ..Self::default() }
        } else {
            Self { new: text, ..Self::default() }
        }
    }
}

impl PasswordPage {
    fn first(web: &WebState, visit: &Visit, session: &Session, wrong: Wrong) -> Result<Self, Oops> {
        let own = web.gate.own(session.person)?;
        let then_register = matches!(session.stage, Stage::Registering { .. });
        let shell = Shell::open(web, visit, "Choose your password");
        Ok(Self {
            is_first: true,
            then_register,
            ..Self::new(shell, session.userid.to_string(), &own, wrong)
        })
    }

    fn own(web: &WebState, visit: &Visit, asker: &Asker, wrong: Wrong) -> Result<Self, Oops> {
        let own = web.gate.own(asker.person)?;
        let shell = Shell::of(web, visit, asker, "Change your password");
        Ok(Self::new(shell, asker.userid.to_string(), &own, wrong))
    }

    fn new(shell: Shell, userid: String, own: &Own, wrong: Wrong) -> Self {
        Self {
            shell,
            userid,
            chars_min: own.password_chars_min,
            is_first: false,
            then_register: false,
            end_others: true,
            problem: wrong.problem,
            present_wrong: wrong.present,
            new_wrong: wrong.new,
            step: 2,
        }
    }
}

/// `GET /password`.
pub(super) async fn show(State(web): State<WebState>, visit: Visit) -> Answer {
    match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => page(&PasswordPage::own(&web, &visit, &asker, Wrong::default())?),
        Present::Underway(session) => match session.stage {
            Stage::Changing { .. } | Stage::Registering { must_change: true, .. } => {
                page(&PasswordPage::first(&web, &visit, &session, Wrong::default())?)
            }
            Stage::CodeDue | Stage::Registering { must_change: false, .. } | Stage::SignedIn { .. } => {
                Ok(go(path_of(&session.stage)))
            }
        },
        Present::Stranger => Ok(go(sign_in_path(Some(PASSWORD)))),
    }
}

/// `POST /password`.
pub(super) async fn change(State(web): State<WebState>, visit: Visit, form: Form) -> Answer {
    match web.gate.present(&visit.token(), visit.browser(), true).await? {
        Present::SignedIn(asker) => change_own(&web, &visit, &asker, &form).await,
        Present::Underway(session) => choose(&web, &visit, &session, &form).await,
        Present::Stranger => Ok(go("/signin")),
    }
}

async fn change_own(web: &WebState, visit: &Visit, asker: &Asker, form: &Form) -> Answer {
    let userid = asker.userid.as_str();
    let present = form.envelope(web, visit, PASSWORD, userid, "present")?;
    let new = form.envelope(web, visit, PASSWORD, userid, "new")?;
    let end_others = form.is_on("end_others");
    match web.gate.change_own_password(asker, present, new, end_others, visit.browser()).await {
        PasswordChanged::Done(_) if end_others => Ok(go("/account?done=password-alone")),
        PasswordChanged::Done(_) => Ok(go("/account?done=password")),
        PasswordChanged::Rule(rule) => {
            let wrong = Wrong::of(rule, &web.gate.own(asker.person)?);
            again(&PasswordPage { end_others, ..PasswordPage::own(web, visit, asker, wrong)? })
        }
        PasswordChanged::ChallengeNeeded => Err(Oops::ChallengeNeeded),
        PasswordChanged::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}

async fn choose(web: &WebState, visit: &Visit, session: &Session, form: &Form) -> Answer {
    let new = form.envelope(web, visit, PASSWORD, session.userid.as_str(), "new")?;
    let once_more = |wrong: Wrong| again(&PasswordPage::first(web, visit, session, wrong)?);
    match web.gate.choose_password(&visit.token(), &new, visit.browser()).await {
        Chosen::Register(token) => {
            visit.set_token(token);
            Ok(go("/register"))
        }
        Chosen::In { token, kind } => {
            visit.set_token(token);
            Ok(go(shell::home(kind)))
        }
        Chosen::Rule(rule) => once_more(Wrong::of(rule, &web.gate.own(session.person)?)),
        Chosen::Unreadable => once_more(Wrong { problem: Some(UNREADABLE), ..Wrong::default() }),
        Chosen::Refused => {
            let shell = Shell::open(web, visit, "Not in time");
            StopPage { shell, text: EXPIRED, way: ("/signin", "To the sign-in page") }.answer()
        }
        Chosen::Nowhere => Ok(go("/signin")),
        Chosen::ChallengeNeeded => Err(Oops::ChallengeNeeded),
        Chosen::Later(retry_ms) => Err(Oops::Later(retry_ms)),
    }
}
