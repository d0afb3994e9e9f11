//! The audit trail, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use doorward_core::audit::{AttemptId, Door, Event, Outcome};
use doorward_core::text::shortened;
use doorward_core::time::Wall;
use serde_json::{Value, json};

use super::read::{Params, firm_code, session_id, word};
use super::{ApiState, node, show};
use crate::gate::admin::AuditFilter;
use crate::http::problem::Problem;

/// Names of the parameters.
const PARAMETERS: &[&str] = &[
    "userid", "firm", "session", "event", "outcome", "door", "attempt", "since", "until", "cursor", "limit",
];

pub(super) async fn list(State(api): State<ApiState>, mut params: Params) -> Result<Json<Value>, Problem> {
    let event = |text: String| word("event", &text, Event::from_id, Event::ALL.iter().map(|row| row.id()));
    let outcome =
        |text: String| word("outcome", &text, Outcome::from_id, Outcome::ALL.iter().map(|row| row.id()));
    let door = |text: String| word("door", &text, Door::from_id, Door::ALL.iter().map(|row| row.id()));
    let filter = AuditFilter {
        person: None,
        // Whatever was tried as a user id may be looked for.
        userid: params.take("userid")?,
        firm: params.take("firm")?.map(|code| firm_code("firm", &code)).transpose()?,
        session: params.take("session")?.map(|id| session_id("session", &id)).transpose()?,
        event: params.take("event")?.map(event).transpose()?,
        outcome: params.take("outcome")?.map(outcome).transpose()?,
        door: params.take("door")?.map(door).transpose()?,
        attempt: params.take("attempt")?.map(|text| attempt(&text)).transpose()?,
        since: params.take("since")?.map(|text| instant("since", &text)).transpose()?,
        until: params.take("until")?.map(|text| instant("until", &text)).transpose()?,
    };
    let before = params.take("cursor")?.map(|cursor| before(&cursor)).transpose()?;
    let limit = params.limit()?;
    params.end(PARAMETERS)?;

    let gate = Arc::clone(&api.gate);
    let mut entries = node::look_up(move || gate.audit(&filter, before, limit + 1)).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|(no, _)| no.to_string());
    let items: Vec<_> = entries.iter().map(|(no, entry)| show::entry(*no, entry)).collect();
    Ok(Json(json!({ "items": items, "next": next })))
}

fn attempt(text: &str) -> Result<AttemptId, Problem> {
    let id = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    id.map(AttemptId).ok_or_else(|| Problem::invalid("attempt", "not 16 hexadecimal digits"))
}

fn before(cursor: &str) -> Result<u64, Problem> {
    cursor.parse().map_err(|_| Problem::invalid("cursor", "not what \"next\" of an earlier page said"))
}

/// Reads an instant.
pub(super) fn instant(field: &'static str, text: &str) -> Result<Wall, Problem> {
    Wall::parse(text).ok_or_else(|| {
        let shown = shortened(text, 40);
        Problem::invalid(field, format!("{shown:?} is no RFC 3339 instant such as 2026-11-21T20:00:00Z"))
    })
}
