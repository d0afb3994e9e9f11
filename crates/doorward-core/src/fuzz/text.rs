//! Text from elsewhere, made safe to look at.

use serde_json::Value;

use crate::text::{csv_cell, escape_in_json, escape_untrusted, is_unseen, percent_encoded, shortened};

/// Shows any text in every way there is: nothing unseen is left, nothing is a formula, and what can be turned back is
/// the same again.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let shown = escape_untrusted(text);
    assert!(!shown.contains(is_unseen), "{shown:?}");
    assert_eq!(escape_untrusted(&shown), shown, "written out twice");
    cell(&csv_cell(text), &shown);
    let encoded = percent_encoded(text);
    assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{encoded:?}");
    assert_eq!(percent_decoded(&encoded), bytes);
    in_json(text);
    for chars_max in [0, 1, 7, 64] {
        let short = shortened(text, chars_max);
        assert!(short.chars().count() <= chars_max + 1);
        assert!(short == text || text.starts_with(short.trim_end_matches('…')));
    }
}

/// A cell as a spreadsheet reads it is the text as it is shown, and no formula.
fn cell(cell: &str, shown: &str) {
    let inner = match cell.strip_prefix('"') {
        Some(rest) => {
            let Some(inner) = rest.strip_suffix('"') else { panic!("a quote that does not end: {cell:?}") };
            assert!(!inner.replace("\"\"", "").contains('"'), "a quote ends early: {cell:?}");
            inner.replace("\"\"", "\"")
        }
        None => {
            assert!(!cell.contains([',', ';', '"']), "{cell:?}");
            cell.to_owned()
        }
    };
    assert!(!inner.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "a formula: {cell:?}");
    assert!(inner == shown || inner.strip_prefix('\'') == Some(shown), "{cell:?} for {shown:?}");
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.extend(u8::from_str_radix(&digits, 16));
        } else {
            out.push(byte);
        }
    }
    out
}

/// As a string of JSON, and as JSON where it is some.
fn in_json(text: &str) {
    let whole = Value::String(text.to_owned());
    let safe = escape_in_json(&whole.to_string()).into_owned();
    assert!(!safe.contains(is_unseen), "{safe:?}");
    assert_eq!(serde_json::from_str::<Value>(&safe).ok(), Some(whole), "another text");
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let safe = escape_in_json(&value.to_string()).into_owned();
        assert!(!safe.contains(is_unseen), "{safe:?}");
        assert_eq!(serde_json::from_str::<Value>(&safe).ok(), Some(value), "another value");
    }
}
