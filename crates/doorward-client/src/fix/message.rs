//! Messages as the user of the library has them: bodies to send, messages that came in, text for people.

use std::fmt;

use doorward_core::fix::message::{Fields, Message, seq_num};
use doorward_core::fix::{SOH, tag};

use super::Misuse;

/// The fields of an application message between header and trailer, in the order in which they are given.
///
/// ```
/// use doorward_client::fix::Body;
///
/// let body = Body::new().field(11, "A1").field(55, "ESZ6").field(54, "1").field(38, "10");
/// assert_eq!(body.as_bytes(), b"11=A1\x0155=ESZ6\x0154=1\x0138=10\x01");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    wrong: Option<Misuse>,
}

impl Body {
    /// A body without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more field. A field that cannot be sent is told when the body is.
    #[must_use]
    pub fn field(mut self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let why = match tag {
            0 => Some("0 is no tag"),
            _ if is_session_field(tag) => Some("is written by the session itself"),
            _ if value.is_empty() => Some("empty"),
            _ if value.contains(&SOH) => Some("has the separator SOH in it"),
            _ => None,
        };
        if let Some(why) = why {
            self.wrong.get_or_insert(Misuse::Field { tag, why });
            return self;
        }
        self.bytes.extend_from_slice(tag.to_string().as_bytes());
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(SOH);
        self
    }

    /// With two fields for data of any bytes: its length and itself.
    #[must_use]
    pub fn data(mut self, length_tag: u32, data: &[u8]) -> Self {
        let Some(tag) = tag::data_of(length_tag) else {
            self.wrong.get_or_insert(Misuse::Field { tag: length_tag, why: "is no length of a data field" });
            return self;
        };
        if data.is_empty() {
            self.wrong.get_or_insert(Misuse::Field { tag, why: "empty" });
            return self;
        }
        self = self.field(length_tag, data.len().to_string());
        self.bytes.extend_from_slice(format!("{tag}=").as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.push(SOH);
        self
    }

    /// The fields, each with its SOH.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, where every field can be sent.
    pub(super) fn checked(&self) -> Result<&[u8], Misuse> {
        match &self.wrong {
            None if self.bytes.is_empty() => Err(Misuse::Field { tag: 0, why: "the message has no field" }),
            None => Ok(&self.bytes),
            Some(wrong) => Err(wrong.clone()),
        }
    }
}

/// Fields of header and trailer, which the session writes.
const fn is_session_field(tag: u32) -> bool {
    matches!(
        tag,
        tag::BEGIN_STRING
            | tag::BODY_LENGTH
            | tag::CHECK_SUM
            | tag::MSG_SEQ_NUM
            | tag::MSG_TYPE
            | tag::POSS_DUP_FLAG
            | tag::SENDER_COMP_ID
            | tag::SENDER_SUB_ID
            | tag::SENDING_TIME
            | tag::TARGET_COMP_ID
            | tag::TARGET_SUB_ID
            | tag::ORIG_SENDING_TIME
            | tag::SENDER_LOCATION_ID
            | tag::LAST_MSG_SEQ_NUM_PROCESSED
    )
}

/// A message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Inbound {
    bytes: Vec<u8>,
    /// Tag, begin and end of each value.
    index: Vec<(u32, usize, usize)>,
}

impl Inbound {
    /// Copies a message that was read in place.
    pub(super) fn new(message: &Message<'_>) -> Self {
        let mut at = 0;
        let mut index = Vec::new();
        for (tag, value) in message.fields() {
            // A tag has no leading zeros: it was read as it prints.
            let start = at + tag.checked_ilog10().map_or(1, |log| log as usize + 1) + 1;
            index.push((tag, start, start + value.len()));
            at = start + value.len() + 1;
        }
        Self { bytes: message.bytes().to_vec(), index }
    }

    /// The value of the first field with this tag.
    pub fn get(&self, tag: u32) -> Option<&[u8]> {
        self.fields().find(|(of, _)| *of == tag).map(|(_, value)| value)
    }

