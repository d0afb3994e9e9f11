//! The vault without a hardware module: keys lie in a sealed file and, while the server runs, in its memory.
//!
//! Data keys of firms are derived from the master key with HKDF-SHA-256 over the firm's code, so nothing has to
//! be stored for a firm and a firm that is new needs no write.

use std::path::Path;

use aws_lc_rs::{hmac, rand};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::ask::KeyId;
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::secret::Secret;
use doorward_core::time::Now;
use zeroize::Zeroizing;

use super::challenge::{ChallengeKeys, ChallengeSettings, RawPair};
use super::key_file::{self, KeyRing, NamedKey, Protection};
use super::mac::SoftMac;
use super::raw_rsa::RawKey;
use super::{
    AUDIT_KEY_LEN, AUDIT_SIGNATURE_LEN, Challenge, Description, MAC_KEY_LEN, MacKey, OpenError, OpenPassword,
    Opened, Peppered, SEED_LEN, TotpQuery, Vault, audit_key, seal, totp,
};
use crate::fault::Fault;

/// The soft provider.
pub struct SoftVault {
    keys: KeyRing,
    challenges: ChallengeKeys,
}

impl SoftVault {
    /// Makes new keys and the key file; [`Fault::Vault`] where there already is one at this path.
    pub fn create(path: &Path, protection: &Protection, settings: ChallengeSettings) -> Result<Self, Fault> {
        // Before the file, so that a setting that is refused leaves none behind.
        settings.check()?;
        let keys = KeyRing::generate()?;
        key_file::create(path, protection, &keys)?;
        Self::with_keys(keys, settings)
    }

    /// Opens a key file.
    pub fn open(path: &Path, protection: &Protection, settings: ChallengeSettings) -> Result<Self, Fault> {
        Self::with_keys(key_file::open(path, protection)?, settings)
    }

    /// Opens the key file, or makes it where there is none (first start).
    pub fn open_or_create(
        path: &Path,
        protection: &Protection,
        settings: ChallengeSettings,
    ) -> Result<Self, Fault> {
        if path.exists() {
            Self::open(path, protection, settings)
        } else {
            Self::create(path, protection, settings)
        }
    }

    /// New keys that are nowhere stored: what they seal is lost with the process.
    pub fn in_memory(settings: ChallengeSettings) -> Result<Self, Fault> {
        Self::with_keys(KeyRing::generate()?, settings)
    }

    fn with_keys(keys: KeyRing, settings: ChallengeSettings) -> Result<Self, Fault> {
        let make = |bits| RawKey::generate(bits).map(|key| Box::new(key) as Box<dyn RawPair>);
        Ok(Self { keys, challenges: ChallengeKeys::new(settings, Box::new(make))? })
    }

    fn data_key(master: &NamedKey, firm: &str) -> Result<Zeroizing<[u8; 32]>, Fault> {
        seal::derive(master.key.expose(), b"", &[b"doorward firm data key 1\0", firm.as_bytes()])
    }
}

impl RawPair for RawKey {
    fn modulus(&self) -> &[u8] {
        self.modulus()
    }

    fn spki_der(&self) -> Result<Vec<u8>, Fault> {
        self.spki_der()
    }

    fn private_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.private_raw(input)
    }
}

impl Vault for SoftVault {
    fn challenge(&self, now: Now) -> Result<Challenge, Fault> {
        self.challenges.challenge(now)
    }

    fn ready_challenge(&self, now: Now) -> Result<Option<Challenge>, Fault> {
        Ok(self.challenges.ready(now))
    }

    fn is_live(&self, key: &KeyId, now: Now) -> bool {
        self.challenges.is_live(key, now)
    }

    fn open_password(&self, request: &OpenPassword<'_>, now: Now) -> Result<Opened, OpenError> {
        self.challenges.open_password(request, now)
    }

    fn forget_ciphertext(&self, key: &KeyId, ciphertext: &[u8]) {
        self.challenges.forget_ciphertext(key, ciphertext);
    }

    fn tick(&self, now: Now) -> Result<(), Fault> {
        self.challenges.tick(now)
    }

    fn seal(&self, place: &Place, plain: &[u8]) -> Result<Sealed, Fault> {
        let master = self.keys.master();
        seal::seal_field(&*Self::data_key(master, &place.firm)?, &master.name, place, plain)
    }

