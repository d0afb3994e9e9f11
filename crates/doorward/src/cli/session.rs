//! `doorward session`: FIX sessions.

use clap::{Args, Subcommand};
use doorward_core::text::percent_encoded;
use serde_json::{Map, Value, json};

use super::server::{ServerArgs, cell, facts, list, print, table};
use super::{CliError, Exit};

/// FIX sessions: who may log on with what, locks, streams
#[derive(Args, Debug)]
pub struct SessionArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// List all sessions
    List {
        /// Of this firm
        #[arg(long, value_name = "CODE")]
        firm: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a session with its key pairs and streams
    Show(OneSession),
    /// Add a session to a firm
    Add(AddArgs),
    /// Change what a session may do; what is not given stays
    Set(SetArgs),
    /// Lock a session: nobody logs on with it, its connections end
    Lock(Because),
    /// Open a locked session again
    Reopen(Because),
    /// End the connections of a session; it may log on again at once
    End(Because),
    /// Set the numbers of a stream that no connection holds
    SetNext(SetNextArgs),
}

#[derive(Args, Debug)]
struct OneSession {
    /// The Session ID: 3 characters of A-Z and 0-9
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct Because {
    #[command(flatten)]
    one: OneSession,
    /// Why; it is written down
    #[arg(long)]
    reason: String,
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct MayArgs {
    /// What SenderCompID (49) may begin with: 6 characters each, the Session ID and a Firm ID
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    sender_comp_ids: Option<Vec<String>>,
    /// Which operators (50) it permits
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    operator_ids: Option<Vec<String>>,
    /// From which addresses and networks a Logon may come; empty: from everywhere
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    sources: Option<Vec<String>>,
}

impl MayArgs {
    fn fields(&self) -> Map<String, Value> {
        let words = |words: &Option<Vec<String>>| {
            let words = words.as_ref()?;
            Some(json!(words.iter().filter(|word| !word.is_empty()).collect::<Vec<_>>()))
        };
        let fields = [
            ("sender_comp_ids", words(&self.sender_comp_ids)),
            ("operator_ids", words(&self.operator_ids)),
            ("sources", words(&self.sources)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

#[derive(Args, Debug)]
struct AddArgs {
    #[command(flatten)]
    one: OneSession,
    /// Its firm
    #[arg(long, value_name = "CODE")]
    firm: String,
    /// What it and its key pairs are for
    #[arg(long, value_parser = ["test", "live"])]
    environment: String,
    #[command(flatten)]
    may: MayArgs,
}

#[derive(Args, Debug)]
struct SetArgs {
    #[command(flatten)]
    one: OneSession,
    /// Whether anybody may log on; disabled ends its connections
    #[arg(long, value_parser = ["active", "disabled"])]
    standing: Option<String>,
    #[command(flatten)]
    may: MayArgs,
}

#[derive(Args, Debug)]
struct SetNextArgs {
    #[command(flatten)]
    because: Because,
    /// The stream, such as cgw/ABC/001 or msgw-92/ABC/001
    #[arg(long)]
    stream: String,
    /// MsgSeqNum that the client's next message must have
    #[arg(long = "in", value_name = "NUMBER")]
    next_in: Option<u64>,
    /// MsgSeqNum that our next message gets
    #[arg(long = "out", value_name = "NUMBER")]
    next_out: Option<u64>,
}

impl OneSession {
    fn path(&self) -> String {
        session(&self.id)
    }
}

impl Because {
    async fn post(&self, what: &str) -> Result<String, CliError> {
        let path = format!("{}/{what}", self.one.path());
        let answer = self.one.server.client()?.post(&path, &json!({ "reason": self.reason })).await?;
        Ok(self.one.server.say(&answer, shown))
    }
}

/// The path of a session.
pub(super) fn session(id: &str) -> String {
    format!("/api/v1/sessions/{}", percent_encoded(id))
}

pub(super) async fn run(args: SessionArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &SessionArgs) -> Result<String, CliError> {
    match &args.command {
        Command::List { firm, server } => {
            let filters = [("firm", firm.as_deref())];
            let sessions = list(&server.client()?, "sessions", &filters, usize::MAX).await?;
            Ok(server.say(&sessions, rows))
        }
        Command::Show(one) => {
            let answer = one.server.client()?.get(&one.path()).await?;
            Ok(one.server.say(&answer, shown))
        }
        Command::Add(args) => {
            let AddArgs { one, firm, environment, may } = args;
            let mut fields = may.fields();
            fields.insert("session_id".into(), json!(one.id));
            fields.insert("firm".into(), json!(firm));
            fields.insert("environment".into(), json!(environment));
            let added = one.server.client()?.post("/api/v1/sessions", &Value::Object(fields)).await?;
            Ok(one.server.say(&added, shown))
        }
        Command::Set(args) => {
            let mut fields = args.may.fields();
            fields.extend(args.standing.iter().map(|standing| (String::from("standing"), json!(standing))));
            if fields.is_empty() {
                return Err(CliError::usage("nothing to change: give --operator-ids or another option"));
            }
            let one = &args.one;
            let answer = one.server.client()?.patch(&one.path(), &Value::Object(fields)).await?;
            Ok(one.server.say(&answer, shown))
        }
        Command::Lock(because) => because.post("lock").await,
        Command::Reopen(because) => because.post("reopen").await,
        Command::End(because) => because.post("end").await,
        Command::SetNext(args) => {
            let SetNextArgs { because: Because { one, reason }, stream, next_in, next_out } = args;
            let fields =
                json!({ "stream": stream, "next_in": next_in, "next_out": next_out, "reason": reason });
            let answer = one.server.client()?.post(&format!("{}/set-next", one.path()), &fields).await?;
            Ok(one.server.say(&answer, |answer| streams(&json!([answer]))))
        }
    }
}

fn state(session: &Value) -> String {
    let standing = cell(&session["standing"]);
    if session["locked"].is_null() { standing } else { format!("{standing}, locked") }
}

fn rows(sessions: &Value) -> String {
    let rows = sessions["items"].as_array().into_iter().flatten().map(|session| {
        let keys = session["keys"].as_array().into_iter().flatten();
        let live = keys.filter(|key| key["state"] == "active" || key["state"] == "expiring").count();
        vec![
            cell(&session["session_id"]),
            cell(&session["firm"]),
            cell(&session["environment"]),
            state(session),
            cell(&session["sender_comp_ids"]),
            cell(&session["operator_ids"]),
            live.to_string(),
        ]
    });
    table(&["session", "firm", "environment", "state", "sender comp ids", "operator ids", "key pairs"], rows)
}

fn shown(session: &Value) -> String {
    let facts = facts(&[
        ("session", cell(&session["session_id"])),
        ("firm", cell(&session["firm"])),
        ("kind", cell(&session["kind"])),
        ("environment", cell(&session["environment"])),
        ("standing", cell(&session["standing"])),
        ("locked since", cell(&session["locked"])),
        ("added", cell(&session["added"])),
        ("sender comp ids", cell(&session["sender_comp_ids"])),
        ("operator ids", cell(&session["operator_ids"])),
        ("sources", cell(&session["sources"])),
    ]);
    let part = |name: &str, told: fn(&Value) -> String| match session[name].as_array() {
        Some(items) if !items.is_empty() => format!("\n{}", told(&session[name])),
        Some(_) | None => String::new(),
    };
    facts + &part("keys", super::key::rows) + &part("streams", streams)
}

fn streams(streams: &Value) -> String {
    let rows = streams.as_array().into_iter().flatten().map(|stream| {
        let live = &stream["live"];
        vec![
            cell(&stream["stream"]),
            cell(&stream["next_in"]),
            cell(&stream["next_out"]),
            cell(&stream["unsent"]),
            cell(&live["since"]),
            cell(&live["source"]),
            cell(&live["operator_id"]),
        ]
    });
    table(&["stream", "next in", "next out", "unsent", "logged on since", "from", "operator"], rows)
}
