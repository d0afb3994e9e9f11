//! The node: its challenge key, how it is doing and, at a demo, its clock.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use doorward_core::ask::Padding;
use doorward_core::time::Wall;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::instant;
use super::read::{Body, Caller};
use super::{ApiState, show};
use crate::fault::Fault;
use crate::http::problem::Problem;

/// The last instant that the demo's clock goes to: 2100-01-01.
const CLOCK_MAX: Wall = Wall::from_s(4_102_444_800);

/// Looks something up that may have to wait for the disk.
pub(super) async fn look_up<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(look).await {
        Ok(found) => Ok(found?),
        Err(error) => {
            tracing::error!(%error, "a look-up was broken off");
            Err(Problem::internal("the look-up was broken off; see the server's log"))
        }
    }
}

pub(super) async fn challenge(State(api): State<ApiState>) -> Result<Json<Value>, Problem> {
    let challenge = api.gate.challenge_when_made().await?;
    Ok(Json(json!({
        "keyid": challenge.key,
        "key": challenge.spki_base64,
        "padding": [Padding::OaepSha256],
        "label": "api",
        "expires": show::instant(challenge.expires),
    })))
}

pub(super) async fn status(State(api): State<ApiState>) -> Result<Json<Value>, Problem> {
    let gate = Arc::clone(&api.gate);
    let (status, ready) = look_up(move || Ok((gate.describe()?, gate.ready()))).await?;
    Ok(Json(json!({
        "node": *api.node,
        "version": env!("CARGO_PKG_VERSION"),
        "now": show::instant(api.gate.now().wall),
        "head": { "no": status.head_no, "hash": status.head_hash },
        "mark": status.mark,
        "waiting": status.waiting,
        "segments": status.segments,
        "failing": status.failing,
        "sessions": status.sessions,
        "vault": {
            "provider": status.vault_provider,
            "hsm": status.hsm,
            "challenge_bits": status.challenge_bits,
        },
        "clock_good": status.clock_good,
        "ready": ready.is_ok(),
        "not_ready": ready.err(),
    })))
}

pub(super) async fn clock(State(api): State<ApiState>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "now": show::instant(api.gate.now().wall) })))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Move {
    set: Option<String>,
    advance_s: Option<u64>,
}

pub(super) async fn move_clock(
    State(api): State<ApiState>,
    _: Caller,
    Body(given): Body<Move>,
) -> Result<Json<Value>, Problem> {
    let Some(clock) = &api.demo_clock else {
        return Err(Problem::not_found("the clock is moved at a demo only"));
    };
    let now = clock.now().wall;
    let (field, span) = match (given.set, given.advance_s) {
        (Some(text), None) => {
            let to = instant("set", &text)?;
            if to < now {
                return Err(Problem::invalid(
                    "set",
                    format!("{to} lies before {now}; the clock moves forward only"),
                ));
            }
            ("set", to.since(now))
        }
        (None, Some(seconds)) => ("advance_s", Duration::from_secs(seconds)),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::malformed("give either \"set\" or \"advance_s\""));
        }
    };
    if now + span > CLOCK_MAX {
        return Err(Problem::invalid(field, format!("the clock goes up to {CLOCK_MAX} only")));
    }
    api.gate.advance_clock(span);
    api.gate.tick().await;
    if let Some(fix) = &api.fix {
        fix.clock_moved();
    }
    Ok(Json(json!({ "now": show::instant(clock.now().wall) })))
}
