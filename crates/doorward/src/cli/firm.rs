//! `doorward firm`: the firms of the venue.

use clap::{Args, Subcommand};
use doorward_core::text::percent_encoded;
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, facts, print, table};
use super::{CliError, Exit};

/// Firms: add, list, close
#[derive(Args, Debug)]
pub struct FirmArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Add a firm
    Add {
        /// Its code: 1 to 16 of A-Z, 0-9, - and _
        code: String,
        /// Its name
        #[arg(long)]
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List all firms
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a firm
    Show(OneFirm),
    /// Close a firm: its people are refused and their connections end
    Close(OneFirm),
    /// Open a closed firm again
    Open(OneFirm),
}

#[derive(Args, Debug)]
struct OneFirm {
    /// The firm's code
    code: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl OneFirm {
    async fn post(&self, what: &str) -> Result<String, CliError> {
        let path = format!("/api/v1/firms/{}/{what}", percent_encoded(&self.code));
        let firm = self.server.client()?.post(&path, &json!({})).await?;
        Ok(self.server.say(&firm, shown))
    }
}

pub(super) async fn run(args: FirmArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &FirmArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Add { code, name, server } => {
            let firm = json!({ "code": code, "name": name });
            let firm = server.client()?.post("/api/v1/firms", &firm).await?;
            Ok(server.say(&firm, shown))
        }
        Command::List { server } => {
            let firms = server.client()?.get("/api/v1/firms").await?;
            Ok(server.say(&firms, listed))
        }
        Command::Show(firm) => {
            let path = format!("/api/v1/firms/{}", percent_encoded(&firm.code));
            let answer = firm.server.client()?.get(&path).await?;
            Ok(firm.server.say(&answer, shown))
        }
        Command::Close(firm) => firm.post("close").await,
        Command::Open(firm) => firm.post("open").await,
    }
}

fn state(firm: &Value) -> String {
    if firm["closed"] == true { "closed" } else { "open" }.to_owned()
}

fn shown(firm: &Value) -> String {
    facts(&[
        ("code", cell(&firm["code"])),
        ("name", cell(&firm["name"])),
        ("state", state(firm)),
        ("added", cell(&firm["added"])),
        ("policy version", cell(&firm["policy"]["version"])),
    ])
}

fn listed(firms: &Value) -> String {
    let rows = firms["items"].as_array().into_iter().flatten();
    let rows =
        rows.map(|firm| vec![cell(&firm["code"]), cell(&firm["name"]), state(firm), cell(&firm["added"])]);
    table(&["code", "name", "state", "added"], rows)
}
