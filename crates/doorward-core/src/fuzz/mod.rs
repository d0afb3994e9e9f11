//! Fuzz bodies: plain functions over bytes that panic where an invariant does not hold.
//!
//! The tests replay the kept corpora and seeded mutations of them through the bodies: named inputs in a folder of
//! `corpus` for each, and in `fuzz/corpus` at the root what libFuzzer found worth keeping. It calls the same functions
//! (`fuzz/run`, see docs/fuzzing.md). A finding becomes a named input and stays.

mod attempts;
mod calendar;
mod fix;
mod fix_session;
mod fix_watch;
mod json;
mod machine;
mod names;
mod record;
#[cfg(test)]
mod tests;
mod text;
mod watch;

pub use attempts::attempts;
pub use calendar::calendar;
pub use fix::{canonical, frame, message};
pub use fix_session::fix_session;
#[cfg(test)]
pub(crate) use fix_watch::FixWatched;
pub use json::json;
pub use machine::machine;
pub use names::names;
pub use record::record;
pub use text::text;
#[cfg(test)]
pub(crate) use watch::{Input, MESSAGES, VERDICTS, Watched};
