//! Keys of HMAC-SHA-256 that stay open while a server runs: the secret keys of FIX sessions.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use doorward_core::identity::sealed::Place;
use doorward_core::secret::Secret;

use crate::fault::Fault;

/// Length of such a key, in bytes.
pub const MAC_KEY_LEN: usize = 32;

/// What a provider keeps behind a [`MacKey`]: the key itself, or where it lies in a module.
pub(super) trait OpenMac: Send + Sync {
    /// HMAC-SHA-256 of a message.
    fn mac(&self, message: &[u8]) -> Result<[u8; 32], Fault>;
}

/// An opened key. Only the vault that opened it can use it; what it holds is wiped, or given back to the module, when
/// its last copy is dropped.
#[derive(Clone)]
pub struct MacKey(Arc<dyn OpenMac>);

impl MacKey {
    pub(super) fn new(open: impl OpenMac + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(super) fn mac(&self, message: &[u8]) -> Result<[u8; 32], Fault> {
        self.0.mac(message)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(***)")
    }
}

/// A key in this process's memory: two prepared states of SHA-256, which the library wipes when they are dropped.
pub(super) struct SoftMac(hmac::Key);

impl SoftMac {
    /// Takes a secret that was sealed at a place.
    pub(super) fn open(place: &Place, secret: &Secret<Vec<u8>>) -> Result<Self, Fault> {
        let len = secret.expose().len();
        if len != MAC_KEY_LEN {
            let Place { table, row, column, .. } = place;
            return Err(Fault::Damaged(format!(
                "{table}.{column} of {row:?}: a key of {len} bytes, {MAC_KEY_LEN} are due"
            )));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose())))
    }
}

impl OpenMac for SoftMac {
    fn mac(&self, message: &[u8]) -> Result<[u8; 32], Fault> {
        let tag = hmac::sign(&self.0, message);
        tag.as_ref().try_into().map_err(|_| Fault::Vault(String::from("an HMAC of another length")))
    }
}
