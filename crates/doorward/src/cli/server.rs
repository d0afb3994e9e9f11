//! Where the server is, how it is asked, and how its answers are shown.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use doorward_client::api::AdminClient;
use doorward_client::password::encrypt_for_api;
use doorward_core::secret::Secret;
use doorward_core::text::{escape_in_json, escape_untrusted, percent_encoded};
use serde_json::{Value, json};

use super::{CliError, Exit};
use crate::config::Config;

/// Names the socket where `--socket` does not.
const SOCKET_ENV: &str = "DOORWARD_SOCKET";
/// The configuration where `--config` names none.
const CONFIG_FILE: &str = "doorward.toml";
/// Items of one page.
const PAGE: usize = 500;

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Clone, Debug)]
pub(super) struct ServerArgs {
    /// The server's administration socket [default: DOORWARD_SOCKET, else admin.socket of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The server's configuration, for its admin.socket [default: doorward.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl ServerArgs {
    /// A client of the server.
    pub(super) fn client(&self) -> Result<AdminClient, CliError> {
        let named = std::env::var_os(SOCKET_ENV).filter(|socket| !socket.is_empty()).map(PathBuf::from);
        self.socket_of(named, Path::new(CONFIG_FILE)).map(AdminClient::new)
    }

    fn socket_of(&self, named: Option<PathBuf>, usual: &Path) -> Result<PathBuf, CliError> {
        match (&self.socket, &self.config, named) {
            (Some(socket), _, _) => Ok(socket.clone()),
            (None, Some(config), _) => configured(config),
            (None, None, Some(socket)) => Ok(socket),
            (None, None, None) if usual.exists() => configured(usual),
            (None, None, None) => Err(CliError::usage(format!(
                "which server? give --socket or --config, set {SOCKET_ENV}, or be where {CONFIG_FILE} is"
            ))),
        }
    }

    /// The answer as it came, or as `shown` tells it.
    pub(super) fn say(&self, answer: &Value, shown: impl FnOnce(&Value) -> String) -> String {
        if self.json { json_line(answer) } else { shown(answer) }
    }
}

fn configured(path: &Path) -> Result<PathBuf, CliError> {
    let config = Config::load(path, &|name| std::env::var(name).ok()).map_err(|errors| {
        let all = errors.to_string();
        CliError::usage(format!("{}; or give --socket", all.lines().collect::<Vec<_>>().join("; ")))
    })?;
    Ok(config.admin.socket)
}

/// Prints what a command has to say.
pub(super) fn print(text: &str) -> Result<Exit, CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Done)
}

/// The path of a person.
pub(super) fn person(userid: &str) -> String {
    format!("/api/v1/people/{}", percent_encoded(userid))
}

/// Asks for a list page by page: at most `most` items, with those filters that are given.
pub(super) async fn list(
    client: &AdminClient,
    path: &str,
    filters: &[(&str, Option<&str>)],
    most: usize,
) -> Result<Value, CliError> {
    let mut query = String::new();
    for (name, value) in filters {
        if let Some(value) = value {
            // Writing to a string never fails.
            let _ = write!(query, "&{name}={}", percent_encoded(value));
        }
    }
    let (mut items, mut next) = (Vec::new(), Value::Null);
    while items.len() < most {
        let limit = (most - items.len()).min(PAGE);
        let cursor =
            next.as_str().map(|next| format!("&cursor={}", percent_encoded(next))).unwrap_or_default();
        let mut page = client.get(&format!("/api/v1/{path}?limit={limit}{query}{cursor}")).await?;
        if let Value::Array(more) = page["items"].take() {
            items.extend(more);
        }
        next = page["next"].take();
        if next.is_null() {
            break;
        }
    }
    Ok(json!({ "items": items, "next": next }))
}

/// Encrypts a password for the API, with the server's present key.
pub(super) async fn encrypted(client: &AdminClient, password: &Secret<String>) -> Result<Value, CliError> {
    let challenge = client.get("/api/v1/challenge").await?;
    Ok(json!(encrypt_for_api(&challenge, password)?))
}

/// One line of JSON in which nothing is hidden from the eye.
pub(super) fn json_line(value: &Value) -> String {
    format!("{}\n", escape_in_json(&value.to_string()))
}

/// A value as one cell: safe to look at, empty where there is none.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape_untrusted(text).into_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            escape_untrusted(&value.to_string()).into_owned()
        }
    }
}

/// A table of cells that are safe to look at already.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    let lines = table.to_string();
    lines.lines().fold(String::new(), |out, line| out + line.trim() + "\n")
}

/// Names and values, a line each; what has no value is left out.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let facts = facts.iter().filter(|(_, value)| !value.is_empty());
    facts.fold(String::new(), |mut out, (name, value)| {
        // Writing to a string never fails.
        let _ = writeln!(out, "{name:width$}  {value}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(socket: Option<&str>, config: Option<&Path>) -> ServerArgs {
        ServerArgs { socket: socket.map(PathBuf::from), config: config.map(Path::to_owned), json: false }
    }

    #[test]
    fn the_socket_comes_from_the_option_then_the_variable_then_the_configuration() {
        let folder = tempfile::TempDir::new().unwrap();
        let config = folder.path().join("doorward.toml");
        let named = || Some(PathBuf::from("/run/named.sock"));
        let lost = args(None, None).socket_of(None, &config).unwrap_err().to_string();
        assert!(lost.contains("--socket") && lost.contains("DOORWARD_SOCKET"), "{lost}");
        std::fs::write(&config, "[admin]\nsocket = \"/run/configured.sock\"\n").unwrap();
        let socket = |args: ServerArgs, named| args.socket_of(named, &config).unwrap();
        assert_eq!(socket(args(Some("/run/given.sock"), None), named()), Path::new("/run/given.sock"));
        assert_eq!(socket(args(None, None), named()), Path::new("/run/named.sock"));
        assert_eq!(socket(args(None, None), None), Path::new("/run/configured.sock"));
        assert_eq!(socket(args(None, Some(&config)), named()), Path::new("/run/configured.sock"));
        std::fs::write(&config, "[admin]\nsokcet = 1\n").unwrap();
        let wrong = args(None, None).socket_of(None, &config).unwrap_err().to_string();
        assert!(wrong.contains("sokcet") && wrong.ends_with("or give --socket"), "{wrong}");
    }

    #[test]
    fn q8_what_people_are_called_does_not_reach_the_terminal_raw() {
        let hostile = json!("a\u{1b}[31m\u{202e}b\nc");
        assert_eq!(cell(&hostile), "a\\u{1b}[31m\\u{202e}b\\nc");
        assert_eq!(cell(&json!([hostile, 1])), "a\\u{1b}[31m\\u{202e}b\\nc, 1");
        assert_eq!(json_line(&json!({"x": "\u{202e}"})), "{\"x\":\"\\u202e\"}\n");
        assert!(!cell(&json!({"x": hostile})).contains('\u{202e}'));
    }

    #[test]
    fn segments_and_tables_are_plain() {
        assert_eq!(person("jane@a/b c"), "/api/v1/people/jane%40a%2Fb%20c");
        let table = table(&["code", "name"], [vec!["A".to_owned(), "Acme".to_owned()]]);
        assert_eq!(table, "CODE  NAME\nA     Acme\n");
        assert_eq!(facts(&[("userid", "jane".to_owned()), ("firm", String::new())]), "userid  jane\n");
    }
}
