//! The raw RSA private operation of AWS-LC, without padding; the only `unsafe` code of Doorward.
//!
//! `aws-lc-rs` refuses RSA-1024 and reports bad padding as an error; both are why this file exists. It knows no
//! padding: [`super::unpad`] does that in constant time. Blinding is on by default in AWS-LC, its result is
//! checked against faults, and freed memory is wiped by its allocator.
#![allow(unsafe_code)]

use std::os::raw::c_int;
use std::ptr::{self, NonNull};

use aws_lc_sys as lc;
use zeroize::Zeroizing;

use crate::fault::Fault;

/// An RSA private key in AWS-LC's memory.
pub(super) struct RawKey {
    rsa: NonNull<lc::RSA>,
    modulus: Vec<u8>,
}

// SAFETY: an `RSA` belongs to no thread; AWS-LC guards its lazily made parts and its blinding cache by a lock.
unsafe impl Send for RawKey {}
// SAFETY: `RSA_decrypt` and the exports may run at once on one key (rsa.h: "functions that take a const or
// non-mutating RSA may be called concurrently"); nothing here changes a key after it was made.
unsafe impl Sync for RawKey {}

impl RawKey {
    /// Makes a key with the public exponent 65537; takes 50 to 300 ms at 2048 bits.
    pub(super) fn generate(bits: u32) -> Result<Self, Fault> {
        let size = c_int::try_from(bits).map_err(|_| failed("size of a key"))?;
        // SAFETY: no arguments; a null pointer is caught by `NonNull::new`.
        let rsa = NonNull::new(unsafe { lc::RSA_new() }).ok_or_else(|| failed("RSA_new"))?;
        // From here on `Drop` frees it.
        let mut key = Self { rsa, modulus: Vec::new() };
        // SAFETY: no arguments; checked for null before use.
        let exponent = unsafe { lc::BN_new() };
        if exponent.is_null() {
            return Err(failed("BN_new"));
        }
        // SAFETY: `exponent` and `rsa` are live and ours alone; a null callback is allowed.
        let made = unsafe {
            lc::BN_set_word(exponent, lc::RSA_F4 as lc::BN_ULONG) == 1
                && lc::RSA_generate_key_ex(key.rsa.as_ptr(), size, exponent, ptr::null_mut()) == 1
        };
        // SAFETY: `exponent` came from `BN_new` and is not used again; `RSA_generate_key_ex` made a copy.
        unsafe { lc::BN_free(exponent) };
        if !made {
            return Err(failed("RSA_generate_key_ex"));
        }
        // SAFETY: `rsa` is live and has a modulus; it stays owned by `rsa`, which outlives the copy below.
        let (len, n) = unsafe { (lc::RSA_size(key.rsa.as_ptr()), lc::RSA_get0_n(key.rsa.as_ptr())) };
        key.modulus = vec![0; len as usize];
        // SAFETY: `n` is live, and the buffer has exactly the length that is named.
        if unsafe { lc::BN_bn2bin_padded(key.modulus.as_mut_ptr(), key.modulus.len(), n) } != 1 {
            return Err(failed("BN_bn2bin_padded"));
        }
        Ok(key)
    }

    /// The modulus, big-endian; its length is the length of a ciphertext.
    pub(super) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public key as X.509 `SubjectPublicKeyInfo`, DER.
    pub(super) fn spki_der(&self) -> Result<Vec<u8>, Fault> {
        // SAFETY: no arguments; checked for null before use.
        let pkey = unsafe { lc::EVP_PKEY_new() };
        if pkey.is_null() {
            return Err(failed("EVP_PKEY_new"));
        }
        let mut out: *mut u8 = ptr::null_mut();
        // SAFETY: both keys are live; `set1` takes a reference of its own, so freeing `pkey` leaves `rsa` alone.
        // With a null `*out`, `i2d_PUBKEY` allocates the buffer itself.
        let len = unsafe {
            let set = lc::EVP_PKEY_set1_RSA(pkey, self.rsa.as_ptr()) == 1;
            let len = if set { lc::i2d_PUBKEY(pkey, &raw mut out) } else { -1 };
            lc::EVP_PKEY_free(pkey);
            len
        };
        let len = usize::try_from(len).ok().filter(|_| !out.is_null()).ok_or_else(|| failed("i2d_PUBKEY"))?;
        // SAFETY: on success `out` points to `len` initialised bytes that nobody else owns; they are copied
        // before they are given back to the allocator they came from.
        let der = unsafe {
            let der = std::slice::from_raw_parts(out, len).to_vec();
            lc::OPENSSL_free(out.cast());
            der
        };
        Ok(der)
    }

