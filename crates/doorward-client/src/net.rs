//! The bytes under a connection: plain TCP or TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::ClientError;

/// TLS that trusts the given root certificates and nothing else.
///
/// # Errors
/// [`ClientError::Roots`] where TLS cannot be set up.
pub fn tls_with_roots(roots: RootCertStore) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Roots { path: String::from("tls"), why: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// TLS that trusts the certificates of a PEM file and nothing else.
///
/// # Errors
/// [`ClientError::Roots`] where the file cannot be read or holds no usable certificate.
pub fn tls_from_ca_file(path: &Path) -> Result<Arc<ClientConfig>, ClientError> {
    tls_with_roots(roots_of(path)?)
}

/// The same, with a certificate to be shown to servers that ask for one: its chain and its key, as PEM files.
///
/// # Errors
/// [`ClientError::Roots`] where a file cannot be read, holds nothing usable, or the key is not the certificate's.
pub fn tls_with_certificate(
    roots: &Path,
    certificate: &Path,
    key: &Path,
) -> Result<Arc<ClientConfig>, ClientError> {
    let roots = roots_of(roots)?;
    let fail = |path: &Path, why: String| ClientError::Certificate { path: path.display().to_string(), why };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(certificate, error.to_string()))?;
    // The parser's own words may quote lines of the file.
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|_| {
        fail(key, String::from("no private key without a passphrase in it (a PEM file is needed)"))
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail(certificate, error.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)
        .map_err(|error| fail(certificate, error.to_string()))?;
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, ClientError> {
    let fail = |why: String| ClientError::Roots { path: path.display().to_string(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| fail(error.to_string()))? {
        let certificate = certificate.map_err(|error| fail(error.to_string()))?;
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail(String::from("no certificate in it (a PEM file is needed)")));
    }
    Ok(roots)
}

/// A host by name or address, and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Host {
    /// Host and port, for people.
    pub(crate) fn address(&self) -> String {
        if self.name.contains(':') {
            format!("[{}]:{}", self.name, self.port)
        } else {
            format!("{}:{}", self.name, self.port)
        }
    }

    fn fail(&self, why: &impl ToString) -> ClientError {
        ClientError::Connect { address: self.address(), why: why.to_string() }
    }

    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, ClientError> {
        let found = tokio::net::lookup_host((self.name.as_str(), self.port)).await;
        let found: Vec<_> = found.map_err(|error| self.fail(&error))?.collect();
        if found.is_empty() { Err(self.fail(&"the name has no address")) } else { Ok(found) }
    }

    /// Connects to the first address that takes it; over TLS where that is given.
    pub(crate) async fn open(
        &self,
        source: Option<IpAddr>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Stream, ClientError> {
        let mut last = None;
        for address in self.resolve().await? {
            match connect(address, source).await {
                Ok(tcp) => return self.dress(tcp, tls).await,
                Err(error) => last = Some(error),
            }
        }
        Err(self
            .fail(&last.map_or_else(|| String::from("the name has no address"), |error| error.to_string())))
    }

    async fn dress(&self, tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, ClientError> {
        let Some(tls) = tls else {
            return Ok(Stream::Plain(tcp));
        };
        let name = ServerName::try_from(self.name.clone()).map_err(|error| self.fail(&error))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await;
        stream
            .map(|stream| Stream::Tls(Box::new(stream)))
            .map_err(|error| self.fail(&format!("tls: {error}")))
    }
}

async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Plain TCP or TLS over it.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
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
}
