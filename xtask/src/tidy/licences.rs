//! Licences of what is built, as SPDX expressions, against the list in deny.toml.

/// Whether somebody who accepts the licences of `allow` may use what is under `expression`.
///
/// The old form `MIT/Apache-2.0` means `OR`. `None` where the expression cannot be read.
pub(crate) fn allowed(expression: &str, allow: &[String]) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allow };
    let value = reader.any()?;
    reader.words.is_empty().then_some(value)
}

struct Reader<'a> {
    words: &'a [&'a str],
    allow: &'a [String],
}

impl Reader<'_> {
    fn next_is(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    /// `A OR B`, which binds weaker than `AND`.
    fn any(&mut self) -> Option<bool> {
        let mut value = self.all()?;
        while self.next_is("OR") {
            value |= self.all()?;
        }
        Some(value)
    }

    fn all(&mut self) -> Option<bool> {
        let mut value = self.one()?;
        while self.next_is("AND") {
            value &= self.one()?;
        }
        Some(value)
    }

    fn one(&mut self) -> Option<bool> {
        if self.next_is("(") {
            let value = self.any()?;
            return self.next_is(")").then_some(value);
        }
        let (name, rest) = self.words.split_first()?;
        if matches!(*name, ")" | "OR" | "AND" | "WITH") {
            return None;
        }
        self.words = rest;
        let mut licence = (*name).to_owned();
        if self.next_is("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            licence = format!("{licence} WITH {exception}");
        }
        Some(self.allow.contains(&licence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_read_as_spdx_says() {
        let allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, wanted) in [
            ("MIT", Some(true)),
            ("GPL-3.0-only", Some(false)),
            ("MIT/Apache-2.0", Some(true)),
            ("GPL-2.0-only OR MIT", Some(true)),
            ("MIT AND OpenSSL", Some(false)),
            ("ISC AND (GPL-2.0-only OR MIT)", Some(true)),
            ("GPL-2.0-only OR ISC AND OpenSSL", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            ("Apache-2.0", Some(false)),
            ("", None),
            ("(MIT", None),
            ("MIT MIT", None),
            ("OR MIT", None),
        ] {
            assert_eq!(allowed(expression, &allow), wanted, "{expression}");
        }
    }
}
