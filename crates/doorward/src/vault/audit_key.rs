//! Audit keys of the soft provider: Ed25519 (RFC 8032) from seeds of the key file.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::key_file::NamedKey;
use super::{AUDIT_KEY_LEN, AUDIT_SIGNATURE_LEN};
use crate::fault::Fault;

/// The public half of an audit key.
pub(super) fn public(key: &NamedKey) -> Result<[u8; AUDIT_KEY_LEN], Fault> {
    public_of(&pair(key)?)
}

/// Signs with that key whose public half this is.
pub(super) fn sign(
    keys: &[NamedKey],
    with: &[u8; AUDIT_KEY_LEN],
    message: &[u8],
) -> Result<[u8; AUDIT_SIGNATURE_LEN], Fault> {
    for key in keys {
        let pair = pair(key)?;
        if public_of(&pair)? == *with {
            let signature = pair.try_sign(message).map_err(|_| failed("an audit key does not sign"))?;
            return signature.as_ref().try_into().map_err(|_| failed("a signature of another length"));
        }
    }
    Err(failed("there is no such audit key"))
}

fn pair(key: &NamedKey) -> Result<Ed25519KeyPair, Fault> {
    Ed25519KeyPair::from_seed_unchecked(key.key.expose())
        .map_err(|_| Fault::Damaged(format!("the audit key {:?} is no Ed25519 seed", key.name)))
}

fn public_of(pair: &Ed25519KeyPair) -> Result<[u8; AUDIT_KEY_LEN], Fault> {
    pair.public_key().as_ref().try_into().map_err(|_| failed("a public key of another length"))
}

fn failed(what: &str) -> Fault {
    Fault::Vault(what.to_owned())
}
