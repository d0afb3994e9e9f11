//! Where a WebSocket address leads.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::ClientError;
use crate::net::{Host, Stream};

/// Where a `ws://` or `wss://` address leads.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) uri: Uri,
    host: Host,
    tls: bool,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        let fail = |why| ClientError::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|_| fail("not an address such as ws://127.0.0.1:7402/"))?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(_) | None => return Err(fail("must begin with ws:// or wss://")),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(fail("names no host"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, host: Host { name: host, port }, tls })
    }

    /// Host and port, for people.
    pub(super) fn address(&self) -> String {
        self.host.address()
    }

    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, ClientError> {
        self.host.resolve().await
    }

    pub(super) async fn open(
        &self,
        source: Option<IpAddr>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Stream, ClientError> {
        if self.tls && tls.is_none() {
            return Err(ClientError::Url {
                url: self.uri.to_string(),
                why: "wss:// needs root certificates to trust: give a CA file",
            });
        }
        self.host.open(source, tls.filter(|_| self.tls)).await
    }
}
