//! Text from elsewhere, made safe to look at (Q8).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may change how the text around it is shown: control characters (with them ANSI sequences),
/// line and paragraph separators, bidirectional and invisible formatting, tag characters.
pub const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Percent-encodes all but the unreserved characters of RFC 3986, 2.3: fit for a segment of a path and for a value
/// behind the question mark.
pub fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Text as it may be shown in a table, a log or on a terminal: what [`is_unseen`] names is written out, such as
/// `\n` or `\u{202e}`. Meant for eyes: it cannot be turned back.
pub fn escape_untrusted(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_unseen) else { return Cow::Borrowed(text) };
    let (seen, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(seen);
    for c in rest.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unseen(c) => {
                // Writing to a string never fails.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same for text that is JSON already: written out as `\u202e`, which reads back as the character.
///
/// Only what stands inside JSON strings may need it; line ends between values must not be in `json`.
pub fn escape_in_json(json: &str) -> Cow<'_, str> {
    let Some(first) = json.find(is_unseen) else { return Cow::Borrowed(json) };
    let (seen, rest) = json.split_at(first);
    let mut out = String::with_capacity(json.len() + 16);
    out.push_str(seen);
    for c in rest.chars() {
        if is_unseen(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string never fails.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// One cell of a CSV line (RFC 4180), in quotes where it needs them.
///
/// A cell that a spreadsheet would take for a formula (it begins with `= + - @`, their wide forms, a tab or a line
/// end) gets an apostrophe in front, and what cannot be seen is written out.
pub fn csv_cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let shown = escape_untrusted(text);
    let needs_quotes = is_formula || shown.contains([',', ';', '"']) || shown.trim() != shown;
    if !needs_quotes {
        return shown.into_owned();
    }
    let mut cell = String::with_capacity(shown.len() + 4);
    cell.push('"');
    if is_formula {
        cell.push('\'');
    }
    cell.push_str(&shown.replace('"', "\"\""));
    cell.push('"');
    cell
}

/// The beginning of a text of unknown length, at most `chars_max` characters, with `…` where some were left out.
pub fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_leaves_unreserved_characters_alone() {
        assert_eq!(percent_encoded("jane@a/b c?é"), "jane%40a%2Fb%20c%3F%C3%A9");
        assert_eq!(percent_encoded("AZaz09-._~"), "AZaz09-._~");
    }

    #[test]
    fn q8_control_characters_ansi_and_bidi_are_written_out() {
        assert_eq!(escape_untrusted("\u{1b}[31mred\r\n\u{7}"), "\\u{1b}[31mred\\r\\n\\u{7}");
        assert_eq!(escape_untrusted("\u{202e}evil\u{2069}\u{9b}2J"), "\\u{202e}evil\\u{2069}\\u{9b}2J");
        assert_eq!(escape_untrusted("a\u{200b}b\u{feff}\u{e0041}"), "a\\u{200b}b\\u{feff}\\u{e0041}");
        assert!(matches!(escape_untrusted("Zoë, 東京 = ok"), Cow::Borrowed("Zoë, 東京 = ok")));
    }

    #[test]
    fn q8_every_control_character_is_written_out() {
        for c in (0..=char::MAX as u32).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(!escape_untrusted(&String::from(c)).contains(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn q8_escaped_json_reads_back_as_it_was() {
        let text = "a\u{202e}b\u{e0041}\u{9b}\u{7f}";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_in_json(&json);
        assert!(!escaped.contains(is_unseen));
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }

    #[test]
    fn q8_a_csv_cell_is_no_formula() {
        for (text, cell) in [
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\\t=1\""),
            ("\r=1", "\"'\\r=1\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            (" a", "\" a\""),
            ("a=b", "a=b"),
            ("a\nb", "a\\nb"),
            ("", ""),
        ] {
            assert_eq!(csv_cell(text), cell, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("東京都", 2), "東京…");
        assert_eq!(shortened("東京", 2), "東京");
    }
}
