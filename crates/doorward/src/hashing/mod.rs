//! Password hashing: Argon2id under a vault's pepper, in a bounded pool that is fair by source.
//!
//! A stored hash is a [`Phc`] string; what is stored in it is HMAC-SHA-256(pepper, Argon2id output), so that a
//! stolen database without the vault cannot be cracked (P8). [`HashPool`] does the work, [`calibrate`] picks the
//! parameters on a machine.

mod calibrate;
mod fair;
mod phc;
mod pool;
mod wait;

pub use calibrate::{calibrate, choose};
pub use fair::SourceKey;
pub use phc::{HashParams, Phc, PhcError, fuzz_phc};
#[cfg(test)]
pub(crate) use pool::PRETENDED_AT_START;
pub use pool::{HashOutcome, HashPool, HashSettings};
