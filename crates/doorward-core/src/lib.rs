//! What decides at Doorward.
//!
//! No socket, clock, random source, thread, async or SQL is in here: bytes and [`time::Now`] go in; outputs,
//! asks and the next deadline come out. The shell (crate `doorward`) owns everything that touches the world.
//! See `ARCHITECTURE.md` for the map and the invariants.

pub mod ask;
pub mod audit;
pub mod calendar;
pub mod fix;
pub mod fuzz;
pub mod id;
pub mod identity;
pub mod limits;
pub mod machine;
pub mod secret;
pub mod stream;
mod table;
pub mod text;
pub mod time;
pub mod trace;
pub mod ws;
