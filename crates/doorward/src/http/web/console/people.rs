//! People of the firm: the list with its filters, new ones, links in bulk.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::id::UserId;
use doorward_core::identity::person::{Kind, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::text::percent_encoded;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, page};
use super::super::shell::{Shell, When, role};
use super::super::visit::Visit;
use super::{oops, told};
use crate::gate::web::people::{Flag, LinkIs, PeopleQuery, PersonRow};
use crate::gate::web::steps::{BulkSent, FirstPassword, NewTrader};

/// People of one page.
const PAGE: usize = 50;

/// What can be asked for beside the name, in the order of the select box.
const FILTERS: [(&str, &str); 7] = [
    ("", "Everybody"),
    ("not-registered", "Not registered"),
    ("locked", "Locked"),
    ("never", "Never signed in"),
    ("link-live", "Link sent, not used yet"),
    ("link-expired", "Link expired"),
    ("disabled", "Disabled"),
];

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    show: String,
    after: Option<String>,
}

impl Wanted {
    fn query(&self) -> PeopleQuery {
        let text = Some(self.q.trim().to_owned()).filter(|text| !text.is_empty());
        let plain = PeopleQuery { text, ..PeopleQuery::default() };
        match self.show.as_str() {
            "not-registered" => PeopleQuery { not_registered: true, ..plain },
            "locked" => PeopleQuery { locked: true, ..plain },
            "never" => PeopleQuery { never_signed_in: true, ..plain },
            "link-live" => PeopleQuery { link: Some(LinkIs::Live), ..plain },
            "link-expired" => PeopleQuery { link: Some(LinkIs::Expired), ..plain },
            "disabled" => PeopleQuery { standing: Some(Standing::Disabled), ..plain },
            _ => plain,
        }
    }
}

/// A flag with its colour.
pub(super) struct Tag {
    pub(super) text: &'static str,
    pub(super) colour: &'static str,
}

impl Tag {
    pub(super) fn of(flag: Flag) -> Self {
        let colour = match flag {
            Flag::Disabled | Flag::Locked | Flag::PasswordExpired => "bad",
            Flag::NotRegistered | Flag::BackedOff | Flag::NoAddress => "warn",
            Flag::NeverSignedIn | Flag::InitialPassword => "",
        };
        Self { text: flag.words(), colour }
    }
}

struct Row {
    id: String,
    userid: String,
    role: &'static str,
    email: String,
    tags: Vec<Tag>,
    last: Option<When>,
}

impl Row {
    fn of(row: PersonRow) -> Self {
        Self {
            id: row.id.to_string(),
            userid: row.userid.to_string(),
            role: role(row.kind),
            email: row.email.unwrap_or_default(),
            tags: row.flags.into_iter().map(Tag::of).collect(),
            last: row.last_login.map(|login| When(login.at)),
        }
    }
}

#[derive(Template)]
#[template(path = "console/people.html")]
struct PeoplePage {
    shell: Shell,
    q: String,
    show: String,
    filters: [(&'static str, &'static str); 7],
    people: Vec<Row>,
    next: Option<String>,
    is_filtered: bool,
    may_add: bool,
}

/// `GET /console/people`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let after = wanted.after.as_deref().and_then(|after| UserId::parse(after).ok());
    let found = web.gate.people_page(&asker, &wanted.query(), after.as_ref(), PAGE).map_err(oops)?;
    let next = found.next.map(|next| {
        let [q, show, after] = [&wanted.q, &wanted.show, next.as_str()].map(percent_encoded);
        format!("/console/people?q={q}&show={show}&after={after}")
    });
    page(&PeoplePage {
        shell: Shell::of(&web, &visit, &asker, "People"),
        is_filtered: !wanted.q.is_empty() || !wanted.show.is_empty() || after.is_some(),
        q: wanted.q,
        show: wanted.show,
        filters: FILTERS,
        people: found.people.into_iter().map(Row::of).collect(),
        next,
        may_add: asker.kind == Kind::Administrator,
    })
}

#[derive(Template)]
#[template(path = "console/new.html")]
struct NewPage {
    shell: Shell,
    userid: String,
    email: String,
    is_typed: bool,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "console/shown.html")]
pub(super) struct Shown {
    pub(super) shell: Shell,
    pub(super) title: String,
    pub(super) password: Option<String>,
    pub(super) link: Option<String>,
    pub(super) expires: Option<When>,
    pub(super) note: Option<String>,
    pub(super) back: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct How {
    password: String,
}

/// `GET /console/people/new`.
pub(super) async fn show_new(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    how: Result<Query<How>, QueryRejection>,
) -> Answer {
    let is_typed = how.is_ok_and(|Query(how)| how.password == "typed");
    let shell = Shell::of(&web, &visit, &asker, "New trader");
    page(&NewPage { shell, userid: String::new(), email: String::new(), is_typed, problem: None })
}

/// `POST /console/people/new`.
pub(super) async fn add(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    form: Form,
) -> Answer {
    let (userid, email) = (form.text("userid").trim().to_owned(), form.text("email").trim().to_owned());
    let is_typed = form.text("how") == "typed";
    let form_again = |problem: String| {
        let shell = Shell::of(&web, &visit, &asker, "New trader");
        let (userid, email) = (userid.clone(), email.clone());
        again(&NewPage { shell, userid, email, is_typed, problem: Some(problem) })
    };
    let Ok(named) = UserId::parse(&userid) else {
        return form_again("The user name has a character that cannot be in one, or is too long.".to_owned());
    };
    let password = if is_typed {
        let typed = form.envelope(&web, &visit, "/console/people/new", form.text("userid"), "password")?;
        FirstPassword::Typed(typed)
    } else {
        FirstPassword::Generated
    };
    let new = NewTrader {
        userid: named,
        email: Some(email.clone()).filter(|email| !email.is_empty()),
        auth_system: AuthSystem::Otp,
        password,
    };
    let added = match web.gate.add_trader(&asker, new, visit.browser()).await {
        Ok(added) => added,
        Err(unserved) => return form_again(told(unserved)?),
    };
    let mut note = None;
    if form.is_on("send") {
        note = match web.gate.send_link(&asker, added.person, visit.browser()).await {
            Ok(()) => Some(format!("A setup link is on its way to {email}.")),
            Err(unserved) => Some(format!("No setup link was mailed. {}", told(unserved)?)),
        };
    }
    page(&Shown {
        shell: Shell::of(&web, &visit, &asker, format!("{userid} was added")),
        title: format!("{userid} was added"),
        password: added.password.map(|password| password.expose().clone()),
        link: None,
        expires: None,
        note,
        back: format!("/console/people/{}", added.person),
    })
}

#[derive(Template)]
#[template(path = "console/bulk.html")]
struct BulkPage {
    shell: Shell,
    sent: usize,
    skipped: Vec<(String, String)>,
    next: Option<String>,
}

/// `POST /console/people/send-links`.
pub(super) async fn send_links(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    form: Form,
) -> Answer {
    let after = match form.optional("after") {
        Some(after) => Some(UserId::parse(after).map_err(|_| Oops::NotFound)?),
        None => None,
    };
    let query = PeopleQuery::default();
    let sent = web.gate.send_to_all_unregistered(&asker, &query, after.as_ref(), visit.browser()).await;
    let BulkSent { sent, skipped, next } = sent.map_err(oops)?;
    page(&BulkPage {
        shell: Shell::of(&web, &visit, &asker, "Setup links"),
        sent,
        skipped: skipped.into_iter().map(|(userid, why)| (userid.to_string(), why)).collect(),
        next: next.map(|next| next.to_string()),
    })
}
