//! Messages of the FIX door, from any bytes: cut, read, and what a signature is made over.

use crate::fix::SOH;
use crate::fix::build::{Builder, push_time};
use crate::fix::frame::{Cut, Cutter, Garble, check_sum};
use crate::fix::message::{Fields, Message, body, seq_num, utc_timestamp};
use crate::fix::signature::{
    CME_1_SHA_256, canonical as write_canonical, control_character, decode_signature,
};
use crate::fix::{signature, tag};

/// Longest message of the stream, in bytes.
const LEN_MAX: usize = 300;

/// What a stream is made of: where each part begins, and what it is.
#[derive(PartialEq, Eq, Debug)]
enum Part {
    Message { at: usize, len: usize },
    Garbled { at: usize, why: Garble },
    TooLong { at: usize },
}

/// Cuts a stream: the parts are the same for the whole of it, for single bytes, and for pieces whose size the first
/// byte says; nothing but garbled stretches is left out, and little is kept.
pub fn frame(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let whole = parts(stream, stream.len().max(1));
    assert_eq!(whole, parts(stream, 1), "single bytes");
    assert_eq!(whole, parts(stream, usize::from(*size).max(1)), "pieces");
    for part in &whole {
        if let Part::Message { at, len } = part {
            let message = &stream[*at..at + len];
            assert!(message.starts_with(b"8=FIX") && message.ends_with(b"\x01") && *len <= LEN_MAX);
            let (counted, trailer) = message.split_at(len - 7);
            assert_eq!(trailer, format!("10={:03}\x01", check_sum(counted)).as_bytes());
        }
    }
}

fn parts(stream: &[u8], size: usize) -> Vec<Part> {
    let (mut cutter, mut found, mut at) = (Cutter::new(LEN_MAX), Vec::new(), 0);
    let mut lost = false;
    for end in (0..stream.len()).step_by(size).map(|begin| (begin + size).min(stream.len())) {
        loop {
            match cutter.cut(&stream[at..end]) {
                Cut::Message { len } => {
                    found.push(Part::Message { at, len });
                    at += len;
                    lost = false;
                }
                Cut::Garbled { skip, why } => {
                    found.push(Part::Garbled { at, why });
                    at += skip;
                    lost = true;
                }
                Cut::Skip { len } => {
                    assert!(lost && len > 0, "bytes were left out");
                    at += len;
                }
                Cut::Incomplete => break,
                Cut::TooLong => {
                    found.push(Part::TooLong { at });
                    return found;
                }
            }
            assert!(at <= end, "more than was there");
        }
        assert!(end - at < LEN_MAX, "{} bytes kept", end - at);
    }
    found
}

/// Reads one message: written again from its fields it is the same, and what is said of the fields holds.
pub fn message(bytes: &[u8]) {
    let mut fields = Fields::new();
    let strict = match fields.read(bytes) {
        Ok(message) => {
            read_well(bytes, &message);
            Some(message.fields().map(|(tag, value)| (tag, value.to_vec())).collect::<Vec<_>>())
        }
        Err(malformed) => {
            assert!(!malformed.to_string().is_empty());
            None
        }
    };
    if let Ok(message) = fields.read_despite_lengths(bytes) {
        read_well(bytes, &message);
        if let Some(strict) = strict {
            assert!(
                message.fields().eq(strict.iter().map(|(tag, value)| (*tag, &value[..]))),
                "read in two ways"
            );
        }
    }
    let body = body(bytes);
    let before_trailer = &bytes[..bytes.len().saturating_sub(7)];
    assert!(body.is_empty() || (body.ends_with(&[SOH]) && before_trailer.ends_with(body)), "not a body");
}

fn read_well(bytes: &[u8], message: &Message<'_>) {
    let mut again = Vec::new();
    let mut before: Vec<u32> = Vec::new();
    let (mut repeated, mut empty) = (None, None);
    for (tag, value) in message.fields() {
        again.extend_from_slice(format!("{tag}=").as_bytes());
        again.extend_from_slice(value);
        again.push(SOH);
        if before.contains(&tag) {
            repeated = repeated.or(Some(tag));
        }
        if value.is_empty() {
            empty = empty.or(Some(tag));
        }
        let by_length = before.last().is_some_and(|last| tag::data_of(*last) == Some(tag));
        assert!(by_length || !value.contains(&SOH), "SOH in a usual field");
        before.push(tag);
        values(value);
    }
    assert_eq!(again, bytes, "not the same again");
    assert_eq!((message.has_repeated(), message.first_empty()), (repeated, empty));
    assert_eq!(before.iter().map(|tag| message.count(*tag).min(1)).sum::<usize>(), before.len());
    assert!(matches!(before[..], [8, 9, 35, .., 10]));
}

fn values(value: &[u8]) {
    if let Some(number) = seq_num(value) {
        assert_eq!(String::from_utf8_lossy(value).parse(), Ok(number));
    }
    if let Some(timestamp) = utc_timestamp(value) {
        let mut text = Vec::new();
        push_time(&mut text, timestamp.wall);
        let leap = value[15..17] == *b"60";
        assert!(leap || text[..17] == value[..17], "another instant");
    }
    if let Some(bytes) = decode_signature(value) {
        assert_eq!(signature::encode_signature(&bytes).as_bytes(), value, "two forms of a signature");
    }
}

/// What is signed: without control characters it falls apart into the signed values and nothing else, whatever the
/// order of the fields is.
pub fn canonical(bytes: &[u8]) {
    let (mut fields, mut out) = (Fields::new(), Vec::new());
    let Ok(message) = fields.read(bytes) else { return };
    write_canonical(&CME_1_SHA_256, &message, &mut out);
    let value = |tag: &u32| message.get(*tag).unwrap_or_default();
    let len: usize = CME_1_SHA_256.signed.iter().map(|tag| value(tag).len()).sum();
    assert_eq!(out.len(), len + CME_1_SHA_256.signed.len() - 1);
    if control_character(&CME_1_SHA_256, &message).is_none() {
        let lines: Vec<&[u8]> = out.split(|byte| *byte == b'\n').collect();
        assert_eq!(
            lines,
            CME_1_SHA_256.signed.iter().map(value).collect::<Vec<_>>(),
            "another message signs alike"
        );
        backwards(&message, &out);
    }
}

/// Builds a message of the signed fields alone, last first.
fn backwards(message: &Message<'_>, expected: &[u8]) {
    let (mut wire, mut fields, mut out) = (Vec::new(), Fields::new(), Vec::new());
    let mut builder = Builder::begin(&mut wire, b"FIX.4.2", b"A");
    for tag in CME_1_SHA_256.signed.iter().rev() {
        builder = builder.maybe(*tag, message.get(*tag));
    }
    builder.finish();
    assert!(matches!(Cutter::new(usize::MAX).cut(&wire), Cut::Message { len } if len == wire.len()));
    match fields.read(&wire) {
        Ok(again) => write_canonical(&CME_1_SHA_256, &again, &mut out),
        Err(malformed) => panic!("built and not read: {malformed}"),
    }
    assert_eq!(out, expected, "the order of fields is signed");
}
