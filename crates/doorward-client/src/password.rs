//! Encrypts a password with a challenge key, so that it is never on the wire or in a log.

use std::fmt;

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use data_encoding::BASE64;
use doorward_core::ask::{KeyId, Padding};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::Value;

use crate::ClientError;

/// Longest password as UTF-8, in bytes: what OAEP-SHA-256 leaves of 2048 bits, for both paddings alike.
pub const PASSWORD_BYTES_MAX: usize = 190;

/// The OAEP label of the HTTP API: a ciphertext made for it opens at no other door.
pub const API_LABEL: &[u8] = b"api";

/// A public key to encrypt with, as the server gave it.
#[derive(Clone)]
pub struct Challenge {
    key_der: Vec<u8>,
    keyid: Option<KeyId>,
    paddings: Vec<Padding>,
    expires: Option<Wall>,
}

impl Challenge {
    /// Reads the answer to `challenge`, or the HTTP API's: `key`, and where there are `keyid`, `padding`, `expires`.
    ///
    /// # Errors
    /// [`ClientError::Key`] where `key` is no base64, [`ClientError::Unexpected`] where it is missing.
    pub fn from_answer(answer: &Value) -> Result<Self, ClientError> {
        let Some(key) = answer["key"].as_str() else {
            return Err(ClientError::Unexpected(format!("no challenge key in {answer}")));
        };
        let paddings = match answer["padding"].as_array() {
            Some(names) => names.iter().filter_map(Value::as_str).filter_map(Padding::from_name).collect(),
            None => vec![Padding::Pkcs1],
        };
        let expires_ms = answer["expires"].as_i64();
        Ok(Self {
            key_der: BASE64.decode(key.as_bytes()).map_err(|_| ClientError::Key)?,
            keyid: answer["keyid"].as_str().and_then(KeyId::parse),
            paddings,
            expires: expires_ms.map(|ms| Wall::from_us(ms.saturating_mul(1_000))),
        })
    }

    /// Names the key; `None` where the server does not.
    pub const fn keyid(&self) -> Option<&KeyId> {
        self.keyid.as_ref()
    }

    /// The paddings that the server takes; PKCS#1 alone where it does not say.
    pub fn paddings(&self) -> &[Padding] {
        &self.paddings
    }

    /// When the server stops serving this key; `None` where it does not say.
    pub const fn expires(&self) -> Option<Wall> {
        self.expires
    }

