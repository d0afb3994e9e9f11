//! QR codes, for a terminal and for a page.

use std::fmt::Write as _;

use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, QrCode};

/// The light margin of a picture, in modules (ISO/IEC 18004).
const QUIET_ZONE: usize = 4;

/// A QR code as one path of an SVG, with the side of its square view box: a module is one unit. `None` where the text
/// is too long for a code.
pub(crate) fn svg_path(text: &str) -> Option<(usize, String)> {
    let code = QrCode::new(text).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (row, line) in code.to_colors().chunks(width).enumerate() {
        let mut at = 0;
        for run in line.chunk_by(|one, other| one == other) {
            if run[0] == Color::Dark {
                let (x, y, length) = (at + QUIET_ZONE, row + QUIET_ZONE, run.len());
                // Writing to a string never fails.
                let _ = write!(path, "M{x} {y}h{length}v1h-{length}z");
            }
            at += run.len();
        }
    }
    Some((width + 2 * QUIET_ZONE, path))
}

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
        assert_eq!(svg_path(&"x".repeat(5000)), None);
    }

    #[test]
    fn a_picture_has_the_modules_of_the_code() {
        let text = "otpauth://totp/Doorward:jane?secret=ABC";
        let (side, path) = svg_path(text).unwrap();
        let code = QrCode::new(text).unwrap();
        assert_eq!(side, code.width() + 8);
        let mut dark = 0;
        for run in path.split('M').skip(1) {
            let (place, rest) = run.split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let length: usize = rest.split_once('v').unwrap().0.parse().unwrap();
            for at in 0..length {
                assert_eq!(code[(x + at - 4, y - 4)], Color::Dark);
            }
            dark += length;
        }
        assert_eq!(dark, code.to_colors().iter().filter(|color| **color == Color::Dark).count());
    }
}
