//! HTTP: the API for administration, the local socket that carries it, and the listener of measurements.
//!
//! [`api`] knows nothing of sockets: whoever listens says by an extension of the request who is asking. [`local`]
//! does so for processes of this machine; [`ops`] serves measurements and health; [`web`] the pages of portal and console;
//! [`serve`] drives a connection.

pub mod api;
pub mod local;
pub mod ops;
pub mod problem;
pub mod serve;
#[cfg(test)]
pub(crate) mod testing;
pub mod web;
