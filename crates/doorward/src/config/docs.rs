//! What the table of keys is turned into: the operator's page, the sample file, `--help`.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, Preset, SECTIONS};

/// The page `docs/configuration.md`, as `doorward config show --docs` prints it.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         One TOML file. Every key has a default, so an empty file is a whole configuration. A key that is not listed \
         here is refused. Relative paths start at the folder of the file. `doorward config check` reads a file and \
         lists every fault in it, `doorward config show` prints the values in force.\n\n\
         A secret is never written in the file: for a key `x` that is marked secret, `x_file` names a file that holds \
         it (not readable by everybody) or `x_env` an environment variable.\n\n\
         This page is printed by `doorward config show --docs`.\n",
    );
    for (section, about) in SECTIONS {
        let heading = if section.is_empty() { "Top level".to_owned() } else { format!("`[{section}]`") };
        let _ = write!(page, "\n## {heading}\n\n{about}.\n\n");
        page.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
        for key in section_keys(section) {
            let _ = writeln!(page, "{}", row(key));
        }
        for key in section_keys(section).filter(|key| !key.columns().is_empty()) {
            let _ = write!(page, "\n### `[[{}]]`\n\n", key.path);
            page.push_str("| key | takes | default | what it does |\n|---|---|---|---|\n");
            for key in key.columns() {
                let _ = writeln!(page, "{}", row(key));
            }
        }
    }
    page
}

fn section_keys(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section() == section)
}

fn row(key: &Key) -> String {
    let path =
        if key.secret { format!("`{0}_file`, `{0}_env`", key.path) } else { format!("`{}`", key.path) };
    let takes = if key.secret { "secret".to_owned() } else { key.kind.words(key.unit) };
    let preset = match key.preset {
        Preset::Toml(text) => format!("`{text}`"),
        Preset::Derived { words, .. } => words.to_owned(),
        Preset::Absent { .. } => "not set".to_owned(),
    };
    let reload = if key.reloadable { " A running server takes a change over." } else { "" };
    format!("| {path} | {} | {preset} | {}{reload} |", takes.replace('|', "\\|"), key.doc.replace('|', "\\|"))
}

/// A commented configuration file, in which the given keys are set and all others show their defaults.
///
/// `set` holds paths and values written as TOML.
pub fn sample(set: &[(&str, String)]) -> String {
    let mut file = String::from(
        "# Configuration of Doorward. What is commented out shows the default, or an example where there is none.\n\
         # Relative paths start at the folder of this file. Check it with: doorward config check\n",
    );
    for (section, about) in SECTIONS {
        let _ = write!(file, "\n# {about}.\n");
        if !section.is_empty() {
            let _ = writeln!(file, "[{section}]");
        }
        for key in section_keys(section) {
            let _ = write!(file, "\n{}", entry(key, set));
            if !key.columns().is_empty() {
                let _ = writeln!(file, "# Such as:\n# [[{}]]", key.path);
            }
            for column in key.columns() {
                let shown = match column.preset {
                    Preset::Toml(text) => text,
                    Preset::Derived { example, .. } | Preset::Absent { example } => example,
                };
                let _ = writeln!(file, "# {} = {shown}", &column.path[key.path.len() + 1..]);
            }
        }
    }
    file
}

fn entry(key: &Key, set: &[(&str, String)]) -> String {
    let name = key.name();
    let mut entry: String = wrapped(key.doc, 108).iter().map(|line| format!("# {line}\n")).collect();
    if key.secret {
        let env = key.path.replace('.', "_").to_uppercase();
        let _ = write!(entry, "#{name}_file = \"/run/secrets/{name}\"\n#{name}_env = \"DOORWARD_{env}\"\n");
        return entry;
    }
    let _ = writeln!(entry, "# Takes {}.", key.kind.words(key.unit));
    let shown = match key.preset {
        Preset::Toml(text) => text,
        Preset::Derived { words, example } => {
            let _ = writeln!(entry, "# Default: {}.", words.replace('`', ""));
            example
        }
        Preset::Absent { example } => {
            entry.push_str("# Default: not set.\n");
            example
        }
    };
    match set.iter().find(|(path, _)| *path == key.path) {
        Some((_, value)) => {
            let _ = writeln!(entry, "{name} = {value}");
        }
        None => {
            let _ = writeln!(entry, "#{name} = {shown}");
        }
    }
    entry
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Every key in a few lines, for `--help`.
pub fn help() -> String {
    let mut text =
        String::from("Configuration keys (TOML; `doorward config show --docs` has them as a page):\n");
    for key in KEYS.iter().chain(KEYS.iter().flat_map(Key::columns)) {
        let preset = match key.preset {
            Preset::Toml(text) => text,
            Preset::Derived { words, .. } => words,
            Preset::Absent { .. } => "not set",
        };
        let path = if key.secret { format!("{0}_file, {0}_env", key.path) } else { key.path.to_owned() };
        let _ = writeln!(text, "\n  {path} [{preset}]");
        for line in wrapped(key.doc, 92) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}
