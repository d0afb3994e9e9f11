//! Mails that wait, were delayed or given up: the firm's own, all for the desk; each can be tried again.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use doorward_core::identity::mail::{MailId, MailState};
use doorward_core::identity::person::{Kind, Right};
use doorward_core::time::Wall;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, go, page};
use super::super::shell::{Shell, When};
use super::super::visit::Visit;
use super::person::state_words;
use super::{oops, told};
use crate::gate::web::Unserved;
use crate::gate::web::people::Queued;

/// Mails of one page.
const PAGE: usize = 30;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Behind {
    done: String,
    /// When the last one of the page before was queued, in microseconds, and its id.
    at: Option<i64>,
    before: String,
}

struct Row {
    id: MailId,
    queued: When,
    what: &'static str,
    userid: String,
    firm: String,
    to: String,
    state: &'static str,
    colour: &'static str,
    error: String,
    next: Option<When>,
}

impl Row {
    fn of(queued: Queued) -> Self {
        let state = state_words(&queued.state);
        let (colour, next, error) = match queued.state {
            MailState::Waiting { tries: 0, next_us, error } => ("", Some(next_us), error),
            MailState::Waiting { next_us, error, .. } => ("warn", Some(next_us), error),
            MailState::Sent { .. } => ("good", None, None),
            MailState::GivenUp { error, .. } => ("bad", None, Some(error)),
        };
        let mail = queued.mail;
        Self {
            id: mail.id,
            queued: When(mail.queued_at),
            what: mail.kind.title(),
            userid: mail.userid.map(|userid| userid.to_string()).unwrap_or_default(),
            firm: mail.firm.map(|firm| firm.to_string()).unwrap_or_default(),
            to: mail.to,
            state,
            colour,
            error: error.unwrap_or_default(),
            next: next.map(When),
        }
    }
}

#[derive(Template)]
#[template(path = "console/mails.html")]
struct MailsPage {
    shell: Shell,
    is_desk: bool,
    may_retry: bool,
    mails: Vec<Row>,
    is_first: bool,
    next: Option<String>,
}

/// `GET /console/mails`.
pub(super) async fn list(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let behind = behind.map(|Query(behind)| behind).unwrap_or_default();
    let before = behind.at.map(Wall::from_us).zip(MailId::parse(&behind.before));
    let mut found = web.gate.unsent_mails(&asker, before, PAGE + 1).map_err(oops)?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let last = found.last().filter(|_| more).map(|queued| &queued.mail);
    let next = last.map(|mail| format!("/console/mails?at={}&before={}", mail.queued_at.as_us(), mail.id));
    let done = (behind.done == "again").then_some("The mail is tried again now.");
    let is_desk = asker.kind == Kind::Desk;
    page(&MailsPage {
        shell: Shell::of(&web, &visit, &asker, "Mails").with_done(done),
        is_desk,
        may_retry: is_desk || asker.has(Right::EditPeople),
        mails: found.into_iter().map(Row::of).collect(),
        is_first: before.is_none(),
        next,
    })
}

/// `POST /console/mails/again`.
pub(super) async fn again(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    form: Form,
) -> Answer {
    let id = MailId::parse(form.text("mail")).ok_or(Oops::NotFound)?;
    match web.gate.retry_mail(&asker, id, visit.browser()).await {
        Ok(()) => {
            let person = doorward_core::id::PersonId::parse(form.text("person"));
            Ok(go(match person {
                Some(person) => format!("/console/people/{person}?done=mail-again"),
                None => "/console/mails?done=again".to_owned(),
            }))
        }
        Err(Unserved::Misuse(misuse)) => Err(Oops::Conflict(super::at_field(&misuse))),
        Err(unserved) => Err(Oops::Forbidden(told(unserved)?)),
    }
}
