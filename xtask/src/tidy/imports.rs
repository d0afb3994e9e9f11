//! Who may import whom. The table is the documentation; the rest of the file reads paths and applies it.

use super::tokens::{self, Path};
use super::{Complaint, Source};

/// Code of the module `of`, and below it, does not name anything of `not`.
struct Rule {
    of: &'static str,
    not: &'static [&'static str],
    /// Modules below `of` that may all the same.
    but: &'static [&'static str],
    /// Whether `#[cfg(test)]` parts are held to it too.
    tests_too: bool,
    /// Why, and what to do.
    why: &'static str,
}

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule {
        of: "doorward_core", not: &["doorward_client", "doorward"], but: &[], tests_too: true,
        why: "the core decides and imports nothing of ours",
    },
    Rule {
        of: "doorward_core::fix", not: &["doorward_core::identity", "doorward_core::ws"], but: &[], tests_too: true,
        why: "a door asks (doorward_core::ask) and knows neither identity nor another door",
    },
    Rule {
        of: "doorward_core::ws", not: &["doorward_core::identity", "doorward_core::fix"], but: &[], tests_too: true,
        why: "a door asks (doorward_core::ask) and knows neither identity nor another door",
    },
    Rule {
        of: "doorward_core::identity", not: &["doorward_core::ws", "doorward_core::fix"], but: &[], tests_too: true,
        why: "identity is the same behind every door: what both need belongs beside them",
    },
    Rule {
        of: "doorward_client", not: &["doorward"], but: &[], tests_too: true,
        why: "the client does not carry the server",
    },
    Rule {
        of: "doorward", not: &["doorward::book", "doorward::vault", "doorward::journal"],
        but: &[
            // Identity is decided in one place.
            "doorward::gate",
            // Each of the kept things, and what hashes for the vault.
            "doorward::book", "doorward::vault", "doorward::journal", "doorward::hashing",
            // Segments are built and disks are faked in the journal; the stream log has its own directory.
            "doorward::streams",
            // Construction: what opens them and hands them to the gate.
            "doorward::serve", "doorward::cli::serve", "doorward::demo", "doorward::cli::demo",
            // Commands that work on files: `book rebuild`, `audit verify`, `audit export`, `audit key`, `init`.
            "doorward::cli::book", "doorward::cli::audit_verify", "doorward::cli::audit_export",
            "doorward::cli::audit_key", "doorward::cli::init",
            // Backups: what reads all files beside their owner, and its two commands.
            "doorward::backup", "doorward::cli::backup", "doorward::cli::restore", "doorward::cli::restore_since",
        ],
        tests_too: false,
        why: "only the gate uses book, vault and journal: ask the gate",
    },
    Rule {
        of: "doorward", not: &["doorward::streams"],
        but: &[
            "doorward::streams",
            // The FIX thread, which owns the log and commits inline.
            "doorward::doors::fix",
            // Construction: what opens the log's disk.
            "doorward::serve", "doorward::cli::serve", "doorward::demo", "doorward::cli::demo",
            // A restored log, before there is a FIX thread.
            "doorward::backup",
        ],
        tests_too: false,
        why: "the stream log has one owner, the FIX thread: send it a command",
    },
    Rule {
        of: "doorward::streams",
        not: &[
            "doorward::doors", "doorward::http", "doorward::cli", "doorward::serve", "doorward::gate",
            "doorward::book", "doorward::vault",
        ],
        but: &[], tests_too: false,
        why: "what keeps knows nothing of those who ask",
    },
    Rule {
        of: "doorward::doors", not: &["doorward::hashing", "doorward::serve", "doorward::demo", "doorward::cli"],
        but: &[], tests_too: false,
        why: "of what decides, doors use the gate only",
    },
    Rule {
        of: "doorward::http", not: &["doorward::hashing", "doorward::serve", "doorward::demo", "doorward::cli"],
        but: &[], tests_too: false,
        why: "of what decides, HTTP uses the gate only",
    },
    Rule {
        of: "doorward::mail",
        not: &["doorward::doors", "doorward::http", "doorward::cli", "doorward::serve", "doorward::demo", "doorward::hashing"],
        but: &[], tests_too: false,
        why: "mails are asked of the gate and told to it",
    },
    Rule {
        of: "doorward::book", not: &["doorward::doors", "doorward::http", "doorward::cli", "doorward::serve"],
        but: &[], tests_too: false,
        why: "what keeps knows nothing of those who ask",
    },
    Rule {
        of: "doorward::vault", not: &["doorward::doors", "doorward::http", "doorward::cli", "doorward::serve"],
        but: &[], tests_too: false,
        why: "what keeps knows nothing of those who ask",
    },
    Rule {
        of: "doorward::journal", not: &["doorward::doors", "doorward::http", "doorward::cli", "doorward::serve"],
        but: &[], tests_too: false,
        why: "what keeps knows nothing of those who ask",
    },
];

/// Our crates: the folder of their source and their name in paths.
const CRATES: &[(&str, &str)] = &[
    ("crates/doorward-core/src/", "doorward_core"),
    ("crates/doorward-client/src/", "doorward_client"),
    ("crates/doorward/src/", "doorward"),
];

