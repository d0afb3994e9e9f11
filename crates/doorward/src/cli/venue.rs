//! `doorward venue`: the simulated venue behind the FIX door of a running node.

use clap::{Args, Subcommand};
use doorward_core::text::percent_encoded;
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, print, table};
use super::{CliError, Exit};

/// Messages of one request.
const PER_REQUEST: u64 = doorward_core::limits::Limit::VenueMessages.max();

/// Stored messages of one request.
const SHOWN_PER_REQUEST: u64 = doorward_core::limits::Limit::MessagesShown.max();

/// The venue behind the FIX door of a running node
#[derive(Args, Debug)]
pub struct VenueArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List the streams, with their numbers and who is logged on
    Streams {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List messages to a client as they are stored, with | between fields; those of earlier epochs too
    List {
        /// The stream, such as cgw/ABC/001 or msgw-92/ABC/001
        #[arg(long)]
        stream: String,
        /// Week and reset, such as 12.0; the present one unless given
        #[arg(long, value_name = "WEEK.RESET")]
        epoch: Option<String>,
        /// The first number (34)
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// Most messages
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        limit: u64,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send messages (News, 35=B) to a stream, logged on or not
    Send {
        /// The stream, such as cgw/ABC/001 or msgw-92/ABC/001
        #[arg(long)]
        stream: String,
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        count: u64,
        /// Their text
        #[arg(long)]
        text: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

pub(super) async fn run(args: &VenueArgs) -> Result<Exit, CliError> {
    print(&told(args).await?)
}

async fn told(args: &VenueArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Streams { server } => {
            let streams = server.client()?.get("/api/v1/streams").await?;
            Ok(server.say(&streams, listed))
        }
        Command::List { stream, epoch, from, limit, server } => {
            let client = server.client()?;
            let path = format!("/api/v1/streams/{}/messages", percent_encoded(stream));
            let epoch = epoch.as_ref().map(|epoch| format!("&epoch={}", percent_encoded(epoch)));
            let mut epoch = epoch.unwrap_or_default();
            let (mut all, mut from): (Option<Value>, u64) = (None, *from);
            loop {
                let had = all.as_ref().map_or(0, |all| messages(all).len() as u64);
                let part = (limit - had).min(SHOWN_PER_REQUEST);
                let mut page = client.get(&format!("{path}?from={from}&limit={part}{epoch}")).await?;
                // The present one may change from page to page.
                epoch = format!("&epoch={}", cell(&page["epoch"]));
                let (items, next) = (page["items"].take(), page["next"].as_u64());
                let shown = all.get_or_insert_with(|| page.clone());
                if shown["items"].is_null() {
                    shown["items"] = json!([]);
                }
                if let (Some(all), Value::Array(items)) = (shown["items"].as_array_mut(), items) {
                    all.extend(items);
                }
                shown["next"] = json!(next);
                match next {
                    Some(next) if (messages(shown).len() as u64) < *limit => from = next,
                    Some(_) | None => break,
                }
            }
            Ok(server.say(&all.unwrap_or_default(), messages_listed))
        }
        Command::Send { stream, count, text, server } => {
            let client = server.client()?;
            let path = format!("/api/v1/streams/{}/messages", percent_encoded(stream));
            let (mut left, mut first, mut last) = (*count, Value::Null, Value::Null);
            while left > 0 {
                let part = left.min(PER_REQUEST);
                let mut body = json!({ "count": part });
                if let Some(text) = text {
                    body["text"] = json!(text);
                }
                let mut answer = client.post(&path, &body).await?;
                if first.is_null() {
                    first = answer["first"].take();
                }
                last = answer["last"].take();
                left -= part;
            }
            let answer = json!({ "stream": stream, "count": count, "first": first, "last": last });
            Ok(server.say(&answer, |answer| {
                let [count, stream, first, last] =
                    ["count", "stream", "first", "last"].map(|field| cell(&answer[field]));
                format!("{count} messages for {stream}, numbers {first} to {last}\n")
            }))
        }
    }
}

fn listed(streams: &Value) -> String {
    let rows = streams["items"].as_array().into_iter().flatten().map(|row| {
        let live = &row["live"];
        let columns = [&row["stream"], &row["next_in"], &row["next_out"], &row["undelivered"]];
        let mut cells: Vec<String> = columns.into_iter().map(cell).collect();
        cells.extend([cell(&live["operator_id"]), cell(&live["source"]), cell(&live["since"])]);
        cells
    });
    table(&["stream", "next in", "next out", "undelivered", "operator", "source", "since"], rows)
}

fn messages(answer: &Value) -> &[Value] {
    answer["items"].as_array().map_or(&[], Vec::as_slice)
}

fn messages_listed(answer: &Value) -> String {
    let mut text = String::new();
    for item in messages(answer) {
        let message = item["message"].as_str().unwrap_or_default().replace('\u{1}', "|");
        // Whatever else a message holds moves no terminal.
        let message: String = message.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        text += &format!("{} {} {message}\n", cell(&item["number"]), cell(&item["at"]));
    }
    if text.is_empty() {
        let epochs: Vec<String> = answer["epochs"].as_array().into_iter().flatten().map(cell).collect();
        let (stream, epoch) = (cell(&answer["stream"]), cell(&answer["epoch"]));
        let kept = if epochs.is_empty() { "none".to_owned() } else { epochs.join(", ") };
        return format!("no such messages of {stream} in epoch {epoch}; epochs with messages: {kept}\n");
    }
    if !answer["next"].is_null() {
        text += &format!("more from {} on\n", cell(&answer["next"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_messages_are_a_line_each_with_a_bar_for_soh() {
        let one = json!({"number": 7, "at": "2026-11-21T20:00:00.000Z", "message": "8=FIX.4.2\u{1}35=B\u{1}58=\u{1b}\u{1}"});
        let answer =
            json!({"stream": "cgw/ABC/001", "epoch": "12.0", "epochs": ["12.0"], "items": [one], "next": 8});
        let text = messages_listed(&answer);
        assert_eq!(text, "7 2026-11-21T20:00:00.000Z 8=FIX.4.2|35=B|58=?|\nmore from 8 on\n");
        let none = json!({"stream": "cgw/ABC/001", "epoch": "13.0", "epochs": ["12.0", "12.1"], "items": [], "next": null});
        let text = messages_listed(&none);
        assert!(text.ends_with("in epoch 13.0; epochs with messages: 12.0, 12.1\n"), "{text}");
    }

    #[test]
    fn streams_are_a_line_each() {
        let live = json!({"operator_id": "OPER", "source": "127.0.0.1", "since": "2026-11-21T20:00:00.000Z"});
        let one =
            json!({"stream": "cgw/ABC/001", "next_in": 3, "next_out": 9, "undelivered": 0, "live": live});
        let other = json!({"stream": "cgw/ABD/001", "next_in": 1, "next_out": 1001, "undelivered": 1000, "live": null});
        let text = listed(&json!({ "items": [one, other] }));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("STREAM ") && lines[1].contains("OPER"), "{text}");
        assert!(lines[2].starts_with("cgw/ABD/001") && lines[2].ends_with("1000"), "{text}");
    }
}
