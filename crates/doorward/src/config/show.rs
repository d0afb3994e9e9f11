//! `doorward config show`: the values in force and where they come from.

use std::path::Path;

use serde_json::json;

use super::keys::KEYS;
use super::read::{Origin, Setting, Settings};
use super::value::{Row, Value};

/// As TOML with the origin in a comment. What is not set is a comment as a whole.
pub(super) fn text(settings: &Settings) -> String {
    let mut lines = Vec::new();
    for key in KEYS {
        match settings.get(key.path) {
            None => lines.push((format!("# {}", key.path), "not set".to_owned())),
            Some(Setting { value, origin, .. }) => {
                lines.push((format!("{} = {}", key.path, toml(value)), words(origin)));
            }
        }
    }
    let width = lines.iter().map(|(left, _)| left.chars().count()).filter(|n| *n <= 60).max().unwrap_or(0);
    lines.iter().map(|(left, right)| format!("{left:width$}  # {right}\n")).collect()
}

/// As one JSON object.
pub(super) fn json(settings: &Settings) -> serde_json::Value {
    let rows = KEYS.iter().map(|key| {
        let row = match settings.get(key.path) {
            None => json!({ "value": null, "origin": "not set" }),
            Some(Setting { value, origin, .. }) => json!({ "value": plain(value), "origin": words(origin) }),
        };
        (key.path.to_owned(), row)
    });
    serde_json::Value::Object(rows.collect())
}

fn words(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Line(line) => format!("line {line}"),
        Origin::SecretFile(path) => format!("file {}", path.display()),
        Origin::Environment(name) => format!("environment {name}"),
    }
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(is) => json!(is),
        Value::Number(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Secret(secret) => json!(secret.to_string()),
        Value::Path(path) => json!(shown(path)),
        Value::Url(url) => json!(url.as_str()),
        Value::Address(address) => json!(address.to_string()),
        Value::Addresses(all) => all.iter().map(ToString::to_string).collect(),
        Value::Networks(all) => all.iter().map(ToString::to_string).collect(),
        Value::Origins(all) => all.iter().map(ToString::to_string).collect(),
        Value::Texts(all) => all.iter().map(String::as_str).collect(),
        Value::Tables(rows) => rows.iter().map(|row| serde_json::Value::Object(row_plain(row))).collect(),
    }
}

/// The keys of a table of a list, by what they are called inside it.
fn row_plain(row: &Row) -> serde_json::Map<String, serde_json::Value> {
    let mut all = serde_json::Map::new();
    let lists: Vec<&str> = KEYS.iter().filter(|key| !key.columns().is_empty()).map(|key| key.path).collect();
    for (path, setting) in &row.settings {
        let name = lists.iter().find_map(|list| path.strip_prefix(list)).unwrap_or(path);
        all.insert(name.trim_start_matches('.').to_owned(), plain(&setting.value));
    }
    all
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A value as TOML. JSON's strings, numbers and lists of them are TOML as well, but for one character.
pub(super) fn toml(value: &Value) -> String {
    match plain(value) {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
    .replace('\u{7f}', "\\u007f")
}

/// An item of a list: a table is written inline, with `=`.
fn inline(item: &serde_json::Value) -> String {
    match item {
        serde_json::Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
