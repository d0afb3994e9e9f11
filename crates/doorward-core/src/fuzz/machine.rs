//! Scripts of the login machine, from any bytes.

use super::watch::{Input, MESSAGES, Watched};
use crate::audit::Deny;

/// Longest script, in inputs.
const INPUTS_MAX: usize = 512;

/// Reads bytes as a script of one connection and plays it: whatever happens in whatever order, the machine answers
/// each request once or closes, lets nobody in without a verdict, and does nothing after its end.
///
/// A byte below 11 is one of the watcher's messages; the bytes that follow are described at their arms.
pub fn machine(bytes: &[u8]) {
    let mut watched = Watched::new();
    let mut bytes = bytes.iter().copied();
    for _ in 0..INPUTS_MAX {
        let Some(byte) = bytes.next() else { break };
        let input = match byte % 32 {
            which @ 0..=10 => Input::Message(usize::from(which) % MESSAGES.len()),
            // A length, then so many bytes as they are.
            11 => {
                let len = bytes.next().unwrap_or(0);
                Input::Raw(bytes.by_ref().take(len.into()).collect())
            }
            // A kind of verdict.
            12..=19 => Input::Verdict(bytes.next().unwrap_or(0)),
            20 => Input::Stale(bytes.next().unwrap_or(0)),
            21..=23 => Input::Deadline,
            // Tenths of a second.
            24..=26 => Input::Wait(u64::from(bytes.next().unwrap_or(0)) * 100),
            27 => Input::Pong,
            // One of the messages behind the first eleven.
            28 => {
                let further = MESSAGES.len().saturating_sub(11).max(1);
                Input::Message(11 + usize::from(bytes.next().unwrap_or(0)) % further)
            }
            29 => Input::Stop,
            30 => Input::Lost,
            // A row of the table of reasons.
            _ => {
                let row = usize::from(bytes.next().unwrap_or(0)) % Deny::ALL.len();
                Input::Fail(Deny::ALL.get(row).copied().unwrap_or(Deny::Stopping))
            }
        };
        watched.feed(&input);
    }
}
