//! Reads one message in place: an index of its fields, which is used again for the next one.

use std::fmt;

use super::{SOH, tag};
use crate::table::table;
use crate::time::Wall;

table! {
    /// What is wrong with the fields of a message whose frame is good.
    pub enum Flaw {
        Tag = "tag", "What should be a tag is no number of 1 to 9 digits with a `=` behind it.";
        TagZero = "tag-zero", "A tag is 0, or begins with 0.";
        FieldEnd = "field-end", "The last field does not end with SOH.";
        DataLength = "data-length", "A data field is not as long as the field before it says.";
        FirstFields = "first-fields", "The first three fields are not BeginString (8), BodyLength (9) and MsgType (35).";
        LastField = "last-field", "The last field is not CheckSum (10).";
        TooLong = "too-long", "The message has more than 4 GiB.";
    }
}

/// A message that cannot be read, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// What is wrong.
    pub flaw: Flaw,
    /// The tag of the field, as far as it is known: of the length for [`Flaw::DataLength`], else of the field before.
    pub tag: Option<u32>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag {
            Some(tag) => write!(f, "{} at tag {tag}", self.flaw),
            None => write!(f, "{}", self.flaw),
        }
    }
}

impl std::error::Error for Malformed {}

/// Where the value of a field lies.
#[derive(Clone, Copy, Debug)]
struct Field {
    tag: u32,
    start: u32,
    end: u32,
}

/// For each low tag the place of its first field in the index, from 1; 0: there is none, [`FAR`]: it is to be searched.
type Firsts = [u8; LOW_TAGS];

/// Tags below this one are found without a search: all of a header and of an order that are looked at as a rule.
const LOW_TAGS: usize = 64;
/// The field lies behind this many others, or at this place.
const FAR: u8 = u8::MAX;

/// The index of one message at a time. It allocates for the first message and for one with unusually many fields.
///
/// Take one for many connections: a message of 4 KiB with the shortest fields makes it 24 KiB until the next is read.
#[derive(Clone, Debug)]
pub struct Fields {
    index: Vec<Field>,
    firsts: Firsts,
}

impl Default for Fields {
    fn default() -> Self {
        Self::new()
    }
}

/// Fields that a message of usual size has at most; a larger index is given back after use.
const FIELDS_USUAL: usize = 128;
/// Most digits of a tag.
const TAG_DIGITS_MAX: usize = 9;

impl Fields {
    /// An index without memory of its own yet.
    pub const fn new() -> Self {
        Self { index: Vec::new(), firsts: [0; LOW_TAGS] }
    }

    /// Reads one message as [`super::frame::Cutter`] found it; BodyLength and CheckSum are not looked at again.
    ///
    /// A data field is read by its length where the length stands directly before it. Empty values are let through,
    /// see [`Message::first_empty`]; so are repeated tags, see [`Message::has_repeated`].
    pub fn read<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, Malformed> {
        self.index(bytes, Lengths::Hold)?;
        Ok(Message { bytes, index: &self.index, firsts: &self.firsts })
    }

    /// Reads a message as [`Self::read`] does, but a data field whose length lies ends at the next SOH.
    ///
    /// For a Logon that [`Self::read`] refused for [`Flaw::DataLength`]: it is refused in any case, and all the work of
    /// a good one is to be done with it.
    pub fn read_despite_lengths<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, Malformed> {
        self.index(bytes, Lengths::MayLie)?;
        Ok(Message { bytes, index: &self.index, firsts: &self.firsts })
    }

    /// Bytes of memory in use.
    pub const fn memory(&self) -> usize {
        self.index.capacity() * size_of::<Field>()
    }

