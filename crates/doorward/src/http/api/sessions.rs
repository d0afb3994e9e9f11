//! FIX sessions: who may log on, with what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse};
use doorward_core::id::{CompStem, OperatorId};
use doorward_core::identity::decide::Misuse;
use doorward_core::identity::decide::fix_session::{Edit, New};
use doorward_core::identity::fix_session::{FixSession, SessionKind};
use doorward_core::identity::key_pair::Environment;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::Standing;
use doorward_core::stream::StreamKey;
use doorward_core::text::shortened;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Caller, IfMatch, Params, SessionPath, firm_code, names, required, session_id, word};
use super::{ApiState, Tagged, node, show, tagged};
use crate::gate::Gate;
use crate::gate::session_admin::SessionNow;
use crate::http::problem::Problem;

const STANDINGS: [Standing; 2] = [Standing::Active, Standing::Disabled];

pub(super) async fn list(State(api): State<ApiState>, mut params: Params) -> Result<Json<Value>, Problem> {
    let firm = params.take("firm")?.map(|code| firm_code("firm", &code)).transpose()?;
    let after = params.take("cursor")?.map(|cursor| session_id("cursor", &cursor)).transpose()?;
    let limit = params.limit()?;
    params.end(&["firm", "cursor", "limit"])?;
    let gate = Arc::clone(&api.gate);
    let mut sessions = node::look_up(move || gate.fix_sessions(firm.as_ref())).await?;
    sessions.retain(|(session, _)| after.is_none_or(|after| after < session.id));
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = sessions.last().filter(|_| more).map(|(session, _)| session.id.to_string());
    let now = api.gate.now().wall;
    let items: Vec<_> =
        sessions.iter().map(|(session, usage)| show::fix_session(session, usage, now)).collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

fn shown(gate: &Gate, now: &SessionNow) -> Value {
    show::fix_session(&now.session, &now.usage, gate.now().wall)
}

fn answer(gate: &Gate, now: &SessionNow) -> Tagged {
    tagged(now.session.version, shown(gate, now))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Add {
    session_id: Option<String>,
    firm: Option<String>,
    kind: Option<String>,
    environment: Option<String>,
    sender_comp_ids: Vec<String>,
    operator_ids: Vec<String>,
    sources: Vec<String>,
}

fn stems(texts: &[String]) -> Result<std::collections::BTreeSet<CompStem>, Problem> {
    let allowed = "6 characters of A-Z and 0-9: a SenderCompID without its last character";
    names("sender_comp_ids", texts, CompStem::parse, allowed)
}

fn operators(texts: &[String]) -> Result<std::collections::BTreeSet<OperatorId>, Problem> {
    names("operator_ids", texts, OperatorId::parse, "1 to 18 printable characters without a space")
}

fn networks(texts: &[String]) -> Result<Vec<Network>, Problem> {
    let read = |text: &String| Network::parse(&shortened(text, 64));
    texts.iter().map(read).collect::<Result<_, _>>().map_err(|why| Problem::invalid("sources", why))
}

fn standing(text: &str) -> Result<Standing, Problem> {
    let known = |text: &str| STANDINGS.into_iter().find(|known| show::standing(*known) == text);
    word("standing", text, known, STANDINGS.into_iter().map(show::standing))
}

pub(super) async fn add(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    Body(new): Body<Add>,
) -> Result<impl IntoResponse, Problem> {
    let id = session_id("session_id", &required("session_id", new.session_id)?)?;
    let code = firm_code("firm", &required("firm", new.firm)?)?;
    let kind =
        |text: &str| word("kind", text, SessionKind::from_id, SessionKind::ALL.iter().map(|kind| kind.id()));
    let environment = |text: &str| {
        word("environment", text, Environment::from_id, Environment::ALL.iter().map(|row| row.id()))
    };
    let new = New {
        id,
        kind: new.kind.as_deref().map(kind).transpose()?.unwrap_or(SessionKind::Order),
        environment: environment(&required("environment", new.environment)?)?,
        sender_comp_ids: stems(&new.sender_comp_ids)?,
        operator_ids: operators(&new.operator_ids)?,
        sources: networks(&new.sources)?,
    };
    let added = api.gate.add_fix_session(&code, new, actor).await.map_err(|refused| {
        let problem = Problem::from(refused);
        match problem.is_conflict() && api.gate.fix_session(id).is_ok() {
            true => Problem::conflict(format!("FIX session {id} exists already")).at("session_id"),
            false => problem,
        }
    })?;
    let location = AppendHeaders([(LOCATION, format!("/api/v1/sessions/{id}"))]);
    Ok((StatusCode::CREATED, location, Json(shown(&api.gate, &added))))
}

pub(super) async fn show(
    State(api): State<ApiState>,
    SessionPath(id): SessionPath,
) -> Result<Tagged, Problem> {
    let gate = Arc::clone(&api.gate);
    let now = node::look_up(move || Ok(gate.fix_session(id))).await??;
    let streams = api.gate.fix_streams(id).await?;
    let mut told = shown(&api.gate, &now);
    told["streams"] = streams.iter().map(show::stream).collect();
    Ok(tagged(now.session.version, told))
}

/// What is to be changed: absent stays.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Changes {
    standing: Option<String>,
    sender_comp_ids: Option<Vec<String>>,
    operator_ids: Option<Vec<String>>,
    sources: Option<Vec<String>>,
}

/// Stands for `If-Match` where the gate refuses.
const VERSION: &str = "version";

pub(super) async fn edit(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    IfMatch(version): IfMatch,
    Body(changes): Body<Changes>,
) -> Result<Tagged, Problem> {
    let edit = Edit {
        standing: changes.standing.as_deref().map(standing).transpose()?,
        sender_comp_ids: changes.sender_comp_ids.as_deref().map(stems).transpose()?,
        operator_ids: changes.operator_ids.as_deref().map(operators).transpose()?,
        sources: changes.sources.as_deref().map(networks).transpose()?,
    };
    let edit = move |present: &FixSession| match version.filter(|version| *version != present.version) {
        None => Ok(edit),
        Some(version) => {
            let in_force = present.version;
            let text = format!("version {version} was given, {in_force} is in force; read the session again");
            Err(Misuse::conflict(VERSION, text))
        }
    };
    let after = api.gate.edit_fix_session(id, edit, &actor).await.map_err(|refused| {
        let problem = Problem::from(refused);
        match problem.is_conflict() && problem.is_at(VERSION) {
            true => Problem::not_the_version(problem.detail()),
            false => problem,
        }
    })?;
    Ok(answer(&api.gate, &after))
}

/// A step that is written down with its reason.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Reason {
    pub(super) reason: Option<String>,
}

