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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::fix::build::Builder;
    use crate::fix::message::Fields;

    const VECTORS: &str = include_str!("../../vectors/fix-logon.json");

    /// A Logon with these fields in the order of the list.
    fn logon<'f>(fields: impl Iterator<Item = (u32, &'f str)>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut builder = Builder::begin(&mut out, b"FIX.4.2", b"A");
        for (tag, value) in fields {
            builder = builder.field(tag, value);
        }
        builder.finish();
        out
    }

    fn canonical_of(bytes: &[u8]) -> String {
        let (mut fields, mut out) = (Fields::new(), Vec::new());
        canonical(&CME_1_SHA_256, &fields.read(bytes).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_canonical_messages_of_the_vectors_come_out_exactly() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(scheme(vectors["scheme"].as_str().unwrap().as_bytes()), Some(&CME_1_SHA_256));
        let accepted = vectors["accepted"].as_array().unwrap();
        assert_eq!(accepted.len(), 3);
        for vector in accepted {
            let fields = vector["fields"].as_object().unwrap();
            let list: Vec<(u32, String)> = fields
                .iter()
                .map(|(tag, value)| (tag.parse().unwrap(), value.as_str().unwrap().to_owned()))
                .collect();
            let there = list.iter().map(|(tag, value)| (*tag, value.as_str()));
            assert_eq!(canonical_of(&logon(there.clone())), vector["canonical"].as_str().unwrap());
            assert_eq!(
                canonical_of(&logon(there.rev())),
                vector["canonical"].as_str().unwrap(),
                "in any order"
            );
            let signature = vector["signature"].as_str().unwrap();
            let decoded = decode_signature(signature.as_bytes()).unwrap();
            assert_eq!(encode_signature(&decoded), signature);
            assert_eq!(
                decode_secret_key(vector["secret_key"].as_str().unwrap().as_bytes()).unwrap().expose().len(),
                32
            );
        }
    }

    #[test]
    fn an_absent_field_is_an_empty_line_and_there_is_none_at_the_end() {
        assert_eq!(canonical_of(&logon([].into_iter())), "\n".repeat(10));
        let all = CME_1_SHA_256.signed.iter().map(|tag| (*tag, "v"));
        assert_eq!(canonical_of(&logon(all)), ["v"; 11].join("\n"));
        // What is not signed changes nothing.
        let others =
            [(43, "Y"), (56, "CME"), (97, "Y"), (122, "x"), (141, "Y"), (354, "1"), (355, "k"), (1400, "x")];
        assert_eq!(canonical_of(&logon(others.into_iter())), "\n".repeat(10));
    }

    #[test]
    fn values_are_signed_byte_for_byte() {
        let mut fields = Fields::new();
        let mut out = b"before".to_vec();
        let bytes = b"8=X\x019=1\x0135=A\x0134=001\x0149= a\xff \x0150=\x0110=000\x01";
        canonical(&CME_1_SHA_256, &fields.read(bytes).unwrap(), &mut out);
        assert_eq!(out, b"before001\n a\xff \n\n\n\n\n\n\n\n\n");
    }

    #[test]
    fn f10_a_control_character_in_a_signed_value_is_seen() {
        let mut fields = Fields::new();
        for tag in CME_1_SHA_256.signed {
            for control in [0, 2, b'\n', b'\r', 31, 127] {
                let bytes = [
                    format!("8=X\x019=1\x0135=A\x01{tag}=a").as_bytes(),
                    &[control],
                    b"b\x0158=\n\x0110=000\x01",
                ]
                .concat();
                assert_eq!(control_character(&CME_1_SHA_256, &fields.read(&bytes).unwrap()), Some(*tag));
            }
            let bytes = format!("8=X\x019=1\x0135=A\x01{tag}=a ~\u{e9}\x0158=\n\x0110=000\x01").into_bytes();
            assert_eq!(control_character(&CME_1_SHA_256, &fields.read(&bytes).unwrap()), None);
        }
    }

    #[test]
    fn a_signature_has_one_form_only() {
        let right = "oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s";
        assert!(decode_signature(right.as_bytes()).is_some());
        for wrong in [
            format!("{right}="),
            format!("{right}A"),
            right[..42].to_owned(),
            String::new(),
            // The standard alphabet.
            right.replace('-', "+"),
            right.replace('-', "/"),
            // The same 32 bytes with unused bits.
            right.replace("r3s", "r3t"),
            right.replace("r3s", "r3u"),
            right.replace("r3s", "r3v"),
            right.replace("oH", " H"),
            right.replace("oH", "\nH"),
            right.replace("oH", "=H"),
            "\u{e9}".repeat(21) + "A",
            "a".repeat(43).replace("aaa", "aé"),
        ] {
            assert_eq!(decode_signature(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_key_is_decoded_with_or_without_padding() {
        let bytes = |text: &str| decode_secret_key(text.as_bytes()).map(|key| key.expose().clone());
        assert_eq!(bytes("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("-w=="), Some(vec![0xfb]));
        for wrong in ["", "=", "==", "-_8==", "-w=", "+/8", "-_9", "a", "-_8\n", "===="] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_scheme_names_the_tags_of_its_credentials() {
        for scheme in SCHEMES {
            assert_eq!(super::scheme(scheme.name.as_bytes()), Some(scheme));
            let named =
                [scheme.key_id_len, scheme.key_id, scheme.method, scheme.signature_len, scheme.signature];
            assert!(named.iter().all(|tag| scheme.credentials.contains(tag)));
            assert_eq!(tag::data_of(scheme.key_id_len), Some(scheme.key_id));
            assert_eq!(tag::data_of(scheme.signature_len), Some(scheme.signature));
            assert!(scheme.credentials.iter().all(|tag| !scheme.signed.contains(tag)));
        }
        assert_eq!(scheme(b"cme-1-sha-256"), None);
        assert_eq!(scheme(b""), None);
    }

    proptest! {
        #[test]
        fn a_signature_reads_back(bytes in any::<[u8; 32]>(), text in "[A-Za-z0-9_=+/-]{42,44}") {
            prop_assert_eq!(decode_signature(encode_signature(&bytes).as_bytes()), Some(bytes));
            if let Some(decoded) = decode_signature(text.as_bytes()) {
                prop_assert_eq!(encode_signature(&decoded), text);
            }
        }
    }
}
