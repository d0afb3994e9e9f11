//! Adding somebody: a trader or another administrator by the firm, an administrator of any firm or an operator by the
//! desk (workflows 1, 2, 8 and 11).

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::person::{Kind, Right};
use doorward_core::identity::policy::AuthSystem;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, page};
use super::super::shell::Shell;
use super::super::visit::Visit;
use super::people::Shown;
use super::person::{Tick, right_words};
use super::{at_field, fresh, told};
use crate::gate::web::steps::{Added, FirstPassword, NewAdministrator, NewTrader};
use crate::gate::web::{Asker, Unserved};

/// The path of the form, to which a typed password is bound.
const NEW: &str = "/console/people/new";

#[derive(Template)]
#[template(path = "console/new.html")]
struct NewPage {
    shell: Shell,
    title: &'static str,
    kind: &'static str,
    /// The desk says whose administrator it is.
    asks_firm: bool,
    firm: String,
    userid: String,
    email: String,
    /// Whether a password alone may be chosen.
    asks_system: bool,
    with_password: bool,
    rights: Vec<Tick>,
    is_typed: bool,
    /// Somebody with power over others is added with a fresh one-time password (T14).
    needs_code: bool,
    code_problem: Option<&'static str>,
    sends: bool,
    /// The same page with the other way to a first password.
    other_way: String,
    problem: Option<String>,
    userid_problem: Option<String>,
    email_problem: Option<String>,
    firm_problem: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct How {
    kind: String,
    firm: String,
    password: String,
}

/// What is to be added, by its name; to others there is no such page (Q1).
async fn kind_of(web: &WebState, visit: &Visit, asker: &Asker, name: &str) -> Result<Kind, Oops> {
    match (asker.kind, name) {
        (Kind::Administrator, "" | "trader") => Ok(Kind::Trader),
        (Kind::Administrator, "admin") | (Kind::Desk, "" | "admin") => Ok(Kind::Administrator),
        (Kind::Desk, "desk") => Ok(Kind::Desk),
        (Kind::Administrator | Kind::Desk | Kind::Trader | Kind::Service, _) => {
            web.gate.not_for(asker, visit.browser()).await?;
            Err(Oops::NotFound)
        }
    }
}

const fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Desk => "New operator",
        Kind::Administrator => "New administrator",
        Kind::Trader | Kind::Service => "New trader",
    }
}

/// The rights that the asker can give; all are ticked to begin with.
fn rights(asker: &Asker, kind: Kind, chosen: Option<&BTreeSet<Right>>) -> Vec<Tick> {
    if kind != Kind::Administrator {
        return Vec::new();
    }
    let may_give = |right: &&Right| asker.kind == Kind::Desk || asker.has(**right);
    let tick = |right: &Right| Tick {
        name: right.id(),
        text: right_words(*right),
        is_on: chosen.is_none_or(|chosen| chosen.contains(right)),
    };
    Right::ADMINISTRATOR.iter().filter(may_give).map(tick).collect()
}

fn empty(web: &WebState, visit: &Visit, asker: &Asker, kind: Kind) -> NewPage {
    let policy = &asker.policy;
    NewPage {
        shell: Shell::of(web, visit, asker, title(kind)),
        title: title(kind),
        kind: kind.id(),
        asks_firm: asker.kind == Kind::Desk && kind == Kind::Administrator,
        firm: String::new(),
        userid: String::new(),
        email: String::new(),
        asks_system: kind == Kind::Trader && policy.password_alone && !policy.otp_demanded,
        with_password: false,
        rights: rights(asker, kind, None),
        is_typed: false,
        needs_code: kind != Kind::Trader && !asker.factor_fresh,
        code_problem: None,
        sends: true,
        other_way: String::new(),
        problem: None,
        userid_problem: None,
        email_problem: None,
        firm_problem: None,
    }
}

fn other_way(kind: Kind, firm: &str, is_typed: bool) -> String {
    let firm = doorward_core::text::percent_encoded(firm);
    let password = if is_typed { "" } else { "&password=typed" };
    format!("{NEW}?kind={kind}&firm={firm}{password}")
}

/// `GET /console/people/new`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    how: Result<Query<How>, QueryRejection>,
) -> Answer {
    let How { kind, firm, password } = how.map(|Query(how)| how).unwrap_or_default();
    let kind = kind_of(&web, &visit, &asker, &kind).await?;
    let is_typed = password == "typed";
    let other_way = other_way(kind, &firm, is_typed);
    page(&NewPage { firm, is_typed, other_way, ..empty(&web, &visit, &asker, kind) })
}

