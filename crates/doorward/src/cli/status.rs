//! `doorward status`: how a running node is doing.

use clap::Args;
use serde_json::Value;

use super::server::{ServerArgs, cell, facts, print};
use super::{CliError, Exit};

/// How the running node is doing; ends with 1 where it is not ready
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: StatusArgs) -> Result<Exit, CliError> {
    let status = told(&args).await?;
    print(&args.server.say(&status, shown))?;
    Ok(if status["ready"] == true { Exit::Done } else { Exit::Refused })
}

pub(super) async fn told(args: &StatusArgs) -> Result<Value, CliError> {
    Ok(args.server.client()?.get("/api/v1/status").await?)
}

pub(super) fn shown(status: &Value) -> String {
    let yes = |value: &Value| if *value == true { "yes" } else { "no" }.to_owned();
    let vault = &status["vault"];
    let hsm = if vault["hsm"] == true { "HSM" } else { "no HSM" };
    let why = cell(&status["not_ready"]);
    facts(&[
        ("node", cell(&status["node"])),
        ("version", cell(&status["version"])),
        ("ready", if why.is_empty() { yes(&status["ready"]) } else { format!("no: {why}") }),
        ("time", cell(&status["now"])),
        ("clock good", yes(&status["clock_good"])),
        ("sessions", cell(&status["sessions"])),
        ("journal", format!("{}:{}", cell(&status["head"]["no"]), cell(&status["head"]["hash"]))),
        ("segments", cell(&status["segments"])),
        ("book", format!("{} ({} waiting)", cell(&status["mark"]), cell(&status["waiting"]))),
        ("failing", cell(&status["failing"])),
        (
            "vault",
            format!(
                "{}, {hsm}, challenge keys of {} bits",
                cell(&vault["provider"]),
                cell(&vault["challenge_bits"])
            ),
        ),
    ])
}
