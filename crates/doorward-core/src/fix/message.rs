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

/// The index of one message at a time. It allocates for the first message and for one with unusually many fields.
#[derive(Debug, Default)]
pub struct Fields {
    index: Vec<Field>,
}

/// Fields that a message of usual size has at most; a larger index is given back after use.
const FIELDS_USUAL: usize = 128;
/// Most digits of a tag.
const TAG_DIGITS_MAX: usize = 9;

impl Fields {
    /// An index without memory of its own yet.
    pub const fn new() -> Self {
        Self { index: Vec::new() }
    }

    /// Reads one message as [`super::frame::Cutter`] found it; BodyLength and CheckSum are not looked at again.
    ///
    /// A data field is read by its length where the length stands directly before it. Empty values are let through,
    /// see [`Message::first_empty`]; so are repeated tags, see [`Message::has_repeated`].
    pub fn read<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, Malformed> {
        self.index(bytes, Lengths::Hold)?;
        Ok(Message { bytes, index: &self.index })
    }

    /// Reads a message as [`Self::read`] does, but a data field whose length lies ends at the next SOH.
    ///
    /// For a Logon that [`Self::read`] refused for [`Flaw::DataLength`]: it is refused in any case, and all the work of
    /// a good one is to be done with it.
    pub fn read_despite_lengths<'m>(&'m mut self, bytes: &'m [u8]) -> Result<Message<'m>, Malformed> {
        self.index(bytes, Lengths::MayLie)?;
        Ok(Message { bytes, index: &self.index })
    }

    fn index(&mut self, bytes: &[u8], lengths: Lengths) -> Result<(), Malformed> {
        self.index.clear();
        if self.index.capacity() > FIELDS_USUAL {
            self.index.shrink_to(FIELDS_USUAL);
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(Malformed { flaw: Flaw::TooLong, tag: None });
        }
        let (mut at, mut before) = (0, Field { tag: 0, start: 0, end: 0 });
        while at < bytes.len() {
            let malformed = |flaw| Malformed { flaw, tag: (before.tag > 0).then_some(before.tag) };
            let (tag, start) = read_tag(bytes, at).map_err(malformed)?;
            let by_length = match tag::data_of(before.tag) {
                Some(data) if data == tag => data_end(bytes, before, start),
                Some(_) | None => Some(None),
            };
            let end = match (by_length, lengths) {
                (Some(Some(end)), _) => end,
                (None, Lengths::Hold) => return Err(malformed(Flaw::DataLength)),
                (Some(None), _) | (None, Lengths::MayLie) => {
                    start + memchr::memchr(SOH, &bytes[start..]).ok_or_else(|| malformed(Flaw::FieldEnd))?
                }
            };
            before = Field { tag, start: narrow(start), end: narrow(end) };
            self.index.push(before);
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

/// Offsets fit: the length of the message was looked at first.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Reads the tag at `at`; gives it and where its value begins.
fn read_tag(bytes: &[u8], at: usize) -> Result<(u32, usize), Flaw> {
    let mut tag = 0_u32;
    for (count, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'0' if count == 0 => return Err(Flaw::TagZero),
            b'0'..=b'9' if count < TAG_DIGITS_MAX => tag = tag * 10 + u32::from(byte - b'0'),
            b'=' if count > 0 => return Ok((tag, at + count + 1)),
            _ => return Err(Flaw::Tag),
        }
    }
    Err(Flaw::Tag)
}

/// Where the data ends that begins at `start`, by the field `length`; `None` where it says something else.
fn data_end(bytes: &[u8], length: Field, start: usize) -> Option<Option<usize>> {
    let says = seq_num(&bytes[length.start as usize..length.end as usize])?;
    let end = start.checked_add(usize::try_from(says).ok()?)?;
    (bytes.get(end) == Some(&SOH)).then_some(Some(end))
}

/// A message that was read in place.
#[derive(Clone, Copy)]
pub struct Message<'m> {
    bytes: &'m [u8],
    index: &'m [Field],
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
        let mut seen = [0_u64; LOW_TAGS / 64];
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

/// Tags below this one are looked up in a table of bits when repeated ones are searched.
const LOW_TAGS: usize = 2_048;

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
    let (whole, fraction) = value.split_at_checked(17)?;
    if whole[8] != b'-' || whole[11] != b':' || whole[14] != b':' {
        return None;
    }
    let number =
        |from: usize, to: usize| seq_num(&whole[from..to]).and_then(|number| i64::try_from(number).ok());
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(12, 14)?, number(15, 17)?);
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
        match memchr::memchr(SOH, &message[start..]) {
            Some(len) => at = start + len + 1,
            None => return &[],
        }
    }
    let end = message.len().saturating_sub(b"10=000\x01".len());
    match message.get(end..) {
        Some([b'1', b'0', b'=', .., SOH]) => message.get(at..end).unwrap_or_default(),
        _ => &[],
    }
}