    fn index(&mut self, bytes: &[u8], lengths: Lengths) -> Result<(), Malformed> {
        self.index.clear();
        if self.index.capacity() > FIELDS_USUAL {
            self.index.shrink_to(FIELDS_USUAL);
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(Malformed { flaw: Flaw::TooLong, tag: None });
        }
        self.firsts = [0; LOW_TAGS];
        let mut ends = Ends::of(bytes);
        let (mut at, mut before) = (0, Field { tag: 0, start: 0, end: 0 });
        while at < bytes.len() {
            let malformed = |flaw| Malformed { flaw, tag: (before.tag > 0).then_some(before.tag) };
            let (tag, start) = match short_tag(bytes, at) {
                Some(read) => read,
                None => read_tag(bytes, at).map_err(malformed)?,
            };
            let by_length = tag::is_length(before.tag) && tag::data_of(before.tag) == Some(tag);
            let end = if by_length { data_end(bytes, before, start) } else { None };
            let end = match end {
                Some(end) => {
                    ends.go_behind(end);
                    end
                }
                None if by_length && matches!(lengths, Lengths::Hold) => {
                    return Err(malformed(Flaw::DataLength));
                }
                // A tag holds no SOH: the next one ends the value.
                None => match ends.next() {
                    Some(end) => end,
                    None => return Err(malformed(Flaw::FieldEnd)),
                },
            };
            before = Field { tag, start: narrow(start), end: narrow(end) };
            self.index.push(before);
            if let Some(first) = self.firsts.get_mut(tag as usize)
                && *first == 0
            {
                *first = u8::try_from(self.index.len()).unwrap_or(FAR);
            }
            at = end + 1;
        }
        match self.index.as_slice() {
            [first, second, third, ..]
                if (first.tag, second.tag, third.tag)
                    == (tag::BEGIN_STRING, tag::BODY_LENGTH, tag::MSG_TYPE) => {}
            _ => return Err(Malformed { flaw: Flaw::FirstFields, tag: None }),
        }
        if before.tag != tag::CHECK_SUM {
            return Err(Malformed { flaw: Flaw::LastField, tag: Some(before.tag) });
        }
        Ok(())
    }
}

/// What is made of a data field that is not as long as it says.
#[derive(Clone, Copy)]
enum Lengths {
    Hold,
    MayLie,
}

/// An offset within a message, whose length was looked at first.
const fn narrow(at: usize) -> u32 {
    at as u32
}

/// Reads the tag of the field that begins at `at`; gives it and where its value begins.
#[inline(always)]
fn read_tag(bytes: &[u8], at: usize) -> Result<(u32, usize), Flaw> {
    let (mut tag, mut next) = (0_u32, at);
    loop {
        let byte = *bytes.get(next).ok_or(Flaw::Tag)?;
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            // Too many digits have wrapped around: they are refused by their count.
            return match (next - at, byte) {
                (1..=TAG_DIGITS_MAX, b'=') if bytes[at] == b'0' => Err(Flaw::TagZero),
                (1..=TAG_DIGITS_MAX, b'=') => Ok((tag, next + 1)),
                _ => Err(Flaw::Tag),
            };
        }
        tag = tag.wrapping_mul(10).wrapping_add(u32::from(digit));
        next += 1;
    }
}

/// What [`read_tag`] does, for a tag of one to three digits; `None`: that is to be asked.
#[inline(always)]
fn short_tag(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let [first, second, third, behind] = *bytes.get(at..)?.first_chunk()?;
    let digit = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    let (hundreds, tens, ones) = (digit(first), digit(second), digit(third));
    // What is no digit is greater than 9, and the first one is not 0.
    if !(1..=9).contains(&hundreds) {
        return None;
    }
    if third == b'=' && tens <= 9 {
        return Some((hundreds * 10 + tens, at + 3));
    }
    if second == b'=' {
        return Some((hundreds, at + 2));
    }
    (behind == b'=' && tens <= 9 && ones <= 9).then_some((hundreds * 100 + tens * 10 + ones, at + 4))
}

/// Eight times the same byte.
const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The number of eight decimal digits, each a byte from 0 to 9, the first one lowest; `None` where another byte is there.
#[inline(always)]
const fn eight_digits(digits: u64) -> Option<u32> {
    if (digits | digits.wrapping_add(repeated(0x80 - 10))) & repeated(0x80) != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    const EVERY_OTHER: u64 = 0x0000_00FF_0000_00FF;
    let first = (pairs & EVERY_OTHER).wrapping_mul(100 + (1_000_000 << 32));
    let second = ((pairs >> 16) & EVERY_OTHER).wrapping_mul(1 + (10_000 << 32));
    Some((first.wrapping_add(second) >> 32) as u32)
}

/// The places of all SOH, one after the other, found 64 bytes at a time.
struct Ends<'m> {
    bytes: &'m [u8],
    /// Where the present 64 bytes begin.
    block: usize,
    /// A bit for each SOH among them that was not told of yet.
    left: u64,
}

