//! FIX: sessions of an initiator, and signatures of Logons.
//!
//! [`FixClient`] connects and logs on, with a key pair ([`Credentials::Secure`], the signed Logon of CME Globex) or as a
//! person with password and one-time password ([`Credentials::Trader`]). It keeps the session layer: heartbeats, Test
//! Requests, gaps and resends both ways, sequence numbers over connections and restarts. [`sign`] signs a Logon that
//! somebody else wrote. [`Initiator`] is the machine inside, for programs with a loop of their own.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use doorward_client::fix::{
//!     Application, Body, ConnectOptions, Credentials, Event, FileStore, FixClient, KeyPair, SecureLogon, Settings,
//! };
//! use doorward_core::id::{CompId, OperatorId};
//! use doorward_core::secret::Secret;
//! use doorward_core::stream::Gateway;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let secret_key = Secret::new(std::env::var("FIX_SECRET_KEY")?);
//! let credentials = Credentials::Secure(SecureLogon {
//!     comp_id: CompId::parse(b"B08004N").ok_or("no SenderCompID")?,
//!     operator: OperatorId::parse(b"DESK1").ok_or("no operator ID")?,
//!     gateway: Gateway::Cgw,
//!     location: "US,IL".to_owned(),
//!     application: Application { name: "Pricer".into(), version: "2.1".into(), vendor: "Example".into() },
//!     key: KeyPair::new("oNDxM33uE81ohWuVRtWT", &secret_key)?,
//! });
//! let store = FileStore::open(Path::new("B08004N.seq"))?;
//! let options = ConnectOptions::default();
//! let mut client =
//!     FixClient::connect("127.0.0.1", 9880, Settings::new(credentials), Box::new(store), options).await?;
//! let order = Body::new().field(11, "A1").field(55, "ESZ6").field(54, "1").field(38, "10").field(40, "2");
//! client.send("D", &order).await?;
//! loop {
//!     match client.next().await? {
//!         Event::Message(report) if report.msg_type() == b"8" => break,
//!         Event::Ended(ending) => return Err(ending.to_string().into()),
//!         _ => {}
//!     }
//! }
//! client.log_out().await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod error;
mod initiator;
mod key;
mod message;
mod settings;
mod sign;
mod store;
mod wire;

pub use client::{ConnectOptions, Direction, FixClient, Watch};
pub use error::{Ending, FixError, Misuse, PeerFault, Refusal};
pub use initiator::{Event, Initiator, Output};
pub use key::{KeyError, KeyPair};
pub use message::{Body, Inbound, shown};
pub use settings::{Application, Credentials, Resend, SecureLogon, Settings, TraderLogon, Version};
pub use sign::{SignError, Signed, Signing, sign};
pub use store::{FileStore, MemoryStore, Numbers, SequenceStore, StoreError};
