//! A key pair of the Customer Center, as the client uses it: it signs.

use std::sync::Arc;

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::fix::signature;
use doorward_core::id::AccessKeyId;
use doorward_core::secret::Secret;

/// An access key ID with the secret key that belongs to it.
///
/// The secret key is turned into an HMAC key at once and cannot be read back.
#[derive(Clone)]
pub struct KeyPair {
    access_key_id: AccessKeyId,
    key: Arc<hmac::Key>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What is wrong with a key pair, without repeating it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The access key ID does not look like one.
    #[error("access key id: not 20 characters of A-Z, a-z and 0-9")]
    AccessKeyId,
    /// The secret key cannot be decoded.
    #[error("secret key: not base64url (letters, digits, - and _)")]
    Encoding,
    /// The secret key is empty.
    #[error("secret key: empty")]
    Empty,
}

impl KeyPair {
    /// Takes the two texts as the Customer Center shows them; `=` at the end of the secret key is fine.
    ///
    /// # Errors
    /// [`KeyError`] says which of the two cannot be used.
    pub fn new(access_key_id: &str, secret_key: &Secret<String>) -> Result<Self, KeyError> {
        let access_key_id =
            AccessKeyId::parse(access_key_id.trim().as_bytes()).ok_or(KeyError::AccessKeyId)?;
        Ok(Self { access_key_id, key: Arc::new(hmac_key(secret_key)?) })
    }

    /// The name of the pair, tag 355.
    pub const fn access_key_id(&self) -> AccessKeyId {
        self.access_key_id
    }

    /// The signature of a canonical message, tag 1402: 43 characters.
    pub fn sign(&self, canonical: &[u8]) -> String {
        sign(&self.key, canonical)
    }
}

/// The HMAC key of a secret key as text.
pub(super) fn hmac_key(secret_key: &Secret<String>) -> Result<hmac::Key, KeyError> {
    let text = secret_key.expose().trim();
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    let bytes = signature::decode_secret_key(text.as_bytes()).ok_or(KeyError::Encoding)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()))
}

pub(super) fn sign(key: &hmac::Key, canonical: &[u8]) -> String {
    BASE64URL_NOPAD.encode(hmac::sign(key, canonical).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "oNDxM33uE81ohWuVRtWT";
    const SECRET: &str = "2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4";

    #[test]
    fn the_signature_printed_in_the_seed_comes_out() {
        let canonical = b"1\nB08004N\nMSG\n20170623-14:48:42.855\n92\n60\nUS,NY\n0\nBRIO\n8.0\nABC";
        for text in [SECRET.to_owned(), format!(" {SECRET}=\n")] {
            let pair = KeyPair::new(ID, &Secret::new(text)).unwrap();
            assert_eq!(pair.sign(canonical), "oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s");
        }
    }

    #[test]
    fn q3_a_key_pair_prints_without_its_secret() {
        let pair = KeyPair::new(ID, &Secret::new(SECRET.to_owned())).unwrap();
        assert_eq!(
            format!("{pair:?}"),
            "KeyPair { access_key_id: AccessKeyId([111, 78, 68, 120, 77, 51, 51, \
             117, 69, 56, 49, 111, 104, 87, 117, 86, 82, 116, 87, 84]), .. }"
        );
    }

    #[test]
    fn what_is_no_key_pair_is_refused() {
        let new = |id: &str, secret: &str| KeyPair::new(id, &Secret::new(secret.to_owned())).unwrap_err();
        assert_eq!(new("short", SECRET), KeyError::AccessKeyId);
        assert_eq!(new(ID, " "), KeyError::Empty);
        assert_eq!(new(ID, "a+/b"), KeyError::Encoding);
    }
}
