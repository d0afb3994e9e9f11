//! One person: all that is known, and each step as a page that says what it does, asks why, and where it is dangerous
//! for a fresh one-time password.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use doorward_core::id::PersonId;
use doorward_core::identity::decide::Reason;
use doorward_core::identity::decide::serve::Act;
use doorward_core::identity::link::Handed;
use doorward_core::identity::mail::{MailId, MailState};
use doorward_core::identity::notice::Notice;
use doorward_core::identity::person::{Kind, Right};
use doorward_core::identity::policy::AuthSystem;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, again, go, page};
use super::super::shell::{Shell, When, door, role};
use super::super::visit::Visit;
use super::people::{Shown, Tag};
use super::step_rows::{STEPS, StepRow, step_of};
use super::{fresh, oops, program, told};
use crate::gate::web::people::{Flag, LinkView, PersonPage};
use crate::gate::web::steps::{FirstPassword, Reset};
use crate::gate::web::{Asker, Unserved};

/// Whether a step makes sense for somebody as they are.
fn applies(row: &StepRow, known: &PersonPage) -> bool {
    let has = |flag: Flag| known.row.flags.contains(&flag);
    let is_disabled = has(Flag::Disabled);
    let is_administrator = known.row.kind == Kind::Administrator;
    match row.act {
        Act::SendLink => known.no_mail.is_none(),
        Act::ShowLink => known.no_show.is_none(),
        Act::RevokeLink => known.row.link.as_ref().is_some_and(|link| link.is_live),
        Act::ResetAuthenticator => known.authenticator.since.is_some(),
        Act::Disable => !is_disabled,
        Act::Enable => is_disabled,
        Act::SetRights | Act::SetNotices => is_administrator,
        Act::RaiseAuthSystem => known.row.auth_system == AuthSystem::Password,
        Act::LowerAuthSystem => known.row.auth_system == AuthSystem::Otp && !known.otp_demanded,
        Act::ResetAll => known.row.kind != Kind::Service,
        Act::Unlock | Act::ChangeEmail => true,
        Act::See | Act::Add | Act::Edit => false,
    }
}

struct Fact {
    name: &'static str,
    text: String,
    when: Option<When>,
}

struct Happened {
    at: When,
    words: String,
    by: String,
}

/// A mail to or about somebody; `again`: it can be tried again.
struct Mailed {
    at: When,
    words: &'static str,
    to: String,
    state: &'static str,
    again: Option<MailId>,
}

struct Button {
    path: &'static str,
    title: &'static str,
    is_danger: bool,
}

#[derive(Template)]
#[template(path = "console/person.html")]
struct View {
    shell: Shell,
    id: String,
    userid: String,
    tags: Vec<Tag>,
    facts: Vec<Fact>,
    link: Option<LinkWords>,
    no_mail: Option<String>,
    buttons: Vec<Button>,
    events: Vec<Happened>,
    mails: Vec<Mailed>,
}

struct LinkWords {
    state: &'static str,
    handed: &'static str,
    made: When,
    expires: When,
    by: String,
}

