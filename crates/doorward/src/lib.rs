//! The server of Doorward and everything that touches the world: sockets, disk, vault, command line.
//!
//! What decides is in `doorward-core`. Only [`gate`] uses [`book`] and [`vault`]; doors, HTTP and jobs use the gate.
//! [`backup`] reads their files beside them.

pub mod backend;
pub mod backup;
pub mod book;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod doors;
pub mod fault;
#[cfg(test)]
mod fuzz_replay;
pub mod gate;
pub mod hashing;
pub mod http;
pub mod journal;
pub mod logging;
pub mod mail;
pub mod metrics;
mod qr;
pub mod serve;
pub mod streams;
pub mod vault;
