//! A vault that can be switched off, for drills and tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward_core::ask::KeyId;
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::secret::Secret;
use doorward_core::time::Now;

use super::{
    AUDIT_KEY_LEN, AUDIT_SIGNATURE_LEN, Challenge, Description, MacKey, OpenError, OpenPassword, Opened,
    Peppered, TotpQuery, Vault,
};
use crate::fault::Fault;

/// Another vault, whose calls all fail while it is down.
///
/// What needs no vault goes on: [`Vault::is_live`], as challenge keys outlive a short failure, and
/// [`Vault::describe`].
pub struct FaultyVault {
    inner: Arc<dyn Vault>,
    down: AtomicBool,
    #[cfg(test)]
    macs: std::sync::atomic::AtomicU64,
}

impl FaultyVault {
    /// Wraps a vault; up or down from the start.
    pub fn new(inner: Arc<dyn Vault>, down: bool) -> Self {
        Self {
            inner,
            down: AtomicBool::new(down),
            #[cfg(test)]
            macs: std::sync::atomic::AtomicU64::default(),
        }
    }

    /// Switches it.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// How many HMACs were computed.
    #[cfg(test)]
    pub(crate) fn macs(&self) -> u64 {
        self.macs.load(Ordering::Relaxed)
    }

    fn up(&self) -> Result<&dyn Vault, Fault> {
        if self.down.load(Ordering::Relaxed) {
            return Err(Fault::Vault(String::from("switched off by a planted fault")));
        }
        Ok(&*self.inner)
    }
}

impl Vault for FaultyVault {
    fn challenge(&self, now: Now) -> Result<Challenge, Fault> {
        self.up()?.challenge(now)
    }

    fn ready_challenge(&self, now: Now) -> Result<Option<Challenge>, Fault> {
        self.up()?.ready_challenge(now)
    }

    fn is_live(&self, key: &KeyId, now: Now) -> bool {
        self.inner.is_live(key, now)
    }

    fn open_password(&self, request: &OpenPassword<'_>, now: Now) -> Result<Opened, OpenError> {
        self.up()?.open_password(request, now)
    }

    fn forget_ciphertext(&self, key: &KeyId, ciphertext: &[u8]) {
        self.inner.forget_ciphertext(key, ciphertext);
    }

    fn tick(&self, now: Now) -> Result<(), Fault> {
        self.up()?.tick(now)
    }

    fn seal(&self, place: &Place, plain: &[u8]) -> Result<Sealed, Fault> {
        self.up()?.seal(place, plain)
    }

    fn open(&self, place: &Place, sealed: &Sealed) -> Result<Secret<Vec<u8>>, Fault> {
        self.up()?.open(place, sealed)
    }

    fn pepper(&self, hash: &[u8]) -> Result<Peppered, Fault> {
        self.up()?.pepper(hash)
    }

    fn pepper_with(&self, key: &str, hash: &[u8]) -> Result<[u8; 32], Fault> {
        self.up()?.pepper_with(key, hash)
    }

    fn totp_match(&self, query: &TotpQuery<'_>) -> Result<Option<usize>, Fault> {
        self.up()?.totp_match(query)
    }

    fn new_seed(&self, place: &Place, len: usize) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        self.up()?.new_seed(place, len)
    }

    fn new_mac_key(&self, place: &Place) -> Result<(Sealed, Secret<Vec<u8>>), Fault> {
        self.up()?.new_mac_key(place)
    }

    fn mac_key(&self, place: &Place, sealed: &Sealed) -> Result<MacKey, Fault> {
        self.up()?.mac_key(place, sealed)
    }

    fn mac(&self, key: &MacKey, message: &[u8]) -> Result<[u8; 32], Fault> {
        #[cfg(test)]
        self.macs.fetch_add(1, Ordering::Relaxed);
        self.up()?.mac(key, message)
    }

    fn audit_keys(&self) -> Result<Vec<[u8; AUDIT_KEY_LEN]>, Fault> {
        self.up()?.audit_keys()
    }

    fn audit_sign(
        &self,
        key: &[u8; AUDIT_KEY_LEN],
        message: &[u8],
    ) -> Result<[u8; AUDIT_SIGNATURE_LEN], Fault> {
        self.up()?.audit_sign(key, message)
    }

    fn new_backup_key(&self, id: &str) -> Result<(Sealed, Secret<[u8; 32]>), Fault> {
        self.up()?.new_backup_key(id)
    }

    fn backup_key(&self, id: &str, wrapped: &Sealed) -> Result<Secret<[u8; 32]>, Fault> {
        self.up()?.backup_key(id, wrapped)
    }

    fn random(&self, out: &mut [u8]) -> Result<(), Fault> {
        self.up()?.random(out)
    }

    fn probe(&self) -> Result<(), Fault> {
        self.up()?.probe()
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}
