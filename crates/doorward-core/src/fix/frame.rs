//! Cuts messages from a stream of bytes, whatever pieces they come in.

use super::SOH;
use super::message::seq_num;
use crate::table::table;

/// What stands at the front of the bytes in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A message of `len` bytes with the right BodyLength and CheckSum. To be taken, and the rest cut again.
    Message {
        /// Bytes of the message, its trailer included.
        len: usize,
    },
    /// The first bytes of a message that may become a good one: keep them and read more.
    Incomplete,
    /// A garbled stretch begins here. To be counted once; `skip` bytes are to be dropped, and the rest cut again.
    Garbled {
        /// Bytes to drop now; may be 0, where what is in hand may be the beginning of the next message.
        skip: usize,
        /// What is wrong.
        why: Garble,
    },
    /// More bytes of the garbled stretch that was told of before: to be dropped, and not counted again.
    Skip {
        /// Bytes to drop now; at least 1.
        len: usize,
    },
    /// The message says that it is longer than the limit. Nothing behind it can be found: the connection has to end.
    TooLong,
}

table! {
    /// Why a stretch of bytes is no message. It is dropped and moves no number; ten in a row are borne.
    pub enum Garble {
        BeginString = "begin-string", "The message does not begin with `8=FIX` and up to 13 further letters, digits or dots.";
        BodyLength = "body-length", "The second field is not BodyLength (9) with up to 9 digits, or promises no body.";
        Trailer = "trailer", "No CheckSum (10) of three digits stands where BodyLength says that the body ends.";
        CheckSum = "check-sum", "CheckSum (10) is not the sum of the bytes before it.";
    }
}

/// Longest BeginString (8), in bytes; FIX has none of more than 8.
const BEGIN_STRING_LEN_MAX: usize = 16;
/// Most digits of BodyLength (9).
const BODY_LENGTH_DIGITS_MAX: usize = 9;
/// Bytes of `10=000` and its SOH.
const TRAILER_LEN: usize = 7;
/// What every message begins with.
const START: &[u8] = b"8=FIX";
/// Where a garbled stretch ends: before the `8`.
const RESTART: &[u8] = b"\x018=FIX";

/// Cuts the messages of one connection.
///
/// For any split of the same bytes it tells of the same messages and the same garbled stretches, in the same order.
/// It needs at most `len_max` bytes in hand to get on.
///
/// A garbled stretch ends before the next `8=FIX` that follows a SOH. Where only the CheckSum is wrong the frame is
/// dropped whole, so that nothing inside of a data field is ever taken for a message.
#[derive(Clone, Copy, Debug)]
pub struct Cutter {
    len_max: usize,
    /// Whether the bytes in hand continue a garbled stretch.
    lost: bool,
}

impl Cutter {
    /// A cutter for messages of at most `len_max` bytes.
    pub const fn new(len_max: usize) -> Self {
        Self { len_max, lost: false }
    }

    /// Sets another limit, as after a Logon: it holds from the next call.
    pub const fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }

    /// Says what stands at the front of `bytes`: all that was received and not yet taken or dropped.
    pub fn cut(&mut self, bytes: &[u8]) -> Cut {
        if self.lost {
            let (len, found) = garbled_len(bytes);
            self.lost = !found;
            if len > 0 {
                return Cut::Skip { len };
            }
            if self.lost {
                return Cut::Incomplete;
            }
        }
        match frame(bytes, self.len_max) {
            Frame::Message { len } => Cut::Message { len },
            Frame::Incomplete => Cut::Incomplete,
            Frame::TooLong => Cut::TooLong,
            Frame::Flawed { len } => Cut::Garbled { skip: len, why: Garble::CheckSum },
            Frame::Garbled { why } => {
                let (len, found) = garbled_len(bytes);
                self.lost = !found;
                Cut::Garbled { skip: len, why }
            }
        }
    }
}

/// How many of these bytes belong to a garbled stretch, and whether the next message begins behind them.
///
/// What may be the first part of a restart is left in hand.
fn garbled_len(bytes: &[u8]) -> (usize, bool) {
    for at in memchr::memchr_iter(SOH, bytes) {
        let here = &bytes[at..];
        if here.starts_with(RESTART) {
            return (at + 1, true);
        }
        if RESTART.starts_with(here) {
            return (at, false);
        }
    }
    (bytes.len(), false)
}

/// What the bytes are when a message should begin with them.
enum Frame {
    Message {
        len: usize,
    },
    Incomplete,
    TooLong,
    /// A whole frame whose CheckSum is wrong.
    Flawed {
        len: usize,
    },
    Garbled {
        why: Garble,
    },
}

/// Judges byte after byte in their order, so that more bytes never change what fewer have said.
fn frame(bytes: &[u8], len_max: usize) -> Frame {
    let garbled = |why| Frame::Garbled { why };
    if !bytes.starts_with(START) {
        return if START.starts_with(bytes) { Frame::Incomplete } else { garbled(Garble::BeginString) };
    }
    let mut at = START.len();
    loop {
        match bytes.get(at) {
            None => return Frame::Incomplete,
            Some(&SOH) => break,
            Some(b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.') if at < 2 + BEGIN_STRING_LEN_MAX => at += 1,
            Some(_) => return garbled(Garble::BeginString),
        }
    }
    at += 1;
    for expected in b"9=" {
        match bytes.get(at) {
            None => return Frame::Incomplete,
            Some(byte) if byte == expected => at += 1,
            Some(_) => return garbled(Garble::BodyLength),
        }
    }
    let (first, mut body_len) = (at, 0_usize);
    loop {
        match bytes.get(at) {
            None => return Frame::Incomplete,
            Some(&SOH) if body_len > 0 => break,
            Some(digit @ b'0'..=b'9') if at < first + BODY_LENGTH_DIGITS_MAX => {
                body_len = body_len * 10 + usize::from(digit - b'0');
                at += 1;
            }
            Some(_) => return garbled(Garble::BodyLength),
        }
    }
    trailer(bytes, at + 1 + body_len, len_max)
}

/// Judges the end of a frame whose body ends at `body_end`.
fn trailer(bytes: &[u8], body_end: usize, len_max: usize) -> Frame {
    let len = body_end + TRAILER_LEN;
    if len > len_max {
        return Frame::TooLong;
    }
    let Some(trailer) = bytes.get(body_end..len) else {
        // Nothing is said before all of it is there: it is what the peer has to send anyway.
        return Frame::Incomplete;
    };
    let in_place =
        bytes[body_end - 1] == SOH && trailer.starts_with(b"10=") && trailer[TRAILER_LEN - 1] == SOH;
    let sum = seq_num(&trailer[3..6]).filter(|_| in_place);
    match sum {
        None => Frame::Garbled { why: Garble::Trailer },
        Some(sum) if sum == u64::from(check_sum(&bytes[..body_end])) => Frame::Message { len },
        Some(_) => Frame::Flawed { len },
    }
}

/// The sum of bytes that CheckSum (10) carries.
pub fn check_sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
