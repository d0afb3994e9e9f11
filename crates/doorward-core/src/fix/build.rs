//! Writes one message into a buffer of the caller; BodyLength and CheckSum are filled in at the end.

use std::ops::Range;

use super::frame::check_sum;
use super::{SOH, tag};
use crate::time::Wall;

/// A message that is being written at the end of a buffer.
///
/// Fields come out in the order in which they are given. What is dropped without [`Self::finish`] leaves its part in
/// the buffer.
#[derive(Debug)]
#[must_use = "a message is whole only when it is finished"]
pub struct Builder<'b> {
    out: &'b mut Vec<u8>,
    begin: usize,
    /// Where BodyLength is to be written.
    length: usize,
    /// Where the body in the sense of BodyLength begins: behind it.
    counted: usize,
}

/// Room that is kept for the digits of BodyLength: most messages have a body of 100 to 999 bytes.
const ROOM: &[u8] = b"000";
/// Room for one message of usual size is made at once.
const USUAL_BYTES: usize = 224;

impl<'b> Builder<'b> {
    /// Begins a message behind what `out` holds: BeginString (8), BodyLength (9), MsgType (35).
    pub fn begin(out: &'b mut Vec<u8>, begin_string: &[u8], msg_type: &[u8]) -> Self {
        let begin = out.len();
        out.reserve(USUAL_BYTES);
        out.extend_from_slice(b"8=");
        out.extend_from_slice(begin_string);
        out.extend_from_slice(b"\x019=");
        let length = out.len();
        out.extend_from_slice(ROOM);
        out.push(SOH);
        let counted = out.len();
        Self { out, begin, length, counted }.field(tag::MSG_TYPE, msg_type)
    }

    /// A field with this value; none for an empty value, which FIX does not have. A SOH in it becomes a space.
    #[inline]
    pub fn field(self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        if value.is_empty() {
            return self;
        }
        push_field(self.out, tag, value);
        self
    }

    /// A field with this value, where there is one.
    pub fn maybe(self, tag: u32, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.field(tag, value),
            None => self,
        }
    }

    /// A field with a number.
    #[inline]
    pub fn number(self, tag: u32, value: u64) -> Self {
        push_tag(self.out, tag);
        push_number(self.out, value);
        self.out.push(SOH);
        self
    }

    /// A field with a number, where there is one.
    pub fn maybe_number(self, tag: u32, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(tag, value),
            None => self,
        }
    }

    /// A field with an instant, `YYYYMMDD-HH:MM:SS.sss`.
    pub fn time(self, tag: u32, value: Wall) -> Self {
        push_tag(self.out, tag);
        push_time(self.out, value);
        self.out.push(SOH);
        self
    }

    /// A data field behind its length; the value may hold any bytes. `length` is the tag of the length, such as 354.
    pub fn data(self, length: u32, value: &[u8]) -> Self {
        let Some(data) = tag::data_of(length) else {
            return self.field(length, value);
        };
        let builder = self.number(length, value.len() as u64);
        push_tag(builder.out, data);
        builder.out.extend_from_slice(value);
        builder.out.push(SOH);
        builder
    }

    /// Fields as they are, each with its SOH: a body that was built before.
    pub fn raw(self, fields: &[u8]) -> Self {
        self.out.extend_from_slice(fields);
        self
    }

    /// Fills in BodyLength, adds CheckSum (10), and says where in the buffer the message lies: up to its end.
    pub fn finish(self) -> Range<usize> {
        let body_len = self.out.len() - self.counted;
        let digits = Digits::of(body_len as u64);
        let digits = digits.as_bytes();
        // Seldom another width: then the body moves by the difference.
        let end = self.length + digits.len();
        if digits.len() > ROOM.len() {
            let end_before = self.out.len();
            self.out.resize(end_before + digits.len() - ROOM.len(), 0);
            self.out.copy_within(self.counted - 1..end_before, end);
        } else if digits.len() < ROOM.len() {
            self.out.copy_within(self.counted - 1.., end);
            self.out.truncate(self.out.len() + digits.len() - ROOM.len());
        }
        self.out[self.length..end].copy_from_slice(digits);
        let sum = check_sum(&self.out[self.begin..]);
        let sum = u64::from(sum);
        self.out.extend_from_slice(&[b'1', b'0', b'=', digit(sum / 100), digit(sum / 10), digit(sum), SOH]);
        self.begin..self.out.len()
    }
}

