//! Signs a Logon that was pasted: what is signed, the signature, the message as it should be, and what is missing.

use doorward_core::fix::build::Builder;
use doorward_core::fix::message::{Fields, Message};
use doorward_core::fix::{SOH, signature, tag};
use doorward_core::id::AccessKeyId;
use doorward_core::secret::Secret;

use super::key::{self, KeyError};
use crate::printable;

/// What a Logon is to be signed with.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// The secret key; without it nothing is signed, and the rest is said all the same.
    pub secret_key: Option<Secret<String>>,
    /// The access key ID (355), where the message has none or another one.
    pub access_key_id: Option<AccessKeyId>,
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The canonical message: the signed values, one a line, without a line end behind the last.
    pub canonical: Vec<u8>,
    /// The signature, tag 1402; `None` without a secret key.
    pub signature: Option<String>,
    /// The complete message with SOH; where there is no secret key, without 1401 and 1402.
    pub message: Vec<u8>,
    /// Required tags that have no value in [`Self::message`].
    pub missing: Vec<u32>,
    /// Tags that occur twice, which no Logon may have.
    pub repeated: Vec<u32>,
    /// The signature that the message had before.
    pub had_signature: Option<String>,
}

impl Signed {
    /// Whether a server could take the message, as far as its fields go.
    pub fn is_complete(&self) -> bool {
        self.signature.is_some() && self.missing.is_empty() && self.repeated.is_empty()
    }
}

/// What cannot be signed at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// The text has no fields.
    #[error("no message: fields such as 35=A are needed, with | or SOH between them")]
    Empty,
    /// A field that is none.
    #[error("not a field such as 35=A: {}", printable(.0))]
    Field(String),
    /// Another message than a Logon.
    #[error("35={}: only a Logon (35=A) is signed", printable(.0))]
    NotLogon(String),
    /// The message is longer than a server takes.
    #[error("message: {bytes} bytes, at most {limit} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The secret key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Longest Logon that servers take, in bytes.
const LOGON_BYTES_MAX: usize = 4_096;
/// What a Logon must have beside its credentials.
const REQUIRED: [u32; 11] = [
    tag::MSG_SEQ_NUM,
    tag::SENDER_COMP_ID,
    tag::SENDER_SUB_ID,
    tag::SENDING_TIME,
    tag::TARGET_COMP_ID,
    tag::TARGET_SUB_ID,
    tag::HEART_BT_INT,
    tag::SENDER_LOCATION_ID,
    tag::APPLICATION_SYSTEM_NAME,
    tag::APPLICATION_SYSTEM_VERSION,
    tag::APPLICATION_SYSTEM_VENDOR,
];

/// Signs a Logon as it was pasted: SOH, `|`, `^A` or `␁` between the fields, with or without 8, and with any 9 and 10.
///
/// All values are signed and sent as they stand there, byte for byte; line ends around the message are dropped.
///
/// # Errors
/// [`SignError`] where the text is no Logon, or the secret key cannot be read.
pub fn sign(pasted: &[u8], signing: &Signing) -> Result<Signed, SignError> {
    let given = fields(pasted)?;
    let value = |tag: u32| given.iter().find(|(of, _)| *of == tag).map(|(_, value)| value.as_slice());
    match value(tag::MSG_TYPE) {
        None | Some(b"A") => {}
        Some(other) => return Err(SignError::NotLogon(String::from_utf8_lossy(other).into_owned())),
    }
    let had_signature =
        value(tag::ENCRYPTED_PASSWORD).map(|value| String::from_utf8_lossy(value).into_owned());
    let mut message = Vec::new();
    write(&given, signing, None, &mut message);
    let mut index = Fields::new();
    let (canonical, repeated) = match index.read(&message) {
        Ok(read) => (canonical(&read), repeated(&given)),
        // A length in front of data that is not as long: the lengths of ours are right, and others are not signed.
        Err(_) => match index.read_despite_lengths(&message) {
            Ok(read) => (canonical(&read), repeated(&given)),
            Err(error) => return Err(SignError::Field(error.to_string())),
        },
    };
    let signature = match &signing.secret_key {
        Some(secret_key) => Some(key::sign(&key::hmac_key(secret_key)?, &canonical)),
        None => None,
    };
    message.clear();
    write(&given, signing, signature.as_deref(), &mut message);
    if message.len() > LOGON_BYTES_MAX {
        return Err(SignError::TooLong { bytes: message.len(), limit: LOGON_BYTES_MAX });
    }
    let missing = missing(&given, signing);
    Ok(Signed { canonical, signature, message, missing, repeated, had_signature })
}

