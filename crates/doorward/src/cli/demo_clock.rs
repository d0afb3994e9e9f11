//! `doorward demo-clock`: the wall clock of a running demo.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, print};
use super::{CliError, Exit};

/// Show the clock of a running demo, or move it forward
#[derive(Args, Debug)]
pub struct DemoClockArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print its time
    Show {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Set it to an instant that is still to come, such as 2026-11-21T20:00:00Z
    Set {
        /// The instant
        instant: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Move it forward
    Advance {
        /// By how much: 30s, 5m, 2h, 1d
        #[arg(value_name = "SPAN", value_parser = parse_span)]
        span_s: u64,
        #[command(flatten)]
        server: ServerArgs,
    },
}

fn parse_span(text: &str) -> Result<u64, String> {
    let wrong = || String::from("not a whole number with s, m, h or d, such as 30s");
    let unit_s = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) | None => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    let count = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    count.and_then(|count| count.checked_mul(unit_s)).ok_or_else(wrong)
}

pub(super) async fn run(args: DemoClockArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &DemoClockArgs) -> Result<String, CliError> {
    const PATH: &str = "/api/v1/demo/clock";
    let (server, answer) = match &args.command {
        Command::Show { server } => (server, server.client()?.get(PATH).await?),
        Command::Set { instant, server } => {
            (server, server.client()?.post(PATH, &json!({ "set": instant })).await?)
        }
        Command::Advance { span_s, server } => {
            (server, server.client()?.post(PATH, &json!({ "advance_s": span_s })).await?)
        }
    };
    Ok(server.say(&answer, |answer: &Value| format!("{}\n", cell(&answer["now"]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        for (text, span_s) in [("30s", 30), ("5m", 300), ("2h", 7_200), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(parse_span(text), Ok(span_s));
        }
        for wrong in
            ["", "30", "s", "-1s", "+1s", "1.5h", "99999999999999999999s", "18446744073709551615d", "3é"]
        {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
