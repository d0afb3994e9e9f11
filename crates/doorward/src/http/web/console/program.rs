//! What a program may do, for which firms and from where: for the desk.

use askama::Template;
use axum::extract::{Path, State};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::net::Network;
use doorward_core::identity::person::{Grant, Kind, Right};

use super::super::WebState;
use super::super::asking::AtDesk;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, go, page};
use super::super::shell::Shell;
use super::super::visit::Visit;
use super::person::Tick;
use super::{Why, at_field, oops, sure, told};
use crate::gate::web::people::PersonPage;
use crate::gate::web::{Asker, Unserved};

/// The button, and the title of its page.
pub(super) const TITLE: &str = "Change rights, firms and addresses";
/// What is said once it is done.
pub(super) const DONE: &str =
    "The rights, firms and addresses were changed; they hold from the next request on.";

#[derive(Template)]
#[template(path = "console/program.html")]
struct GrantPage {
    shell: Shell,
    id: String,
    userid: String,
    version: String,
    rights: Vec<Tick>,
    firms: String,
    sources: String,
    problem: Option<String>,
    firms_problem: Option<String>,
    sources_problem: Option<String>,
    why: Why,
}

/// A right, as a check box says it.
const fn right_words(right: Right) -> &'static str {
    match right {
        Right::Verify => "Verify a customer's login",
        Right::Token => "Have tokens made for customers, look at them and end them",
        Right::TokenOnPassword => {
            "Have tokens made by a password alone, for customers without an authenticator"
        }
        Right::Add => "Add traders",
        Right::Change => "Change what is known of traders; hand out the first authenticator",
        Right::ResetPassword => "Set a trader's password without the old one",
        Right::LastingPassword => "Set passwords that need not be changed",
        Right::ResetAuthenticator => "Replace a registered authenticator, or take it away",
        // A program is given none of these.
        Right::ViewPeople
        | Right::EditPeople
        | Right::EditNotices
        | Right::ViewAudit
        | Right::ManageKeyPairs => right.doc(),
    }
}

/// What a program may do, as its page says it.
pub(super) fn words(grant: Option<&Grant>) -> [(&'static str, String); 3] {
    let none = Grant::default();
    let grant = grant.unwrap_or(&none);
    let list =
        |texts: Vec<String>, none: &str| if texts.is_empty() { none.to_owned() } else { texts.join("; ") };
    let rights = grant.rights.iter().map(|right| right_words(*right).to_owned()).collect();
    [
        ("Rights", list(rights, "none")),
        ("Serves the firms", list(grant.firms.iter().map(ToString::to_string).collect(), "none")),
        ("Comes from", list(grant.sources.iter().map(ToString::to_string).collect(), "nowhere")),
    ]
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl GrantPage {
    fn of(web: &WebState, visit: &Visit, asker: &Asker, known: &PersonPage) -> Self {
        let grant = known.grant.clone().unwrap_or_default();
        let tick = |right: &Right| Tick {
            name: right.id(),
            text: right_words(*right),
            is_on: grant.rights.contains(right),
        };
        Self {
            shell: Shell::of(web, visit, asker, TITLE),
            id: known.row.id.to_string(),
            userid: known.row.userid.to_string(),
            version: known.version.to_string(),
            rights: Right::PROGRAM.iter().map(tick).collect(),
            firms: joined(&grant.firms),
            sources: joined(&grant.sources),
            problem: None,
            firms_problem: None,
            sources_problem: None,
            why: Why::of(asker),
        }
    }

    /// The same with what was typed and ticked.
    fn typed(mut self, asker: &Asker, form: &Form) -> Self {
        for tick in &mut self.rights {
            tick.is_on = form.all("box").any(|name| name == tick.name);
        }
        form.text("firms").clone_into(&mut self.firms);
        form.text("sources").clone_into(&mut self.sources);
        form.text("version").clone_into(&mut self.version);
        self.why = Why::typed(asker, form);
        self
    }

    fn with_problem(self, field: &str, text: String) -> Self {
        match field {
            "grant.firms" => Self { firms_problem: Some(text), ..self },
            "grant.sources" => Self { sources_problem: Some(text), ..self },
            _ => Self { problem: Some(text), ..self },
        }
    }
}

/// The program of a page; to others than the desk, and of anybody else, there is no such page (Q1).
async fn program(web: &WebState, visit: &Visit, asker: &Asker, id: &str) -> Result<PersonPage, Oops> {
    let id = PersonId::parse(id).ok_or(Oops::NotFound)?;
    let known = web.gate.person_page(asker, id, visit.browser()).await.map_err(oops)?;
    if known.row.kind == Kind::Service { Ok(known) } else { Err(Oops::NotFound) }
}

/// `GET /console/people/{id}/grant`.
pub(super) async fn show_grant(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(id): Path<String>,
) -> Answer {
    let known = program(&web, &visit, &asker, &id).await?;
    page(&GrantPage::of(&web, &visit, &asker, &known))
}

/// `POST /console/people/{id}/grant`.
pub(super) async fn set_grant(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(id): Path<String>,
    form: Form,
) -> Answer {
    let known = program(&web, &visit, &asker, &id).await?;
    let typed = |asker: &Asker| GrantPage::of(&web, &visit, asker, &known).typed(asker, &form);
    let grant = match given(&form) {
        Ok(grant) => grant,
        Err((field, text)) => return again(&typed(&asker).with_problem(field, text)),
    };
    let Ok(version) = form.text("version").parse() else { return Err(Oops::NotFound) };
    let (asker, reason) = match sure(&web, &visit, &asker, &form).await? {
        Ok(sure) => sure,
        Err(why) => return again(&GrantPage { why, ..typed(&asker) }),
    };
    match web.gate.desk_set_grant(&asker, known.row.id, version, grant, &reason, visit.browser()).await {
        Ok(()) => Ok(go(format!("/console/people/{id}?done=grant"))),
        Err(Unserved::Misuse(misuse)) => again(&typed(&asker).with_problem(misuse.field, at_field(&misuse))),
        Err(unserved) => again(&typed(&asker).with_problem("", told(unserved)?)),
    }
}

/// What was ticked and typed; else the field that is wrong, and why.
fn given(form: &Form) -> Result<Grant, (&'static str, String)> {
    let mut grant =
        Grant { rights: form.all("box").filter_map(Right::from_id).collect(), ..Grant::default() };
    for text in parts(form.text("firms")) {
        let code = FirmCode::parse(text);
        let code = code.map_err(|_| ("grant.firms", format!("{text} is no code of a firm.")))?;
        grant.firms.insert(code);
    }
    for text in parts(form.text("sources")) {
        let network = Network::parse(text).map_err(|why| ("grant.sources", format!("{why}.")))?;
        if !grant.sources.contains(&network) {
            grant.sources.push(network);
        }
    }
    Ok(grant)
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty())
}