/// The decimal digits of a number.
struct Digits {
    digits: [u8; 20],
    start: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; 20], 20);
        loop {
            start -= 1;
            digits[start] = digit(number);
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The last decimal digit of a number.
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// Writes a field. A SOH in the value becomes a space.
#[inline]
pub fn push_field(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    push_tag(out, tag);
    let start = out.len();
    out.extend_from_slice(value);
    if value.contains(&SOH) {
        out[start..].iter_mut().filter(|byte| **byte == SOH).for_each(|byte| *byte = b' ');
    }
    out.push(SOH);
}

/// Writes a tag and the `=` behind it.
#[inline(always)]
pub fn push_tag(out: &mut Vec<u8>, tag: u32) {
    if tag < 10_000_000 {
        let (text, len) = short(u64::from(tag));
        push_short(out, text | (u64::from(b'=') << (8 * len)), len + 1);
    } else {
        out.extend_from_slice(Digits::of(u64::from(tag)).as_bytes());
        out.push(b'=');
    }
}

/// Writes a number without leading zeros.
#[inline]
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    if number < 100_000_000 {
        let (text, len) = short(number);
        push_short(out, text, len);
    } else {
        out.extend_from_slice(Digits::of(number).as_bytes());
    }
}

/// Writes the first `len` of eight bytes, the first of which is the lowest.
#[inline(always)]
fn push_short(out: &mut Vec<u8>, text: u64, len: usize) {
    // Always as many: that takes no loop and no call.
    let end = out.len() + len;
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(end);
}

/// The decimal digits of a number below 10^8, the first of them lowest, and how many there are.
#[inline(always)]
const fn short(number: u64) -> (u64, usize) {
    let digits = eight(number);
    let zeros = (digits ^ ZEROS).trailing_zeros() / 8;
    let zeros = if zeros > 7 { 7 } else { zeros };
    (digits >> (8 * zeros), 8 - zeros as usize)
}

/// Eight times `0`.
const ZEROS: u64 = u64::from_le_bytes([b'0'; 8]);

/// Eight decimal digits of a number below 10^8, the first of them lowest.
#[inline(always)]
const fn eight(number: u64) -> u64 {
    // Four digits in each half, then two in each quarter, then one in each byte.
    let halves = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x7F_0000_007F;
    let quarters = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((quarters * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | ((quarters - 10 * tens) << 8) | ZEROS
}

/// Writes `YYYYMMDD-HH:MM:SS.sss`; an instant outside of the years 0 to 9999 becomes the nearest one inside.
pub fn push_time(out: &mut Vec<u8>, at: Wall) {
    const DAY_MS: i64 = 86_400_000;
    let ms = at.as_ms().clamp(-719_528 * DAY_MS, 2_932_897 * DAY_MS - 1);
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    // Not negative: all are parts of a date of the years 0 to 9999, or of a day.
    let of_day = ms.rem_euclid(DAY_MS).unsigned_abs();
    let (s, ms) = (of_day / 1_000, of_day % 1_000);
    let mut text = *b"YYYYMMDD-HH:MM:SS.sss";
    text[0..8].copy_from_slice(&eight(10_000 * year + 100 * month + day).to_le_bytes());
    // With a zero where a colon is to be.
    let of_day = eight(1_000_000 * (s / 3_600) + 1_000 * (s / 60 % 60) + s % 60);
    let colons = u64::from_le_bytes([0, 0, b':' ^ b'0', 0, 0, b':' ^ b'0', 0, 0]);
    text[9..17].copy_from_slice(&(of_day ^ colons).to_le_bytes());
    text[18..21].copy_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms)]);
    out.extend_from_slice(&text);
}

