//! TLS on a listener: certificates of clients, and certificates that are renewed.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::*;
use crate::config::{ClientCertificates, TlsFiles};
use crate::doors::tls::Tls;

/// One that certifies servers and clients.
pub(super) struct Authority {
    folder: tempfile::TempDir,
    der: CertificateDer<'static>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

type Certified = (CertificateDer<'static>, rcgen::KeyPair);

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { folder, der: certificate.der().clone(), issuer: rcgen::Issuer::new(params, key) }
    }

    fn certify(&self) -> Certified {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }

    /// Writes a new certificate of the server to its files.
    fn write(&self) {
        let (certificate, key) = self.certify();
        let pem = |label: &str, der: &[u8]| {
            let text = data_encoding::BASE64.encode(der);
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
        };
        std::fs::write(self.folder.path().join("chain.pem"), pem("CERTIFICATE", &certificate)).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// TLS for a listener; `required` where it asks for certificates of this authority.
    pub(super) fn server(&self, required: Option<bool>) -> Tls {
        self.write();
        let path = |name: &str| self.folder.path().join(name);
        let clients = required.map(|required| ClientCertificates { authorities: path("ca.pem"), required });
        Tls::load(&TlsFiles { certificate: path("chain.pem"), key: path("key.pem"), clients }).unwrap()
    }

    /// What a client that trusts this authority connects with.
    pub(super) fn client(&self, certified: Option<Certified>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match certified {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        })
    }
}

/// A client inside TLS.
struct Inside {
    stream: StreamOwned<ClientConnection, TcpStream>,
    client: Client,
}

impl Inside {
    fn connect(world: &World, config: &Arc<ClientConfig>) -> Self {
        let client = world.connect();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { stream: StreamOwned::new(session, client.stream.try_clone().unwrap()), client }
    }

    /// The type of the answer; `None` where TLS or the connection ended instead.
    fn answer(&mut self, bytes: &[u8]) -> Option<String> {
        self.stream.write_all(bytes).ok()?;
        let mut heard = Vec::new();
        loop {
            if let Cut::Message { len } = Cutter::new(1 << 16).cut(&heard) {
                let message = String::from_utf8(heard[..len].to_vec()).unwrap().replace('\x01', "|");
                return get(&message, "35").map(str::to_owned);
            }
            let mut bytes = [0; 4_096];
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(read) => heard.extend_from_slice(&bytes[..read]),
            }
        }
    }

    fn log_on(&mut self, comp: &str) -> Option<String> {
        let logon = self.client.logon(comp, 1);
        self.answer(&logon)
    }

    /// The certificate that the server showed.
    fn shown(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn world(tls: Tls) -> World {
    World::with(|fix| fix.listeners[0].1 = Some(tls))
}

#[test]
fn certificates_of_clients_are_asked_for_and_a_bad_one_is_refused() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    for required in [None, Some(false), Some(true)] {
        let world = world(ours.server(required));
        let log_on = |comp, certified| Inside::connect(&world, &ours.client(certified)).log_on(comp);
        let refused = |reasons: usize| {
            let began = std::time::Instant::now();
            let count = || world.noted().iter().filter(|deny| **deny == Deny::TlsFailed).count();
            while count() < reasons {
                assert!(began.elapsed() < SOON, "{required:?}: not written down");
                std::thread::yield_now();
            }
            assert_eq!(count(), reasons);
        };
        let good = Some("A".to_owned());
        assert_eq!(log_on("ABC001N", Some(ours.certify())), good, "{required:?}");
        let without = log_on("ABC002N", None);
        assert_eq!(without, if required == Some(true) { None } else { good.clone() }, "{required:?}");
        refused(usize::from(required == Some(true)));
        let other = log_on("ABC003N", Some(foreign.certify()));
        assert_eq!(other, if required.is_some() { None } else { good }, "{required:?}");
        refused(usize::from(required == Some(true)) + usize::from(required.is_some()));
    }
}

#[test]
fn a_renewed_certificate_is_shown_to_who_comes_next_and_nobody_is_dropped() {
    let ours = Authority::new();
    let tls = ours.server(None);
    let world = world(tls.clone());
    let config = ours.client(None);
    let mut before = Inside::connect(&world, &config);
    assert_eq!(before.log_on("ABC001N"), Some("A".to_owned()));
    ours.write();
    assert!(tls.renew().unwrap());
    let mut after = Inside::connect(&world, &config);
    assert_eq!(after.log_on("ABC002N"), Some("A".to_owned()));
    assert_ne!(before.shown(), after.shown());
    let test = before.client.build("1", "112=still|");
    assert!(before.answer(&test).is_some(), "who was there is served");
}
