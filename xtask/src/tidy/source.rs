//! A Rust file as lines of code and comments, with its test code marked.
//!
//! Not a parser: it knows comments, literals, brackets and attributes, which is enough for rules about lines.

use std::ops::RangeInclusive;

use super::tokens::{self, Token};

/// One line of a file.
pub(crate) struct Line {
    /// As written.
    pub(crate) raw: String,
    /// The code, with comments and the insides of literals blanked.
    pub(crate) code: String,
    /// The text of comments, with their marks.
    pub(crate) comment: String,
    /// Compiled for tests only.
    pub(crate) test: bool,
}

/// A function with a body.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Counted from 0.
    pub(crate) lines: RangeInclusive<usize>,
}

/// One Rust file.
pub(crate) struct Source {
    /// Relative to the root.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) tokens: Vec<Token>,
    test_modules: Vec<String>,
}

impl Source {
    /// Splits `text`, the content of the file at `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let whole = is_test_path(path);
        let mut lines: Vec<Line> = text
            .lines()
            .zip(code.lines().zip(comments.lines()))
            .map(|(raw, (code, comment))| Line {
                raw: raw.to_owned(),
                code: code.to_owned(),
                comment: comment.trim().to_owned(),
                test: whole,
            })
            .collect();
        let tokens = tokens::read(lines.iter().map(|line| line.code.as_str()));
        let mut test_modules = Vec::new();
        for item in test_items(&tokens) {
            for line in &mut lines[item.lines] {
                line.test = true;
            }
            test_modules.extend(item.module.map(|name| format!("{}/{name}", children_folder(path))));
        }
        Self { path: path.to_owned(), lines, tokens, test_modules }
    }

    /// Paths, without `.rs`, of the modules that this file declares for tests only.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        self.test_modules.clone()
    }

    /// Says that this whole file is compiled for tests only.
    pub(crate) fn mark_all_test(&mut self) {
        for line in &mut self.lines {
            line.test = true;
        }
    }

    /// The names of the tests, in order.
    pub(crate) fn tests(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let Some((_, body, after)) = tokens::attribute(&self.tokens, at) else {
                at += 1;
                continue;
            };
            at = after;
            if !matches!(body.first().map(|word| word.text.as_str()), Some("test" | "tokio"))
                || !is_test_attribute(body)
            {
                continue;
            }
            while let Some((_, _, after)) = tokens::attribute(&self.tokens, at) {
                at = after;
            }
            let name = self.tokens[at..].iter().skip_while(|word| word.text != "fn").nth(1);
            found.extend(name.map(|name| name.text.clone()));
        }
        found
    }

    /// The functions with a body, in order of their first line.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let Some(name) = self.tokens.get(at + 1).filter(|name| token.text == "fn" && name.is_word())
            else {
                continue;
            };
            if let Some(end) = tokens::item_end(&self.tokens, at).filter(|end| self.tokens[*end].text == "}")
            {
                let lines = token.line..=self.tokens[end].line;
                found.push(Function { name: name.text.clone(), lines });
            }
        }
        found
    }
}

/// Whether a file at `path` is nothing but tests by its place or name.
fn is_test_path(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    folder.split('/').any(|part| part == "tests" || part == "benches")
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
}

/// Where the modules that the file at `path` declares have their files.
fn children_folder(path: &str) -> &str {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    if matches!(name, "mod.rs" | "lib.rs" | "main.rs") { folder } else { path.trim_end_matches(".rs") }
}

struct TestItem {
    lines: RangeInclusive<usize>,
    /// The module's name, where its content is in another file.
    module: Option<String>,
}

/// The items behind `#[cfg(test)]` and `#[test]`, and the whole file behind `#![cfg(test)]`.
fn test_items(tokens: &[Token]) -> Vec<TestItem> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let Some((inner, body, after)) = tokens::attribute(tokens, at) else {
            at += 1;
            continue;
        };
        at = after;
        if !is_test_attribute(body) {
            continue;
        }
        if inner {
            let last = tokens.last().map_or(0, |token| token.line);
            items.push(TestItem { lines: 0..=last, module: None });
            continue;
        }
        while let Some((_, _, after)) = tokens::attribute(tokens, at) {
            at = after;
        }
        let end = tokens::item_end(tokens, at).unwrap_or(tokens.len() - 1);
        let declared = tokens[at..=end].windows(3).find_map(|three| {
            (three[0].text == "mod" && three[2].text == ";").then(|| three[1].text.clone())
        });
        items.push(TestItem { lines: tokens[start].line..=tokens[end].line, module: declared });
        at = end + 1;
    }
    items
}

/// Whether an attribute with these tokens means "for tests only".
fn is_test_attribute(body: &[Token]) -> bool {
    let words: Vec<&str> = body.iter().map(|token| token.text.as_str()).collect();
    match words[..] {
        ["test"] | ["tokio", "::", "test", ..] => true,
        ["cfg", ..] => words.contains(&"test") && !words.contains(&"not") && !words.contains(&"any"),
        _ => false,
    }
}

/// The text as code and as comments, both with the lines of the whole; what belongs to the other is blank.
fn split(text: &str) -> (String, String) {
    let mut splitter = Splitter { rest: text, code: String::new(), comments: String::new() };
    while !splitter.rest.is_empty() {
        splitter.step();
    }
    (splitter.code, splitter.comments)
}