    /// `input ^ d mod n`, as long as the modulus.
    ///
    /// The input must be as long as the modulus and lie in `2..=n-2`; AWS-LC refuses all else.
    pub(super) fn private_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut out = Zeroizing::new(vec![0_u8; self.modulus.len()]);
        let mut out_len = 0_usize;
        // SAFETY: `rsa` is live; both buffers are described by their own lengths and do not overlap.
        let done = unsafe {
            lc::RSA_decrypt(
                self.rsa.as_ptr(),
                &raw mut out_len,
                out.as_mut_ptr(),
                out.len(),
                input.as_ptr(),
                input.len(),
                lc::RSA_NO_PADDING,
            )
        };
        if done != 1 || out_len != out.len() {
            return Err(failed("RSA_decrypt"));
        }
        Ok(out)
    }
}

impl Drop for RawKey {
    fn drop(&mut self) {
        // SAFETY: `rsa` came from `RSA_new`, is freed here only, and its numbers are wiped as they are freed.
        unsafe { lc::RSA_free(self.rsa.as_ptr()) };
    }
}

/// A fault that names the call, with the thread's queue of error codes emptied.
fn failed(call: &str) -> Fault {
    // SAFETY: takes nothing and touches only this thread's queue.
    unsafe { lc::ERR_clear_error() };
    Fault::Vault(format!("{call} failed"))
}

/// `block ^ e mod n` for a public key in DER, so that tests can encrypt any block, to keys of any size.
#[cfg(test)]
pub(super) fn public_raw(spki_der: &[u8], block: &[u8]) -> Vec<u8> {
    let mut der = spki_der.as_ptr();
    let mut out = vec![0_u8; block.len()];
    let mut out_len = 0_usize;
    // SAFETY: `der` is read up to the length that is named; the key is checked for null and lives until it is
    // freed; both buffers are described by their own lengths.
    unsafe {
        let pkey = lc::d2i_PUBKEY(ptr::null_mut(), &raw mut der, spki_der.len().try_into().unwrap());
        assert!(!pkey.is_null());
        let rsa = lc::EVP_PKEY_get0_RSA(pkey);
        let (len, padding) = (out.len(), lc::RSA_NO_PADDING);
        let done = lc::RSA_encrypt(
            rsa,
            &raw mut out_len,
            out.as_mut_ptr(),
            len,
            block.as_ptr(),
            block.len(),
            padding,
        );
        lc::EVP_PKEY_free(pkey);
        assert_eq!((done, out_len), (1, block.len()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_exports_and_inverts_what_its_public_half_did() {
        use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
        let key = RawKey::generate(2048).unwrap();
        assert_eq!(key.modulus().len(), 256);
        assert_eq!(key.modulus()[0] & 0x80, 0x80);
        let public = PublicEncryptingKey::from_der(&key.spki_der().unwrap()).unwrap();
        let public = Pkcs1PublicEncryptingKey::new(public).unwrap();
        let mut ciphertext = vec![0; 256];
        public.encrypt(b"open sesame", &mut ciphertext).unwrap();
        let block = key.private_raw(&ciphertext).unwrap();
        assert_eq!(block[..2], [0, 2]);
        assert!(block.ends_with(b"\0open sesame"));
    }

    #[test]
    fn e6_a_key_of_1024_bits_can_be_made_for_the_legacy_switch() {
        let key = RawKey::generate(1024).unwrap();
        assert_eq!(key.modulus().len(), 128);
        assert!(key.spki_der().unwrap().len() > 128);
    }

    #[test]
    fn bad_input_is_refused_without_harm() {
        let key = RawKey::generate(1024).unwrap();
        assert!(key.private_raw(&[]).is_err());
        assert!(key.private_raw(&[7; 127]).is_err());
        assert!(key.private_raw(&[0xff; 128]).is_err());
        assert!(key.private_raw(&[0; 128]).is_err());
        let modulus = key.modulus().to_vec();
        assert!(key.private_raw(&modulus).is_err());
        assert!(key.private_raw(&[7; 128]).is_ok());
    }
}
