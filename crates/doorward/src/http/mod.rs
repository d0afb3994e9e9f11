//! HTTP: the API for administration, the local socket that carries it, and the listener of measurements.
//!
//! [`api`] knows nothing of sockets: whoever listens says by an extension of the request who is asking. [`local`]
//! does so for processes of this machine; [`ops`] serves measurements and health; [`serve`] drives a connection.

pub mod api;
pub mod local;
pub mod ops;
pub mod problem;
pub mod serve;
#[cfg(test)]
mod testing;
