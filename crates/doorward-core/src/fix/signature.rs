//! What a signed Logon signs, and how the signature is written: a table of schemes.

use data_encoding::{BASE64URL_NOPAD, DecodePartial};

use super::message::Message;
use super::tag;
use crate::secret::Secret;

/// A way to sign a Logon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scheme {
    /// The name on the wire, in [`Self::method`].
    pub name: &'static str,
    /// The tags whose values are signed, in this order.
    pub signed: &'static [u32],
    /// What stands between two values, and nowhere else.
    pub separator: u8,
    /// What is computed over the canonical message.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The tag that names the scheme.
    pub method: u32,
    /// The tag that names the key.
    pub key_id: u32,
    /// The tag of the length of the key's name.
    pub key_id_len: u32,
    /// The tag that carries the signature.
    pub signature: u32,
    /// The tag of the signature's length.
    pub signature_len: u32,
    /// The tags that carry credentials, in the order in which a missing one is named.
    pub credentials: &'static [u32],
    /// How old SendingTime (52) may be, in microseconds.
    pub age_us_max: i64,
    /// How far ahead SendingTime (52) may be, in microseconds.
    pub ahead_us_max: i64,
}

/// What a signature is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// HMAC (RFC 2104) with SHA-256: 32 bytes.
    HmacSha256,
}

/// How a signature is written in a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// base64url (RFC 4648, section 5) without padding.
    Base64UrlUnpadded,
}

/// The scheme of CME Globex: HMAC-SHA-256 over eleven values, one a line.
pub const CME_1_SHA_256: Scheme = Scheme {
    name: "CME-1-SHA-256",
    signed: &[
        tag::MSG_SEQ_NUM,
        tag::SENDER_COMP_ID,
        tag::SENDER_SUB_ID,
        tag::SENDING_TIME,
        tag::TARGET_SUB_ID,
        tag::HEART_BT_INT,
        tag::SENDER_LOCATION_ID,
        tag::LAST_MSG_SEQ_NUM_PROCESSED,
        tag::APPLICATION_SYSTEM_NAME,
        tag::APPLICATION_SYSTEM_VERSION,
        tag::APPLICATION_SYSTEM_VENDOR,
    ],
    separator: b'\n',
    algorithm: Algorithm::HmacSha256,
    encoding: Encoding::Base64UrlUnpadded,
    method: tag::ENCRYPTED_PASSWORD_METHOD,
    key_id: tag::ENCODED_TEXT,
    key_id_len: tag::ENCODED_TEXT_LEN,
    signature: tag::ENCRYPTED_PASSWORD,
    signature_len: tag::ENCRYPTED_PASSWORD_LEN,
    credentials: &[
        tag::ENCODED_TEXT_LEN,
        tag::ENCODED_TEXT,
        tag::ENCRYPTED_PASSWORD_METHOD,
        tag::ENCRYPTED_PASSWORD_LEN,
        tag::ENCRYPTED_PASSWORD,
    ],
    age_us_max: 5_000_000,
    ahead_us_max: 1_000_000,
};

/// All schemes.
pub const SCHEMES: &[Scheme] = &[CME_1_SHA_256];

/// The scheme with this name, as [`Scheme::method`] carries it.
pub fn scheme(name: &[u8]) -> Option<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.name.as_bytes() == name)
}

/// Writes the canonical message behind what `out` holds: the signed values byte for byte as they came, the separator
/// between them. An absent field is an empty value; of a repeated one the first counts.
pub fn canonical(scheme: &Scheme, message: &Message<'_>, out: &mut Vec<u8>) {
    for (at, tag) in scheme.signed.iter().enumerate() {
        if at > 0 {
            out.push(scheme.separator);
        }
        out.extend_from_slice(message.get(*tag).unwrap_or_default());
    }
}

/// The first signed tag whose value has a control character (below 32, or 127): two different messages could have one
/// canonical message.
pub fn control_character(scheme: &Scheme, message: &Message<'_>) -> Option<u32> {
    let signed = scheme.signed.iter().copied();
    signed.into_iter().find(|tag| message.get(*tag).unwrap_or_default().iter().any(u8::is_ascii_control))
}

/// Characters of a signature: 32 bytes in base64url without padding.
pub const SIGNATURE_LEN: usize = 43;

/// Reads a signature of exactly [`SIGNATURE_LEN`] characters whose unused bits are zero.
pub fn decode_signature(value: &[u8]) -> Option<[u8; 32]> {
    let mut signature = [0; 32];
    if value.len() != SIGNATURE_LEN {
        return None;
    }
    match BASE64URL_NOPAD.decode_mut(value, &mut signature) {
        Ok(32) => Some(signature),
        Ok(_) | Err(DecodePartial { .. }) => None,
    }
}

/// Writes a signature, as [`decode_signature`] reads it.
pub fn encode_signature(signature: &[u8; 32]) -> String {
    BASE64URL_NOPAD.encode(signature)
}

/// Reads a secret key as it was handed out: base64url, with or without padding; `None` for anything else, or nothing.
pub fn decode_secret_key(text: &[u8]) -> Option<Secret<Vec<u8>>> {
    let unpadded = match text {
        [unpadded @ .., b'=', b'='] | [unpadded @ .., b'='] if text.len().is_multiple_of(4) => unpadded,
        _ => text,
    };
    BASE64URL_NOPAD.decode(unpadded).ok().filter(|key| !key.is_empty()).map(Secret::new)
}
