//! What the log holds, and how it is written: one entry is one record of a frame.
//!
//! Numbers are written without a zero byte, so that a batch cut short by a crash is told from a changed one.

use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;

use crate::journal::parts::RECORD_HEAD_BYTES;

const STREAM: u8 = 1;
const NUMBERS: u8 = 2;
const ACKNOWLEDGED: u8 = 3;
const INBOUND: u8 = 4;
const OUTBOUND: u8 = 5;

/// The longest head of an entry: a kind, nine numbers of ten bytes, a checksum.
const HEAD_BYTES_MAX: usize = 1 + 9 * 10 + 4;

/// The number of a stream within the log; the same in all its segments.
pub(super) type StreamNo = u32;

/// From the peer or to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// What names a message, and when it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) direction: Direction,
    pub(super) stream: StreamNo,
    pub(super) epoch: Epoch,
    pub(super) number: u64,
    pub(super) at: Wall,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The number that a stream has in this log.
    Stream {
        no: StreamNo,
        key: StreamKey,
    },
    Numbers {
        stream: StreamNo,
        numbers: Numbers,
    },
    Acknowledged {
        stream: StreamNo,
        epoch: Epoch,
        number: u64,
    },
    Message {
        name: Name,
        bytes: &'a [u8],
    },
}

impl Entry<'_> {
    /// Appends the entry as a record.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut head = Head::new();
        match self {
            Self::Stream { no, key } => {
                head.byte(STREAM).number(u64::from(*no));
                head.record(out, key.to_string().as_bytes());
            }
            Self::Numbers { stream, numbers } => {
                head.byte(NUMBERS).number(u64::from(*stream)).epoch(numbers.epoch);
                head.number(u64::from(numbers.rev)).number(numbers.next_in).number(numbers.next_out);
                head.number(numbers.ceiling).number(numbers.unsent_from).number(numbers.unsent_to);
                head.record(out, &[]);
            }
            Self::Acknowledged { stream, epoch, number } => {
                head.byte(ACKNOWLEDGED).number(u64::from(*stream)).epoch(*epoch).number(*number);
                head.record(out, &[]);
            }
            Self::Message { name, bytes } => write_message(out, name, bytes),
        }
    }

    /// Reads a record; `None` where it is none of ours, or a message's checksum is wrong.
    pub(super) fn parse(record: &[u8]) -> Option<Entry<'_>> {
        let (&kind, rest) = record.split_first()?;
        let mut fields = Fields(rest);
        let stream = fields.small()?;
        match kind {
            STREAM => {
                let key = StreamKey::parse(std::str::from_utf8(fields.0).ok()?)?;
                Some(Entry::Stream { no: stream, key })
            }
            NUMBERS => {
                let numbers = Numbers {
                    epoch: fields.epoch()?,
                    rev: fields.small()?,
                    next_in: fields.number()?,
                    next_out: fields.number()?,
                    ceiling: fields.number()?,
                    unsent_from: fields.number()?,
                    unsent_to: fields.number()?,
                };
                fields.0.is_empty().then_some(Entry::Numbers { stream, numbers })
            }
            ACKNOWLEDGED => {
                let (epoch, number) = (fields.epoch()?, fields.number()?);
                fields.0.is_empty().then_some(Entry::Acknowledged { stream, epoch, number })
            }
            INBOUND | OUTBOUND => {
                let direction = if kind == INBOUND { Direction::Inbound } else { Direction::Outbound };
                let (epoch, number) = (fields.epoch()?, fields.number()?);
                let at = Wall::from_us(i64::try_from(fields.number()?).ok()?);
                let head = &record[..record.len() - fields.0.len()];
                let (crc, bytes) = fields.0.split_first_chunk()?;
                let name = Name { direction, stream, epoch, number, at };
                (checksum(head, bytes) == u32::from_be_bytes(*crc)).then_some(Entry::Message { name, bytes })
            }
            _ => None,
        }
    }
}

/// Appends a message as a record; without allocating where `out` has room.
pub(super) fn write_message(out: &mut Vec<u8>, name: &Name, bytes: &[u8]) {
    let mut head = Head::new();
    head.byte(match name.direction {
        Direction::Inbound => INBOUND,
        Direction::Outbound => OUTBOUND,
    });
    head.number(u64::from(name.stream)).epoch(name.epoch).number(name.number);
    // Nothing is older than 1970.
    head.number(u64::try_from(name.at.as_us()).unwrap_or(0));
    let crc = checksum(head.bytes(), bytes);
    for byte in crc.to_be_bytes() {
        head.byte(byte);
    }
    head.record(out, bytes);
}

