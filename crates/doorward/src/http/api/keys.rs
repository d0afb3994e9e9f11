//! Key pairs of FIX sessions: made and shown with a fresh one-time password of an administrator of the firm.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse};
use doorward_core::audit::Actor;
use doorward_core::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Caller, FirmPath, KeyPath, SessionPath, access_key, required, user_id};
use super::sessions::Reason;
use super::{ApiState, node, show};
use crate::gate::keys::Asker;
use crate::http::problem::Problem;

pub(super) async fn list(
    State(api): State<ApiState>,
    SessionPath(id): SessionPath,
) -> Result<Json<Value>, Problem> {
    let gate = Arc::clone(&api.gate);
    let (session, pairs) = node::look_up(move || Ok(gate.key_pairs(id))).await??;
    let opens = api.gate.key_hours_begin();
    Ok(Json(json!({
        "session_id": session.id,
        "environment": session.environment,
        "items": show::keys(&pairs),
        "open": opens.is_none(),
        "opens": opens.map(show::instant),
    })))
}

/// Who asks, with the one-time password.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Asked {
    #[serde(rename = "as")]
    userid: Option<String>,
    code: Option<Value>,
    delete: Option<String>,
    reason: Option<String>,
}

impl Asked {
    fn asker(&self, actor: Actor) -> Result<Asker, Problem> {
        let userid = user_id("as", &required("as", self.userid.clone())?)?;
        let code = match &self.code {
            None | Some(Value::Null) => None,
            Some(Value::String(code)) => Some(Secret::new(code.clone())),
            // What serde says of a wrong value may repeat it: here it would be a one-time password.
            Some(_) => return Err(Problem::invalid("code", "not a text")),
        };
        Ok(Asker { userid, code, actor })
    }

    /// Refuses what belongs to another route.
    fn without(&self, fields: [(&'static str, bool); 2]) -> Result<(), Problem> {
        match fields.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(Problem::invalid(field, "does not belong here")),
            None => Ok(()),
        }
    }
}

pub(super) async fn create(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    SessionPath(id): SessionPath,
    Body(asked): Body<Asked>,
) -> Result<impl IntoResponse, Problem> {
    asked.without([("reason", asked.reason.is_some()), ("", false)])?;
    let delete = asked.delete.as_deref().map(|key| access_key("delete", key)).transpose()?;
    let made = api.gate.create_key(id, delete, &asked.asker(actor)?).await?;
    let location = AppendHeaders([(LOCATION, format!("/api/v1/sessions/{id}/keys/{}", made.pair.id))]);
    Ok((StatusCode::CREATED, location, Json(show::open_pair(&made))))
}

pub(super) async fn download(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    KeyPath(id, key): KeyPath,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    asked.without([("reason", asked.reason.is_some()), ("delete", asked.delete.is_some())])?;
    Ok(Json(show::open_pair(&api.gate.download_key(id, key, &asked.asker(actor)?).await?)))
}

pub(super) async fn delete(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    KeyPath(id, key): KeyPath,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, Problem> {
    asked.without([("delete", asked.delete.is_some()), ("code", asked.code.is_some())])?;
    let reason = required("reason", asked.reason.clone())?;
    api.gate.delete_key(id, key, &reason, &asked.asker(actor)?).await?;
    let (_, pairs) = api.gate.key_pairs(id)?;
    Ok(Json(json!({ "session_id": id, "items": show::keys(&pairs) })))
}

/// Opens the making and showing of key pairs for one firm for an hour.
pub(super) async fn open_hours(
    State(api): State<ApiState>,
    Caller(actor): Caller,
    FirmPath(code): FirmPath,
    Body(reason): Body<Reason>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(show::firm(&api.gate.open_key_hours(&code, &reason.read()?, actor).await?)))
}