    /// The value of the first field with this tag as text; other bytes than UTF-8 become `U+FFFD`.
    pub fn text(&self, tag: u32) -> Option<String> {
        self.get(tag).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All fields in order, those of header and trailer too; groups repeat tags.
    pub fn fields(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.index.iter().map(|(tag, start, end)| (*tag, self.bytes.get(*start..*end).unwrap_or_default()))
    }

    /// MsgType (35).
    pub fn msg_type(&self) -> &[u8] {
        self.get(tag::MSG_TYPE).unwrap_or_default()
    }

    /// MsgSeqNum (34).
    pub fn seq_num(&self) -> u64 {
        self.get(tag::MSG_SEQ_NUM).and_then(seq_num).unwrap_or(0)
    }

    /// Whether it may have come before: PossDupFlag (43) is Y.
    pub fn is_poss_dup(&self) -> bool {
        self.get(tag::POSS_DUP_FLAG) == Some(b"Y")
    }

    /// The message as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.bytes))
    }
}

/// A message for people: `|` between the fields, control characters escaped, the credentials of a Logon as `***`.
///
/// Masked are passwords (96, 554, 925), the signature (1402) and every field of a Logon (35=A) with a tag that FIX does
/// not name, among which is the one-time password.
pub fn shown(message: &[u8]) -> String {
    let mut fields = Fields::new();
    let Ok(message) = fields.read(message) else {
        let text = String::from_utf8_lossy(message).replace('\u{1}', "|");
        return crate::printable(&text).into_owned();
    };
    let logon = message.msg_type() == b"A";
    let mut text = String::with_capacity(message.bytes().len());
    for (tag, value) in message.fields() {
        text.push_str(&tag.to_string());
        text.push('=');
        let credential = matches!(
            tag,
            tag::RAW_DATA
                | tag::PASSWORD
                | tag::NEW_PASSWORD
                | tag::ENCRYPTED_PASSWORD
                | tag::ENCRYPTED_NEW_PASSWORD
        );
        if logon && (credential || tag::name(tag).is_none()) {
            text.push_str("***");
        } else {
            let value = String::from_utf8_lossy(value);
            text.push_str(&crate::printable(&value.replace('\u{1}', "<SOH>")));
        }
        text.push('|');
    }
    text
}

#[cfg(test)]
mod tests {
    use doorward_core::fix::build::Builder;

    use super::*;

    fn message(msg_type: &[u8], fields: &[(u32, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut builder = Builder::begin(&mut out, b"FIX.4.2", msg_type);
        for (tag, value) in fields {
            builder = builder.field(*tag, value);
        }
        builder.finish();
        out
    }

    #[test]
    fn a_copied_message_has_every_field_where_it_was() {
        let bytes = message(b"8", &[(34, "7"), (43, "Y"), (354, "3"), (355, "abc"), (20_030, "x"), (5, "y")]);
        let mut fields = Fields::new();
        let read = fields.read(&bytes).unwrap();
        let copied = Inbound::new(&read);
        assert!(copied.fields().eq(read.fields()));
        assert_eq!((copied.msg_type(), copied.seq_num(), copied.is_poss_dup()), (&b"8"[..], 7, true));
        assert_eq!(copied.get(20_030), Some(&b"x"[..]));
    }

    #[test]
    fn q3_a_logon_is_shown_without_its_credentials() {
        let bytes = message(
            b"A",
            &[(34, "1"), (95, "2"), (96, "pw"), (554, "pw"), (925, "np"), (20_030, "123456"), (1_402, "sig")],
        );
        let text = shown(&bytes);
        assert!(text.contains("|34=1|95=2|96=***|554=***|925=***|20030=***|1402=***|10="), "{text}");
        let order = message(b"D", &[(34, "2"), (9_702, "4"), (58, "a\u{1b}b")]);
        assert!(shown(&order).contains("|34=2|9702=4|58=a\\u{1b}b|"));
        assert_eq!(shown(b"8=FIX\x01\x1bno message"), "8=FIX|\\u{1b}no message");
    }

    #[test]
    fn a_body_takes_what_can_be_sent_and_no_more() {
        let wrong = |body: Body| body.checked().unwrap_err().to_string();
        assert_eq!(wrong(Body::new()), "field 0: the message has no field");
        assert_eq!(
            wrong(Body::new().field(34, "1").field(0, "x")),
            "field 34: is written by the session itself"
        );
        assert_eq!(wrong(Body::new().field(58, "")), "field 58: empty");
        assert_eq!(wrong(Body::new().field(58, "a\u{1}44=1")), "field 58: has the separator SOH in it");
        assert_eq!(wrong(Body::new().data(58, b"x")), "field 58: is no length of a data field");
        let data = Body::new().field(58, "a").data(354, b"\x0110=0");
        assert_eq!(data.checked().unwrap(), b"58=a\x01354=5\x01355=\x0110=0\x01");
    }
}
