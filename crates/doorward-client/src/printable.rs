//! Text from elsewhere, made safe for a terminal.

use std::borrow::Cow;

/// The text with control and bidirectional characters escaped, so that it stays on its line and tells no lies.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Characters of Unicode's categories Cc, Zl and Zp, and those that change the direction of writing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q8_control_and_bidi_characters_are_escaped() {
        assert_eq!(printable("Zoë, 東京"), "Zoë, 東京");
        assert_eq!(printable("a\x1b[31m\r\nb"), "a\\u{1b}[31m\\r\\nb");
        assert_eq!(printable("x\u{202e}y"), "x\\u{202e}y");
    }
}
