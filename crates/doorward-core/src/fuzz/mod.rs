//! Fuzz bodies: plain functions over bytes that panic where an invariant does not hold.
//!
//! The tests replay the kept corpus (a folder of `corpus` for each) and seeded mutations of it through them; a
//! fuzzer calls the same functions with bytes of its own. A finding becomes a file of the corpus and stays.

mod fix;
mod fix_session;
mod fix_watch;
mod json;
mod machine;
mod names;
#[cfg(test)]
mod tests;
mod watch;

pub use fix::{canonical, frame, message};
pub use fix_session::fix_session;
#[cfg(test)]
pub(crate) use fix_watch::FixWatched;
pub use json::json;
pub use machine::machine;
pub use names::names;
#[cfg(test)]
pub(crate) use watch::{Input, MESSAGES, VERDICTS, Watched};
