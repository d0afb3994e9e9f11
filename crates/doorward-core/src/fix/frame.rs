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
    // What nearly all begin with needs no look at each byte.
    if bytes.first_chunk() == Some(b"8=FIX.4.") && bytes.get(8).is_some_and(u8::is_ascii_digit) {
        at = 9;
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a stream was found to be made of, in order.
    #[derive(Clone, PartialEq, Eq, Debug)]
    enum Found {
        Message(Vec<u8>),
        Garbled(Garble),
        TooLong,
    }

    /// Feeds pieces as a connection would; gives what was found, and how many bytes were left at most.
    fn fed<'p>(len_max: usize, pieces: impl Iterator<Item = &'p [u8]>) -> (Vec<Found>, usize) {
        let (mut cutter, mut hand, mut found, mut left_max) =
            (Cutter::new(len_max), Vec::new(), Vec::new(), 0);
        for piece in pieces {
            hand.extend_from_slice(piece);
            loop {
                match cutter.cut(&hand) {
                    Cut::Message { len } => {
                        found.push(Found::Message(hand.drain(..len).collect()));
                    }
                    Cut::Garbled { skip, why } => {
                        hand.drain(..skip);
                        found.push(Found::Garbled(why));
                    }
                    Cut::Skip { len } => {
                        assert!(len > 0);
                        hand.drain(..len);
                    }
                    Cut::Incomplete => break,
                    Cut::TooLong => {
                        found.push(Found::TooLong);
                        return (found, left_max);
                    }
                }
            }
            left_max = left_max.max(hand.len());
        }
        (found, left_max)
    }

    fn at_once(bytes: &[u8]) -> Vec<Found> {
        fed(4_096, std::iter::once(bytes)).0
    }

    fn soh(text: &str) -> Vec<u8> {
        text.replace('|', "\x01").into_bytes()
    }

    /// `text` between BodyLength and CheckSum.
    fn message(text: &str) -> Vec<u8> {
        let mut bytes = soh(&format!("8=FIX.4.2|9={}|{text}", text.len()));
        bytes.extend_from_slice(format!("10={:03}\x01", check_sum(&bytes)).as_bytes());
        bytes
    }

    fn heartbeat() -> Vec<u8> {
        message("35=0|34=2|49=ABC001N|")
    }

    fn garbled(why: Garble) -> Vec<Found> {
        vec![Found::Garbled(why), Found::Message(heartbeat())]
    }

    #[test]
    fn whole_messages_are_cut_one_after_the_other() {
        let (one, two) = (heartbeat(), message("35=1|112=x|"));
        let found = at_once(&[one.clone(), two.clone()].concat());
        assert_eq!(found, [Found::Message(one), Found::Message(two)]);
        assert_eq!(Cutter::new(4_096).cut(b""), Cut::Incomplete);
    }

    #[test]
    fn what_is_garbled_is_named_and_the_next_message_is_found() {
        let right = String::from_utf8(heartbeat()).unwrap();
        let head = "8=FIX.4.2\x019=21\x01";
        assert!(right.starts_with(head));
        let with =
            |new: &str| [new.replace('|', "\x01").as_bytes(), &right.as_bytes()[head.len()..]].concat();
        for (flawed, why) in [
            (with("8=FIX.4.2|9=20|"), Garble::Trailer),
            (with("8=FIX.4.2|9=22|"), Garble::Trailer),
            (with("8=FIX.4.2|9=0|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=-1|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=+21|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=21.0|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=0000000021|"), Garble::BodyLength),
            (with("8=FIX.4.2|9=99999999999999999999|"), Garble::BodyLength),
            (with("8=FIX.4.2|34=1|9=21|"), Garble::BodyLength),
            (with("8=FIX.4.2|"), Garble::BodyLength),
            (with("8=FIX.4.2.A.B.C.D.E.F|9=21|"), Garble::BeginString),
            (with("8=FIX 4.2|9=21|"), Garble::BeginString),
            (with("8=XIF.4.2|9=21|"), Garble::BeginString),
            (with("9=21|"), Garble::BeginString),
            (with(" 8=FIX.4.2|9=21|"), Garble::BeginString),
            (with("|"), Garble::BeginString),
            (soh("GET / HTTP/1.1\r\n\r\n|"), Garble::BeginString),
            (right.replace("10=", "11=").into_bytes(), Garble::Trailer),
            (right.replace("\x0110=", "\x0210=").into_bytes(), Garble::Trailer),
            ([&right.as_bytes()[..right.len() - 4], b"2x3\x01"].concat(), Garble::Trailer),
            ([&right.as_bytes()[..right.len() - 4], b"\x01"].concat(), Garble::Trailer),
            (right.replace("34=2", "34=3").into_bytes(), Garble::CheckSum),
        ] {
            let found = at_once(&[&flawed[..], &heartbeat()].concat());
            assert_eq!(found, garbled(why), "{}", flawed.escape_ascii());
        }
    }

    #[test]
    fn leading_zeros_of_body_length_are_as_good_as_none() {
        let mut bytes = soh("8=FIX.4.2|9=000021|35=0|34=2|49=ABC001N|");
        bytes.extend_from_slice(format!("10={:03}\x01", check_sum(&bytes)).as_bytes());
        assert_eq!(at_once(&bytes), [Found::Message(bytes.clone())]);
    }

    #[test]
    fn a_missing_soh_at_the_end_takes_the_next_message_along() {
        let right = heartbeat();
        let bytes = [&right[..right.len() - 1], &right, &right].concat();
        assert_eq!(at_once(&bytes), garbled(Garble::Trailer));
    }

    #[test]
    fn a_message_inside_of_a_data_field_is_never_found() {
        let inner = heartbeat();
        let mut bytes = soh(&format!("8=FIX.4.2|9={}|35=B|95={}|96=", 12 + inner.len() + 1, inner.len()));
        bytes.extend_from_slice(&inner);
        bytes.push(SOH);
        let body_len = bytes.len() - soh("8=FIX.4.2|9=00|").len();
        let text = String::from_utf8(bytes).unwrap();
        let text = text.replacen(&format!("9={}", 12 + inner.len() + 1), &format!("9={body_len}"), 1);
        let sum = check_sum(text.as_bytes());
        let good = format!("{text}10={sum:03}\x01").into_bytes();
        assert_eq!(at_once(&good), [Found::Message(good.clone())]);
        let flawed = format!("{text}10={:03}\x01", sum.wrapping_add(1)).into_bytes();
        assert_eq!(at_once(&[flawed, inner].concat()), garbled(Garble::CheckSum));
    }

    #[test]
    fn f6_a_message_beyond_the_limit_is_known_by_its_first_bytes() {
        for body_len in [4_096, 10_000, 999_999_999] {
            assert_eq!(at_once(&soh(&format!("8=FIX.4.2|9={body_len}|"))), [Found::TooLong]);
        }
        let message = heartbeat();
        assert_eq!(Cutter::new(message.len()).cut(&message), Cut::Message { len: message.len() });
        assert_eq!(Cutter::new(message.len() - 1).cut(&message), Cut::TooLong);
        let mut cutter = Cutter::new(10);
        cutter.set_len_max(4_096);
        assert_eq!(cutter.cut(&message), Cut::Message { len: message.len() });
    }

    #[test]
    fn f6_garbage_without_end_is_counted_once_and_not_kept() {
        let garbage = b"\x018=FI\x018=FI".repeat(500);
        for size in [1, 2, 3, 7, 64, garbage.len()] {
            let (found, left) = fed(64, garbage.chunks(size));
            assert_eq!(found, [Found::Garbled(Garble::BeginString)]);
            assert!(left < RESTART.len(), "{left} bytes kept");
        }
    }

    /// Streams of good, flawed and torn messages and of bytes that resemble them.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let good = heartbeat();
        let flawed = String::from_utf8(heartbeat()).unwrap().replace("34=2", "34=9").into_bytes();
        let whole = good.clone();
        let part = prop_oneof![
            3 => Just(good.clone()),
            2 => "[a-z0-9|]{0,40}".prop_map(|text| message(&format!("35=D|58={text}|"))),
            1 => Just(flawed),
            2 => (0..good.len()).prop_map(move |len| whole[..len].to_vec()),
            2 => "[|8=FIX.4219013a]{0,20}".prop_map(|text| soh(&text)),
            1 => Just(soh("8=FIX.4.2|9=400|")),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_cut_of_the_bytes_gives_the_same(bytes in stream(), cuts in proptest::collection::vec(1_usize..60, 1..8)) {
            let (whole, _) = fed(512, std::iter::once(&bytes[..]));
            let (single, left) = fed(512, bytes.chunks(1));
            prop_assert_eq!(&whole, &single);
            prop_assert!(left < 512);
            let mut rest = &bytes[..];
            let pieces: Vec<&[u8]> = cuts.iter().cycle().map_while(|size| {
                let (piece, after) = rest.split_at_checked(*size).unwrap_or((rest, &[]));
                rest = after;
                (!piece.is_empty()).then_some(piece)
            }).collect();
            prop_assert_eq!(&fed(512, pieces.into_iter()).0, &whole);
        }
    }
}
