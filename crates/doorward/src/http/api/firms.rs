//! Firms and policies.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse};
use doorward_core::audit::Actor;
use doorward_core::id::FirmCode;
use doorward_core::identity::policy::{Effective, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Caller, FirmPath, IfMatch, Nothing, firm_code, required};
use super::{ApiState, Tagged, show, tagged};
use crate::http::problem::Problem;

pub(super) async fn list(State(api): State<ApiState>) -> Result<Json<Value>, Problem> {
    let firms = api.gate.firms()?;
    Ok(Json(json!({ "items": firms.iter().map(show::firm).collect::<Vec<_>>() })))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewFirm {
    code: Option<String>,
    name: Option<String>,
}

pub(super) async fn add(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    Body(new): Body<NewFirm>,
) -> Result<impl IntoResponse, Problem> {
    let code = firm_code("code", &required("code", new.code)?)?;
    let name = required("name", new.name)?;
    let firm = api.gate.add_firm(code.clone(), &name, actor).await.map_err(Problem::from);
    let firm = firm.map_err(|problem| match problem.is_conflict() {
        true => Problem::conflict(format!("firm {code} exists already")).at("code"),
        false => problem,
    })?;
    let location = AppendHeaders([(LOCATION, format!("/api/v1/firms/{code}"))]);
    Ok((StatusCode::CREATED, location, Json(show::firm(&firm))))
}

pub(super) async fn show(
    State(api): State<ApiState>,
    FirmPath(code): FirmPath,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show::firm(&api.gate.firm(&code)?)))
}

pub(super) async fn close(
    api: State<ApiState>,
    caller: Caller,
    firm: FirmPath,
    _: Body<Nothing>,
) -> Result<Json<Value>, Problem> {
    set_closed(api, caller, firm, true).await
}

pub(super) async fn open(
    api: State<ApiState>,
    caller: Caller,
    firm: FirmPath,
    _: Body<Nothing>,
) -> Result<Json<Value>, Problem> {
    set_closed(api, caller, firm, false).await
}

async fn set_closed(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    FirmPath(code): FirmPath,
    closed: bool,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show::firm(&api.gate.set_firm_closed(&code, closed, actor).await?)))
}

pub(super) async fn venue_policy(State(api): State<ApiState>) -> Result<Tagged, Problem> {
    Ok(shown(&api.gate.venue_policy()?))
}

pub(super) async fn policy(State(api): State<ApiState>, FirmPath(code): FirmPath) -> Result<Tagged, Problem> {
    Ok(shown(&api.gate.firm_policy(&code)?))
}

pub(super) async fn set_venue_policy(
    State(api): State<ApiState>,
    caller: Caller,
    if_match: IfMatch,
    Body(given): Body<Policy>,
) -> Result<Tagged, Problem> {
    set(&api, None, caller.0, &if_match, given).await
}

pub(super) async fn set_policy(
    State(api): State<ApiState>,
    caller: Caller,
    FirmPath(code): FirmPath,
    if_match: IfMatch,
    Body(given): Body<Policy>,
) -> Result<Tagged, Problem> {
    set(&api, Some(&code), caller.0, &if_match, given).await
}

async fn set(
    api: &ApiState,
    firm: Option<&FirmCode>,
    actor: Actor,
    if_match: &IfMatch,
    mut given: Policy,
) -> Result<Tagged, Problem> {
    if let IfMatch(Some(version)) = if_match {
        let version = u32::try_from(*version).unwrap_or(u32::MAX);
        if given.version != 0 && given.version != version {
            return Err(Problem::invalid("version", format!("{} is not what If-Match names", given.version)));
        }
        given.version = version;
    }
    let set = match firm {
        Some(code) => api.gate.set_firm_policy(code, &given, actor).await,
        None => api.gate.set_venue_policy(&given, actor).await,
    };
    set.map(|set| shown(&set)).map_err(|refused| {
        let problem = Problem::from(refused);
        match (problem.is_conflict(), if_match) {
            (true, IfMatch(Some(_))) => Problem::not_the_version(problem.detail()),
            (true, IfMatch(None)) => {
                problem.with_remedy("give the version of the policy that is to be replaced")
            }
            (false, _) => problem,
        }
    })
}

fn shown(policy: &(Policy, Effective)) -> Tagged {
    tagged(policy.0.version.into(), show::policy(policy))
}
