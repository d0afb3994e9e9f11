//! The FIX door: tag=value messages of FIX 4.2 and 4.4, without any IO.
//!
//! [`frame`] cuts messages from a stream of bytes, [`message`] reads one without copying it, [`build`] writes one,
//! [`signature`] says what a signed Logon signs, [`tag`] names the fields. [`session`] is the machine of one connection;
//! what differs between listeners is a [`profile`], what a peer is told stands in [`refusal`].

pub mod build;
pub mod frame;
pub mod message;
pub mod profile;
pub mod refusal;
pub mod session;
pub mod signature;
pub mod tag;

/// What ends each field: the byte 1.
pub const SOH: u8 = 1;
