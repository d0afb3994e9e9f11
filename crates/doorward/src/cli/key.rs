//! `doorward key`: key pairs of FIX sessions.

use clap::{Args, Subcommand, ValueEnum};
use doorward_core::secret::Secret;
use doorward_core::text::percent_encoded;
use serde_json::{Value, json};

use super::server::{ServerArgs, cell, json_line, print, table};
use super::session::session;
use super::terminal::{Question, ask, secret_env};
use super::{CliError, Exit};

/// Key pairs of FIX sessions; making and showing them takes a fresh one-time password each time
#[derive(Args, Debug)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a key pair and show it
    Create(CreateArgs),
    /// List the key pairs of a session
    List(OfSession),
    /// Show a secret key again
    Download(DownloadArgs),
    /// Delete a key pair: it dies at once, its connections end
    Delete(DeleteArgs),
    /// Open the making and showing of key pairs for one firm for an hour, outside its hours
    Hours(HoursArgs),
}

#[derive(Args, Debug)]
struct OfSession {
    /// The Session ID
    #[arg(long, value_name = "ID")]
    session: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl OfSession {
    fn path(&self) -> String {
        format!("{}/keys", session(&self.session))
    }
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct CodeFrom {
    /// The one-time password [default: you are asked for it]
    #[arg(long, conflicts_with = "code_env")]
    code: Option<String>,
    /// Read the one-time password from this environment variable
    #[arg(long, value_name = "NAME")]
    code_env: Option<String>,
}

impl CodeFrom {
    fn read(&self) -> Result<Secret<String>, CliError> {
        match (&self.code, &self.code_env) {
            (Some(code), _) => Ok(Secret::new(code.clone())),
            (None, Some(name)) => secret_env("--code-env", name),
            (None, None) => {
                ask(Question { prompt: "one-time password: ", option: "--code or --code-env", hidden: true })
            }
        }
    }
}

/// How a key pair is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// Fixed columns: Session ID, Access ID, Secret Key, Creation Date, Expiration Date, Environment
    Table,
    /// One JSON object
    Json,
    /// Lines for a .env file
    Env,
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    of: OfSession,
    /// The administrator in whose name
    #[arg(long = "as", value_name = "USER")]
    userid: String,
    #[command(flatten)]
    code: CodeFrom,
    /// Where two key pairs are good already: the Access Key ID of the one that dies at once
    #[arg(long, value_name = "KEY")]
    delete: Option<String>,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Args, Debug)]
struct DownloadArgs {
    /// The Access Key ID [default: the only one that is good]
    key: Option<String>,
    #[command(flatten)]
    of: OfSession,
    /// The administrator in whose name
    #[arg(long = "as", value_name = "USER")]
    userid: String,
    #[command(flatten)]
    code: CodeFrom,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    /// The Access Key ID
    key: String,
    #[command(flatten)]
    of: OfSession,
    /// The administrator in whose name
    #[arg(long = "as", value_name = "USER")]
    userid: String,
    /// Why; it is written down
    #[arg(long)]
    reason: String,
}

#[derive(Args, Debug)]
struct HoursArgs {
    /// The firm's code
    #[arg(long, value_name = "CODE")]
    firm: String,
    /// Why; it is written down
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: KeyArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &KeyArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Create(args) => create(args).await,
        Command::List(of) => {
            let answer = of.server.client()?.get(&of.path()).await?;
            Ok(of.server.say(&answer, listed))
        }
        Command::Download(args) => download(args).await,
        Command::Delete(args) => {
            let DeleteArgs { key, of, userid, reason } = args;
            let path = format!("{}/{}", of.path(), percent_encoded(key));
            let answer =
                of.server.client()?.delete(&path, Some(&json!({ "as": userid, "reason": reason }))).await?;
            Ok(of.server.say(&answer, |answer| rows(&answer["items"])))
        }
        Command::Hours(args) => {
            let path = format!("/api/v1/firms/{}/key-hours", percent_encoded(&args.firm));
            let answer = args.server.client()?.post(&path, &json!({ "reason": args.reason })).await?;
            let until = |firm: &Value| {
                format!("key pairs of {} until {}\n", cell(&firm["code"]), cell(&firm["key_hours_until"]))
            };
            Ok(args.server.say(&answer, until))
        }
    }
}

