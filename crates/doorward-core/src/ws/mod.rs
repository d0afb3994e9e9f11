//! The WebSocket door: JSON messages, and the machine that lets somebody in.

pub mod answer;
pub mod login;
pub mod message;
#[cfg(test)]
mod tests;