    /// OAEP-SHA-256 where the server takes it, else PKCS#1 v1.5.
    pub fn preferred_padding(&self) -> Padding {
        if self.paddings.contains(&Padding::OaepSha256) { Padding::OaepSha256 } else { Padding::Pkcs1 }
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("keyid", &self.keyid)
            .field("paddings", &self.paddings)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Encrypts a password for the WebSocket door (empty OAEP label). Each call makes another ciphertext.
///
/// # Errors
/// [`ClientError::PasswordTooLong`] past [`PASSWORD_BYTES_MAX`], [`ClientError::Key`] where the key is no RSA key
/// of at least 2048 bits.
pub fn encrypt(
    challenge: &Challenge,
    padding: Padding,
    password: &Secret<String>,
) -> Result<Vec<u8>, ClientError> {
    encrypt_labelled(challenge, padding, b"", password)
}

/// Encrypts a password with an OAEP label; PKCS#1 has none and ignores it.
///
/// # Errors
/// As [`encrypt`].
pub fn encrypt_labelled(
    challenge: &Challenge,
    padding: Padding,
    label: &[u8],
    password: &Secret<String>,
) -> Result<Vec<u8>, ClientError> {
    let plain = password.expose().as_bytes();
    if plain.len() > PASSWORD_BYTES_MAX {
        return Err(ClientError::PasswordTooLong { bytes: plain.len(), limit: PASSWORD_BYTES_MAX });
    }
    let key = PublicEncryptingKey::from_der(&challenge.key_der).map_err(|_| ClientError::Key)?;
    let mut ciphertext = vec![0; key.key_size_bytes()];
    match padding {
        Padding::Pkcs1 => {
            let key = Pkcs1PublicEncryptingKey::new(key).map_err(|_| ClientError::Key)?;
            key.encrypt(plain, &mut ciphertext).map_err(|_| ClientError::Key)?;
        }
        Padding::OaepSha256 => {
            let key = OaepPublicEncryptingKey::new(key).map_err(|_| ClientError::Key)?;
            key.encrypt(&OAEP_SHA256_MGF1SHA256, plain, &mut ciphertext, Some(label))
                .map_err(|_| ClientError::Key)?;
        }
    }
    Ok(ciphertext)
}

/// An encrypted password as the HTTP API takes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ApiPassword {
    /// Names the key of the challenge.
    pub keyid: String,
    /// Base64 of the OAEP-SHA-256 ciphertext with the label `api`.
    pub ciphertext: String,
}

/// Encrypts a password for the HTTP API with the answer of `GET /api/v1/challenge` (`keyid`, `key`, `expires`).
///
/// # Errors
/// As [`encrypt`], and [`ClientError::Unexpected`] where the answer has no `keyid`.
pub fn encrypt_for_api(answer: &Value, password: &Secret<String>) -> Result<ApiPassword, ClientError> {
    let challenge = Challenge::from_answer(answer)?;
    let Some(keyid) = challenge.keyid() else {
        return Err(ClientError::Unexpected(format!("no keyid in {answer}")));
    };
    let ciphertext = encrypt_labelled(&challenge, Padding::OaepSha256, API_LABEL, password)?;
    Ok(ApiPassword { keyid: keyid.as_str().to_owned(), ciphertext: BASE64.encode(&ciphertext) })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::rsa::{
        KeySize, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
    };
    use serde_json::json;

    use super::*;

    /// One key pair for all tests of the crate, since making one takes a while.
    pub(crate) static KEY: LazyLock<PrivateDecryptingKey> =
        LazyLock::new(|| PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap());

    pub(crate) fn answer() -> Value {
        let der: PublicKeyX509Der<'_> = KEY.public_key().as_der().unwrap();
        json!({"result": "OK", "type": "challenge", "key": BASE64.encode(der.as_ref()), "keyid": "k-1",
            "padding": ["PKCS1", "OAEP-SHA256"], "expires": 1_795_291_200_250_i64})
    }

    pub(crate) fn decrypt(padding: Padding, label: &[u8], ciphertext: &[u8]) -> Option<String> {
        let mut plain = vec![0; 256];
        let plain = match padding {
            Padding::Pkcs1 => {
                let key = Pkcs1PrivateDecryptingKey::new(KEY.clone()).unwrap();
                key.decrypt(ciphertext, &mut plain).ok()?.to_vec()
            }
            Padding::OaepSha256 => {
                let key = OaepPrivateDecryptingKey::new(KEY.clone()).unwrap();
                key.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut plain, Some(label)).ok()?.to_vec()
            }
        };
        String::from_utf8(plain).ok()
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn both_paddings_give_the_password_back_and_never_the_same_ciphertext() {
        let challenge = Challenge::from_answer(&answer()).unwrap();
        for padding in Padding::ALL {
            let first = encrypt(&challenge, padding, &secret("pässwörd")).unwrap();
            let second = encrypt(&challenge, padding, &secret("pässwörd")).unwrap();
            assert_eq!(first.len(), 256);
            assert_ne!(first, second);
            assert_eq!(decrypt(padding, b"", &first).as_deref(), Some("pässwörd"));
        }
    }

    #[test]
    fn e2_passwords_fit_up_to_190_bytes_and_are_refused_past_them() {
        let challenge = Challenge::from_answer(&answer()).unwrap();
        for padding in Padding::ALL {
            for bytes in [0, 1, 189, 190] {
                let plain = "x".repeat(bytes);
                let ciphertext = encrypt(&challenge, padding, &secret(&plain)).unwrap();
                assert_eq!(decrypt(padding, b"", &ciphertext), Some(plain));
            }
            let refused = encrypt(&challenge, padding, &secret(&"x".repeat(191)));
            assert_eq!(refused.unwrap_err().to_string(), "password: 191 bytes, at most 190 fit");
        }
    }

    #[test]
    fn a_ciphertext_for_the_api_opens_with_its_label_only() {
        let password = encrypt_for_api(&answer(), &secret("open sesame")).unwrap();
        assert_eq!(password.keyid, "k-1");
        let ciphertext = BASE64.decode(password.ciphertext.as_bytes()).unwrap();
        assert_eq!(decrypt(Padding::OaepSha256, API_LABEL, &ciphertext).as_deref(), Some("open sesame"));
        assert_eq!(decrypt(Padding::OaepSha256, b"", &ciphertext), None);
        assert_eq!(decrypt(Padding::OaepSha256, b"portal", &ciphertext), None);
    }

    #[test]
    fn a_challenge_says_its_name_its_paddings_and_its_end() {
        let challenge = Challenge::from_answer(&answer()).unwrap();
        assert_eq!(challenge.keyid().map(KeyId::as_str), Some("k-1"));
        assert_eq!(challenge.paddings(), Padding::ALL);
        assert_eq!(challenge.preferred_padding(), Padding::OaepSha256);
        assert_eq!(challenge.expires().map(Wall::as_ms), Some(1_795_291_200_250));
    }

    #[test]
    fn a_challenge_with_a_key_alone_means_pkcs1() {
        let challenge = Challenge::from_answer(&json!({"key": answer()["key"]})).unwrap();
        assert_eq!((challenge.keyid(), challenge.expires()), (None, None));
        assert_eq!(challenge.preferred_padding(), Padding::Pkcs1);
    }

    #[test]
    fn keys_that_are_missing_damaged_or_too_short_are_named() {
        assert!(matches!(Challenge::from_answer(&json!({})), Err(ClientError::Unexpected(_))));
        assert!(matches!(Challenge::from_answer(&json!({"key": "“MIG"})), Err(ClientError::Key)));
        // The seed's sample: RSA-1024.
        let short = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCvBXTe278Lwg2MoI7iGKolSYuF+sNFKrsZplxCN9x0kItU3KIf8+1q60IL\
            LwLewCEf7foxzpWp32j9YYU9vNBghuJ7BHcDYTffTRcv+QdNno491j701Hq7DIw13AGCQQTRcnfclvblnytIEWoQsiUvPJcdiWgqJIX3\
            IQGA47a+uwIDAQAB";
        for key in [short, "AAAA"] {
            let challenge = Challenge::from_answer(&json!({"key": key})).unwrap();
            assert!(matches!(encrypt(&challenge, Padding::Pkcs1, &secret("x")), Err(ClientError::Key)));
        }
    }
}
