//! QR codes for a terminal.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// A text as a QR code, drawn for a dark terminal: what is light in print is a block here. Empty where the text is
/// too long for one.
pub(crate) fn drawn(text: &str) -> String {
    let draw = |code: QrCode| {
        let mut picture = code.render::<Dense1x2>();
        picture.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build()
    };
    QrCode::new(text).map(draw).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_with_a_light_margin_and_too_long_a_text_is_none() {
        let drawn = drawn("otpauth://totp/Doorward:jane?secret=ABC");
        let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        assert!(lines.iter().all(|line| line.len().abs_diff(2 * lines.len()) <= 1), "{drawn}");
        assert!(lines[0].iter().all(|c| *c == '█'), "{drawn}");
        assert_eq!(super::drawn(&"x".repeat(5000)), "");
    }
}