/// Of a message by itself, so that it can be read without its frame.
fn checksum(head: &[u8], bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(bytes);
    crc.finalize()
}

/// The head of an entry as it is written.
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    length: usize,
}

impl Head {
    fn new() -> Self {
        Self { bytes: [0; HEAD_BYTES_MAX], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn byte(&mut self, byte: u8) -> &mut Self {
        self.bytes[self.length] = byte; // holds: HEAD_BYTES_MAX is the sum of the longest entry's parts
        self.length += 1;
        self
    }

    /// LEB128 of the number plus one: no byte of it is zero. The greatest `u64` is written as the one below it.
    fn number(&mut self, number: u64) -> &mut Self {
        let mut left = number.saturating_add(1);
        while left >= 0x80 {
            self.byte(left as u8 | 0x80);
            left >>= 7;
        }
        self.byte(left as u8)
    }

    fn epoch(&mut self, epoch: Epoch) -> &mut Self {
        self.number(u64::from(epoch.week)).number(u64::from(epoch.reset))
    }

    fn record(&self, out: &mut Vec<u8>, rest: &[u8]) {
        let length = self.length + rest.len();
        out.reserve(RECORD_HEAD_BYTES + length);
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(self.bytes());
        out.extend_from_slice(rest);
    }
}

/// What is left of a record while it is read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7F);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                // A zero here is no shortest form.
                return if byte == 0 { None } else { value.checked_sub(1) };
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn epoch(&mut self) -> Option<Epoch> {
        Some(Epoch { week: self.small()?, reset: self.small()? })
    }
}

/// Body for fuzzing: any bytes are an entry that is written as it was read, or none.
pub fn fuzz_entry(bytes: &[u8]) {
    let Some(entry) = Entry::parse(bytes) else { return };
    let mut written = Vec::new();
    entry.write(&mut written);
    assert_eq!(written.get(RECORD_HEAD_BYTES..).and_then(Entry::parse), Some(entry), "another entry");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::parts::be_u32;

    fn read_back(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write(&mut out);
        assert_eq!(be_u32(&out, 0) as usize, out.len() - 4);
        assert_eq!(Entry::parse(&out[4..]).as_ref(), Some(entry));
        out.split_off(4)
    }

    #[test]
    fn entries_read_back_and_their_numbers_hold_no_zero_byte() {
        let key = StreamKey::parse("msgw-92/ABC/001").unwrap();
        assert!(!read_back(&Entry::Stream { no: 0, key }).contains(&0));
        for n in [0, 1, 126, 127, 128, 255, 256, 16_383, 16_384, u64::MAX - 1] {
            let small = u32::try_from(n).unwrap_or(u32::MAX);
            let epoch = Epoch { week: small, reset: small };
            let numbers = Numbers {
                epoch,
                rev: small,
                next_in: n,
                next_out: n,
                ceiling: n,
                unsent_from: n,
                unsent_to: n,
            };
            assert!(!read_back(&Entry::Numbers { stream: small, numbers }).contains(&0));
            assert!(!read_back(&Entry::Acknowledged { stream: small, epoch, number: n }).contains(&0));
            for direction in [Direction::Inbound, Direction::Outbound] {
                let at = Wall::from_us(i64::try_from(n).unwrap_or(i64::MAX));
                let name = Name { direction, stream: small, epoch, number: n, at };
                read_back(&Entry::Message { name, bytes: b"8=FIX.4.2" });
            }
        }
    }

    #[test]
    fn a_changed_byte_of_a_message_is_found() {
        let name = Name {
            direction: Direction::Outbound,
            stream: 3,
            epoch: Epoch { week: 9, reset: 1 },
            number: 77,
            at: Wall::from_s(1_795_291_200),
        };
        let record = read_back(&Entry::Message { name, bytes: b"8=FIX.4.2|9=5|35=8|" });
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(!matches!(Entry::parse(&changed), Some(Entry::Message { .. })), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(entry) = Entry::parse(&bytes) {
                let mut out = Vec::new();
                entry.write(&mut out);
                prop_assert_eq!(Entry::parse(&out[4..]), Some(entry));
            }
        }
    }
}
