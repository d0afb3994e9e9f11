//! Who there is, what is known of them, and the rules that decide.
//!
//! Entities are loaded as a snapshot, pure functions in [`decide`] judge it together with the facts that the vault
//! and the hash pool found, and what comes out is a record: the audit entry and the changes, atomic.

pub mod attempt;
pub mod change;
pub mod decide;
pub mod enrolment;
pub mod firm;
pub mod fix_session;
pub mod halt;
pub mod key_pair;
mod known;
pub mod link;
pub mod mail;
pub mod net;
pub mod notice;
pub mod password;
pub mod person;
pub mod policy;
pub mod recovery;
pub mod restore;
pub mod sealed;
pub mod token;
pub mod totp;
