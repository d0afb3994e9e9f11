//! The emergency switch, for the desk: what is thrown, throwing it for the venue, a firm or a FIX session, and taking it
//! back (workflow 15).

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::id::{FirmCode, SessionId};
use doorward_core::identity::halt::HaltScope;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::AtDesk;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, go, page};
use super::super::shell::Shell;
use super::super::visit::Visit;
use super::firms::SurePage;
use super::{Thrown, Why, oops, scope_words, sure, told};
use crate::gate::web::{Asker, Unserved};

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Behind {
    done: String,
    firm: String,
    scope: String,
}

#[derive(Template)]
#[template(path = "console/switch.html")]
struct SwitchPage {
    shell: Shell,
    thrown: Vec<Thrown>,
    scope: String,
    firm: String,
    session: String,
    ends: bool,
    problem: Option<String>,
    firm_problem: Option<&'static str>,
    session_problem: Option<&'static str>,
    why: Why,
}

impl SwitchPage {
    fn new(web: &WebState, visit: &Visit, asker: &Asker) -> Result<Self, Oops> {
        let thrown = web.gate.desk_halts(asker).map_err(oops)?;
        Ok(Self {
            shell: Shell::of(web, visit, asker, "Emergency switch"),
            thrown: thrown.iter().map(|(scope, halt)| Thrown::of(scope, halt)).collect(),
            scope: String::new(),
            firm: String::new(),
            session: String::new(),
            ends: false,
            problem: None,
            firm_problem: None,
            session_problem: None,
            why: Why::of(asker),
        })
    }

    /// As it was typed.
    fn typed(web: &WebState, visit: &Visit, asker: &Asker, form: &Form) -> Result<Self, Oops> {
        let text = |name: &str| form.text(name).trim().to_owned();
        Ok(Self {
            scope: text("scope"),
            firm: text("firm"),
            session: text("session"),
            ends: form.text("ends") == "all",
            why: Why::typed(asker, form),
            ..Self::new(web, visit, asker)?
        })
    }

    /// For whom it is to be thrown, or the page with what is wrong.
    fn scope(self) -> Result<(HaltScope, Self), Box<Self>> {
        let found = match self.scope.as_str() {
            "venue" => HaltScope::Venue,
            "firm" => match FirmCode::parse(&self.firm) {
                Ok(code) => HaltScope::Firm(code),
                Err(_) => {
                    let text = "Give the code of the firm.";
                    return Err(Box::new(Self { firm_problem: Some(text), ..self }));
                }
            },
            "session" => match SessionId::parse(self.session.to_ascii_uppercase().as_bytes()) {
                Some(id) => HaltScope::Session(id),
                None => {
                    let text = "Give the Session ID: three letters and digits.";
                    return Err(Box::new(Self { session_problem: Some(text), ..self }));
                }
            },
            _ => {
                let text = Some("Choose for whom it is thrown.".to_owned());
                return Err(Box::new(Self { problem: text, ..self }));
            }
        };
        Ok((found, self))
    }

    /// There is no such firm or session.
    fn unknown(self, scope: &HaltScope) -> Self {
        match scope {
            HaltScope::Venue => self,
            HaltScope::Firm(_) => Self { firm_problem: Some("There is no firm of this code."), ..self },
            HaltScope::Session(_) => {
                Self { session_problem: Some("There is no FIX session of this ID."), ..self }
            }
        }
    }
}

/// `GET /console/switch`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let behind = behind.map(|Query(behind)| behind).unwrap_or_default();
    let done = match behind.done.as_str() {
        "thrown" => Some("The switch is thrown."),
        "back" => Some("The switch was taken back: logons are served again."),
        _ => None,
    };
    let fresh = SwitchPage::new(&web, &visit, &asker)?;
    let scope = if behind.firm.is_empty() { String::new() } else { "firm".to_owned() };
    page(&SwitchPage { shell: fresh.shell.clone().with_done(done), firm: behind.firm, scope, ..fresh })
}

/// `POST /console/switch`.
pub(super) async fn throw(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    form: Form,
) -> Answer {
    let (scope, typed) = match SwitchPage::typed(&web, &visit, &asker, &form)?.scope() {
        Ok(found) => found,
        Err(wrong) => return again(&*wrong),
    };
    let ends = typed.ends;
    let (asker, reason) = match sure(&web, &visit, &asker, &form).await? {
        Ok(sure) => sure,
        Err(why) => return again(&SwitchPage { why, ..typed }),
    };
    match web.gate.desk_throw(&asker, scope.clone(), ends, &reason, visit.browser()).await {
        Ok(()) => Ok(go("/console/switch?done=thrown")),
        Err(Unserved::NotFound) => again(&SwitchPage::typed(&web, &visit, &asker, &form)?.unknown(&scope)),
        Err(unserved) => {
            let problem = Some(told(unserved)?);
            again(&SwitchPage { problem, ..SwitchPage::typed(&web, &visit, &asker, &form)? })
        }
    }
}

fn taking_back(web: &WebState, visit: &Visit, asker: &Asker, scope: &HaltScope, why: Why) -> SurePage {
    let title = "Take the switch back";
    SurePage {
        shell: Shell::of(web, visit, asker, title),
        title: title.to_owned(),
        text: format!("{}: logons are served again.", scope_words(scope)),
        action: "/console/switch/back".to_owned(),
        button: "Take the switch back",
        hidden: vec![("scope", scope.to_string())],
        back: "/console/switch".to_owned(),
        problem: None,
        why,
    }
}

/// A switch that is thrown, by its name.
fn thrown(web: &WebState, asker: &Asker, name: &str) -> Result<HaltScope, Oops> {
    let all = web.gate.desk_halts(asker).map_err(oops)?;
    let scope = HaltScope::parse(name).ok_or(Oops::NotFound)?;
    if all.iter().any(|(of, _)| *of == scope) {
        Ok(scope)
    } else {
        Err(Oops::Conflict(format!("{}: the switch is not thrown.", scope_words(&scope))))
    }
}

/// `GET /console/switch/back`.
pub(super) async fn show_back(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let behind = behind.map(|Query(behind)| behind).unwrap_or_default();
    let scope = thrown(&web, &asker, &behind.scope)?;
    page(&taking_back(&web, &visit, &asker, &scope, Why::of(&asker)))
}

/// `POST /console/switch/back`.
pub(super) async fn back(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    form: Form,
) -> Answer {
    let scope = thrown(&web, &asker, form.text("scope"))?;
    let (asker, reason) = match sure(&web, &visit, &asker, &form).await? {
        Ok(sure) => sure,
        Err(why) => return again(&taking_back(&web, &visit, &asker, &scope, why)),
    };
    match web.gate.desk_lift(&asker, scope.clone(), &reason, visit.browser()).await {
        Ok(()) => Ok(go("/console/switch?done=back")),
        Err(unserved) => {
            let before = taking_back(&web, &visit, &asker, &scope, Why::typed(&asker, &form));
            again(&SurePage { problem: Some(told(unserved)?), ..before })
        }
    }
}
