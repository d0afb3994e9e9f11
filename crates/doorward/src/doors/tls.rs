//! TLS by a given certificate, and by certificates of clients where they are asked for.

mod pem;
mod validity;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use doorward_core::time::Wall;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use self::pem::{certificates, content, private_key, read};
use self::validity::{Validity, validity};
use crate::config::{ClientCertificates, TlsFiles};

/// Longest time for a handshake (S10).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How long before its end a certificate is warned about.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

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

/// TLS as a server. What [`Self::renew`] takes over, every clone has.
#[derive(Clone)]
pub struct Tls(Arc<Kept>);

struct Kept {
    files: TlsFiles,
    in_force: RwLock<InForce>,
}

/// What the files hold.
struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    authorities: Option<Zeroizing<Vec<u8>>>,
}

/// What new connections shake hands by.
struct InForce {
    http: Arc<ServerConfig>,
    other: Arc<ServerConfig>,
    validity: Option<Validity>,
    /// Over the contents of the files.
    digest: Vec<u8>,
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

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsFault> {
        let authorities = files.clients.as_ref().map(|clients| read(&clients.authorities)).transpose()?;
        Ok(Self { certificate: read(&files.certificate)?, key: read(&files.key)?, authorities })
    }

    fn digest(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        for part in
            [Some(&self.certificate), Some(&self.key), self.authorities.as_ref()].into_iter().flatten()
        {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }
}

impl InForce {
    fn new(files: &TlsFiles, contents: &Contents) -> Result<Self, TlsFault> {
        let chain = certificates(&files.certificate, &contents.certificate)?;
        let validity = chain.first().and_then(|certificate| validity(certificate));
        let key = private_key(&files.key, &contents.key)?;
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
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let builder = match files.clients.as_ref().zip(contents.authorities.as_ref()) {
            None => builder.with_no_client_auth(),
            Some((clients, pem)) => builder.with_client_cert_verifier(verifier(clients, pem, provider)?),
        };
        let mut other = builder.with_single_cert(chain, key).map_err(wrong)?;
        if files.clients.is_some() {
            // Who comes back is asked for the certificate again, which may have ended meanwhile.
            other.session_storage = Arc::new(NoServerSessionStorage {});
            other.send_tls13_tickets = 0;
        }
        let mut http = other.clone();
        http.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { http: Arc::new(http), other: Arc::new(other), validity, digest: contents.digest() })
    }
}

/// Judges certificates of clients.
fn verifier(
    clients: &ClientCertificates,
    pem: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsFault> {
    let path = &clients.authorities;
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        let wrong = |why| content(path, format!("a certificate in it does not read: {why}"));
        authorities.add(certificate).map_err(wrong)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|why| content(path, format!("does not fit: {why}")))
}

impl Tls {
    /// Reads the certificate chain and its key, and whom clients' certificates must come from.
    ///
    /// # Errors
    /// Where a file is missing or not PEM, or the key is not the certificate's.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFault> {
        let in_force = InForce::new(files, &Contents::read(files)?)?;
        Ok(Self(Arc::new(Kept { files: files.clone(), in_force: RwLock::new(in_force) })))
    }

    /// Reads the files again. Returns whether they have changed: from now on new connections shake hands by what they
    /// hold; those that are there go on.
    ///
    /// # Errors
    /// As of [`Self::load`]; then everything stays as it was.
    pub fn renew(&self) -> Result<bool, TlsFault> {
        let contents = Contents::read(&self.0.files)?;
        if contents.digest() == self.in_force().digest {
            return Ok(false);
        }
        let renewed = InForce::new(&self.0.files, &contents)?;
        *self.0.in_force.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(true)
    }

    fn in_force(&self) -> std::sync::RwLockReadGuard<'_, InForce> {
        self.0.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a protocol that is not HTTP.
    pub fn plain_protocol(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.in_force().other)
    }

    /// What the operator should know of the certificate: past, not yet good, or about to end.
    pub fn warning(&self, now: Wall) -> Option<String> {
        let Validity { from, to } = self.in_force().validity?;
        let path = self.0.files.certificate.display();
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
        let acceptor = TlsAcceptor::from(Arc::clone(&self.in_force().http));
        match tokio::time::timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(HandshakeFault::Failed(error)),
            Err(_) => Err(HandshakeFault::TooSlow),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::ClientConfig;
    use rustls::pki_types::{CertificateDer, ServerName};
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
        let files = TlsFiles {
            certificate: folder.path().join("c.pem"),
            key: folder.path().join("k.pem"),
            clients: None,
        };
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
        let mixed = TlsFiles { key: other.files.key.clone(), ..one.files.clone() };
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
        let with_certificate = |certificate| fault(&TlsFiles { certificate, ..made.files.clone() });
        let with_key = |key| fault(&TlsFiles { key, ..made.files.clone() });
        let with_clients = |authorities| {
            let clients = Some(ClientCertificates { authorities, required: true });
            fault(&TlsFiles { clients, ..made.files.clone() })
        };

        assert!(with_certificate(made.folder.path().join("none")).contains("No such file"));
        assert!(with_certificate(write("empty", "")).contains("holds no certificate in PEM"));
        assert!(with_certificate(made.files.key.clone()).contains("holds no certificate in PEM"));
        assert!(
            with_certificate(write("cut", "-----BEGIN CERTIFICATE-----\nMIIB"))
                .contains("is not well-formed PEM")
        );
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(with_certificate(write("junk", junk)).contains("junk: the first certificate does not read"));
        assert!(with_clients(write("junk-ca", junk)).contains("junk-ca: a certificate in it does not read"));
        assert!(with_clients(made.files.key.clone()).contains("holds no certificate in PEM"));
        assert!(with_key(made.files.certificate.clone()).contains("holds no private key in PEM"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(with_key(write("encrypted", encrypted)).contains("the key is encrypted"));
        let broken = "-----BEGIN PRIVATE KEY-----\nsecret-bytes!\n-----END PRIVATE KEY-----\n";
        let error = with_key(write("broken", broken));
        assert!(error.contains("is not well-formed PEM") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn certificates_are_taken_over_when_their_files_change_and_a_broken_file_changes_nothing() {
        let (made, next) = (made(), made());
        let tls = Tls::load(&made.files).unwrap();
        let clone = tls.clone();
        assert!(!tls.renew().unwrap(), "nothing has changed");
        let before = tls.plain_protocol();
        std::fs::copy(&next.files.certificate, &made.files.certificate).unwrap();
        let half = tls.renew().unwrap_err().to_string();
        assert!(half.contains("k.pem: is not the key of the certificate in "), "{half}");
        assert!(Arc::ptr_eq(&before, &clone.plain_protocol()), "as it was");
        std::fs::copy(&next.files.key, &made.files.key).unwrap();
        assert!(tls.renew().unwrap());
        assert!(!Arc::ptr_eq(&before, &clone.plain_protocol()), "every clone has it");
        std::fs::remove_file(&made.files.key).unwrap();
        assert!(tls.renew().unwrap_err().to_string().contains("k.pem"));
        assert!(!Arc::ptr_eq(&before, &clone.plain_protocol()));
    }
}
