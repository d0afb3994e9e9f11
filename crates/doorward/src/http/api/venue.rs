//! The venue behind the FIX door: its streams, and messages that it sends.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use doorward_core::limits::Limit;
use doorward_core::stream::{Epoch, StreamKey};
use doorward_core::text::shortened;
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Caller, Params};
use super::{ApiState, node, show};
use crate::doors::fix::{FixHandle, Stored, StoredWanted, Unfit};
use crate::gate::fix::StreamInfo;
use crate::http::problem::Problem;

/// Messages of one request.
const COUNT_MAX: u64 = Limit::VenueMessages.max();
/// Stored messages of one answer.
const SHOWN_MAX: u64 = Limit::MessagesShown.max();
/// Longest text of a message, in characters.
const TEXT_CHARS_MAX: usize = 256;

fn door(api: &ApiState) -> Result<&FixHandle, Problem> {
    api.fix.as_ref().ok_or_else(|| {
        Problem::not_found("no FIX listener is open on this node; see fix.listeners of its configuration")
    })
}

pub(super) async fn streams(State(api): State<ApiState>) -> Result<Json<Value>, Problem> {
    let streams = door(&api)?.streams().await.map_err(|gone| problem(&Unfit::from(gone)))?;
    let items: Vec<Value> = streams.iter().map(shown).collect();
    Ok(Json(json!({ "items": items })))
}

fn shown(info: &StreamInfo) -> Value {
    let live = info.live.as_ref().map(|live| {
        json!({
            "source": live.source,
            "since": show::instant(live.since),
            "operator_id": live.operator,
            "access_key_id": live.access_key,
        })
    });
    json!({
        "stream": info.stream,
        "week": info.numbers.epoch.week,
        "reset": info.numbers.epoch.reset,
        "next_in": info.numbers.next_in,
        "next_out": info.numbers.next_out,
        "undelivered": info.undelivered,
        "live": live,
    })
}

fn named(stream: &str) -> Result<StreamKey, Problem> {
    StreamKey::parse(stream).ok_or_else(|| {
        let text =
            format!("{:?} is no stream, such as cgw/ABC/001 or msgw-92/ABC/001", shortened(stream, 64));
        Problem::invalid("stream", text)
    })
}

/// Messages to a client as they are stored, those of epochs that are over too: what a client left behind is here.
pub(super) async fn messages(
    State(api): State<ApiState>,
    Path(stream): Path<String>,
    mut params: Params,
) -> Result<Json<Value>, Problem> {
    let door = door(&api)?;
    let stream = named(&stream)?;
    let epoch = params.take("epoch")?.map(|text| {
        let shown = shortened(&text, 32);
        Epoch::parse(&text).ok_or_else(|| {
            Problem::invalid("epoch", format!("{shown:?} is no epoch: week and reset, such as 12.0"))
        })
    });
    let epoch = epoch.transpose()?;
    let from = number(&mut params, "from", 1, u64::MAX)?.unwrap_or(1);
    let limit = number(&mut params, "limit", 1, SHOWN_MAX)?.unwrap_or(100);
    params.end(&["epoch", "from", "limit"])?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let stored = door.stored(StoredWanted { stream, epoch, from, limit }).await;
    let Stored { epoch, messages, next, epochs } = stored.map_err(|unfit| problem(&unfit))?;
    let items: Vec<Value> = messages
        .iter()
        .map(|message| {
            json!({
                "number": message.number,
                "at": show::instant(message.at),
                "message": String::from_utf8_lossy(&message.bytes),
            })
        })
        .collect();
    let epochs: Vec<String> = epochs.iter().map(Epoch::to_string).collect();
    let epoch = epoch.to_string();
    Ok(Json(json!({ "stream": stream, "epoch": epoch, "epochs": epochs, "items": items, "next": next })))
}

fn number(params: &mut Params, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
    let Some(text) = params.take(name)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    let wrong = || format!("{:?} is out of range {least}..={most}", shortened(&text, 32));
    number.map(Some).ok_or_else(|| Problem::invalid(name, wrong()))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Send {
    count: Option<u64>,
    text: Option<String>,
}

/// Has the venue send News (B) to a stream, logged on or not.
pub(super) async fn send(
    State(api): State<ApiState>,
    Path(stream): Path<String>,
    _: Caller,
    Body(given): Body<Send>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let door = door(&api)?;
    let stream = named(&stream)?;
    if let StreamKey::Session { session, .. } = stream {
        let gate = Arc::clone(&api.gate);
        node::look_up(move || Ok(gate.fix_session(session))).await??;
    }
    let count = given.count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(Problem::invalid("count", format!("{count} is out of range 1..={COUNT_MAX}")));
    }
    let text = given.text.unwrap_or_else(|| "a message of the venue".to_owned());
    let fits = (1..=TEXT_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(|c| !c.is_control());
    if !fits {
        let text = format!("not 1 to {TEXT_CHARS_MAX} characters without control characters");
        return Err(Problem::invalid("text", text));
    }
    let messages = (1..=count).map(|n| (b"B".to_vec(), news(n, count, &text))).collect();
    let numbers = door.send(stream, messages).await.map_err(|unfit| problem(&unfit))?;
    let answer = json!({
        "stream": stream,
        "count": numbers.len(),
        "first": numbers.first(),
        "last": numbers.last(),
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Headline (148), LinesOfText (33) and Text (58).
fn news(n: u64, count: u64, text: &str) -> Vec<u8> {
    format!("148={n} of {count}\u{1}33=1\u{1}58={text}\u{1}").into_bytes()
}

fn problem(unfit: &Unfit) -> Problem {
    let text = unfit.to_string();
    match unfit {
        Unfit::Gone(_) | Unfit::NotSaved(_) | Unfit::NotRead(_) => Problem::unavailable(text),
        Unfit::Unknown(_) => Problem::not_found(text),
        Unfit::LoggedOn(_) => Problem::conflict(text),
    }
}