impl<'m> Ends<'m> {
    fn of(bytes: &'m [u8]) -> Self {
        Self { bytes, block: 0, left: ends_among(bytes, 0) }
    }

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.block += 64;
            if self.block >= self.bytes.len() {
                return None;
            }
            self.left = ends_among(self.bytes, self.block);
        }
        let at = self.block + self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(at)
    }

    /// Forgets all up to this place, which lies among the bytes.
    #[cold]
    fn go_behind(&mut self, at: usize) {
        self.block = at & !63;
        self.left = ends_among(self.bytes, self.block) & (u64::MAX << (at & 63) << 1);
    }
}

/// A bit for each SOH among the 64 bytes from `at` on, that of the first byte lowest.
fn ends_among(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut last = [0; 64];
    let block = match rest.first_chunk::<64>() {
        Some(block) => block,
        None => {
            last[..rest.len()].copy_from_slice(rest);
            &last
        }
    };
    let mut ends = 0;
    // First a byte for each, which is done many at a time, then a bit.
    let flags = block.map(|byte| u8::from(byte == SOH));
    for (word, shift) in flags.as_chunks::<8>().0.iter().zip((0..64).step_by(8)) {
        ends |= (u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56) << shift;
    }
    ends
}

/// Where the data ends that begins at `start`, by the field `length`; `None` where no field can end there.
#[cold]
fn data_end(bytes: &[u8], length: Field, start: usize) -> Option<usize> {
    let says = seq_num(&bytes[length.start as usize..length.end as usize])?;
    let end = start.checked_add(usize::try_from(says).ok()?)?;
    (bytes.get(end) == Some(&SOH)).then_some(end)
}

/// Where the value ends that begins at `start`: at the next SOH.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while *bytes.get(at)? != SOH {
        at += 1;
    }
    Some(at)
}

/// A message that was read in place.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    bytes: &'m [u8],
    index: &'m [Field],
    firsts: &'m Firsts,
}

impl<'m> Message<'m> {
    /// The value of BeginString (8), such as `FIX.4.2`.
    pub fn begin_string(&self) -> &'m [u8] {
        self.value(0)
    }

    /// The value of MsgType (35), such as `A`.
    pub fn msg_type(&self) -> &'m [u8] {
        self.value(2)
    }

    /// The value of the first field with this tag.
    pub fn get(&self, tag: u32) -> Option<&'m [u8]> {
        match self.firsts.get(tag as usize) {
            Some(0) => None,
            Some(&place) if place < FAR => self.index.get(usize::from(place) - 1).map(|field| self.of(field)),
            Some(_) | None => self.search(tag),
        }
    }

    fn search(&self, tag: u32) -> Option<&'m [u8]> {
        self.index.iter().find(|field| field.tag == tag).map(|field| self.of(field))
    }

    /// How many fields have this tag.
    pub fn count(&self, tag: u32) -> usize {
        self.index.iter().filter(|field| field.tag == tag).count()
    }

    /// All fields in order, the header and the trailer too.
    pub fn fields(&self) -> impl Iterator<Item = (u32, &'m [u8])> + use<'m> {
        let message = *self;
        message.index.iter().map(move |field| (field.tag, message.of(field)))
    }

    /// The whole message as it came.
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// The first tag that occurs a second time. Repeating groups repeat tags by right; a Logon does not.
    pub fn has_repeated(&self) -> Option<u32> {
        // Low tags by one look each; the others, of which a Logon has a handful, by comparison with all before.
        let mut seen = [0_u64; LOGON_TAGS / 64];
        for (at, field) in self.index.iter().enumerate() {
            let repeated = match seen.get_mut(field.tag as usize / 64) {
                Some(word) => {
                    let bit = 1 << (field.tag % 64);
                    let seen = *word & bit != 0;
                    *word |= bit;
                    seen
                }
                None => self.index[..at].iter().any(|before| before.tag == field.tag),
            };
            if repeated {
                return Some(field.tag);
            }
        }
        None
    }

    /// The first tag that has no value.
    pub fn first_empty(&self) -> Option<u32> {
        self.index.iter().find(|field| field.start == field.end).map(|field| field.tag)
    }

    fn value(&self, at: usize) -> &'m [u8] {
        self.index.get(at).map_or(&[], |field| self.of(field))
    }

    fn of(&self, field: &Field) -> &'m [u8] {
        &self.bytes[field.start as usize..field.end as usize]
    }
}

/// Indexes of several messages, whose bytes lie elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes {
    fields: Vec<Field>,
    firsts: Vec<Firsts>,
}

/// Where the index of one message lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed {
    start: u32,
    end: u32,
    firsts: u32,
}

