//! The core's tables of events, refusals, checks and limits: each row used, well named and documented.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::tokens::{self, Token};
use super::{Complaint, File, Source};
use crate::reference;

/// One `table!` of the core.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Table {
    pub(crate) path: String,
    pub(crate) name: String,
    /// The comment above the enum.
    pub(crate) about: String,
    pub(crate) rows: Vec<Row>,
}

/// One row of a table.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) sentence: String,
    /// What `max` of the table gives for it, where the table has one: a number, or the expression as written.
    pub(crate) max: Option<String>,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Tables whose ids are words on the wire, which the peers' contract sets.
const WIRE_TEXTS: &[&str] = &["Refusal"];

/// Where tables are written.
const TABLES_IN: &str = "crates/doorward-core/src/";

/// Checks every table, its use in the whole tree, and that docs/reference.md tells of it.
pub(crate) fn check(files: &[File], sources: &[Source], complaints: &mut Vec<Complaint>) -> Result<()> {
    let tables = read(sources, complaints);
    for table in &tables {
        check_rows(table, complaints);
    }
    check_use(&tables, sources, complaints);
    let written = files.iter().find(|file| file.path == reference::PATH).map(|file| file.text.as_str());
    if written != Some(reference::render(&tables).as_str()) {
        let text = "does not tell what the tables say: run `cargo xtask docs`";
        complaints.push(Complaint::new(reference::PATH, 0, text));
    }
    Ok(())
}

/// The tables of the core, in order of path; what cannot be read is a complaint.
pub(crate) fn read(sources: &[Source], complaints: &mut Vec<Complaint>) -> Vec<Table> {
    let mut tables = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with(TABLES_IN)) {
        for (at, three) in source.tokens.windows(3).enumerate() {
            let call = three[0].text == "table"
                && three[1].text == "!"
                && matches!(three[2].text.as_str(), "{" | "(");
            if !call || source.lines[three[0].line].test {
                continue;
            }
            match read_table(source, at + 2) {
                Some(mut table) => {
                    add_maxima(source, &mut table);
                    tables.push(table);
                }
                None => {
                    let text = "this table cannot be read: rows are written Name = \"id\", \"Sentence.\";";
                    complaints.push(Complaint::new(&source.path, three[0].line + 1, text));
                }
            }
        }
    }
    tables
}

/// The table whose bracket opens at `open`.
fn read_table(source: &Source, open: usize) -> Option<Table> {
    let end = tokens::closing(&source.tokens, open)?;
    let tokens = &source.tokens[..end];
    let at = (open..end).find(|at| tokens[*at].text == "enum")?;
    let name = tokens.get(at + 1)?.text.clone();
    let body = at + 2;
    if tokens.get(body)?.text != "{" {
        return None;
    }
    let body_end = tokens::closing(&source.tokens, body)?;
    let first = source.tokens[open].line;
    let about: Vec<&str> = source.lines[first..=tokens[at].line]
        .iter()
        .filter_map(|line| line.comment.strip_prefix("///"))
        .map(str::trim)
        .collect();
    let mut rows = Vec::new();
    let mut row = body + 1;
    while row < body_end {
        let row_end = (row..body_end).find(|at| tokens[*at].text == ";")?;
        rows.push(read_row(source, &tokens[row..=row_end])?);
        row = row_end + 1;
    }
    Some(Table { path: source.path.clone(), name, about: about.join(" "), rows })
}

/// Reads the arms of `fn max(self)` in `impl <table>`, if there is one: `Self::A | Self::B => 16 * 1024,`.
fn add_maxima(source: &Source, table: &mut Table) {
    let tokens = &source.tokens;
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let Some(block) =
        (0..tokens.len()).find(|at| is(*at, "impl") && is(at + 1, &table.name) && is(at + 2, "{"))
    else {
        return;
    };
    let end = tokens::closing(tokens, block + 2).unwrap_or(tokens.len());
    let Some(function) = (block..end).find(|at| is(*at, "fn") && is(at + 1, "max")) else {
        return;
    };
    let mut names: Vec<&str> = Vec::new();
    let mut at = function;
    while at < tokens::item_end(tokens, function).unwrap_or(end) {
        if is(at, "Self") && is(at + 1, "::") {
            names.push(tokens[at + 2].text.as_str());
            at += 3;
        } else if is(at, "=") && is(at + 1, ">") {
            let stop = (at..end).find(|at| is(*at, ",") || is(*at, "}")).unwrap_or(end);
            let value: Vec<&str> = tokens[at + 2..stop].iter().map(|token| token.text.as_str()).collect();
            let value = product(&value).map_or_else(|| value.join(" "), |number| number.to_string());
            for row in table.rows.iter_mut().filter(|row| names.contains(&row.name.as_str())) {
                row.max = Some(value.clone());
            }
            names.clear();
            at = stop + 1;
        } else {
            at += 1;
        }
    }
}