struct Splitter<'a> {
    rest: &'a str,
    code: String,
    comments: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Splitter<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.take(rest.find('\n').unwrap_or(rest.len()), Part::Comment);
        } else if rest.starts_with("/*") {
            self.take(block_comment_len(rest), Part::Comment);
        } else if rest.starts_with('"') {
            self.literal(1, string_len(rest), 1);
        } else if let Some((open, len, close)) = self.raw_string() {
            self.literal(open, len, close);
        } else if let Some(len) = char_len(rest) {
            self.literal(1, len, 1);
        } else {
            let len = rest.chars().next().map_or(0, char::len_utf8);
            self.take(len, Part::Code);
        }
    }

    /// Takes `len` bytes of a literal whose first `open` and last `close` bytes stay visible.
    fn literal(&mut self, open: usize, len: usize, close: usize) {
        let close = close.min(len.saturating_sub(open));
        self.take(open, Part::Code);
        self.take(len - open - close, Part::Literal);
        self.take(close, Part::Code);
    }

    fn take(&mut self, len: usize, part: Part) {
        let (taken, rest) = self.rest.split_at(len);
        for char in taken.chars() {
            let blank = if char == '\n' { '\n' } else { ' ' };
            self.code.push(if part == Part::Code { char } else { blank });
            self.comments.push(if part == Part::Comment { char } else { blank });
        }
        self.rest = rest;
    }

    /// Where a raw string begins here: the lengths of `r##"`, of the whole literal, and of `"##`.
    fn raw_string(&self) -> Option<(usize, usize, usize)> {
        let after_word =
            self.code.chars().next_back().is_some_and(|char| char.is_alphanumeric() || char == '_');
        let prefix = ["br", "cr", "r"].into_iter().find(|prefix| self.rest.starts_with(prefix));
        let prefix = prefix.filter(|_| !after_word)?;
        let marks = self.rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
        let open = prefix.len() + marks + 1;
        if !self.rest[prefix.len() + marks..].starts_with('"') {
            return None;
        }
        let close = format!("\"{}", "#".repeat(marks));
        let end = self.rest[open..].find(&close).map_or(self.rest.len(), |at| open + at + close.len());
        Some((open, end, close.len()))
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal at the start of `text`, with both quotes.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character literal at the start of `text`; `None` for a lifetime or anything else.
fn char_len(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        let escaped = inside.chars().nth(1)?.len_utf8() + 1;
        return inside.get(escaped..)?.find('\'').map(|at| 1 + escaped + at + 1);
    }
    inside[first.len_utf8()..].starts_with('\'').then_some(first.len_utf8() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_in_code() {
        for (text, hidden) in [
            ("a // todo!()\nb", "// todo!()"),
            ("a /* x /* y */ z */ b", "/* x /* y */ z */"),
            (r#"f("dbg!(\" // ", c)"#, r#"dbg!(\" // "#),
            ("r#\"a \" b\"# c", "a \" b"),
            ("br\"\\\" x", "\\"),
            ("let r#type = '\\'' + 1;", "\\'"),
            ("f(b'\"') + 1;", "\""),
            ("fn f<'a>(x: &'a str) {} // '", "// '"),
            ("'\\u{1F600}' x", "\\u{1F600}"),
            ("'\u{1F600}' x", "\u{1F600}"),
        ] {
            let blank = " ".repeat(hidden.chars().count());
            assert_eq!(split(text).0, text.replacen(hidden, &blank, 1), "{text}");
        }
    }

    #[test]
    fn a_string_over_lines_keeps_its_lines() {
        let source = Source::new("a.rs", "let s = \"one\n// two\nthree\"; // four\nfive();\n");
        let codes: Vec<&str> = source.lines.iter().map(|line| line.code.trim()).collect();
        assert_eq!(codes, ["let s = \"", "", "\";", "five();"]);
        assert_eq!(source.lines[1].comment, "");
        assert_eq!(source.lines[2].comment, "// four");
    }

    #[test]
    fn test_code_is_marked_and_only_it() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n\
                    #[test]\nfn d() {\n}\n#[cfg(not(test))]\nfn e() {}\n#[cfg(test)]\nuse x::{y, z};\nfn f() {}\n";
        let marked: Vec<bool> = Source::new("a.rs", text).lines.iter().map(|line| line.test).collect();
        let wanted =
            [false, true, true, true, true, true, false, true, true, true, false, false, true, true, false];
        assert_eq!(marked, wanted);
        assert!(Source::new("crates/x/tests/a.rs", "fn a() {}").lines[0].test);
        assert!(Source::new("crates/x/src/door/tests.rs", "fn a() {}").lines[0].test);
        assert!(Source::new("a.rs", "#![cfg(test)]\nfn a() {}").lines[1].test);
    }

    #[test]
    fn functions_end_at_their_brace() {
        let text = "fn a<T: Fn() -> u8>(x: [u8; 3]) -> u8\nwhere T: Copy,\n{\n  if x { y } else { \"}\" }\n}\n\
                    trait T { fn b(&self); }\nlet p: fn(u8) = a;\n";
        let found = Source::new("a.rs", text).functions();
        assert_eq!(found, [Function { name: "a".to_owned(), lines: 0..=4 }]);
    }
}