    fn open(&self, place: &Place, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Fault> {
        let master = self.keys.master_named(&sealed.key)?;
        seal::open_field(&*Self::data_key(master, &place.firm)?, place, sealed)
    }

    fn pepper(&self, hash: &[u8]) -> Result<Peppered, Fault> {
        let pepper = self.keys.pepper();
        Ok(Peppered { key: pepper.name.clone(), mac: mac(pepper, hash) })
    }

    fn pepper_with(&self, key: &str, hash: &[u8]) -> Result<[u8; 32], Fault> {
        Ok(mac(self.keys.pepper_named(key)?, hash))
    }

    fn totp_match(&self, query: &TotpQuery<'_>) -> Result<Option<usize>, Fault> {
        if !totp::DIGITS.contains(&query.digits) {
            return Err(Fault::Damaged(format!("an authenticator with codes of {} digits", query.digits)));
        }
        let seed = self.open(query.place, query.seed)?;
        Ok(totp::matching_step(seed.expose(), query.algorithm, query.digits, query.steps, query.code))
    }

    fn new_seed(&self, place: &Place, len: usize) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        if !SEED_LEN.contains(&len) {
            let (low, high) = (SEED_LEN.start(), SEED_LEN.end());
            return Err(Fault::Vault(format!("a seed of {len} bytes: {low} to {high} are possible")));
        }
        let mut seed = Zeroizing::new(vec![0_u8; len]);
        self.random(&mut seed)?;
        let sealed = self.seal(place, &seed)?;
        Ok((sealed, Secret::new(std::mem::take(&mut *seed))))
    }

    fn new_mac_key(&self, place: &Place) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        self.new_seed(place, MAC_KEY_LEN)
    }

    fn mac_key(&self, place: &Place, sealed: &Sealed) -> Result<MacKey, Fault> {
        SoftMac::open(place, &self.open(place, sealed)?).map(MacKey::new)
    }

    fn mac(&self, key: &MacKey, message: &[u8]) -> Result<[u8; 32], Fault> {
        key.mac(message)
    }

    fn audit_keys(&self) -> Result<Vec<[u8; AUDIT_KEY_LEN]>, Fault> {
        self.keys.audits().iter().map(audit_key::public).collect()
    }

    fn audit_sign(
        &self,
        key: &[u8; AUDIT_KEY_LEN],
        message: &[u8],
    ) -> Result<[u8; AUDIT_SIGNATURE_LEN], Fault> {
        audit_key::sign(self.keys.audits(), key, message)
    }

    fn new_backup_key(&self, id: &str) -> Result<(Sealed, Secret<[u8; 32]>), Fault> {
        let master = self.keys.master();
        let mut key = Zeroizing::new([0_u8; 32]);
        self.random(&mut *key)?;
        let wrapping = seal::derive(master.key.expose(), b"", &[BACKUP])?;
        let closed = seal::seal_bytes(&wrapping, &backup_place(&master.name, id), &*key)?;
        let wrapped = Sealed { key: master.name.clone(), blob: BASE64URL_NOPAD.encode(&closed) };
        Ok((wrapped, Secret::new(*key)))
    }

    fn backup_key(&self, id: &str, wrapped: &Sealed) -> Result<Secret<[u8; 32]>, Fault> {
        let master = self.keys.master_named(&wrapped.key)?;
        let wrapping = seal::derive(master.key.expose(), b"", &[BACKUP])?;
        let closed = BASE64URL_NOPAD.decode(wrapped.blob.as_bytes()).map_err(|_| no_backup_key(wrapped))?;
        let plain = seal::open_bytes(&wrapping, &backup_place(&wrapped.key, id), &closed)?;
        let plain = plain.ok_or_else(|| no_backup_key(wrapped))?;
        plain.as_slice().try_into().map(Secret::new).map_err(|_| no_backup_key(wrapped))
    }

    fn random(&self, out: &mut [u8]) -> Result<(), Fault> {
        rand::fill(out).map_err(|_| Fault::Vault(String::from("no random bytes")))
    }

    fn probe(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn describe(&self) -> Description {
        Description {
            provider: "soft",
            hsm: false,
            master_key: self.keys.master().name.clone(),
            pepper_key: self.keys.pepper().name.clone(),
            challenge_bits: self.challenges.bits(),
        }
    }
}

/// What keys of backups are wrapped under, and for which backup.
const BACKUP: &[u8] = b"doorward backup key 1";

fn backup_place(key: &str, id: &str) -> Vec<u8> {
    [BACKUP, b"\0", key.as_bytes(), b"\0", id.as_bytes()].concat()
}

fn no_backup_key(wrapped: &Sealed) -> Fault {
    Fault::Damaged(format!("the wrapped key of a backup does not open with {}", wrapped.key))
}

fn mac(key: &NamedKey, hash: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.key.expose()), hash);
    let mut mac = [0_u8; 32];
    mac.copy_from_slice(tag.as_ref());
    mac
}

#[cfg(test)]
mod tests;
