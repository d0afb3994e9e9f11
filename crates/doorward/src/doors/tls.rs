//! TLS by a given certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::time::Wall;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// Longest time for a handshake (S10).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long before its end a certificate is warned about.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// Longest PEM file, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with a certificate or key, naming the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// TLS as a server.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: PathBuf,
    validity: Option<Validity>,
}

/// When a certificate holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Validity {
    from: Wall,
    to: Wall,
}

/// A handshake that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// It took longer than [`HANDSHAKE_MAX`].
    #[error("tls: no handshake within {} s", HANDSHAKE_MAX.as_secs())]
    TooSlow,
    /// The peer and we do not agree, or the connection ended.
    #[error("tls: {0}")]
    Failed(std::io::Error),
}

impl Tls {
    /// Reads the certificate chain and its key.
    ///
    /// # Errors
    /// Where a file is missing or not PEM, or the key is not the certificate's.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFault> {
        let chain = certificates(&files.certificate)?;
        let validity = chain.first().and_then(|certificate| validity(certificate));
        let key = private_key(&files.key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let wrong = |error: rustls::Error| {
            let what = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("is not the key of the certificate in {}", files.certificate.display())
                }
                rustls::Error::InvalidCertificate(why) => {
                    return content(
                        &files.certificate,
                        format!("the first certificate does not read: {why}"),
                    );
                }
                other => format!("does not fit: {other}"),
            };
            content(&files.key, what)
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(wrong)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(wrong)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, certificate: files.certificate.clone(), validity })
    }

    /// The same certificate for a protocol that is not HTTP.
    pub fn plain_protocol(&self) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(self.acceptor.config());
        config.alpn_protocols.clear();
        Arc::new(config)
    }

    /// What the operator should know of the certificate: past, not yet good, or about to end.
    pub fn warning(&self, now: Wall) -> Option<String> {
        let Validity { from, to } = self.validity?;
        let path = self.certificate.display();
        if now > to {
            Some(format!("{path}: the certificate ended at {to}; clients will refuse it"))
        } else if now < from {
            Some(format!("{path}: the certificate begins at {from} only; clients will refuse it"))
        } else if now + SOON > to {
            Some(format!("{path}: the certificate ends at {to}"))
        } else {
            None
        }
    }

    /// Shakes hands with a peer, for [`HANDSHAKE_MAX`] at most.
    ///
    /// # Errors
    /// See [`HandshakeFault`].
    pub async fn handshake<S>(&self, stream: S) -> Result<TlsStream<S>, HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.handshake_within(stream, HANDSHAKE_MAX).await
    }

    async fn handshake_within<S>(&self, stream: S, limit: Duration) -> Result<TlsStream<S>, HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match tokio::time::timeout(limit, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeFault::Failed(error)),
            Err(_) => Err(HandshakeFault::TooSlow),
        }
    }
}

