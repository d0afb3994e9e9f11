//! Words and marks of blanked code, and the paths written with them.

/// A word (`fn`, `Event`, `15`), `::`, or one mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Counted from 0.
    pub(crate) line: usize,
    /// In characters, counted from 0.
    pub(crate) column: usize,
}

impl Token {
    /// Whether this is an identifier, keyword or number.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|char: char| char.is_alphanumeric() || char == '_')
    }
}

/// Reads lines of code whose comments and literals are blank.
pub(crate) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, code) in lines.enumerate() {
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if rest.starts_with("::") {
                2
            } else if first.is_alphanumeric() || first == '_' {
                rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let column = code[..code.len() - rest.len()].chars().count();
            tokens.push(Token { text: rest[..len].to_owned(), line, column });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// The attribute at `at`: whether it is an inner one, its tokens, and the place after it.
pub(crate) fn attribute(tokens: &[Token], at: usize) -> Option<(bool, &[Token], usize)> {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let inner = is(at + 1, "!");
    let open = at + 1 + usize::from(inner);
    if !is(at, "#") || !is(open, "[") {
        return None;
    }
    let close = closing(tokens, open)?;
    Some((inner, &tokens[open + 1..close], close + 1))
}

/// The place of the bracket that closes the one at `open`.
pub(crate) fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The last token of the item that begins at `at`: its `;`, or the `}` of its body.
pub(crate) fn item_end(tokens: &[Token], at: usize) -> Option<usize> {
    let mut at = at;
    let import = is_import(tokens, at);
    loop {
        match tokens.get(at)?.text.as_str() {
            ";" => return Some(at),
            "{" if import => at = closing(tokens, at)? + 1,
            "{" => return closing(tokens, at),
            "(" | "[" => at = closing(tokens, at)? + 1,
            _ => at += 1,
        }
    }
}

/// Whether the item at `at` is a `use`, with or without its visibility.
fn is_import(tokens: &[Token], at: usize) -> bool {
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut first = at;
    if is(first, "pub") {
        first += 1;
        if is(first, "(") {
            first = closing(tokens, first).map_or(first, |close| close + 1);
        }
    }
    is(first, "use")
}

/// A path as written: `crate::gate::Ask`; a group `a::{b, c}` counts as two, a `*` ends one.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// Counted from 0.
    pub(crate) line: usize,
    /// The names of the inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
}

/// Every path of two segments or more.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        while modules.last().is_some_and(|(_, end)| at > *end) {
            modules.pop();
        }
        if tokens[at].text == "mod" && tokens.get(at + 2).is_some_and(|token| token.text == "{") {
            let end = closing(tokens, at + 2).unwrap_or(tokens.len());
            modules.push((tokens[at + 1].text.clone(), end));
            at += 3;
        } else if tokens[at].is_word() && tokens.get(at + 1).is_some_and(|token| token.text == "::") {
            let inside: Vec<String> = modules.iter().map(|(name, _)| name.clone()).collect();
            at = tree(tokens, at, &[], &inside, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path or group after `prefix`; gives the place after it.
fn tree(
    tokens: &[Token],
    start: usize,
    prefix: &[String],
    inside: &[String],
    found: &mut Vec<Path>,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    loop {
        if is(at, "{") {
            let end = closing(tokens, at).unwrap_or(tokens.len() - 1);
            at += 1;
            while at < end {
                at = tree(tokens, at, &segments, inside, found);
                while at < end && !is(at, ",") {
                    at += 1;
                }
                at += 1;
            }
            return end + 1;
        }
        let Some(token) = tokens.get(at).filter(|token| token.is_word() || token.text == "*") else {
            break;
        };
        segments.push(token.text.clone());
        at += 1;
        if !is(at, "::") {
            break;
        }
        at += 1;
    }
    if segments.len() > 1 {
        let line = tokens[start.min(tokens.len() - 1)].line;
        found.push(Path { segments, line, inside: inside.to_vec() });
    }
    at.max(start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<String> {
        paths(&read(text.lines())).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn a_group_is_one_path_for_each_name() {
        let text = "use crate::{book::{self, Store as S}, gate::*, clock};\nlet x = super::a::b(c::d);\n";
        let wanted = [
            "crate::book::self",
            "crate::book::Store",
            "crate::gate::*",
            "crate::clock",
            "super::a::b",
            "c::d",
        ];
        assert_eq!(written(text), wanted);
    }

    #[test]
    fn turbofish_and_qualified_paths_do_not_confuse() {
        assert_eq!(written("Vec::<u8>::new(); <T as a::B>::c();"), ["Vec", "a::B"].map(str::to_owned)[1..]);
    }

    #[test]
    fn a_path_knows_its_inline_modules() {
        let found = paths(&read("mod a { mod b { use super::x; } } use super::y;".lines()));
        assert_eq!(found[0].inside, ["a", "b"]);
        assert!(found[1].inside.is_empty());
    }
}
