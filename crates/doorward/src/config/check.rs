//! Rules that span keys.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::value::is_loopback;
use super::{Config, ConfigError, TlsFiles};

/// Longest path of a Unix socket on Linux, in bytes, without the zero at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Length of what the socket is made as, after its folder: `/.s<process number>/s`; a number has seven digits at most.
const SOCKET_BESIDE_BYTES_MAX: usize = 12;
/// Shortest passphrase under which the vault seals its key file, in bytes.
pub(super) const PASSPHRASE_BYTES_MIN: usize = 12;

pub(super) struct Faults<'a> {
    config: &'a Config,
    pub(super) errors: Vec<ConfigError>,
}

impl Faults<'_> {
    /// Blames the line of the first of these keys that the file names.
    pub(super) fn blame(&mut self, paths: &[&str], text: String) {
        let line = paths.iter().find_map(|path| self.config.settings.get(path)?.line);
        self.errors.push(ConfigError { line, text });
    }
}

/// Every rule that is broken.
pub(super) fn check(config: &Config) -> Vec<ConfigError> {
    let mut faults = Faults { config, errors: Vec::new() };
    tls_pair(&mut faults, "ws.tls.certificate", "ws.tls.key");
    tls_pair(&mut faults, "metrics.tls.certificate", "metrics.tls.key");
    for address in &config.ws.listen {
        off_loopback(&mut faults, "ws", *address, config.ws.tls.as_ref(), config.ws.insecure_off_loopback);
    }
    let metrics = &config.metrics;
    off_loopback(&mut faults, "metrics", metrics.listen, metrics.tls.as_ref(), metrics.insecure_off_loopback);
    addresses_apart(&mut faults);
    super::fix::check(config, &mut faults);
    super::web::check(config, &mut faults);
    super::mail::check(config, &mut faults);
    if config.vault.challenge_bits < 2048 && !config.vault.legacy_rsa_1024 {
        let text = format!(
            "vault.challenge_bits: {} is below 2048; only vault.legacy_rsa_1024 = true allows it",
            config.vault.challenge_bits
        );
        faults.blame(&["vault.challenge_bits"], text);
    }
    let passphrase = config.vault.passphrase.as_ref().map(|passphrase| passphrase.expose().len());
    if let Some(bytes) = passphrase.filter(|bytes| *bytes < PASSPHRASE_BYTES_MIN) {
        let text = format!(
            "vault.passphrase: has {bytes} bytes, at least {PASSPHRASE_BYTES_MIN} are needed; give a longer one"
        );
        faults.blame(&["vault.passphrase"], text);
    }
    paths_apart(&mut faults);
    if config.ws.proxy_protocol && config.trusted_proxies.is_empty() {
        let text =
            "ws.proxy_protocol: nobody may send the header; name your proxies in trusted_proxies".to_owned();
        faults.blame(&["ws.proxy_protocol"], text);
    }
    if let Err((key, why)) = super::calendar::calendar(&config.settings) {
        faults.blame(&[key], format!("{key}: {why}"));
    }
    faults.errors.sort_by_key(|error| error.line);
    faults.errors
}

pub(super) fn tls_pair(faults: &mut Faults<'_>, certificate: &str, key: &str) {
    let has = |path| faults.config.settings.contains_key(path);
    let (given, lacking) = match (has(certificate), has(key)) {
        (true, false) => (certificate, key),
        (false, true) => (key, certificate),
        (true, true) | (false, false) => return,
    };
    faults.blame(&[given], format!("{given}: needs {lacking} as well"));
}

/// E7: no door off loopback without TLS, but by its switch.
pub(super) fn off_loopback(
    faults: &mut Faults<'_>,
    section: &str,
    address: SocketAddr,
    tls: Option<&TlsFiles>,
    switch: bool,
) {
    if is_loopback(address.ip()) || tls.is_some() || switch {
        return;
    }
    let text = format!(
        "{section}.listen: {address} is off loopback and has no TLS; give {section}.tls.certificate and \
         {section}.tls.key, or allow it with {section}.insecure_off_loopback = true"
    );
    faults.blame(&[&format!("{section}.listen")], text);
}