impl LinkWords {
    fn of(link: &LinkView) -> Self {
        Self {
            state: match link.state {
                "live" => "not used yet",
                state => state,
            },
            handed: match link.handed {
                Handed::Mailed => "Mailed",
                Handed::Shown => "Shown",
            },
            made: When(link.made_at),
            expires: When(link.expires_at),
            by: link.by.as_ref().map_or_else(|| "the operator of the server".to_owned(), ToString::to_string),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Behind {
    done: String,
}

fn person_id(id: &str) -> Result<PersonId, Oops> {
    PersonId::parse(id).ok_or(Oops::NotFound)
}

/// `GET /console/people/{id}`.
pub(super) async fn show(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    Path(id): Path<String>,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let known = web.gate.person_page(&asker, person_id(&id)?, visit.browser()).await.map_err(oops)?;
    let behind = behind.map(|Query(behind)| behind).unwrap_or_default();
    let done = STEPS.iter().find(|row| row.path == behind.done).map(|row| row.done);
    let done = done.or((behind.done == "mail-again").then_some("The mail is tried again now."));
    let done = done.or((behind.done == "grant").then_some(program::DONE));
    let may_retry = asker.kind == Kind::Desk || asker.has(Right::EditPeople);
    let buttons = STEPS.iter().filter(|row| known.may(row.act) && applies(row, &known));
    let buttons =
        buttons.map(|row| Button { path: row.path, title: row.title, is_danger: row.act.is_dangerous() });
    let is_ruled = asker.kind == Kind::Desk && known.row.kind == Kind::Service;
    let ruled = Button { path: "grant", title: program::TITLE, is_danger: true };
    let buttons = is_ruled.then_some(ruled).into_iter().chain(buttons);
    page(&View {
        shell: Shell::of(&web, &visit, &asker, known.row.userid.as_str()).with_done(done),
        id,
        userid: known.row.userid.to_string(),
        tags: known.row.flags.iter().copied().map(Tag::of).collect(),
        facts: facts(&known),
        link: known.row.link.as_ref().map(LinkWords::of),
        no_mail: known.no_mail.clone().filter(|_| known.may(Act::SendLink)),
        buttons: buttons.collect(),
        events: known
            .events
            .iter()
            .map(|entry| {
                let (words, by) = (entry.words.clone(), entry.actor.clone());
                Happened { at: When(entry.at), words, by }
            })
            .collect(),
        mails: known
            .mails
            .iter()
            .map(|queued| Mailed {
                at: When(queued.mail.queued_at),
                words: queued.mail.kind.title(),
                to: queued.mail.to.clone(),
                state: state_words(&queued.state),
                again: Some(queued.mail.id).filter(|_| may_retry && !is_sent(&queued.state)),
            })
            .collect(),
    })
}

const fn is_sent(state: &MailState) -> bool {
    match state {
        MailState::Sent { .. } => true,
        MailState::Waiting { .. } | MailState::GivenUp { .. } => false,
    }
}

/// A right, as a check box says it.
pub(super) const fn right_words(right: Right) -> &'static str {
    match right {
        Right::ViewPeople => "See the firm's people",
        Right::EditPeople => "Add, change, disable and unlock people, hand out setup links",
        Right::ResetAuthenticator => "Reset authenticators and passwords",
        Right::ManageKeyPairs => "Make, show and delete key pairs of FIX sessions",
        Right::EditNotices => "Change what other administrators are told of by mail",
        Right::ViewAudit => "See events and logon attempts",
        // An administrator is given none of these.
        Right::Verify
        | Right::Token
        | Right::Add
        | Right::Change
        | Right::ResetPassword
        | Right::LastingPassword
        | Right::TokenOnPassword => right.doc(),
    }
}

/// Where a mail stands, in a word or two.
pub(super) const fn state_words(state: &MailState) -> &'static str {
    match state {
        MailState::Waiting { tries: 0, .. } => "Waits to be sent",
        MailState::Waiting { .. } => "Delayed, is tried again",
        MailState::Sent { .. } => "Sent",
        MailState::GivenUp { .. } => "Given up",
    }
}

fn facts(known: &PersonPage) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut tell = |name: &'static str, text: String, when: Option<When>| {
        facts.push(Fact { name, text, when });
    };
    let word = |text: &str| text.to_owned();
    tell("Role", word(role(known.row.kind)), None);
    if let Some(firm) = &known.row.firm {
        tell("Firm", firm.to_string(), None);
    }
    tell("Mail address", known.row.email.clone().unwrap_or_else(|| word("none")), None);
    tell("Known since", String::new(), Some(When(known.added_at)));
    let system = match known.row.auth_system {
        AuthSystem::Password => "password alone",
        AuthSystem::Otp => "password and one-time password",
    };
    tell("Signs in with", word(system), None);
    match known.password.expires_at {
        None => tell("Password", word("their own, since"), Some(When(known.password.set_at))),
        Some(until) => tell("Password", word("initial, works until"), Some(When(until))),
    }
    let authenticator = &known.authenticator;
    match authenticator.since {
        Some(since) => tell("Authenticator", word("registered"), Some(When(since))),
        None => tell("Authenticator", authenticator.state.replace("none", "not registered"), None),
    }
    if let Some(used) = authenticator.used_at {
        tell("Last code", String::new(), Some(When(used)));
    }
    if let Some(left) = authenticator.recovery_left {
        tell("Recovery codes left", left.to_string(), None);
    }
    match known.row.last_login {
        Some(login) => tell("Last sign-in", door(login.door).to_owned() + ",", Some(When(login.at))),
        None => tell("Last sign-in", word("never"), None),
    }
    tell("Open connections", known.open_connections.to_string(), None);
    if known.row.kind == Kind::Administrator {
        let rights: Vec<&str> = known.rights.iter().map(|right| right_words(*right)).collect();
        tell("Rights", if rights.is_empty() { word("none") } else { rights.join("; ") }, None);
    }
    if known.row.kind == Kind::Service {
        program::words(known.grant.as_ref()).into_iter().for_each(|(name, text)| tell(name, text, None));
    }
    facts
}

