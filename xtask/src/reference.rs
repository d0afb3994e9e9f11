//! docs/reference.md: the core's tables for people who read logs and audit records.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tidy::{self, tables::Table};

/// Where the reference is, from the root.
pub(crate) const PATH: &str = "docs/reference.md";

/// Writes the reference anew; gives its path.
pub(crate) fn write(root: &Path) -> Result<&'static str> {
    let sources = tidy::sources(&tidy::files(root)?);
    let mut complaints = Vec::new();
    let tables = tidy::tables::read(&sources, &mut complaints);
    ensure!(complaints.is_empty(), "{}", complaints[0]);
    std::fs::create_dir_all(root.join("docs")).context("cannot make docs/")?;
    std::fs::write(root.join(PATH), render(&tables)).with_context(|| format!("cannot write {PATH}"))?;
    Ok(PATH)
}

/// The reference as Markdown.
pub(crate) fn render(tables: &[Table]) -> String {
    let mut text = String::from(
        "# Reference\n\nWhat stands in audit records, traces, logs and answers. Made by `cargo xtask docs` from the \
         tables of the core; do not edit.\n",
    );
    for table in tables {
        text.push_str(&format!("\n## {}\n\n", table.name));
        if !table.about.is_empty() {
            let about = table.about.replace("[`", "`").replace("`]", "`");
            text.push_str(&format!("{about}\n\n"));
        }
        let limited = table.rows.iter().any(|row| row.max.is_some());
        text.push_str(if limited {
            "| id | maximum | meaning |\n|---|---|---|\n"
        } else {
            "| id | meaning |\n|---|---|\n"
        });
        for row in &table.rows {
            let max =
                if limited { format!(" {} |", row.max.as_deref().unwrap_or("")) } else { String::new() };
            text.push_str(&format!("| `{}` |{max} {} |\n", row.id, cell(&row.sentence)));
        }
    }
    text
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tables::Row;

    #[test]
    fn a_table_becomes_a_section() {
        let row = |max: Option<&str>| Row {
            name: "A".to_owned(),
            id: "login-done".to_owned(),
            sentence: "One | two.".to_owned(),
            max: max.map(str::to_owned),
            line: 1,
        };
        let table = |max: Option<&str>| Table {
            path: String::new(),
            name: "Event".to_owned(),
            about: "See [`Event::id`].".to_owned(),
            rows: vec![row(max)],
        };
        let wanted = "\n## Event\n\nSee `Event::id`.\n\n| id | meaning |\n|---|---|\n| `login-done` | One \\| two. |\n";
        assert!(render(&[table(None)]).ends_with(wanted));
        let wanted = "| id | maximum | meaning |\n|---|---|---|\n| `login-done` | 8 | One \\| two. |\n";
        assert!(render(&[table(Some("8"))]).ends_with(wanted));
    }
}
