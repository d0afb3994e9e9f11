//! What can go wrong at the client.

use std::fmt;
use std::time::Duration;

use crate::printable;

/// How a WebSocket connection ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closing {
    /// The close code of RFC 6455; `None` where the connection broke without one.
    pub code: Option<u16>,
    /// The peer's words, or what broke; may be empty.
    pub reason: String,
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "code {code}")?,
            None => f.write_str("no close code")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", printable(&self.reason)) }
    }
}

/// A failure of the connection or of what the caller gave; what a server answers to a login is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("url {url}: {why}")]
    Url {
        /// The address as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection could be made.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system or TLS said.
        why: String,
    },
    /// The server did not take the WebSocket handshake.
    #[error("{address} refused the websocket handshake: {why}")]
    Handshake {
        /// Host and port.
        address: String,
        /// The HTTP status or the protocol error.
        why: String,
    },
    /// Root certificates cannot be read.
    #[error("root certificates {path}: {why}")]
    Roots {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate that is shown to servers cannot be read, or does not fit its key.
    #[error("client certificate {path}: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server did not answer in time.
    #[error("no answer to {what} within {} ms", .limit.as_millis())]
    Timeout {
        /// What was asked.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection is closed.
    #[error("the server closed the connection: {0}")]
    Closed(Closing),
    /// The server has no challenge key to give now.
    #[error("no challenge key: {}", printable(.result))]
    NoChallenge {
        /// The server's words, such as `busy` or `try again later`.
        result: String,
    },
    /// The server sent something that is not in its protocol.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// The password does not fit.
    #[error("password: {bytes} bytes, at most {limit} fit")]
    PasswordTooLong {
        /// Length as UTF-8.
        bytes: usize,
        /// The most that can be encrypted.
        limit: usize,
    },
    /// The challenge key cannot be used: not RSA, damaged, or shorter than 2048 bits.
    #[error("challenge key: not an RSA key of at least 2048 bits in X.509 SPKI DER")]
    Key,
    /// A seed for one-time passwords, or what belongs to it, cannot be read.
    #[error("seed: {0}")]
    Seed(&'static str),
}
