//! Short texts of clients, and the keys that are made of them.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use doorward_core::stream::{Gateway, StreamKey};

/// Longest text that needs no memory of its own, in bytes: a ClOrdID (11) has 20 as a rule.
const INLINE_MAX: usize = 22;

/// A text, most often short.
#[derive(Clone)]
pub(super) enum Text {
    Short { len: u8, bytes: [u8; INLINE_MAX] },
    Long(Box<[u8]>),
}

impl Text {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Text {
    fn from(text: &[u8]) -> Self {
        if text.len() > INLINE_MAX {
            return Self::Long(text.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self::Short { len: text.len() as u8, bytes } // holds: at most INLINE_MAX
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_bytes().escape_ascii().to_string())
    }
}

/// What a client calls an order.
///
/// Clients choose ClOrdIDs, so tables of these keep the standard library's hasher, whose secret key they cannot know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ClientKey {
    pub(super) stream: StreamKey,
    pub(super) id: Text,
}

impl Hash for ClientKey {
    /// Two writes in place of the many of a derived one: the length of the second tells where it ends.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(match &self.stream {
            StreamKey::Session { gateway, session, firm } => {
                let ([a, b, c], [d, e, f]) = (*session.as_bytes(), *firm.as_bytes());
                let [g, h] = match gateway {
                    Gateway::Cgw => [0, 0],
                    Gateway::Msgw(segment) => *segment,
                };
                u64::from_le_bytes([a, b, c, d, e, f, g, h])
            }
            StreamKey::Person(person) => person.as_u64(),
        });
        state.write(self.id.as_bytes());
    }
}

/// Hashes numbers that are counted here, and that nobody chooses: all differ in their lowest bits.
#[derive(Clone, Copy, Default)]
pub(super) struct CountedHasher(u64);

/// For tables by numbers that are counted here.
pub(super) type Counted = BuildHasherDefault<CountedHasher>;

impl Hasher for CountedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((self.0 << 8) | u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // An odd factor keeps the lowest bits apart and fills the highest.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_bytes_however_long_it_is() {
        for len in 0..60 {
            let bytes: Vec<u8> = (0..len).collect();
            let text = Text::from(&*bytes);
            assert_eq!((text.as_bytes(), text.clone() == text), (&*bytes, true));
            assert_eq!(matches!(text, Text::Long(_)), bytes.len() > INLINE_MAX);
            assert!(Text::from(&*[&*bytes, b"x"].concat()) != text);
        }
        assert!(Text::from(&b"b"[..]) > Text::from(&b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"[..]));
        assert_eq!(size_of::<Text>(), 24);
    }
}