/// No two listeners on one address. Port 0 takes a free one each time.
fn addresses_apart(faults: &mut Faults<'_>) {
    let ws = faults.config.ws.listen.iter().map(|address| ("ws.listen", *address));
    let fix = faults.config.fix.listeners.iter().map(|listener| ("fix.listeners.listen", listener.listen));
    let web = faults.config.web.listen.iter().map(|address| ("web.listen", *address));
    let metrics = ("metrics.listen", faults.config.metrics.listen);
    let all: Vec<(&str, SocketAddr)> = ws.chain(fix).chain(web).chain([metrics]).collect();
    for (at, (path, address)) in all.iter().enumerate() {
        let clash = all[..at].iter().find(|(_, earlier)| clashes(*earlier, *address));
        if let Some((earlier_path, earlier)) = clash {
            let text = format!("{path}: {address} is taken by {earlier_path} already ({earlier})");
            faults.blame(&[path, earlier_path], text);
        }
    }
}

fn clashes(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

/// The key file and the socket are where they can be kept apart from the data, and opened.
fn paths_apart(faults: &mut Faults<'_>) {
    let config = faults.config;
    let data_dir = settled(&config.data_dir);
    if settled(&config.vault.key_file).starts_with(&data_dir) {
        let text = format!(
            "vault.key_file: {} lies inside data_dir ({}), so a backup would hold the key; put it elsewhere",
            config.vault.key_file.display(),
            config.data_dir.display()
        );
        faults.blame(&["vault.key_file", "data_dir"], text);
    }
    let socket = &config.admin.socket;
    let beside = socket.parent().map_or(0, |folder| folder.as_os_str().len() + SOCKET_BESIDE_BYTES_MAX);
    let socket_bytes = socket.as_os_str().len().max(beside);
    if socket_bytes > SOCKET_PATH_BYTES_MAX {
        let text = format!(
            "admin.socket: {} has {socket_bytes} bytes with what is put beside it while it is made, a socket's path \
             at most {SOCKET_PATH_BYTES_MAX}; give a shorter admin.socket",
            config.admin.socket.display()
        );
        faults.blame(&["admin.socket", "data_dir"], text);
    }
}

/// A path without `.` and `..`, and with the links of that part of it which exists already followed.
fn settled(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    for existing in plain.ancestors() {
        if let (Ok(real), Ok(rest)) = (existing.canonicalize(), plain.strip_prefix(existing)) {
            return real.join(rest);
        }
    }
    plain
}

/// What is allowed, but should be known.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.vault.challenge_bits < 2048 {
        warnings.push(format!(
            "vault.challenge_bits: legacy challenge keys of {} bits can be broken; a password holds at most 117 bytes \
             with PKCS#1, 62 with OAEP and 29 at the pages",
            config.vault.challenge_bits
        ));
    }
    let plain = config.ws.listen.iter().map(|address| ("ws", *address, config.ws.tls.is_some()));
    let metrics = ("metrics", config.metrics.listen, config.metrics.tls.is_some());
    let fix = config.fix.listeners.iter();
    let fix = fix.map(|listener| ("fix.listeners", listener.listen, listener.tls.is_some()));
    let web = config.web.listen.iter().map(|address| ("web", *address, config.web.tls.is_some()));
    for (section, address, has_tls) in plain.chain(fix).chain(web).chain([metrics]) {
        if !has_tls && !is_loopback(address.ip()) {
            warnings.push(format!(
                "{section}.listen: {address} is reached without TLS, as {section}.insecure_off_loopback allows"
            ));
        }
    }
    if config.public_url.as_ref().is_some_and(super::PublicUrl::is_plain_off_loopback) {
        warnings.push("portal.public_url: people reach the portal without TLS".to_owned());
    }
    warnings.extend(super::mail::warnings(config));
    warnings
}
