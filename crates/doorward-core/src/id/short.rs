//! Short names in place: they are copied with every Logon, and written with every record.

use std::fmt;

/// ASCII text of at most `N` bytes, without memory of its own. Compares as the text does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Short<const N: usize> {
    /// Behind the text all are zero, which the text never holds.
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Short<N> {
    /// Takes a text in upper case; `None` where it is longer than `N` bytes, or holds more than printable ASCII.
    pub(super) fn upper(text: &[u8]) -> Option<Self> {
        let len = u8::try_from(text.len()).ok()?;
        let mut bytes = [0; N];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        bytes.make_ascii_uppercase();
        text.iter().all(u8::is_ascii_graphic).then_some(Self { bytes, len })
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        // holds: only printable ASCII came in.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Writes a name as the text that it is read from, without making a `String` of it.
macro_rules! written_as_text {
    ($name:ident, $id:ident => $bytes:expr) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $id = self;
                let bytes: &[u8] = $bytes;
                let text = std::str::from_utf8(bytes).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(text)
            }
        }
    };
}
pub(super) use written_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_compares_as_text_and_takes_no_more_than_fits() {
        let of = |text: &str| Short::<4>::upper(text.as_bytes());
        for texts in [["A", "AA"], ["AA", "AB"], ["A1", "AA"], ["ABCD", "B"]] {
            let [one, other] = texts.map(|text| of(text).unwrap());
            assert!(one < other && one.as_str() == texts[0] && other.as_str() == texts[1]);
        }
        assert_eq!(of("ab"), of("AB"));
        assert_eq!(of("abcde"), None);
        assert_eq!((of("a b"), of("a\0")), (None, None));
    }
}
