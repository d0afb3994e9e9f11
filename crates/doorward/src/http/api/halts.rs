//! The emergency switch.

use axum::Json;
use axum::extract::State;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::text::shortened;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Caller, required};
use super::{ApiState, show};
use crate::http::problem::Problem;

/// Longest scope that is shown again.
const SHOWN_MAX: usize = 64;

fn shown(scope: &HaltScope, halt: &Halt) -> Value {
    json!({ "scope": scope.to_string(), "since": show::instant(halt.since), "reason": halt.reason })
}

fn scope(text: Option<String>) -> Result<HaltScope, Problem> {
    let text = required("scope", text)?;
    HaltScope::parse(&text).ok_or_else(|| {
        let shown = shortened(&text, SHOWN_MAX);
        Problem::invalid("scope", format!("{shown:?} is none of venue, firm/CODE, session/ID"))
    })
}

pub(super) async fn list(State(api): State<ApiState>) -> Json<Value> {
    let items: Vec<Value> = api.gate.halts().iter().map(|(scope, halt)| shown(scope, halt)).collect();
    Json(json!({ "items": items }))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Throw {
    scope: Option<String>,
    reason: Option<String>,
    end_all: bool,
}

pub(super) async fn throw(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    Body(throw): Body<Throw>,
) -> Result<Json<Value>, Problem> {
    let scope = scope(throw.scope)?;
    let reason = required("reason", throw.reason)?;
    let halt = api.gate.throw_halt(scope.clone(), &reason, throw.end_all, actor).await?;
    Ok(Json(shown(&scope, &halt)))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lift {
    scope: Option<String>,
    reason: Option<String>,
}

pub(super) async fn lift(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    Body(lift): Body<Lift>,
) -> Result<Json<Value>, Problem> {
    let scope = scope(lift.scope)?;
    api.gate.lift_halt(scope.clone(), &required("reason", lift.reason)?, actor).await?;
    Ok(Json(json!({ "scope": scope.to_string() })))
}
