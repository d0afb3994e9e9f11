//! Seals fields with AES-256-GCM and binds each to its place.
//!
//! Every firm has its own data key. Associated data is the unambiguous encoding of key, table, row, column, firm
//! and version: a ciphertext that is moved elsewhere does not open (V1).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::secret::Secret;
use zeroize::Zeroizing;

use crate::fault::Fault;

/// Length of a GCM tag in bytes.
const TAG_LEN: usize = 16;

/// Closes bytes under a key; returns a fresh random 96-bit nonce followed by ciphertext and tag (V2).
pub(super) fn seal_bytes(key: &[u8; 32], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut nonce = [0_u8; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| Fault::Vault(String::from("no random bytes")))?;
    let mut closed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
    closed.extend_from_slice(&nonce);
    // Closed in a buffer that is wiped, as the plain text lies in it first.
    let mut buffer = Zeroizing::new(plain.to_vec());
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut buffer)
        .map_err(|_| Fault::Vault(String::from("sealing failed")))?;
    closed.extend_from_slice(&buffer);
    closed.extend_from_slice(tag.as_ref());
    Ok(closed)
}

/// Opens what [`seal_bytes`] closed; `None` where key, associated data or bytes are not the same.
pub(super) fn open_bytes(
    key: &[u8; 32],
    associated: &[u8],
    closed: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
    let Some((nonce, body)) = closed.split_first_chunk::<NONCE_LEN>() else { return Ok(None) };
    let mut buffer = Zeroizing::new(body.to_vec());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let len = cipher(key)?.open_in_place(nonce, Aad::from(associated), &mut buffer).map(|plain| plain.len());
    Ok(len.ok().map(|len| {
        buffer.truncate(len);
        buffer
    }))
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Fault> {
    let key =
        UnboundKey::new(&AES_256_GCM, key).map_err(|_| Fault::Vault(String::from("no AES-256-GCM key")))?;
    Ok(LessSafeKey::new(key))
}

/// Closes a field at its place under a data key.
pub(super) fn seal_field(
    data_key: &[u8; 32],
    key_name: &str,
    place: &Place,
    plain: &[u8],
) -> Result<Sealed, Fault> {
    let closed = seal_bytes(data_key, &associated_data(key_name, place), plain)?;
    Ok(Sealed { key: key_name.to_owned(), blob: BASE64URL_NOPAD.encode(&closed) })
}

/// Opens a field at its place under a data key.
pub(super) fn open_field(
    data_key: &[u8; 32],
    place: &Place,
    sealed: &Sealed,
) -> Result<Secret<Vec<u8>>, Fault> {
    let closed = BASE64URL_NOPAD.decode(sealed.blob.as_bytes()).map_err(|_| misplaced(place))?;
    let plain = open_bytes(data_key, &associated_data(&sealed.key, place), &closed)?;
    plain.map(|mut plain| Secret::new(std::mem::take(&mut *plain))).ok_or_else(|| misplaced(place))
}

fn misplaced(place: &Place) -> Fault {
    let Place { table, row, column, version, .. } = place;
    Fault::Damaged(format!(
        "{table}.{column} of {row:?}, version {version}: the sealed field does not open here"
    ))
}

/// Key, table, row, column, firm and version; every text with its length before it.
fn associated_data(key_name: &str, place: &Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for text in ["doorward field 1", key_name, place.table, &place.row, place.column, &place.firm] {
        out.extend_from_slice(&(text.len() as u64).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&place.version.to_be_bytes());
    out
}

/// Derives 32 bytes from a key that has enough entropy (HKDF-SHA-256, RFC 5869), for one purpose.
pub(super) fn derive(key: &[u8], salt: &[u8], purpose: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>, Fault> {
    let mut out = Zeroizing::new([0_u8; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(key)
        .expand(purpose, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *out))
        .map_err(|_| Fault::Vault(String::from("key derivation failed")))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: &str, firm: &str) -> Place {
        Place { table: "person", row: row.into(), column: "totp_seed", firm: firm.into(), version: 1 }
    }

    #[test]
    fn v1_associated_data_is_unambiguous() {
        let base = associated_data("k", &place("ab", "c"));
        assert_ne!(base, associated_data("k", &place("a", "bc")));
        assert_ne!(base, associated_data("ka", &place("b", "c")));
        assert_ne!(base, associated_data("k", &Place { version: 2, ..place("ab", "c") }));
        assert_ne!(
            base,
            associated_data("k", &Place { table: "persontotp_seed", column: "", ..place("ab", "c") })
        );
    }

    #[test]
    fn every_changed_bit_of_a_sealed_field_is_noticed() {
        let closed = seal_bytes(&[7; 32], b"here", b"seed").unwrap();
        assert_eq!(open_bytes(&[7; 32], b"here", &closed).unwrap().unwrap().as_slice(), b"seed");
        for bit in 0..closed.len() * 8 {
            let mut other = closed.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(open_bytes(&[7; 32], b"here", &other).unwrap().is_none(), "bit {bit}");
        }
        for len in 0..closed.len() {
            assert!(open_bytes(&[7; 32], b"here", &closed[..len]).unwrap().is_none(), "{len} bytes");
        }
        assert!(open_bytes(&[8; 32], b"here", &closed).unwrap().is_none());
        assert!(open_bytes(&[7; 32], b"there", &closed).unwrap().is_none());
    }

    #[test]
    fn v2_nonces_do_not_repeat() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(seal_bytes(&[7; 32], b"", b"").unwrap()[..NONCE_LEN].to_vec()));
        }
    }
}
