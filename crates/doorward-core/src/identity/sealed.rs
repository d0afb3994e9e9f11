//! What the vault has closed: opaque here.

use serde::{Deserialize, Serialize};

/// Where a sealed field lives. The vault binds a field to its place: moved elsewhere, it does not open (V1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Table or kind of entity, such as `person`.
    pub table: &'static str,
    /// The row's id.
    pub row: String,
    /// The column, such as `totp_seed`.
    pub column: &'static str,
    /// The firm's code; empty for the venue's own people.
    pub firm: String,
    /// Counts the fields that were sealed at this place.
    pub version: u32,
}

/// A field that only the vault can open.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sealed {
    /// Which vault key closed it.
    pub key: String,
    /// Nonce and ciphertext, base64url without padding.
    pub blob: String,
}
