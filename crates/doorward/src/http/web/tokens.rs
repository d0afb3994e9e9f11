//! What is made from a visitor's cookie and a key of this process, so that nothing is kept for strangers: CSRF tokens
//! and the nonces of passwords.

use aws_lc_rs::{hmac, rand};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::ask::{ENVELOPE_BYTES, KeyId};
use subtle::ConstantTimeEq as _;

use crate::fault::Fault;
use crate::gate::web::Binding;

/// Bytes of a nonce.
const NONCE_BYTES: usize = 16;
/// Bytes that bind a password to action and user id.
const TAG_BYTES: usize = 8;

/// The key of this process.
#[derive(Clone, Debug)]
pub struct Tokens(hmac::Key);

impl Tokens {
    /// A new key: tokens of an earlier process are no longer good.
    pub fn new() -> Result<Self, Fault> {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        rand::fill(&mut *key).map_err(|_| Fault::Vault("no random bytes for CSRF tokens".to_owned()))?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &*key)))
    }

    /// The CSRF token of a visitor.
    pub fn csrf(&self, visitor: Binding) -> String {
        BASE64URL_NOPAD.encode(self.mac(&[b"csrf", &visitor.0]).as_ref())
    }

    /// Whether a form brought the visitor's CSRF token.
    pub fn is_csrf(&self, visitor: Binding, given: &str) -> bool {
        self.csrf(visitor).as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The nonce that a visitor's page puts before a password for an action.
    pub fn nonce(&self, visitor: Binding, page: &str, key: &KeyId) -> String {
        let mac = self.mac(&[b"nonce", &visitor.0, key.as_str().as_bytes(), page.as_bytes()]);
        BASE64URL_NOPAD.encode(&mac.as_ref()[..NONCE_BYTES])
    }

    /// All that must stand before a password: the nonce, then what binds it to the action and the user id as the form
    /// has it.
    pub fn expected(&self, visitor: Binding, page: &str, key: &KeyId, userid: &str) -> [u8; ENVELOPE_BYTES] {
        let mut all = [0; ENVELOPE_BYTES];
        let text = self.nonce(visitor, page, key) + &tag(page, userid);
        all.copy_from_slice(text.as_bytes());
        all
    }

    /// Each part with its length before it: no two lists of parts are the same bytes.
    fn mac(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign()
    }
}

/// Binds a password to what it is for; as the page's script makes it.
pub fn tag(page: &str, userid: &str) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(page.as_bytes());
    context.update(&[0]);
    context.update(userid.as_bytes());
    BASE64URL_NOPAD.encode(&context.finish().as_ref()[..TAG_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e8_what_stands_before_a_password_is_of_one_visitor_action_key_and_user() {
        let tokens = Tokens::new().unwrap();
        let key = |name: &str| KeyId::parse(name).unwrap();
        let [one, other] = [Binding([1; 32]), Binding([2; 32])];
        let expected = tokens.expected(one, "/signin", &key("k1"), "julian");
        assert_eq!(expected, tokens.expected(one, "/signin", &key("k1"), "julian"));
        for different in [
            tokens.expected(other, "/signin", &key("k1"), "julian"),
            tokens.expected(one, "/password", &key("k1"), "julian"),
            tokens.expected(one, "/signin", &key("k2"), "julian"),
            tokens.expected(one, "/signin", &key("k1"), "jane"),
            Tokens::new().unwrap().expected(one, "/signin", &key("k1"), "julian"),
        ] {
            assert_ne!(expected, different);
        }
        assert!(expected.is_ascii(), "what is encrypted is text");
    }

    #[test]
    fn csrf_tokens_are_of_one_visitor() {
        let tokens = Tokens::new().unwrap();
        let token = tokens.csrf(Binding([1; 32]));
        assert!(tokens.is_csrf(Binding([1; 32]), &token));
        assert!(!tokens.is_csrf(Binding([2; 32]), &token));
        assert!(!tokens.is_csrf(Binding([1; 32]), "") && !tokens.is_csrf(Binding([1; 32]), &token[1..]));
    }
}