/// `POST /console/people/new`.
pub(super) async fn add(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    form: Form,
) -> Answer {
    let kind = kind_of(&web, &visit, &asker, form.text("kind")).await?;
    let mut as_typed = typed(&web, &visit, &asker, kind, &form);
    let Ok(userid) = UserId::parse(&as_typed.userid) else {
        let text = "The user name has a character that cannot be in one, or is too long.".to_owned();
        return again(&NewPage { userid_problem: Some(text), ..as_typed });
    };
    let mut asker = asker;
    if as_typed.needs_code {
        asker = match fresh(&web, &visit, asker, &form).await? {
            Ok(asker) => asker,
            Err(text) => return again(&NewPage { code_problem: Some(text), ..as_typed }),
        };
        as_typed.needs_code = false;
    }
    let added = match carry_out(&web, &visit, &asker, kind, userid, &form).await? {
        Ok(added) => added,
        Err(Unserved::Misuse(misuse)) => {
            let text = Some(at_field(&misuse));
            return again(&match misuse.field {
                "userid" => NewPage { userid_problem: text, ..as_typed },
                "email" => NewPage { email_problem: text, ..as_typed },
                "firm" => NewPage { firm_problem: text, ..as_typed },
                _ => NewPage { problem: text, ..as_typed },
            });
        }
        Err(Unserved::NotFound) if as_typed.asks_firm => {
            let text = Some("There is no firm of this code.".to_owned());
            return again(&NewPage { firm_problem: text, ..as_typed });
        }
        Err(unserved) => return again(&NewPage { problem: Some(told(unserved)?), ..as_typed }),
    };
    shown(&web, &visit, &asker, &as_typed, added).await
}

fn typed(web: &WebState, visit: &Visit, asker: &Asker, kind: Kind, form: &Form) -> NewPage {
    let text = |name: &str| form.text(name).trim().to_owned();
    let is_typed = form.text("how") == "typed";
    let firm = text("firm");
    NewPage {
        other_way: other_way(kind, &firm, is_typed),
        userid: text("userid"),
        email: text("email"),
        with_password: form.text("auth_system") == AuthSystem::Password.name(),
        rights: rights(asker, kind, Some(&given_rights(form))),
        is_typed,
        sends: form.is_on("send"),
        firm,
        ..empty(web, visit, asker, kind)
    }
}

fn given_rights(form: &Form) -> BTreeSet<Right> {
    form.all("box").filter_map(Right::from_id).collect()
}

/// Adds somebody; `Err` outside is a page of its own, inside what is said in the form.
async fn carry_out(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    kind: Kind,
    userid: UserId,
    form: &Form,
) -> Result<Result<Added, Unserved>, Oops> {
    let password = if form.text("how") == "typed" {
        FirstPassword::Typed(form.envelope(web, visit, NEW, form.text("userid"), "password")?)
    } else {
        FirstPassword::Generated
    };
    let email = Some(form.text("email").trim().to_owned()).filter(|email| !email.is_empty());
    let firm = match (kind, asker.kind) {
        (Kind::Desk, _) => None,
        (_, Kind::Desk) => match FirmCode::parse(form.text("firm").trim()) {
            Ok(code) => Some(code),
            Err(_) => return Ok(Err(Unserved::NotFound)),
        },
        (Kind::Administrator | Kind::Trader | Kind::Service, _) => asker.firm.clone(),
    };
    if kind == Kind::Trader {
        let auth_system = AuthSystem::from_name(form.text("auth_system")).unwrap_or(AuthSystem::Otp);
        let new = NewTrader { userid, email, auth_system, password };
        return Ok(web.gate.add_trader(asker, new, visit.browser()).await);
    }
    let rights = if kind == Kind::Administrator { given_rights(form) } else { BTreeSet::new() };
    let new = NewAdministrator { userid, email, firm, rights, password };
    Ok(web.gate.add_administrator(asker, new, visit.browser()).await)
}

/// The one page with a generated password, and the ways to a link.
async fn shown(web: &WebState, visit: &Visit, asker: &Asker, new: &NewPage, added: Added) -> Answer {
    let NewPage { userid, email, .. } = new;
    let (mut note, mut warning) = (None, None);
    if new.sends && !new.with_password {
        match web.gate.send_link(asker, added.person, visit.browser()).await {
            Ok(()) => note = Some(format!("A setup link is on its way to {email}.")),
            Err(unserved) => warning = Some(format!("No setup link was mailed. {}", told(unserved)?)),
        }
    }
    let path = format!("/console/people/{}", added.person);
    let known = web.gate.person_page(asker, added.person, visit.browser()).await.map_err(super::oops)?;
    let mut ways = Vec::new();
    if known.no_mail.is_none() && note.is_none() {
        ways.push((format!("{path}/send-link"), "Mail a setup link"));
    }
    if known.no_show.is_none() {
        ways.push((format!("{path}/show-link"), "Show a setup link"));
    }
    let title = format!("{userid} was added");
    page(&Shown {
        shell: Shell::of(web, visit, asker, title.as_str()),
        title,
        password: added.password.map(|password| password.expose().clone()),
        link: None,
        expires: None,
        note,
        warning,
        ways,
        back: path,
    })
}
