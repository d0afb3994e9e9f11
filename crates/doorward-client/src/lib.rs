//! Client library of Doorward: FIX sessions, WebSocket login, password encryption, local administration, one-time passwords.
//!
//! - [`ws::WsClient`] logs in over WebSocket and answers pings while it is polled; programs have logins verified, look
//!   after tokens and users.
//! - [`fix::FixClient`] logs on over FIX with a key pair or as a person, and keeps the session.
//! - [`password`] encrypts a password with a challenge key, as every door wants it.
//! - [`api::AdminClient`] speaks the HTTP API over the server's local socket.
//! - [`totp`] makes one-time passwords from a seed (RFC 6238), for programs that log in unattended.
//!
//! ```no_run
//! # async fn example() -> Result<(), doorward_client::ClientError> {
//! use doorward_client::ws::{ConnectOptions, LoginAnswer, WsClient};
//! use doorward_core::secret::Secret;
//!
//! let mut client = WsClient::connect("ws://127.0.0.1:7402/", &ConnectOptions::default()).await?;
//! let password = Secret::new(String::from("a long pass phrase"));
//! let login = client.login("trader", &password, None).await?;
//! if login.answer == LoginAnswer::CodeRequired {
//!     client.send_code("123456").await?;
//! }
//! client.logout().await?;
//! # Ok(())
//! # }
//! ```

pub mod api;
mod error;
pub mod fix;
mod net;
pub mod password;
mod printable;
pub mod totp;
pub mod ws;

pub use error::{ClientError, Closing};
pub use printable::printable;