/// The value of `16 * 1_024`.
fn product(words: &[&str]) -> Option<u64> {
    words.split(|word| *word == "*").try_fold(1_u64, |value, factor| match factor {
        [number] => value.checked_mul(number.replace('_', "").parse().ok()?),
        _ => None,
    })
}

/// One row: its tokens with the `;` at the end.
fn read_row(source: &Source, tokens: &[Token]) -> Option<Row> {
    let name = tokens.iter().find(|token| token.is_word())?;
    let last = tokens.last()?.line;
    let raw: Vec<&str> = source.lines[name.line..=last].iter().map(|line| line.raw.as_str()).collect();
    let text: String = raw.join("\n").chars().skip(name.column).collect();
    let (id, rest) = literal(&text)?;
    let (sentence, _) = literal(rest)?;
    Some(Row { name: name.text.clone(), id, sentence, max: None, line: name.line + 1 })
}

/// The first string literal of `text`, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let inside = text.split_once('"')?.1;
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &inside[at + 1..])),
            '\\' => match chars.next()?.1 {
                '\n' => {
                    while chars.clone().next().is_some_and(|(_, char)| char.is_whitespace()) {
                        chars.next();
                    }
                }
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn check_rows(table: &Table, complaints: &mut Vec<Complaint>) {
    let mut seen: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in &table.rows {
        let mut complain = |text: String| complaints.push(Complaint::new(&table.path, row.line, text));
        let good = if WIRE_TEXTS.contains(&table.name.as_str()) { is_wire_text } else { is_kebab };
        if !good(&row.id) {
            complain(format!("{}::{} has the id {:?}: write it like-this", table.name, row.name, row.id));
        }
        if !row.sentence.ends_with('.') || row.sentence.len() < 2 {
            complain(format!(
                "{}::{} is not documented by a sentence with a full stop",
                table.name, row.name
            ));
        }
        if let Some(other) = seen.insert(&row.id, row) {
            complain(format!("{}::{} and {} share the id {:?}", table.name, row.name, other.name, row.id));
        }
    }
}

/// Whether `id` is words of lower-case letters and digits with one hyphen between.
fn is_kebab(id: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    id.starts_with(|char: char| char.is_ascii_lowercase()) && id.split('-').all(word)
}

/// Whether `id` is words that JSON shows as they are, with one space between.
fn is_wire_text(id: &str) -> bool {
    let word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    id.split(' ').all(word)
}

/// Every row is named somewhere in shipped code.
fn check_use(tables: &[Table], sources: &[Source], complaints: &mut Vec<Complaint>) {
    let mut used: BTreeSet<(&str, String)> = BTreeSet::new();
    let names: BTreeSet<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    for source in sources {
        for path in tokens::paths(&source.tokens) {
            for pair in path.segments.windows(2).filter(|_| !source.lines[path.line].test) {
                let Some(name) = names.get(pair[0].as_str()) else {
                    continue;
                };
                if pair[1] == "*" {
                    let words = source.tokens.iter().filter(|token| token.is_word());
                    used.extend(words.map(|token| (*name, token.text.clone())));
                } else {
                    used.insert((name, pair[1].clone()));
                }
            }
        }
    }
    for table in tables {
        for row in table.rows.iter().filter(|row| !used.contains(&(table.name.as_str(), row.name.clone()))) {
            let text = format!("{}::{} is used nowhere: use it or remove the row", table.name, row.name);
            complaints.push(Complaint::new(&table.path, row.line, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "crates/doorward-core/src/audit.rs";

    fn look(files: &[(&str, &str)]) -> (Vec<Table>, Vec<String>) {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let mut found = Vec::new();
        let tables = read(&sources, &mut found);
        for table in &tables {
            check_rows(table, &mut found);
        }
        check_use(&tables, &sources, &mut found);
        (tables, found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_table_is_read_with_its_rows() {
        let text = "use crate::table::table;\n\ntable! {\n    /// What happened.\n    /// Kept for years.\n    pub enum Event {\n\
                    // Logins.\n    LoginDone = \"login-done\", \"A person \\\"logged\\\" in; \
                    \\\n        at a door.\";\n    LoginRefused =\n        \"login-refused\",\n        \"A login was refused.\";\n}\n}\n";
        let user = ("crates/doorward/src/gate/a.rs", "f(Event::LoginDone, audit::Event::LoginRefused)");
        let (tables, found) = look(&[(TABLE, text), user]);
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(
            (tables[0].name.as_str(), tables[0].about.as_str()),
            ("Event", "What happened. Kept for years.")
        );
        let rows: Vec<(&str, &str, usize)> =
            tables[0].rows.iter().map(|row| (row.id.as_str(), row.sentence.as_str(), row.line)).collect();
        let wanted = [
            ("login-done", "A person \"logged\" in; at a door.", 8),
            ("login-refused", "A login was refused.", 10),
        ];
        assert_eq!(rows, wanted);
    }

    #[test]
    fn a_bad_row_is_flagged() {
        let table = |rows: &str| format!("table! {{ pub enum Deny {{ {rows} }} }}");
        let user = ("a.rs", "f(Deny::A, Deny::B)");
        for (rows, wanted) in [
            ("A = \"Not kebab\", \"A sentence.\";", "like-this"),
            ("A = \"a--b\", \"A sentence.\";", "like-this"),
            ("A = \"a\", \"no full stop here\";", "full stop"),
            ("A = \"a\", \"A sentence.\"; B = \"a\", \"A sentence.\";", "share the id"),
            ("A = \"a\", \"A sentence.\"; C = \"c\", \"A sentence.\";", "Deny::C is used nowhere"),
            ("A;", "cannot be read"),
        ] {
            let (_, found) = look(&[(TABLE, &table(rows)), user]);
            assert!(found.len() == 1 && found[0].contains(wanted), "{rows}: {found:?}");
        }
    }

    #[test]
    fn words_on_the_wire_are_not_kebab() {
        let table = |id: &str| format!("table! {{ pub enum Refusal {{ A = \"{id}\", \"A sentence.\"; }} }}");
        let user = ("a.rs", "f(Refusal::A)");
        assert_eq!(look(&[(TABLE, &table("invalid user/password")), user]).1.len(), 0);
        assert_eq!(look(&[(TABLE, &table("invalid  token")), user]).1.len(), 1);
    }

    #[test]
    fn the_maxima_of_a_table_are_read() {
        let text = "table! { pub enum Limit { A = \"a\", \"A.\"; B = \"b\", \"B.\"; C = \"c\", \"C.\"; D = \"d\", \"D.\"; } }\n\
                    impl Limit { pub const fn max(self) -> u64 { match self { Self::A | Self::B => 16 * 1_024,\n\
                    Self::C => OTHER, Self::D => 3 } } }";
        let (tables, _) = look(&[(TABLE, text)]);
        let maxima: Vec<Option<&str>> = tables[0].rows.iter().map(|row| row.max.as_deref()).collect();
        assert_eq!(maxima, [Some("16384"), Some("16384"), Some("OTHER"), Some("3")]);
    }

    #[test]
    fn only_shipped_code_counts_as_use_and_a_glob_does() {
        let table = "table! { pub enum Check { A = \"a\", \"A sentence.\"; } }";
        let unused = ("a.rs", "#[cfg(test)]\nmod tests { fn f() { g(Check::A); } }");
        assert_eq!(look(&[(TABLE, table), unused]).1.len(), 1);
        assert_eq!(look(&[(TABLE, table), ("a.rs", "use x::Check::*; f(A)")]).1.len(), 0);
        assert_eq!(look(&[(TABLE, table), ("a.rs", "use x::Check::{A, B};")]).1.len(), 0);
    }
}