/// A check box.
pub(super) struct Tick {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) is_on: bool,
}

#[derive(Template)]
#[template(path = "console/step.html")]
struct StepPage {
    shell: Shell,
    id: String,
    userid: String,
    path: &'static str,
    title: &'static str,
    text: &'static str,
    is_danger: bool,
    needs_code: bool,
    asks_email: bool,
    email: String,
    reason: String,
    boxes: Vec<Tick>,
    hands: bool,
    may_show: bool,
    hand: Option<Handed>,
    problem: Option<String>,
    code_problem: Option<&'static str>,
}

impl StepPage {
    fn of(web: &WebState, visit: &Visit, asker: &Asker, row: &'static StepRow, known: &PersonPage) -> Self {
        Self {
            shell: Shell::of(web, visit, asker, row.title),
            id: known.row.id.to_string(),
            userid: known.row.userid.to_string(),
            path: row.path,
            title: row.title,
            text: row.text,
            is_danger: row.act.is_dangerous(),
            needs_code: row.act.is_dangerous() && !asker.factor_fresh,
            asks_email: row.act == Act::ChangeEmail,
            email: known.row.email.clone().unwrap_or_default(),
            reason: String::new(),
            boxes: boxes(row.act, known),
            hands: matches!(row.act, Act::ResetAuthenticator | Act::ResetAll),
            may_show: known.links_shown,
            hand: None,
            problem: None,
            code_problem: None,
        }
    }
}

impl StepPage {
    /// The same with what was typed and ticked: it is not lost by a wrong code.
    fn typed(mut self, form: &Form) -> Self {
        for tick in &mut self.boxes {
            tick.is_on = form.all("box").any(|name| name == tick.name);
        }
        if self.asks_email {
            form.text("email").clone_into(&mut self.email);
        }
        self.hand = hand_of(form);
        self
    }
}

fn boxes(act: Act, known: &PersonPage) -> Vec<Tick> {
    if act == Act::SetRights {
        let of = |right: &Right| Tick {
            name: right.id(),
            text: right_words(*right),
            is_on: known.rights.contains(right),
        };
        Right::ADMINISTRATOR.iter().map(of).collect()
    } else if act == Act::SetNotices {
        let of = |notice: &Notice| Tick {
            name: notice.id(),
            text: notice.doc(),
            is_on: known.notices.contains(notice),
        };
        Notice::ALL.iter().map(of).collect()
    } else {
        Vec::new()
    }
}

/// `GET /console/people/{id}/{act}`.
pub(super) async fn show_step(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    Path((id, path)): Path<(String, String)>,
) -> Answer {
    let row = step_of(&path)?;
    let known = web.gate.person_page(&asker, person_id(&id)?, visit.browser()).await.map_err(oops)?;
    page(&StepPage::of(&web, &visit, &asker, row, &known))
}

