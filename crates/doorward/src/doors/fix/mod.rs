//! The FIX door: one thread that waits for all its connections at once and drives their machines.
//!
//! One turn: wait; take connections, read what came, drive the machines; write what waits for nothing; one commit of the
//! stream log and one batch to the gate; write the rest. Everything that others want of it comes through the mailbox
//! ([`FixHandle`]).

mod accepting;
mod authority;
mod calls;
mod claims;
mod connection;
mod door;
mod drive;
mod listener;
mod mailbox;
mod reading;
mod recovery;
mod seats;
mod settle;
mod silent;
mod slab;
mod start;
mod stored;
#[cfg(test)]
mod tests;
mod timers;
mod transport;

pub use authority::Authority;
pub use mailbox::{FixHandle, Gone, Unfit};
pub use start::{Bound, FixSettings, Parts, Running, StartFault, start};
pub use stored::{Stored, StoredWanted};
