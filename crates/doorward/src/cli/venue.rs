//! `doorward venue`: the simulated venue behind the FIX door of a running node.

use clap::{Args, Subcommand};
use doorward_core::text::percent_encoded;
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, print, table};
use super::{CliError, Exit};

/// Messages of one request.
const PER_REQUEST: u64 = doorward_core::limits::Limit::VenueMessages.max();

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

#[cfg(test)]
mod tests {
    use super::*;

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