fn content(path: &Path, what: String) -> TlsFault {
    TlsFault::Content { path: path.to_path_buf(), what }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsFault> {
    use std::io::Read as _;
    let disk = |error| TlsFault::Disk { path: path.to_path_buf(), error };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(path).map_err(disk)?;
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(disk)?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(content(path, format!("has more than {PEM_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let bytes = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, format!("is not well-formed PEM: {error}")))?;
    if chain.is_empty() {
        return Err(content(path, "holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    use rustls::pki_types::pem::Error;
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        Error::NoItemsFound if bytes.windows(21).any(|part| part == b"ENCRYPTED PRIVATE KEY") => content(
            path,
            "the key is encrypted; give it without a passphrase, readable by the server only".to_owned(),
        ),
        Error::NoItemsFound => content(path, "holds no private key in PEM (BEGIN PRIVATE KEY)".to_owned()),
        // The parser's own words may quote lines of the file.
        _ => content(path, "is not well-formed PEM".to_owned()),
    })
}

/// When a certificate holds (RFC 5280, 4.1.2.5); `None` where it does not read, which rustls judges.
fn validity(certificate: &[u8]) -> Option<Validity> {
    let (certificate, _) = der(certificate, 0x30)?;
    let (mut tbs, _) = der(certificate, 0x30)?;
    if let Some((_, rest)) = der(tbs, 0xa0) {
        tbs = rest;
    }
    let (_serial, rest) = der(tbs, 0x02)?;
    let (_algorithm, rest) = der(rest, 0x30)?;
    let (_issuer, rest) = der(rest, 0x30)?;
    let (validity, _) = der(rest, 0x30)?;
    let (from, rest) = time(validity)?;
    let (to, _) = time(rest)?;
    Some(Validity { from, to })
}

/// The contents of the first DER value, where it has this tag, and what follows it.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, first, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (len, rest) = match usize::from(*first) {
        len @ 0..0x80 => (len, rest),
        more => {
            let (digits, rest) =
                rest.split_at_checked(more - 0x80).filter(|(digits, _)| digits.len() <= 4)?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(len)
}

/// A `UTCTime` or `GeneralizedTime`, which end in `Z` in certificates.
fn time(bytes: &[u8]) -> Option<(Wall, &[u8])> {
    let (digits, rest, century) = match (der(bytes, 0x17), der(bytes, 0x18)) {
        (Some((short, rest)), _) => (short, rest, if short.first()? < &b'5' { "20" } else { "19" }),
        (None, Some((long, rest))) => (long, rest, ""),
        (None, None) => return None,
    };
    let text = format!("{century}{}", std::str::from_utf8(digits).ok()?);
    let part = |range: std::ops::Range<usize>| text.get(range);
    let instant = format!(
        "{}-{}-{}T{}:{}:{}",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        text.get(12..)?
    );
    Some((Wall::parse(&instant)?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;

    struct Made {
        folder: tempfile::TempDir,
        files: TlsFiles,
        der: CertificateDer<'static>,
    }

    fn made() -> Made {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2060, 3, 4);
        let certificate = params.self_signed(&key).unwrap();
        let files = TlsFiles { certificate: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        Made { folder, files, der: certificate.der().clone() }
    }

    fn fault(files: &TlsFiles) -> String {
        Tls::load(files).err().unwrap().to_string()
    }

    #[tokio::test]
    async fn e7_a_client_that_knows_the_certificate_talks_tls() {
        let made = made();
        let tls = Tls::load(&made.files).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(16_384);
        let name = ServerName::try_from("localhost").unwrap();
        let client = async {
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, near).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
            stream
        };
        let server = async {
            let mut heard = Vec::new();
            tls.handshake(far).await.unwrap().read_to_end(&mut heard).await.unwrap();
            heard
        };
        let (_client, heard) = tokio::join!(client, server);
        assert_eq!(heard, b"hello");
    }

    #[tokio::test]
    async fn s10_a_peer_that_does_not_shake_hands_is_let_go() {
        let tls = Tls::load(&made().files).unwrap();
        let (_silent, far) = tokio::io::duplex(64);
        let late = tls.handshake_within(far, Duration::ZERO).await;
        assert!(matches!(late, Err(HandshakeFault::TooSlow)));
        let (mut plain, far) = tokio::io::duplex(64);
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(matches!(tls.handshake(far).await, Err(HandshakeFault::Failed(_))));
        assert_eq!(HANDSHAKE_MAX.as_secs(), 5);
    }

    #[test]
    fn a_certificate_tells_when_it_ends() {
        let tls = Tls::load(&made().files).unwrap();
        let warning = |at: &str| tls.warning(Wall::parse(at).unwrap());
        assert_eq!(warning("2030-01-01T00:00:00Z"), None);
        assert!(warning("2026-01-01T00:00:00Z").unwrap().contains("begins at 2026-01-02T00:00:00"));
        assert!(warning("2060-02-28T00:00:00Z").unwrap().contains("ends at 2060-03-04T00:00:00"));
        assert!(warning("2060-03-05T00:00:00Z").unwrap().contains("ended at 2060-03-04T00:00:00"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (made(), made());
        let mixed = TlsFiles { certificate: one.files.certificate.clone(), key: other.files.key.clone() };
        assert!(fault(&mixed).contains("is not the key of the certificate in "), "{}", fault(&mixed));
    }

    #[test]
    fn a_file_that_is_not_what_it_should_be_is_named() {
        let made = made();
        let write = |name: &str, text: &str| {
            let path = made.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let with_certificate = |certificate| fault(&TlsFiles { certificate, key: made.files.key.clone() });
        let with_key = |key| fault(&TlsFiles { certificate: made.files.certificate.clone(), key });

        assert!(with_certificate(made.folder.path().join("none")).contains("No such file"));
        assert!(with_certificate(write("empty", "")).contains("holds no certificate in PEM"));
        assert!(with_certificate(made.files.key.clone()).contains("holds no certificate in PEM"));
        assert!(
            with_certificate(write("cut", "-----BEGIN CERTIFICATE-----\nMIIB"))
                .contains("is not well-formed PEM")
        );
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(with_certificate(write("junk", junk)).contains("junk: the first certificate does not read"));
        assert!(with_key(made.files.certificate.clone()).contains("holds no private key in PEM"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(with_key(write("encrypted", encrypted)).contains("the key is encrypted"));
        let broken = "-----BEGIN PRIVATE KEY-----\nsecret-bytes!\n-----END PRIVATE KEY-----\n";
        let error = with_key(write("broken", broken));
        assert!(error.contains("is not well-formed PEM") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn every_cut_certificate_is_survived() {
        let der = made().der;
        for end in 0..der.len() {
            assert!(validity(&der[..end]).is_none(), "{end}");
        }
        assert!(validity(&der).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_for_a_certificate_are_survived(bytes: Vec<u8>) {
            let _ = validity(&bytes);
            let _ = time(&bytes);
        }
    }
}
