//! Section `fix`: the FIX door and its listeners.

use std::net::SocketAddr;

use doorward_core::stream::Gateway;

use super::check::Faults;
use super::value::{Row, is_loopback};
use super::{ClientCertificates, Config, ConfigError, TlsFiles, Typed};

/// The FIX door.
#[derive(Clone, Debug)]
pub struct Fix {
    /// `fix.venue`.
    pub venue: String,
    /// `fix.code_tag`.
    pub code_tag: u32,
    /// `fix.outbound_bytes_max`.
    pub outbound_bytes_max: usize,
    /// `fix.backend`.
    pub backend: FixBackend,
    /// `fix.listeners`, in the order of the file.
    pub listeners: Vec<FixListener>,
}

/// Who takes application messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixBackend {
    /// The simulated venue.
    Sim,
    /// Each message goes back to where it came from.
    Echo,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixProfile {
    /// `cme-secure`.
    CmeSecure,
    /// `trader-otp`.
    TraderOtp,
}

/// One table `[[fix.listeners]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FixListener {
    /// `name`.
    pub name: String,
    /// `listen`.
    pub listen: SocketAddr,
    /// `profile`.
    pub profile: FixProfile,
    /// `kind`, with `segment`.
    pub gateway: Gateway,
    /// `connections_max`; `None` takes what the descriptors allow.
    pub connections_max: Option<usize>,
    /// `tls.…`.
    pub tls: Option<TlsFiles>,
    /// `insecure_off_loopback`.
    pub insecure_off_loopback: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
}

pub(super) fn fix(all: &Typed<'_>) -> Fix {
    Fix {
        venue: all.text("fix.venue"),
        code_tag: all.small("fix.code_tag"),
        outbound_bytes_max: all.size("fix.outbound_bytes_max"),
        backend: if all.text("fix.backend") == "echo" { FixBackend::Echo } else { FixBackend::Sim },
        listeners: all.rows("fix.listeners").unwrap_or_default().iter().map(listener).collect(),
    }
}

fn listener(row: &Row) -> FixListener {
    let all = Typed(&row.settings);
    // Of kind msgw without a segment, the check tells; the listener is never opened.
    let segment = Gateway::msgw(&all.text("fix.listeners.segment"));
    let is_msgw = all.text("fix.listeners.kind") == "msgw";
    let is_trader = all.text("fix.listeners.profile") == "trader-otp";
    FixListener {
        name: all.text("fix.listeners.name"),
        listen: all.address("fix.listeners.listen"),
        profile: if is_trader { FixProfile::TraderOtp } else { FixProfile::CmeSecure },
        gateway: segment.filter(|_| is_msgw).unwrap_or(Gateway::Cgw),
        connections_max: Some(all.size("fix.listeners.connections_max")).filter(|max| *max > 0),
        tls: all
            .tls("fix.listeners.tls.certificate", "fix.listeners.tls.key")
            .map(|files| TlsFiles { clients: clients(&all), ..files }),
        insecure_off_loopback: all.bool("fix.listeners.insecure_off_loopback"),
        proxy_protocol: all.bool("fix.listeners.proxy_protocol"),
    }
}

fn clients(all: &Typed<'_>) -> Option<ClientCertificates> {
    let authorities = all.path("fix.listeners.tls.client_ca")?;
    let required = all.text("fix.listeners.tls.client_certificates") != "optional";
    Some(ClientCertificates { authorities, required })
}

/// What is wrong with a listener, with the key to blame.
type Fault = (&'static str, String);

/// The rules of each listener and between them.
pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    let rows = Typed(&config.settings).rows("fix.listeners").unwrap_or_default();
    for (at, (row, listener)) in rows.iter().zip(&config.fix.listeners).enumerate() {
        let mut found = of_one(row, listener);
        if listener.proxy_protocol && config.trusted_proxies.is_empty() {
            let text = "nobody may send the header; name your proxies in trusted_proxies";
            found.push(("fix.listeners.proxy_protocol", text.to_owned()));
        }
        let named = |other: &FixListener| !listener.name.is_empty() && other.name == listener.name;
        if config.fix.listeners[..at].iter().any(named) {
            let text = format!("{:?} is the name of an earlier listener; give another", listener.name);
            found.push(("fix.listeners.name", text));
        }
        for (key, text) in found {
            let line = row.settings.get(key).and_then(|setting| setting.line).unwrap_or(row.line);
            faults.errors.push(ConfigError { line: Some(line), text: format!("{key}: {text}") });
        }
    }
}

fn of_one(row: &Row, listener: &FixListener) -> Vec<Fault> {
    let has = |key: &str| row.settings.contains_key(key);
    let mut found: Vec<Fault> = ["fix.listeners.name", "fix.listeners.listen"]
        .into_iter()
        .filter(|key| !has(key))
        .map(|key| (key, "each listener must be given one".to_owned()))
        .collect();
    let all = Typed(&row.settings);
    let (is_msgw, has_segment) = (all.text("fix.listeners.kind") == "msgw", has("fix.listeners.segment"));
    if is_msgw && !has_segment {
        let text = "kind msgw needs the market segment, two digits".to_owned();
        found.push(("fix.listeners.segment", text));
    }
    if has_segment && !is_msgw {
        let text = "only kind msgw has a market segment; take it out, or give kind = \"msgw\"".to_owned();
        found.push(("fix.listeners.segment", text));
    }
    if is_msgw && listener.profile == FixProfile::TraderOtp {
        let text = "profile trader-otp knows no market segments; take it out".to_owned();
        found.push(("fix.listeners.kind", text));
    }
    let [certificate, key] = ["fix.listeners.tls.certificate", "fix.listeners.tls.key"];
    let [ca, asked] = ["fix.listeners.tls.client_ca", "fix.listeners.tls.client_certificates"];
    for (given, lacking) in [(certificate, key), (key, certificate), (ca, certificate), (asked, ca)] {
        if has(given) && !has(lacking) {
            found.push((given, format!("needs {lacking} as well")));
        }
    }
    // E7: no door off loopback without TLS, but by its switch.
    if !is_loopback(listener.listen.ip()) && listener.tls.is_none() && !listener.insecure_off_loopback {
        let text = format!(
            "{} is off loopback and has no TLS; give tls.certificate and tls.key, or allow it with \
             insecure_off_loopback = true",
            listener.listen
        );
        found.push(("fix.listeners.listen", text));
    }
    found
}
