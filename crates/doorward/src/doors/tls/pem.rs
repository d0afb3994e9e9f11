//! Certificates and keys in PEM files.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsFault;

/// Longest PEM file, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

pub(super) fn content(path: &Path, what: String) -> TlsFault {
    TlsFault::Content { path: path.to_path_buf(), what }
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsFault> {
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

pub(super) fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, format!("is not well-formed PEM: {error}")))?;
    if chain.is_empty() {
        return Err(content(path, "holds no certificate in PEM (BEGIN CERTIFICATE)".to_owned()));
    }
    Ok(chain)
}

pub(super) fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        Error::NoItemsFound if bytes.windows(21).any(|part| part == b"ENCRYPTED PRIVATE KEY") => content(
            path,
            "the key is encrypted; give it without a passphrase, readable by the server only".to_owned(),
        ),
        Error::NoItemsFound => content(path, "holds no private key in PEM (BEGIN PRIVATE KEY)".to_owned()),
        // The parser's own words may quote lines of the file.
        _ => content(path, "is not well-formed PEM".to_owned()),
    })
}
