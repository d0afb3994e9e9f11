//! People of the firm, or those whom the desk serves: the list with its filters, links in bulk.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::person::{Kind, Right, Standing};
use doorward_core::text::percent_encoded;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, page};
use super::super::shell::{Shell, When, role};
use super::super::visit::Visit;
use super::home::number;
use super::oops;
use crate::gate::web::people::{Flag, LinkIs, PeopleQuery, PersonRow};
use crate::gate::web::steps::BulkSent;

/// People of one page.
const PAGE: usize = 50;

/// Kinds of people of a firm, for the select box.
const FIRM_KINDS: &[(&str, &str)] =
    &[("", "Everybody"), ("trader", "Traders"), ("admin", "Administrators"), ("service", "Programs")];
/// Kinds of people whom the desk serves: administrators, where none is chosen.
const DESK_KINDS: &[(&str, &str)] = &[("", "Administrators"), ("desk", "Operators"), ("service", "Programs")];

/// What can be asked for beside the name, in the order of the select box.
const FILTERS: [(&str, &str); 7] = [
    ("", "All"),
    ("not-registered", "Not registered"),
    ("locked", "Locked"),
    ("never", "Never signed in"),
    ("link-live", "Link sent, not used yet"),
    ("link-expired", "Link expired"),
    ("disabled", "Disabled"),
];

#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    show: String,
    kind: String,
    firm: String,
    after: Option<String>,
}

impl Wanted {
    fn of(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        let after = form.optional("after").map(ToOwned::to_owned);
        Self { q: text("q"), show: text("show"), kind: text("kind"), firm: text("firm"), after }
    }

    /// The filters as they stand in a path, without the beginning of the page.
    fn path(&self) -> String {
        let [q, show, kind, firm] =
            [&self.q, &self.show, &self.kind, &self.firm].map(|text| percent_encoded(text));
        format!("/console/people?q={q}&show={show}&kind={kind}&firm={firm}")
    }

    fn is_filtered(&self) -> bool {
        [&self.q, &self.show, &self.kind, &self.firm].iter().any(|text| !text.is_empty())
    }

    fn after(&self) -> Result<Option<UserId>, Oops> {
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        after.map(|after| UserId::parse(after).map_err(|_| Oops::NotFound)).transpose()
    }

    /// A firm that cannot be one finds nobody, as one that is not there.
    fn query(&self) -> Result<PeopleQuery, Oops> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let kind = some(&self.kind).map(|kind| Kind::from_id(&kind).ok_or(Oops::NotFound)).transpose()?;
        let firm =
            some(&self.firm).map(|firm| FirmCode::parse(&firm).map_err(|_| Oops::NotFound)).transpose()?;
        let plain = PeopleQuery { text: some(&self.q), kind, firm, ..PeopleQuery::default() };
        Ok(match self.show.as_str() {
            "not-registered" => PeopleQuery { not_registered: true, ..plain },
            "locked" => PeopleQuery { locked: true, ..plain },
            "never" => PeopleQuery { never_signed_in: true, ..plain },
            "link-live" => PeopleQuery { link: Some(LinkIs::Live), ..plain },
            "link-expired" => PeopleQuery { link: Some(LinkIs::Expired), ..plain },
            "disabled" => PeopleQuery { standing: Some(Standing::Disabled), ..plain },
            _ => plain,
        })
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

pub(super) struct Row {
    pub(super) id: String,
    pub(super) userid: String,
    role: &'static str,
    firm: String,
    pub(super) email: String,
    pub(super) tags: Vec<Tag>,
    pub(super) last: Option<When>,
}

impl Row {
    pub(super) fn of(row: PersonRow) -> Self {
        Self {
            id: row.id.to_string(),
            userid: row.userid.to_string(),
            role: role(row.kind),
            firm: row.firm.map(|firm| firm.to_string()).unwrap_or_default(),
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
    wanted: Wanted,
    filters: [(&'static str, &'static str); 7],
    kinds: &'static [(&'static str, &'static str)],
    is_desk: bool,
    count: String,
    people: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
    is_filtered: bool,
    may_edit: bool,
}

/// `GET /console/people`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let (query, after) = (wanted.query()?, wanted.after()?);
    let found = web.gate.people_page(&asker, &query, after.as_ref(), PAGE).map_err(oops)?;
    let count = web.gate.people_tally(&asker, &query).map_err(oops)?;
    let path = wanted.path();
    let next = found.next.map(|next| format!("{path}&after={}", percent_encoded(next.as_str())));
    let is_desk = asker.kind == Kind::Desk;
    page(&PeoplePage {
        shell: Shell::of(&web, &visit, &asker, "People"),
        is_filtered: wanted.is_filtered() || after.is_some(),
        wanted,
        filters: FILTERS,
        kinds: if is_desk { DESK_KINDS } else { FIRM_KINDS },
        is_desk,
        count: number(count),
        people: found.people.into_iter().map(Row::of).collect(),
        first: after.map(|_| path),
        next,
        may_edit: is_desk || asker.has(Right::EditPeople),
    })
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
    /// Something went wrong on the way.
    pub(super) warning: Option<String>,
    /// What may come next, where it leads.
    pub(super) ways: Vec<(String, &'static str)>,
    pub(super) back: String,
}

#[derive(Template)]
#[template(path = "console/bulk.html")]
struct BulkPage {
    shell: Shell,
    sent: usize,
    skipped: Vec<(String, String)>,
    next: Option<String>,
    wanted: Wanted,
    back: String,
}

/// `POST /console/people/send-links`.
pub(super) async fn send_links(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    form: Form,
) -> Answer {
    let wanted = Wanted::of(&form);
    let (query, after) = (wanted.query()?, wanted.after()?);
    let sent = web.gate.send_to_all_unregistered(&asker, &query, after.as_ref(), visit.browser()).await;
    let BulkSent { sent, skipped, next } = sent.map_err(oops)?;
    page(&BulkPage {
        shell: Shell::of(&web, &visit, &asker, "Setup links"),
        sent,
        skipped: skipped.into_iter().map(|(userid, why)| (userid.to_string(), why)).collect(),
        next: next.map(|next| next.to_string()),
        back: wanted.path(),
        wanted,
    })
}