impl Indexes {
    /// Keeps the index of a message.
    pub(super) fn keep(&mut self, message: &Message<'_>) -> Indexed {
        let (start, firsts) = (narrow(self.fields.len()), narrow(self.firsts.len()));
        self.fields.extend_from_slice(message.index);
        self.firsts.push(*message.firsts);
        Indexed { start, end: narrow(self.fields.len()), firsts }
    }

    /// The message that these are the bytes of; one without fields where the index has been forgotten.
    pub(super) fn message<'m>(&'m self, bytes: &'m [u8], at: Indexed) -> Message<'m> {
        let index = self.fields.get(at.start as usize..at.end as usize).unwrap_or_default();
        let firsts = self.firsts.get(at.firsts as usize).unwrap_or(&[0; LOW_TAGS]);
        Message { bytes, index, firsts }
    }

    /// Forgets all; the memory of as many as come at once as a rule is kept.
    pub(super) fn clear(&mut self) {
        const FIELDS_KEPT: usize = 32 * FIELDS_USUAL;
        self.fields.clear();
        self.firsts.clear();
        if self.fields.capacity() > FIELDS_KEPT {
            self.fields.shrink_to(FIELDS_KEPT);
            self.firsts = Vec::new();
        }
    }

    /// Bytes of memory in use.
    pub(super) const fn memory(&self) -> usize {
        self.fields.capacity() * size_of::<Field>() + self.firsts.capacity() * size_of::<Firsts>()
    }
}

/// Tags below this one are looked up in a table of bits when repeated ones are searched.
const LOGON_TAGS: usize = 2_048;

impl fmt::Debug for Message<'_> {
    /// Type and number of fields only: values may be credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let msg_type = self.msg_type().escape_ascii();
        write!(f, "Message(35={msg_type}, {} fields, {} bytes)", self.index.len(), self.bytes.len())
    }
}

/// Most digits of a sequence number.
const SEQ_NUM_DIGITS_MAX: usize = 18;

/// Reads a number without sign of 1 to 18 digits, as MsgSeqNum (34), HeartBtInt (108) and lengths are.
///
/// Leading zeros are allowed, as FIX does. 0 is read as 0: the caller judges.
pub fn seq_num(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > SEQ_NUM_DIGITS_MAX {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
        _ => None,
    })
}

/// An instant as a UTCTimestamp field gives it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UtcTimestamp {
    /// The instant; digits behind the sixth are cut off.
    pub wall: Wall,
    /// Digits of the fraction: 0, 3, 6 or 9.
    pub fraction_digits: u8,
}

/// Reads SendingTime (52) as FIX 4.2 writes it: `YYYYMMDD-HH:MM:SS`, with or without `.sss`.
pub fn sending_time(value: &[u8]) -> Option<Wall> {
    utc_timestamp(value).filter(|timestamp| timestamp.fraction_digits <= 3).map(|timestamp| timestamp.wall)
}