impl Reason {
    pub(super) fn read(self) -> Result<String, Problem> {
        required("reason", self.reason)
    }
}

pub(super) async fn lock(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    Body(reason): Body<Reason>,
) -> Result<Tagged, Problem> {
    Ok(answer(&api.gate, &api.gate.lock_fix_session(id, &reason.read()?, actor).await?))
}

pub(super) async fn reopen(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    Body(reason): Body<Reason>,
) -> Result<Tagged, Problem> {
    Ok(answer(&api.gate, &api.gate.reopen_fix_session(id, &reason.read()?, actor).await?))
}

pub(super) async fn end(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    Body(reason): Body<Reason>,
) -> Result<Tagged, Problem> {
    api.gate.end_fix_session(id, &reason.read()?, actor).await?;
    Ok(answer(&api.gate, &api.gate.fix_session(id)?))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SetNext {
    stream: Option<String>,
    next_in: Option<u64>,
    next_out: Option<u64>,
    reason: Option<String>,
}

pub(super) async fn set_next(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    Body(set): Body<SetNext>,
) -> Result<Json<Value>, Problem> {
    let text = required("stream", set.stream)?;
    let stream = StreamKey::parse(&text).ok_or_else(|| {
        let shown = shortened(&text, 64);
        Problem::invalid("stream", format!("{shown:?} is no stream such as cgw/{id}/001 or msgw-92/{id}/001"))
    })?;
    let reason = required("reason", set.reason)?;
    let numbers = api.gate.set_next(id, stream, (set.next_in, set.next_out), &reason, actor).await?;
    let known = api.gate.fix_streams(id).await?.into_iter().find(|info| info.stream == stream);
    let undelivered = known.map_or(0, |info| info.undelivered);
    let info = crate::gate::fix::StreamInfo { stream, numbers, undelivered, live: None };
    Ok(Json(show::stream(&info)))
}