/// Checks what one file names.
pub(crate) fn check(source: &Source, complaints: &mut Vec<Complaint>) {
    let Some(module) = module_of(&source.path) else {
        return;
    };
    for path in tokens::paths(&source.tokens) {
        let Some(target) = absolute(&module, &path) else {
            continue;
        };
        let test = source.lines[path.line].test;
        for rule in RULES.iter().filter(|rule| rule.tests_too || !test) {
            let bound = within(&module, rule.of) && !rule.but.iter().any(|but| within(&module, but));
            if let Some(not) = rule.not.iter().find(|not| bound && within(&target, not)) {
                let text = format!("{} must not use {not}: {}", module.join("::"), rule.why);
                complaints.push(Complaint::new(&source.path, path.line + 1, text));
            }
        }
    }
}

/// The module that a file holds, from its crate down; `None` outside our crates' sources.
fn module_of(path: &str) -> Option<Vec<String>> {
    let (folder, name) = CRATES.iter().find(|(folder, _)| path.starts_with(folder))?;
    let inner = path[folder.len()..].strip_suffix(".rs")?;
    let mut module = vec![(*name).to_owned()];
    module.extend(inner.split('/').filter(|part| *part != "lib" && *part != "mod").map(str::to_owned));
    Some(module)
}

/// What a path in `module` means, from its crate down; `None` where it names nothing of ours.
fn absolute(module: &[String], path: &Path) -> Option<Vec<String>> {
    let mut here: Vec<String> = module.iter().chain(&path.inside).cloned().collect();
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    match *segments.peek()? {
        "crate" => {
            here.truncate(1);
            segments.next();
        }
        "self" => {
            segments.next();
        }
        "super" => {
            while segments.next_if_eq(&"super").is_some() {
                here.pop();
            }
        }
        first if CRATES.iter().any(|(_, name)| *name == first) => here.clear(),
        _ => return None,
    }
    here.extend(segments.map(str::to_owned));
    Some(here)
}

/// Whether `module` is the one named `outer`, or below it.
fn within(module: &[String], outer: &str) -> bool {
    let mut parts = module.iter();
    outer.split("::").all(|part| parts.next().is_some_and(|own| own == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(&Source::new(path, text), &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_breach_is_found_however_it_is_written() {
        let http = "crates/doorward/src/http/api.rs";
        for text in [
            "use crate::book::Store;",
            "use crate::{clock::Clock, book::{Store, Row as R}};",
            "use super::super::book;",
            "fn f(x: &crate::journal::Head) {}",
            "mod inner { use super::super::super::vault; }",
            "use doorward::book;",
        ] {
            assert!(!complaints(http, text).is_empty(), "{text}");
        }
        let found = complaints("crates/doorward-core/src/ws/login.rs", "\nuse crate::identity::Firm;");
        let why = "a door asks (doorward_core::ask) and knows neither identity nor another door";
        let wanted = "crates/doorward-core/src/ws/login.rs:2: doorward_core::ws::login must not use \
                      doorward_core::identity: ";
        assert_eq!(found, [format!("{wanted}{why}")]);
        assert_eq!(complaints("crates/doorward-core/src/ws/mod.rs", "use super::identity;").len(), 1);
        assert_eq!(complaints("crates/doorward-client/src/lib.rs", "use doorward::gate;").len(), 1);
    }

    #[test]
    fn what_is_allowed_is_not_flagged() {
        for (path, text) in [
            (
                "crates/doorward/src/http/api.rs",
                "use crate::gate::Gate; use crate::clock; use axum::body::book;",
            ),
            ("crates/doorward/src/http/api.rs", "// use crate::book::Store;\nlet x = \"crate::book\";"),
            ("crates/doorward/src/http/api.rs", "#[cfg(test)]\nmod tests { use crate::book::Store; }"),
            ("crates/doorward/src/gate/login.rs", "use crate::book::Store; use crate::vault;"),
            ("crates/doorward/src/cli/book.rs", "use crate::book::rebuild;"),
            ("crates/doorward/src/lib.rs", "pub mod book; pub mod vault;"),
            ("crates/doorward/src/bookings.rs", "use self::gate::x; use crate::vaults::y;"),
            ("crates/doorward-core/src/ws/login.rs", "use crate::ask::Ask; use super::message::Message;"),
            ("crates/doorward-client/src/lib.rs", "use doorward_core::ask::Padding;"),
            ("crates/doorward/tests/door.rs", "use doorward::book::Store;"),
        ] {
            assert!(complaints(path, text).is_empty(), "{path}: {text}");
        }
    }

    #[test]
    fn every_rule_is_about_our_modules() {
        let ours =
            |name: &str| CRATES.iter().any(|(_, crate_name)| name.split("::").next() == Some(*crate_name));
        for rule in RULES {
            assert!(ours(rule.of) && rule.not.iter().chain(rule.but).all(|name| ours(name)), "{}", rule.of);
        }
    }
}