/// Reads a UTCTimestamp: `YYYYMMDD-HH:MM:SS` with a fraction of no, 3, 6 or 9 digits. The second may be 60 at 23:59.
pub fn utc_timestamp(value: &[u8]) -> Option<UtcTimestamp> {
    let (whole, fraction) = value.split_first_chunk::<17>()?;
    let (date, rest) = whole.split_first_chunk::<8>()?;
    let [b'-', time @ ..] = rest else { return None };
    let date = i64::from(eight_digits(u64::from_le_bytes(*date) ^ repeated(b'0'))?);
    let (year, month, day) = (date / 10_000, date / 100 % 100, date % 100);
    // Zeros in place of the colons.
    let time = u64::from_le_bytes(*time.first_chunk()?) ^ u64::from_le_bytes(*b"00:00:00");
    if time & u64::from_le_bytes([0, 0, 0xFF, 0, 0, 0xFF, 0, 0]) != 0 {
        return None;
    }
    let time = i64::from(eight_digits(time)?);
    let (hour, minute, second) = (time / 1_000_000, time / 1_000 % 100, time % 100);
    let leap_second = (hour, minute, second) == (23, 59, 60);
    if hour > 23 || minute > 59 || (second > 59 && !leap_second) {
        return None;
    }
    let (us, fraction_digits) = match fraction {
        [] => (0, 0),
        [b'.', digits @ ..] => {
            let scale = match digits.len() {
                3 => 1_000_000,
                6 => 1_000,
                9 => 1,
                _ => return None,
            };
            (i64::try_from(seq_num(digits)? * scale / 1_000).ok()?, u8::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    let s = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(UtcTimestamp { wall: Wall::from_us(s * 1_000_000 + us), fraction_digits })
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; `None` for a day that it does not have.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    const BEFORE_MONTH: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let at = usize::try_from(month).ok()?.checked_sub(1)?;
    let (before, after) = (*BEFORE_MONTH.get(at)?, *BEFORE_MONTH.get(at + 1)?);
    let leap_day = if month == 2 { leap } else { 0 };
    if day < 1 || day > after - before + leap_day {
        return None;
    }
    // Leap days up to the end of the year before, counted from the year 0, which is one.
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    let in_year = before + if month > 2 { leap } else { 0 } + day - 1;
    Some(year * 365 + leap_days + in_year - EPOCH_DAYS)
}

/// What the same count gives for 1970-01-01.
const EPOCH_DAYS: i64 = 1_970 * 365 + 1_969 / 4 - 1_969 / 100 + 1_969 / 400;

/// The body of a message that [`super::build::Builder`] wrote: behind the last field of the header that it begins with,
/// before the trailer. Empty for bytes that are no message.
///
/// The header is made of 8, 9, 34, 35, 43, 49, 50, 52, 56, 57, 97, 122, 142 and 369; the first field with another tag
/// begins the body.
pub fn body(message: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Ok((8 | 9 | 34 | 35 | 43 | 49 | 50 | 52 | 56 | 57 | 97 | 122 | 142 | 369, start)) =
        read_tag(message, at)
    {
        match value_end(message, start) {
            Some(end) => at = end + 1,
            None => return &[],
        }
    }
    let end = message.len().saturating_sub(b"10=000\x01".len());
    match message.get(end.saturating_sub(1)..) {
        Some([SOH, b'1', b'0', b'=', .., SOH]) => message.get(at..end).unwrap_or_default(),
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn soh(text: &str) -> Vec<u8> {
        text.replace('|', "\x01").into_bytes()
    }

    type Read = Result<Vec<(u32, String)>, (Flaw, Option<u32>)>;

    /// Reads fields between MsgType and CheckSum; gives them back, or what is wrong.
    fn read(text: &str) -> Read {
        let bytes = soh(&format!("8=FIX.4.2|9=1|35=A|{text}10=000|"));
        let mut fields = Fields::new();
        let message = fields.read(&bytes).map_err(|malformed| (malformed.flaw, malformed.tag))?;
        let all: Vec<_> =
            message.fields().map(|(tag, value)| (tag, value.escape_ascii().to_string())).collect();
        Ok(all[3..all.len() - 1].to_vec())
    }

    fn list(fields: &[(u32, &str)]) -> Read {
        Ok(fields.iter().map(|(tag, value)| (*tag, (*value).to_owned())).collect())
    }

    #[test]
    fn fields_come_out_in_order_and_are_found_by_tag() {
        let bytes = soh("8=FIX.4.4|9=1|35=AE|34=12|58=a=b|447=D|447=E|10=000|");
        let mut fields = Fields::new();
        let message = fields.read(&bytes).unwrap();
        assert_eq!((message.begin_string(), message.msg_type()), (&b"FIX.4.4"[..], &b"AE"[..]));
        assert_eq!(message.get(58), Some(&b"a=b"[..]));
        assert_eq!((message.get(447), message.count(447)), (Some(&b"D"[..]), 2));
        assert_eq!((message.get(1), message.count(1)), (None, 0));
        assert_eq!(message.bytes(), bytes);
        assert_eq!(
            message.fields().map(|(tag, _)| tag).collect::<Vec<_>>(),
            [8, 9, 35, 34, 58, 447, 447, 10]
        );
        assert_eq!(format!("{message:?}"), "Message(35=AE, 8 fields, 52 bytes)");
    }

    #[test]
    fn an_index_is_used_again() {
        let (long, short) =
            (soh(&format!("8=X|9=1|35=A|{}10=000|", "1=a|".repeat(400))), soh("8=X|9=1|35=0|10=000|"));
        let mut fields = Fields::new();
        assert_eq!(fields.read(&long).unwrap().count(1), 400);
        assert_eq!(fields.read(&short).unwrap().fields().count(), 4);
        assert!(fields.index.capacity() <= FIELDS_USUAL, "memory of an unusual message is given back");
        let held = fields.index.as_ptr();
        assert_eq!(fields.read(&short).unwrap().fields().count(), 4);
        assert_eq!(fields.index.as_ptr(), held, "nothing is allocated for a second one");
    }

    #[test]
    fn a_tag_has_one_to_nine_digits_and_begins_with_none_of_zero() {
        assert_eq!(read("999999999=x|"), list(&[(999_999_999, "x")]));
        for (text, flaw) in [
            ("0=x|", Flaw::TagZero),
            ("034=1|", Flaw::TagZero),
            ("00=1|", Flaw::TagZero),
            ("1000000000=x|", Flaw::Tag),
            ("99999999999999999999=x|", Flaw::Tag),
            ("-1=x|", Flaw::Tag),
            ("+1=x|", Flaw::Tag),
            ("1 =x|", Flaw::Tag),
            ("3x=x|", Flaw::Tag),
            ("=x|", Flaw::Tag),
            ("|", Flaw::Tag),
            ("34|", Flaw::Tag),
            ("text|", Flaw::Tag),
        ] {
            assert_eq!(read(&format!("34=1|{text}")), Err((flaw, Some(34))), "{text}");
        }
    }

    #[test]
    fn the_first_three_fields_and_the_last_are_where_they_belong() {
        let flaw =
            |text: &str| Fields::new().read(&soh(text)).map(|_| ()).map_err(|malformed| malformed.flaw);
        assert_eq!(flaw("8=FIX.4.2|9=1|35=A|10=000|"), Ok(()));
        assert_eq!(flaw("8=FIX.4.2|9=1|34=1|35=A|10=000|"), Err(Flaw::FirstFields));
        assert_eq!(flaw("8=FIX.4.2|35=A|9=1|10=000|"), Err(Flaw::FirstFields));
        assert_eq!(flaw("8=FIX.4.2|9=1|10=000|"), Err(Flaw::FirstFields));
        assert_eq!(flaw(""), Err(Flaw::FirstFields));
        assert_eq!(flaw("8=FIX.4.2|9=1|35=A|34=1|"), Err(Flaw::LastField));
        assert_eq!(flaw("8=FIX.4.2|9=1|35=A|10=000|34=1|"), Err(Flaw::LastField));
        assert_eq!(flaw("8=FIX.4.2|9=1|35=A|10=000"), Err(Flaw::FieldEnd));
        assert_eq!(flaw("8=FIX.4.2|9=1|35=A|10=000|58="), Err(Flaw::FieldEnd));
        assert_eq!(flaw(&format!("8=FIX.4.2|9=1|35=A|10={}", "0".repeat(100))), Err(Flaw::FieldEnd));
    }

    #[test]
    fn a_value_of_any_length_ends_at_its_soh() {
        for len in 0..100 {
            let value = "v".repeat(len);
            assert_eq!(read(&format!("58={value}|34=1|")), list(&[(58, &value), (34, "1")]), "{len}");
        }
    }

    #[test]
    fn data_is_read_by_its_length_and_may_hold_soh() {
        for length in (1..2_000).filter(|tag| tag::data_of(*tag).is_some()) {
            let data = tag::data_of(length).unwrap();
            assert!(tag::is_length(length));
            let read = read(&format!("{length}=7|{data}=a|10=b||58=x|"));
            assert_eq!(read, list(&[(length, "7"), (data, "a\\x0110=b\\x01"), (58, "x")]), "{length}");
        }
        assert!((1..2_000).all(|tag| tag::is_length(tag) == tag::data_of(tag).is_some()));
        assert_eq!(read("95=0|96=|"), list(&[(95, "0"), (96, "")]));
        assert_eq!(read("354=0003|355=abc|"), list(&[(354, "0003"), (355, "abc")]));
    }

    #[test]
    fn a_length_that_lies_is_malformed() {
        for lie in
            ["2", "4", "0", "9", "10", "-3", "3.0", "", "x", "999999999999999999", "9999999999999999999999"]
        {
            assert_eq!(
                read(&format!("354={lie}|355=abc|58=x|")),
                Err((Flaw::DataLength, Some(354))),
                "{lie}"
            );
        }
        // The end of another field is an end too; then that field is a part of the data.
        assert_eq!(read("354=8|355=abc|58=x|"), list(&[(354, "8"), (355, "abc\\x0158=x")]));
    }

    #[test]
    fn f3_a_logon_whose_length_lies_is_read_all_the_same() {
        let bytes = soh("8=X|9=1|35=A|354=2|355=abc|1401=99|1402=s|49=ABC001N|10=000|");
        let mut fields = Fields::new();
        assert!(fields.read(&bytes).is_err());
        let message = fields.read_despite_lengths(&bytes).unwrap();
        assert_eq!(message.get(355), Some(&b"abc"[..]));
        assert_eq!(message.get(1402), Some(&b"s"[..]));
        assert_eq!(message.get(49), Some(&b"ABC001N"[..]));
        assert!(fields.read_despite_lengths(&soh("8=X|9=1|35=A|0=1|10=000|")).is_err());
    }

    #[test]
    fn data_without_its_length_and_a_length_without_data_are_usual_fields() {
        assert_eq!(read("355=abc|354=3|"), list(&[(355, "abc"), (354, "3")]));
        assert_eq!(read("354=9|1400=x|355=abc|"), list(&[(354, "9"), (1400, "x"), (355, "abc")]));
        assert_eq!(read("354=x|1401=4|1402=abcd|"), list(&[(354, "x"), (1401, "4"), (1402, "abcd")]));
    }

    #[test]
    fn f10_every_repeated_tag_is_seen() {
        let logon = "8=FIX.4.2|9=1|35=A|34=1|49=A|50=B|70000=x|70001=y|1603=a|4294967=z|10=000|";
        let mut fields = Fields::new();
        assert_eq!(fields.read(&soh(logon)).unwrap().has_repeated(), None);
        for field in logon.split_terminator('|').skip(2) {
            let tag = field.split('=').next().unwrap().parse().unwrap();
            for at in ["|34=1|", "|10=000|"] {
                let twice = logon.replace(at, &format!("|{field}{at}"));
                assert_eq!(fields.read(&soh(&twice)).unwrap().has_repeated(), Some(tag), "{field}");
            }
        }
    }

    #[test]
    fn an_empty_value_is_seen() {
        let mut fields = Fields::new();
        let bytes = soh("8=X|9=1|35=A|34=1|50=|57=|10=000|");
        let message = fields.read(&bytes).unwrap();
        assert_eq!(message.first_empty(), Some(50));
        assert_eq!(message.get(57), Some(&b""[..]));
        assert_eq!(fields.read(&soh("8=X|9=1|35=A|10=000|")).unwrap().first_empty(), None);
    }

    #[test]
    fn a_number_has_one_to_eighteen_digits() {
        for (text, number) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("007", Some(7)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("1000000000000000000", None),
            ("0000000000000000001", None),
            ("99999999999999999999", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            (" 1", None),
            ("1e3", None),
            ("\u{661}", None),
        ] {
            assert_eq!(seq_num(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn sending_time_has_one_format_with_or_without_milliseconds() {
        let wall = |text| Wall::parse(text).unwrap();
        for (text, expected) in [
            ("20261121-20:00:00", Some(wall("2026-11-21T20:00:00Z"))),
            ("20261121-20:00:00.000", Some(wall("2026-11-21T20:00:00Z"))),
            ("20261121-23:59:59.999", Some(wall("2026-11-21T23:59:59.999Z"))),
            ("20240229-00:00:00.001", Some(wall("2024-02-29T00:00:00.001Z"))),
            ("20000229-12:30:01", Some(wall("2000-02-29T12:30:01Z"))),
            ("19700101-00:00:00.000", Some(Wall::from_us(0))),
            ("19691231-23:59:59.999", Some(Wall::from_us(-1_000))),
            ("20161231-23:59:60.000", Some(wall("2017-01-01T00:00:00Z"))),
            ("00010101-00:00:00", Some(wall("0001-01-01T00:00:00Z"))),
            ("99991231-23:59:59.999", Some(Wall::from_us(253_402_300_799_999_000))),
            ("20261121-20:00:00.000000", None),
            ("20261121-20:00:00.", None),
            ("20261121-20:00:00.1", None),
            ("20261121-20:00:00.12", None),
            ("20261121-20:00:00.1234", None),
            ("20261121-20:00:00,123", None),
            ("20261121-20:00:00Z", None),
            ("20261121-20:00", None),
            ("20261121 20:00:00.000", None),
            ("20261121T20:00:00.000", None),
            ("2026-11-21T20:00:00.000Z", None),
            ("20261121-200000.000", None),
            ("20261121-20.00.00.000", None),
            ("20260229-20:00:00", None),
            ("19000229-20:00:00", None),
            ("20261301-20:00:00", None),
            ("20260001-20:00:00", None),
            ("20261100-20:00:00", None),
            ("20261131-20:00:00", None),
            ("20261121-24:00:00", None),
            ("20261121-20:60:00", None),
            ("20261121-20:00:60", None),
            ("20261121-20:00:61", None),
            ("2026112a-20:00:00", None),
            ("-0261121-20:00:00", None),
            ("1795291200", None),
            ("1795291200250000000", None),
            ("", None),
        ] {
            assert_eq!(sending_time(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn finer_fractions_are_read_with_their_number_of_digits() {
        for (fraction, us, fraction_digits) in
            [("", 0, 0), (".250", 250_000, 3), (".250001", 250_001, 6), (".250001999", 250_001, 9)]
        {
            let read = utc_timestamp(format!("19700101-00:00:00{fraction}").as_bytes());
            assert_eq!(read, Some(UtcTimestamp { wall: Wall::from_us(us), fraction_digits }));
        }
    }

    #[test]
    fn the_body_lies_between_our_header_and_the_trailer() {
        let of = |text: &str| body(&soh(text)).escape_ascii().to_string();
        let header =
            "8=FIX.4.2|9=1|35=8|34=7|43=Y|49=CME|50=G|52=x|56=ABC001N|57=OP1|97=N|122=y|142=z|369=3|";
        assert_eq!(of(&format!("{header}37=1|52=inner|10=000|")), "37=1\\x0152=inner\\x01");
        assert_eq!(of(&format!("{header}10=000|")), "");
        assert_eq!(of("8=FIX.4.2|9=1|35=8|95=6|96=a|10=b||10=000|"), "95=6\\x0196=a\\x0110=b\\x01\\x01");
        for torn in [
            "",
            "8=FIX.4.2",
            "8=FIX.4.2|",
            "10=000|",
            "8=FIX.4.2|9=1|35=8|37=1|",
            "8=FIX.4.2|9=1|35=8|10=00|",
        ] {
            assert_eq!(of(torn), "", "{torn}");
        }
    }

    /// Byte after byte: what [`Fields::read`] does many at a time.
    fn plain(bytes: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, Flaw> {
        let (mut all, mut at): (Vec<(u32, Vec<u8>)>, _) = (Vec::new(), 0);
        while at < bytes.len() {
            let (tag, start) = read_tag(bytes, at)?;
            let length = all.last().filter(|(before, _)| tag::data_of(*before) == Some(tag));
            let end = match length {
                Some((_, length)) => {
                    let end = seq_num(length).map(|length| start + usize::try_from(length).unwrap());
                    end.filter(|end| bytes.get(*end) == Some(&SOH)).ok_or(Flaw::DataLength)?
                }
                None => value_end(bytes, start).ok_or(Flaw::FieldEnd)?,
            };
            all.push((tag, bytes[start..end].to_vec()));
            at = end + 1;
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn fields_are_the_same_read_at_once_or_byte_by_byte(
            parts in proptest::collection::vec(prop_oneof![
                6 => (1_u32..=2_000, "[ -~]{0,12}").prop_map(|(tag, value)| format!("{tag}={value}\x01")),
                1 => "[ -~]{0,150}".prop_map(|value| format!("58={value}\x01")),
                2 => "[a\x01=]{0,90}".prop_map(|data| format!("95={}\x0196={data}\x01", data.len())),
                1 => (any::<u32>(), "[é1\x01=]{0,3}").prop_map(|(tag, value)| format!("{tag}={value}\x01")),
                1 => "[0-9=\x01]{0,9}".prop_map(|text| format!("{text}\x01")),
            ], 0..20),
            cut in 0_usize..40,
        ) {
            let mut bytes = soh(&format!("8=FIX.4.2|9=1|35=A|{}10=000|", parts.concat()));
            bytes.truncate(bytes.len() - if cut < 8 { cut } else { 0 });
            let mut fields = Fields::new();
            let read = fields.read(&bytes);
            match (read, plain(&bytes)) {
                (Ok(message), Ok(expected)) => {
                    for (tag, _) in &expected {
                        let first = expected.iter().find(|(other, _)| other == tag);
                        prop_assert_eq!(message.get(*tag), first.map(|(_, value)| value.as_slice()));
                    }
                    let all: Vec<_> = message.fields().map(|(tag, value)| (tag, value.to_vec())).collect();
                    prop_assert_eq!(all, expected);
                }
                (Err(found), Err(expected)) => prop_assert_eq!(found.flaw, expected),
                (Err(found), Ok(_)) => prop_assert_eq!(found.flaw, Flaw::LastField),
                (Ok(_), Err(expected)) => prop_assert!(false, "{:?}", expected),
            }
        }
    }
}
