//! Prices and quantities as FIX writes them.

use doorward_core::fix::build::push_number;

/// A decimal number with at most eight places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Price(i64);

/// Units of the last place in one.
const ONE: i64 = 100_000_000;
/// Places behind the point.
const PLACES: usize = 8;
/// Most digits before the point: a sum of prices times quantities stays within 128 bits, a price within 64.
const WHOLE_DIGITS_MAX: usize = 9;

impl Price {
    /// Reads `12`, `12.5`, `-0.25`, `.5` or `12.`; `None` for anything else, and for what does not fit.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
        let (whole, rest) = digits.split_at(point);
        let places = rest.strip_prefix(b".").unwrap_or(rest);
        let places = places.trim_ascii_end();
        let zeros = places.iter().rev().take_while(|byte| **byte == b'0').count();
        let places = if places.len() > PLACES { &places[..places.len() - zeros] } else { places };
        if whole.len() + places.len() == 0 && rest.len() < 2 && whole.is_empty() {
            return None;
        }
        if whole.len() > WHOLE_DIGITS_MAX || places.len() > PLACES {
            return None;
        }
        let mut value: i64 = 0;
        for byte in whole.iter().chain(places) {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            value = value * 10 + digit;
        }
        for _ in places.len()..PLACES {
            value *= 10;
        }
        Some(Self(if negative { -value } else { value }))
    }

    /// What so many at this price are worth, in units of the last place.
    pub(super) fn times(self, quantity: u64) -> i128 {
        i128::from(self.0) * i128::from(quantity)
    }

    /// The average of what was bought; zero where nothing was.
    pub(super) fn average(value: i128, quantity: u64) -> Self {
        let average = value.checked_div(i128::from(quantity)).unwrap_or(0);
        Self(i64::try_from(average).unwrap_or(0))
    }

    /// Writes it with no more places than it needs.
    pub(super) fn push(self, out: &mut Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        let one = ONE.unsigned_abs();
        let (whole, mut places) = (self.0.unsigned_abs() / one, self.0.unsigned_abs() % one);
        push_number(out, whole);
        if places > 0 {
            out.push(b'.');
        }
        let mut unit = one / 10;
        while places > 0 {
            out.push(b'0' + (places / unit) as u8); // holds: fewer than ten of them
            places %= unit;
            unit /= 10;
        }
    }
}

/// Reads a quantity: a whole number from 1 to 999,999,999, perhaps with zeros behind a point.
pub(super) fn quantity(text: &[u8]) -> Option<u64> {
    let Price(value) = Price::parse(text)?;
    (value > 0 && value % ONE == 0).then(|| value.unsigned_abs() / ONE.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(price: Price) -> String {
        let mut out = Vec::new();
        price.push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prices_read_and_print_without_loss() {
        for (text, expected) in [
            ("12", "12"),
            ("12.50", "12.5"),
            ("-0.25", "-0.25"),
            (".5", "0.5"),
            ("12.", "12"),
            ("0", "0"),
            ("999999999.99999999", "999999999.99999999"),
            ("1.000000000000", "1"),
            ("100.00000001", "100.00000001"),
        ] {
            assert_eq!(printed(Price::parse(text.as_bytes()).unwrap()), expected, "{text}");
        }
        for text in ["", ".", "-", "-.", "1e5", "+1", "1,5", "1.2.3", "1000000000", "0.000000001", " 1", "1 "]
        {
            assert_eq!(Price::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Price::parse(b"-1") < Price::parse(b"0.5"));
    }

    #[test]
    fn quantities_are_whole_and_positive() {
        assert_eq!((quantity(b"10"), quantity(b"10.00")), (Some(10), Some(10)));
        for text in ["0", "-1", "1.5", "", "x", "1000000000"] {
            assert_eq!(quantity(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_average_weighs_by_quantity() {
        let price = |text: &str| Price::parse(text.as_bytes()).unwrap();
        let value = price("10").times(1) + price("13").times(2);
        assert_eq!(printed(Price::average(value, 3)), "12");
        assert_eq!(printed(Price::average(0, 0)), "0");
    }
}