/// Year, month and day of a day of the years 0 to 9999, counted from 1970-01-01.
fn civil(days: i64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, less than one cycle of 400 years earlier: a leap day is the last of its year.
    const CYCLE: u64 = 146_097;
    let count = (days + 719_468 + CYCLE as i64).unsigned_abs();
    let (cycle, of_cycle) = (count / CYCLE, count % CYCLE);
    let of_year = |day: u64| (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let year = of_year(of_cycle);
    let day = of_cycle - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let (month, next) = if march < 10 { (march + 3, 0) } else { (march - 9, 1) };
    (cycle * 400 + year + next - 400, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fix::frame::{Cut, Cutter};
    use crate::fix::message::{Fields, body, sending_time};

    fn heartbeat(out: &mut Vec<u8>) -> Range<usize> {
        Builder::begin(out, b"FIX.4.2", b"0")
            .number(tag::MSG_SEQ_NUM, 7)
            .field(tag::SENDER_COMP_ID, "CME")
            .time(tag::SENDING_TIME, Wall::parse("2026-11-21T20:00:00.25Z").unwrap())
            .field(tag::TARGET_COMP_ID, "ABC001N")
            .maybe(tag::TEST_REQ_ID, Some("x"))
            .finish()
    }

    #[test]
    fn a_built_message_is_cut_and_read_again() {
        let mut out = b"before".to_vec();
        let range = heartbeat(&mut out);
        let message = &out[range.clone()];
        assert_eq!(range, 6..out.len());
        let text = "8=FIX.4.2|9=59|35=0|34=7|49=CME|52=20261121-20:00:00.250|56=ABC001N|112=x|10=";
        assert_eq!(&message[..message.len() - 4], text.replace('|', "\x01").as_bytes());
        assert_eq!(Cutter::new(4_096).cut(message), Cut::Message { len: message.len() });
        let mut fields = Fields::new();
        let read = fields.read(message).unwrap();
        assert_eq!(read.get(tag::MSG_SEQ_NUM), Some(&b"7"[..]));
        assert_eq!(
            sending_time(read.get(tag::SENDING_TIME).unwrap()),
            Wall::parse("2026-11-21T20:00:00.25Z")
        );
        assert_eq!(body(message), b"112=x\x01");
    }

    /// A message with nothing but this body.
    fn with_body(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Builder::begin(&mut out, b"FIX.4.4", b"B").raw(body).finish();
        out
    }

    #[test]
    fn body_length_has_as_many_digits_as_it_needs() {
        for len in [0, 1, 3, 80, 94, 95, 96, 500, 993, 994, 995, 996, 9_994, 9_995, 9_996, 200_000] {
            let body =
                if len < 4 { Vec::new() } else { [b"58=", &vec![b'x'; len - 4][..], b"\x01"].concat() };
            let message = with_body(&body);
            let digits = message[12..].split(|byte| *byte == SOH).next().unwrap();
            assert_eq!(digits, (body.len() + 5).to_string().as_bytes());
            assert_eq!(Cutter::new(1 << 20).cut(&message), Cut::Message { len: message.len() });
            assert_eq!(crate::fix::message::body(&message), body);
        }
    }

    #[test]
    fn messages_stand_behind_each_other_without_a_gap() {
        let mut out = Vec::new();
        let ranges = [heartbeat(&mut out), heartbeat(&mut out), heartbeat(&mut out)];
        assert_eq!(ranges[0].end, ranges[1].start);
        assert_eq!(ranges[2].end, out.len());
        assert_eq!(out[ranges[0].clone()], out[ranges[2].clone()]);
    }

    #[test]
    fn a_value_cannot_bring_fields_of_its_own() {
        let mut out = Vec::new();
        Builder::begin(&mut out, b"FIX.4.2", b"5")
            .field(tag::TEXT, "a\x0135=A\x01")
            .field(tag::ACCOUNT, "")
            .finish();
        let mut fields = Fields::new();
        let message = fields.read(&out).unwrap();
        assert_eq!(message.get(tag::TEXT), Some(&b"a 35=A "[..]));
        assert_eq!(message.fields().count(), 5);
    }

    #[test]
    fn a_resent_message_has_the_same_body() {
        let mut out = Vec::new();
        let at = Wall::from_us(1);
        let first = Builder::begin(&mut out, b"FIX.4.2", b"8")
            .number(tag::MSG_SEQ_NUM, 3)
            .time(tag::SENDING_TIME, at)
            .field(tag::ORDER_ID, "1")
            .data(tag::ENCODED_TEXT_LEN, b"\x01\x0110=000\x01")
            .finish();
        let stored = out[first].to_vec();
        let again = Builder::begin(&mut out, b"FIX.4.2", b"8")
            .number(tag::MSG_SEQ_NUM, 3)
            .field(tag::POSS_DUP_FLAG, "Y")
            .time(tag::ORIG_SENDING_TIME, at)
            .raw(body(&stored))
            .finish();
        assert_eq!(body(&out[again]), body(&stored));
        assert_eq!(body(&stored), b"37=1\x01354=9\x01355=\x01\x0110=000\x01\x01");
    }

    #[test]
    fn instants_are_written_as_they_are_read() {
        let text = |at: Wall| {
            let mut out = Vec::new();
            push_time(&mut out, at);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(Wall::from_us(0)), "19700101-00:00:00.000");
        assert_eq!(text(Wall::from_us(-1)), "19691231-23:59:59.999");
        assert_eq!(text(Wall::from_us(i64::MAX)), "99991231-23:59:59.999");
        assert_eq!(text(Wall::from_us(i64::MIN)), "00000101-00:00:00.000");
        // Every day of 400 years, and every seventh of the years 0 to 9999.
        let mut before = String::new();
        let all = (-719_528..2_932_897).filter(|day| day % 7 == 0 || (0..146_097).contains(day));
        for day in all {
            let at = Wall::from_us(day * 86_400_000_000 + 3_723_004_000);
            let text = text(at);
            assert_eq!(sending_time(text.as_bytes()), Some(at), "{text}");
            assert!(before < text);
            before = text;
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>().prop_map(|byte| if byte == SOH { b'=' } else { byte }), 1..40)
    }

    /// A field of its own, a number, an instant, or data behind its length.
    #[derive(Clone, Debug)]
    enum Given {
        Field(u32, Vec<u8>),
        Number(u32, u64),
        Time(u32, i64),
        Data(u32, Vec<u8>),
    }

    fn given() -> impl Strategy<Value = Given> {
        let usual = || (11_u32..1_000_000).prop_filter("no data", |tag| tag::data_of(*tag).is_none());
        prop_oneof![
            4 => (usual(), value()).prop_map(|(tag, value)| Given::Field(tag, value)),
            1 => (usual(), any::<u64>()).prop_map(|(tag, number)| Given::Number(tag, number)),
            1 => (usual(), -62_167_219_200_000..253_402_300_800_000_i64).prop_map(|(tag, ms)| Given::Time(tag, ms)),
            1 => (prop_oneof![Just(95_u32), Just(354), Just(1401), Just(93)], proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(tag, value)| Given::Data(tag, value)),
        ]
    }

    proptest! {
        #[test]
        fn what_was_built_is_read_again(all in proptest::collection::vec(given(), 0..20)) {
            let mut out = b"8=FIX".to_vec();
            let mut builder = Builder::begin(&mut out, b"FIX.4.2", b"D");
            let mut expected = Vec::new();
            for given in all {
                builder = match given {
                    Given::Field(tag, value) => {
                        expected.push((tag, value.clone()));
                        builder.field(tag, value)
                    }
                    Given::Number(tag, number) => {
                        expected.push((tag, number.to_string().into_bytes()));
                        builder.number(tag, number)
                    }
                    Given::Time(tag, ms) => {
                        let at = Wall::from_us(ms * 1_000);
                        let mut text = Vec::new();
                        push_time(&mut text, at);
                        prop_assert_eq!(sending_time(&text), Some(at));
                        expected.push((tag, text));
                        builder.time(tag, at)
                    }
                    Given::Data(tag, value) => {
                        expected.push((tag, value.len().to_string().into_bytes()));
                        expected.push((tag::data_of(tag).unwrap_or(tag), value.clone()));
                        builder.data(tag, &value)
                    }
                };
            }
            let range = builder.finish();
            prop_assert_eq!(range.start, 5);
            let bytes = &out[range];
            prop_assert_eq!(Cutter::new(1 << 20).cut(bytes), Cut::Message { len: bytes.len() });
            let mut fields = Fields::new();
            let message = fields.read(bytes).unwrap();
            let read: Vec<_> = message.fields().map(|(tag, value)| (tag, value.to_vec())).collect();
            prop_assert_eq!(&read[3..read.len() - 1], &expected[..]);
        }
    }
}
