//! `doorward halt`: the emergency switch.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, print, table};
use super::{CliError, Exit};

/// The emergency switch: no new logons, or an end to all
#[derive(Args, Debug)]
pub struct HaltArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Throw it: nobody is let in any more but the desk
    Throw {
        #[command(flatten)]
        about: AboutArgs,
        /// End all that is open as well
        #[arg(long)]
        end_all: bool,
    },
    /// Take it back
    Lift {
        #[command(flatten)]
        about: AboutArgs,
    },
    /// List what is thrown
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct AboutArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why; it is written down
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// For the whole venue
    #[arg(long)]
    venue: bool,
    /// For a firm's people and FIX sessions
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    /// For a FIX session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

impl ScopeArgs {
    fn text(&self) -> String {
        match (&self.firm, &self.session) {
            (Some(code), _) => format!("firm/{code}"),
            (None, Some(id)) => format!("session/{id}"),
            (None, None) => "venue".to_owned(),
        }
    }
}

pub(super) async fn run(args: HaltArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &HaltArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Throw { about, end_all } => {
            let body = json!({ "scope": about.scope.text(), "reason": about.reason, "end_all": end_all });
            let halt = about.server.client()?.post("/api/v1/halts", &body).await?;
            Ok(about.server.say(&halt, |halt| {
                format!("{}: thrown since {}\n", cell(&halt["scope"]), cell(&halt["since"]))
            }))
        }
        Command::Lift { about } => {
            let body = json!({ "scope": about.scope.text(), "reason": about.reason });
            let lifted = about.server.client()?.post("/api/v1/halts/lift", &body).await?;
            Ok(about.server.say(&lifted, |lifted| format!("{}: taken back\n", cell(&lifted["scope"]))))
        }
        Command::List { server } => {
            let halts = server.client()?.get("/api/v1/halts").await?;
            Ok(server.say(&halts, listed))
        }
    }
}

fn listed(halts: &Value) -> String {
    let rows = halts["items"].as_array().into_iter().flatten();
    let rows = rows.map(|halt| vec![cell(&halt["scope"]), cell(&halt["since"]), cell(&halt["reason"])]);
    table(&["scope", "since", "reason"], rows)
}
