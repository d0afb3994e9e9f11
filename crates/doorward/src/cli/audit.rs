//! `doorward audit list`: who did what, when, and why it was refused.

use clap::Args;
use clap::builder::PossibleValuesParser;
use doorward_core::audit::{Door, Outcome};
use serde_json::Value;

use super::server::{ServerArgs, cell, list, print, table};
use super::{CliError, Exit};

/// `doorward audit list`
#[derive(Args, Debug)]
pub struct AuditListArgs {
    /// By this user or on them; also what was tried as a user id
    #[arg(long, value_name = "USERID")]
    userid: Option<String>,
    /// Of this firm
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    /// Of this FIX session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Of this event, such as login-refused
    #[arg(long)]
    event: Option<String>,
    /// That ended so
    #[arg(long, value_parser = PossibleValuesParser::new(Outcome::ALL.iter().map(|row| row.id())))]
    outcome: Option<String>,
    /// That came in at this door
    #[arg(long, value_parser = PossibleValuesParser::new(Door::ALL.iter().map(|row| row.id())))]
    door: Option<String>,
    /// Of this attempt
    #[arg(long, value_name = "ID")]
    attempt: Option<String>,
    /// Not before this instant, such as 2026-11-21T20:00:00Z
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// Before this instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// Most entries, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: AuditListArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &AuditListArgs) -> Result<String, CliError> {
    let filters = [
        ("userid", args.userid.as_deref()),
        ("firm", args.firm.as_deref()),
        ("session", args.session.as_deref()),
        ("event", args.event.as_deref()),
        ("outcome", args.outcome.as_deref()),
        ("door", args.door.as_deref()),
        ("attempt", args.attempt.as_deref()),
        ("since", args.since.as_deref()),
        ("until", args.until.as_deref()),
    ];
    let entries = list(&args.server.client()?, "audit", &filters, args.limit).await?;
    Ok(args.server.say(&entries, shown))
}

fn shown(entries: &Value) -> String {
    let rows = entries["items"].as_array().into_iter().flatten().map(|entry| {
        vec![
            cell(&entry["no"]),
            cell(&entry["at"]),
            cell(&entry["event"]),
            who(&entry["actor"]),
            on(entry),
            cell(&entry["firm"]),
            cell(&entry["door"]),
            cell(&entry["source"]),
            why(entry),
            cell(&entry["attempt"]),
        ]
    });
    table(&["no", "at", "event", "by", "on", "firm", "door", "source", "why", "attempt"], rows)
}

pub(super) fn who(actor: &Value) -> String {
    match actor["kind"].as_str() {
        Some("person") => cell(&actor["userid"]),
        Some("unknown") => named(actor),
        Some("local") => format!("uid {}", cell(&actor["uid"])),
        Some("fix-session") if !actor["sender_comp_id"].is_null() => cell(&actor["sender_comp_id"]),
        Some("fix-session") => cell(&actor["id"]),
        _ => cell(&actor["kind"]),
    }
}

/// Whom or what it concerns besides whoever did it.
fn on(entry: &Value) -> String {
    let whom = whom(entry);
    if whom.is_empty() { cell(&entry["session"]) } else { whom }
}

/// On whom it was done, or what was named in the place of somebody; empty where it is neither.
pub(super) fn whom(entry: &Value) -> String {
    match (&entry["subject"]["userid"], &entry["named"]) {
        (Value::Null, Value::Null) => String::new(),
        (Value::Null, name) => named(name),
        (userid, _) => cell(userid),
    }
}

/// A user id of which little is kept.
fn named(name: &Value) -> String {
    format!("{}… ({} characters)", cell(&name["begins"]), cell(&name["chars"]))
}

/// The reason, what was expected and seen, and the few words more.
fn why(entry: &Value) -> String {
    let steps = entry["trace"]["steps"].as_array().into_iter().flatten();
    let failed = steps.filter(|step| step["result"] == "failed");
    let failed =
        failed.map(|step| format!("expected {}, seen {}", cell(&step["expected"]), cell(&step["seen"])));
    let parts = [cell(&entry["reason"])].into_iter().chain(failed).chain([cell(&entry["detail"])]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn q8_a_refusal_tells_why_and_shows_a_strangers_words_escaped() {
        let entry = json!({"no": 7, "event": "login-refused", "reason": "wrong-code",
            "actor": {"kind": "unknown", "begins": "\u{1b}[2", "chars": 9},
            "trace": {"steps": [{"check": "code-matches", "result": "failed", "expected": "a step", "seen": "none"}]}});
        assert_eq!(who(&entry["actor"]), "\\u{1b}[2… (9 characters)");
        assert_eq!(why(&entry), "wrong-code; expected a step, seen none");
        assert!(!shown(&json!({"items": [entry]})).contains('\u{1b}'));
        let entry = json!({"actor": {"kind": "person", "userid": "shop"}, "named": {"begins": "\u{1b}[2", "chars": 9}});
        assert_eq!(on(&entry), "\\u{1b}[2… (9 characters)", "whom a program named");
    }
}