async fn create(args: &CreateArgs) -> Result<String, CliError> {
    let CreateArgs { of, userid, code, delete, format } = args;
    let client = of.server.client()?;
    let mut asked = json!({ "as": userid, "code": code.read()?.expose() });
    if let Some(key) = delete {
        asked["delete"] = json!(key);
    }
    let made = client.post(&of.path(), &asked).await?;
    Ok(written(&made, of.server.json, *format))
}

async fn download(args: &DownloadArgs) -> Result<String, CliError> {
    let DownloadArgs { key, of, userid, code, format } = args;
    let client = of.server.client()?;
    let key = match key {
        Some(key) => key.clone(),
        None => only_good(&client.get(&of.path()).await?)?,
    };
    let asked = json!({ "as": userid, "code": code.read()?.expose() });
    let path = format!("{}/{}/download", of.path(), percent_encoded(&key));
    Ok(written(&client.post(&path, &asked).await?, of.server.json, *format))
}

/// The one key pair that is good.
fn only_good(keys: &Value) -> Result<String, CliError> {
    let good = |key: &&Value| key["state"] == "active" || key["state"] == "expiring";
    let mut good = keys["items"].as_array().into_iter().flatten().filter(good);
    match (good.next(), good.next()) {
        (Some(key), None) => Ok(key["access_key_id"].as_str().unwrap_or_default().to_owned()),
        (Some(_), Some(_)) => {
            Err(CliError::usage("which one? two key pairs are good; give the Access Key ID"))
        }
        (None, _) => Err(CliError::usage("no key pair is good; make one with `doorward key create`")),
    }
}

/// The columns of the table that existing tools read: header, width, field.
const COLUMNS: [(&str, usize, &str); 6] = [
    ("Session ID", 10, "session_id"),
    ("Access ID", 20, "access_key_id"),
    ("Secret Key", 43, "secret_key"),
    ("Creation Date", 24, "created"),
    ("Expiration Date", 24, "expires"),
    ("Environment", 11, "environment"),
];

fn written(pair: &Value, json: bool, format: Format) -> String {
    match if json { Format::Json } else { format } {
        Format::Json => json_line(pair),
        Format::Env => {
            let names = [
                ("FIX_SESSION_ID", "session_id"),
                ("FIX_ACCESS_KEY_ID", "access_key_id"),
                ("FIX_SECRET_KEY", "secret_key"),
                ("FIX_KEY_CREATED", "created"),
                ("FIX_KEY_EXPIRES", "expires"),
                ("FIX_ENVIRONMENT", "environment"),
            ];
            names.iter().map(|(name, field)| format!("{name}={}\n", cell(&pair[*field]))).collect()
        }
        Format::Table => {
            let line = |cells: &dyn Fn(&(&str, usize, &str)) -> String| {
                let cells: Vec<String> =
                    COLUMNS.iter().map(|column| format!("{:1$}", cells(column), column.1)).collect();
                format!("{}\n", cells.join("  ").trim_end())
            };
            line(&|column| column.0.to_owned()) + &line(&|column| cell(&pair[column.2]))
        }
    }
}

fn listed(keys: &Value) -> String {
    let hours = match &keys["opens"] {
        Value::Null => String::new(),
        opens => format!("\nkey pairs are made and shown again from {}\n", cell(opens)),
    };
    rows(&keys["items"]) + &hours
}

/// Key pairs, one a line.
pub(super) fn rows(keys: &Value) -> String {
    let rows = keys.as_array().into_iter().flatten().map(|key| {
        let used = &key["last_used"];
        vec![
            cell(&key["access_key_id"]),
            cell(&key["state"]),
            cell(&key["created"]),
            cell(&key["expires"]),
            cell(&used["at"]),
            cell(&used["source"]),
            cell(&used["sender_comp_id"]),
            if key["safe_to_retire"] == true { "yes" } else { "no" }.to_owned(),
        ]
    });
    let header = ["access key", "state", "created", "expires", "last used", "from", "by", "safe to retire"];
    table(&header, rows)
}