fn canonical(message: &Message<'_>) -> Vec<u8> {
    let mut canonical = Vec::new();
    signature::canonical(&signature::CME_1_SHA_256, message, &mut canonical);
    canonical
}

/// A tag with its value.
type Field = (u32, Vec<u8>);

/// Splits what was pasted.
fn fields(pasted: &[u8]) -> Result<Vec<Field>, SignError> {
    let text = pasted.trim_ascii_start();
    // Only line ends are dropped at the end: a last value may end with a space.
    let text = text.strip_suffix(b"\n").map_or(text, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let separated: Vec<u8> = if text.contains(&SOH) {
        text.to_vec()
    } else {
        let marked = replace(&replace(text, b"^A", &[SOH]), "\u{2401}".as_bytes(), &[SOH]);
        if marked.contains(&SOH) { marked } else { replace(text, b"|", &[SOH]) }
    };
    let mut fields = Vec::new();
    for field in separated.split(|byte| *byte == SOH) {
        if field.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let wrong = || SignError::Field(String::from_utf8_lossy(field).into_owned());
        let at = field.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        let (tag, value) = (field.get(..at).unwrap_or_default(), field.get(at + 1..).unwrap_or_default());
        let tag =
            std::str::from_utf8(tag).ok().map(str::trim_ascii).filter(|tag| !tag.starts_with(['+', '0']));
        let tag: u32 =
            tag.and_then(|tag| tag.parse().ok()).filter(|tag| *tag < 1_000_000_000).ok_or_else(wrong)?;
        fields.push((tag, value.to_vec()));
    }
    if fields.is_empty() { Err(SignError::Empty) } else { Ok(fields) }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = behind;
        } else {
            out.push(*first);
            rest = others;
        }
    }
    out
}

/// Writes the message anew: the fields in their order, the credentials at the end.
fn write(given: &[Field], signing: &Signing, signature: Option<&str>, out: &mut Vec<u8>) {
    let begin_string = given.iter().find(|(tag, _)| *tag == tag::BEGIN_STRING);
    let begin_string = begin_string.map_or(&b"FIX.4.2"[..], |(_, value)| value);
    let mut builder = Builder::begin(out, begin_string, b"A");
    for (tag, value) in given {
        let written = matches!(*tag, tag::BEGIN_STRING | tag::BODY_LENGTH | tag::MSG_TYPE | tag::CHECK_SUM);
        if !written && !signature::CME_1_SHA_256.credentials.contains(tag) {
            builder = builder.field(*tag, value);
        }
    }
    if let Some(id) = access_key_id(given, signing) {
        builder = builder.data(tag::ENCODED_TEXT_LEN, &id);
    }
    builder = builder.field(tag::ENCRYPTED_PASSWORD_METHOD, signature::CME_1_SHA_256.name);
    if let Some(signature) = signature {
        builder = builder.data(tag::ENCRYPTED_PASSWORD_LEN, signature.as_bytes());
    }
    builder.finish();
}

fn access_key_id(given: &[Field], signing: &Signing) -> Option<Vec<u8>> {
    let there = || given.iter().find(|(tag, value)| *tag == tag::ENCODED_TEXT && !value.is_empty());
    match &signing.access_key_id {
        Some(id) => Some(id.as_bytes().to_vec()),
        None => there().map(|(_, value)| value.clone()),
    }
}

fn missing(given: &[Field], signing: &Signing) -> Vec<u32> {
    let has = |tag: u32| given.iter().any(|(of, value)| *of == tag && !value.is_empty());
    let mut missing: Vec<u32> = REQUIRED.into_iter().filter(|tag| !has(*tag)).collect();
    if access_key_id(given, signing).is_none() {
        missing.push(tag::ENCODED_TEXT);
    }
    missing
}

fn repeated(given: &[Field]) -> Vec<u32> {
    let mut repeated = Vec::new();
    for (at, (tag, _)) in given.iter().enumerate() {
        if given.get(..at).unwrap_or_default().iter().any(|(before, _)| before == tag)
            && !repeated.contains(tag)
        {
            repeated.push(*tag);
        }
    }
    repeated
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