/// `POST /console/people/{id}/{act}`.
pub(super) async fn step(
    State(web): State<WebState>,
    visit: Visit,
    OnConsole(asker): OnConsole,
    Path((id, path)): Path<(String, String)>,
    form: Form,
) -> Answer {
    let row = step_of(&path)?;
    let id = person_id(&id)?;
    let known = web.gate.person_page(&asker, id, visit.browser()).await.map_err(oops)?;
    let shown_again = |asker: &Asker, problem: Option<String>, code_problem: Option<&'static str>| {
        let reason = form.text("reason").to_owned();
        let before = StepPage::of(&web, &visit, asker, row, &known);
        again(&StepPage { problem, code_problem, reason, ..before.typed(&form) })
    };
    let mut reason = None;
    let mut asker = asker;
    if row.act.is_dangerous() {
        reason = match form
            .reason()
            .map_err(ToOwned::to_owned)
            .and_then(|text| Reason::parse(text).map_err(|misuse| misuse.text))
        {
            Ok(reason) => Some(reason),
            Err(text) => return shown_again(&asker, Some(text), None),
        };
        asker = match fresh(&web, &visit, asker.clone(), &form).await? {
            Ok(asker) => asker,
            Err(text) => return shown_again(&asker, None, Some(text)),
        };
    }
    match carry_out(&web, &visit, &asker, row, id, reason.as_ref(), &form).await {
        Ok(Reset { password: None, link: None }) => Ok(go(format!("/console/people/{id}?done={path}"))),
        Ok(Reset { password, link }) => page(&Shown {
            shell: Shell::of(&web, &visit, &asker, row.title),
            title: format!("{}: {}", known.row.userid, row.title),
            password: password.map(|password| password.expose().clone()),
            expires: link.as_ref().map(|link| When(link.expires_at)),
            link: link.map(|link| link.url.expose().clone()),
            note: None,
            warning: None,
            ways: Vec::new(),
            back: format!("/console/people/{id}"),
        }),
        Err(unserved) => shown_again(&asker, Some(told(unserved)?), None),
    }
}

/// How a new link is to be handed over, where one is wanted.
fn hand_of(form: &Form) -> Option<Handed> {
    match form.text("hand") {
        "mail" => Some(Handed::Mailed),
        "show" => Some(Handed::Shown),
        _ => None,
    }
}

async fn carry_out(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    row: &StepRow,
    id: PersonId,
    reason: Option<&Reason>,
    form: &Form,
) -> Result<Reset, Unserved> {
    let (gate, browser, none) = (&web.gate, visit.browser(), Reset::default());
    let hand = hand_of(form);
    match (row.act, reason) {
        (Act::SendLink, _) => gate.send_link(asker, id, browser).await.map(|()| none),
        (Act::RevokeLink, _) => gate.revoke_link(asker, id, browser).await.map(|()| none),
        (Act::ShowLink, Some(reason)) => {
            let link = gate.show_link(asker, id, reason, browser).await?;
            Ok(Reset { password: None, link: Some(link) })
        }
        (Act::ResetAuthenticator, Some(reason)) => {
            gate.reset_authenticator(asker, id, reason, hand, browser).await
        }
        (Act::ResetAll, Some(reason)) => {
            gate.reset_all(asker, id, FirstPassword::Generated, reason, hand, browser).await
        }
        (Act::Unlock, Some(reason)) => gate.unlock_person(asker, id, reason, browser).await.map(|()| none),
        (Act::Disable, Some(reason)) => gate.leave(asker, id, reason, browser).await.map(|()| none),
        (Act::Enable, Some(reason)) => gate.enable(asker, id, reason, browser).await.map(|()| none),
        (Act::ChangeEmail, _) => {
            let email = Some(form.text("email").trim().to_owned()).filter(|email| !email.is_empty());
            gate.change_email(asker, id, email, browser).await.map(|()| none)
        }
        (Act::SetRights, Some(reason)) => {
            let rights: BTreeSet<Right> = form.all("box").filter_map(Right::from_id).collect();
            gate.set_rights(asker, id, rights, reason, browser).await.map(|()| none)
        }
        (Act::SetNotices, _) => {
            let notices: BTreeSet<Notice> = form.all("box").filter_map(Notice::from_id).collect();
            gate.set_notices(asker, id, notices, browser).await.map(|()| none)
        }
        (Act::RaiseAuthSystem, _) => {
            gate.change_auth_system(asker, id, AuthSystem::Otp, None, browser).await.map(|()| none)
        }
        (Act::LowerAuthSystem, reason) => {
            gate.change_auth_system(asker, id, AuthSystem::Password, reason, browser).await.map(|()| none)
        }
        // Dangerous steps come with a reason; the rest has no page.
        (
            Act::ShowLink
            | Act::ResetAuthenticator
            | Act::ResetAll
            | Act::Unlock
            | Act::Disable
            | Act::Enable
            | Act::SetRights,
            None,
        )
        | (Act::See | Act::Add | Act::Edit, _) => Err(Unserved::NotFound),
    }
}
