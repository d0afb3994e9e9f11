//! Scripts of the FIX session machine, from any bytes.

use super::fix_watch::{FixInput, FixWatched};

/// Longest script, in inputs.
const INPUTS_MAX: usize = 512;

/// Reads bytes as a script of one FIX connection and plays it: whatever happens in whatever order, nothing is sent
/// before the Logon is written down, no number is used twice, what is sent was saved, and memory stays bounded.
///
/// The first byte says which kind of listener it is; the others are described at their arms.
pub fn fix_session(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut watched = FixWatched::new(bytes.next().is_none_or(|byte| byte % 4 != 0));
    for _ in 0..INPUTS_MAX {
        let Some(byte) = bytes.next() else { break };
        let mut next = || bytes.next().unwrap_or(0);
        let input = match byte % 32 {
            0..=2 => FixInput::Logon(next()),
            // A kind of message, and how far its number is from the next one.
            3..=11 => FixInput::Message(next(), next() as i8),
            // A length, then so many bytes as they are.
            12 => {
                let len = next();
                FixInput::Raw(bytes.by_ref().take(len.into()).collect())
            }
            13..=18 => FixInput::Answer(next()),
            19 => FixInput::Stale(next()),
            20 | 21 => FixInput::Deadline,
            // Tenths of a second.
            22 | 23 => FixInput::Wait(u64::from(next()) * 100),
            24..=27 => FixInput::Application,
            28 => FixInput::Probe,
            29 => FixInput::End(next()),
            30 => FixInput::Gone,
            // Everything so far in one step: the way to a live session.
            _ => {
                watched.log_on();
                continue;
            }
        };
        watched.feed(&input);
    }
}
