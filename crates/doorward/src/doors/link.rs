//! From a fresh TCP connection to a stream that a door can talk on, and the address it is taken to come from.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::proxy_header::{self, HeaderFault};
use super::source::Source;
use super::tls::{HandshakeFault, Tls};
use crate::config::Network;

/// Longest time for a PROXY protocol header.
const HEADER_MAX: Duration = Duration::from_secs(5);

/// What happens to a connection before its first byte of HTTP.
#[derive(Clone)]
pub struct Entrance {
    /// TLS, unless the door is plain.
    pub tls: Option<Tls>,
    /// `trusted_proxies`.
    pub trusted: Vec<Network>,
    /// `ws.proxy_protocol`: connections from trusted proxies begin with a header.
    pub proxy_protocol: bool,
}

/// Why a connection did not get in; nothing was said to the peer but TLS alerts.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] HandshakeFault),
    /// A trusted proxy did not send its header as it should.
    #[error(transparent)]
    ProxyHeader(#[from] HeaderFault),
    /// A trusted proxy sent no whole header in time.
    #[error("PROXY protocol header: none within {} s", HEADER_MAX.as_secs())]
    ProxySlow,
}

impl Refusal {
    /// The reason as a label of measurements.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::ProxyHeader(_) | Self::ProxySlow => "proxy-header",
        }
    }
}

impl Entrance {
    /// Reads the header of a trusted proxy, shakes hands, and tells where the connection comes from.
    ///
    /// # Errors
    /// See [`Refusal`]. A fault of a trusted proxy is logged here; a stranger's is not worth a line.
    pub async fn enter(&self, mut stream: TcpStream, peer: SocketAddr) -> Result<(Link, Source), Refusal> {
        let mut source = Source::new(peer.ip());
        if self.proxy_protocol && self.is_trusted(source.addr) {
            let header = tokio::time::timeout(HEADER_MAX, proxy_header::read(&mut stream));
            let behind = match header.await {
                Ok(Ok(behind)) => Ok(behind),
                Ok(Err(fault)) => Err(Refusal::ProxyHeader(fault)),
                Err(_) => Err(Refusal::ProxySlow),
            };
            let behind = behind
                .inspect_err(|refusal| tracing::warn!(proxy = %source, "connection refused: {refusal}"));
            source = behind?.map_or(source, Source::new);
        }
        let link = match &self.tls {
            None => Link::Plain(stream),
            Some(tls) => Link::Tls(Box::new(tls.handshake(stream).await?)),
        };
        Ok((link, source))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A stream, plain or TLS.
#[derive(Debug)]
pub enum Link {
    /// As it came.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ppp::v2::PROTOCOL_PREFIX;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::accept::listen;
    use super::*;

    async fn entered(trusted: &str, proxy_protocol: bool, sent: &[u8]) -> (Result<Source, Refusal>, Vec<u8>) {
        let listener = listen("ws.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let trusted = vec![Network::parse(trusted).unwrap()];
        match (Entrance { tls: None, trusted, proxy_protocol }).enter(stream, peer).await {
            Err(refusal) => (Err(refusal), Vec::new()),
            Ok((mut link, source)) => {
                let mut left = Vec::new();
                link.read_to_end(&mut left).await.unwrap();
                (Ok(source), left)
            }
        }
    }

    fn header() -> Vec<u8> {
        let rest = [0x21, 0x11, 0, 12, 203, 0, 113, 5, 192, 0, 2, 1, 0xc0, 0, 0x1c, 0xea];
        [PROTOCOL_PREFIX, rest.as_slice(), b"GET /"].concat()
    }

    #[tokio::test]
    async fn a_trusted_proxy_names_its_peer() {
        let (source, left) = entered("127.0.0.0/8", true, &header()).await;
        assert_eq!(source.unwrap().addr, "203.0.113.5".parse::<IpAddr>().unwrap());
        assert_eq!(left, b"GET /");
    }

    #[tokio::test]
    async fn a_stranger_names_nobody() {
        for (trusted, on) in [("10.0.0.0/8", true), ("127.0.0.0/8", false)] {
            let (source, left) = entered(trusted, on, &header()).await;
            assert_eq!(source.unwrap().addr, "127.0.0.1".parse::<IpAddr>().unwrap());
            assert_eq!(left, header(), "the bytes are left for HTTP to refuse");
        }
    }

    #[tokio::test]
    async fn a_trusted_proxy_without_a_header_is_refused() {
        let (source, _) = entered("127.0.0.1", true, b"GET / HTTP/1.1\r\n\r\n").await;
        assert_eq!(source.unwrap_err().reason(), "proxy-header");
    }
}
