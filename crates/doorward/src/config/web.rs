//! Section `web`: the listener of portal and console.

use std::net::SocketAddr;

use super::check::{Faults, off_loopback, tls_pair};
use super::value::is_loopback;
use super::{Config, PublicUrl, TlsFiles, Typed};

/// The listener of portal and console.
#[derive(Clone, Debug)]
pub struct Web {
    /// `web.listen`; empty: there are no pages.
    pub listen: Vec<SocketAddr>,
    /// `web.tls.…`.
    pub tls: Option<TlsFiles>,
    /// `web.insecure_off_loopback`.
    pub insecure_off_loopback: bool,
    /// `web.proxy_protocol`.
    pub proxy_protocol: bool,
}

impl Web {
    /// Where people reach the pages where `portal.public_url` does not say: the first address, as bound.
    pub fn url_of(&self, bound: SocketAddr) -> Option<PublicUrl> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        PublicUrl::parse(&format!("{scheme}://{bound}")).ok()
    }
}

pub(super) fn web(all: &Typed<'_>) -> Web {
    Web {
        listen: all.addresses("web.listen"),
        tls: all.tls("web.tls.certificate", "web.tls.key"),
        insecure_off_loopback: all.bool("web.insecure_off_loopback"),
        proxy_protocol: all.bool("web.proxy_protocol"),
    }
}

pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    let web = &config.web;
    tls_pair(faults, "web.tls.certificate", "web.tls.key");
    for address in &web.listen {
        off_loopback(faults, "web", *address, web.tls.as_ref(), web.insecure_off_loopback);
    }
    if web.proxy_protocol && config.trusted_proxies.is_empty() {
        let text = "web.proxy_protocol: nobody may send the header; name your proxies in trusted_proxies";
        faults.blame(&["web.proxy_protocol"], text.to_owned());
    }
    let public = config.public_url.as_ref();
    if let (Some(far), None) = (web.listen.iter().find(|address| !is_loopback(address.ip())), public) {
        let text = format!("web.listen: {far} is off loopback; say in portal.public_url how people reach it");
        faults.blame(&["web.listen"], text);
    }
    let Some(url) = public.filter(|_| !web.listen.is_empty()) else { return };
    if url.has_path() {
        let text = format!("portal.public_url: {url} has a path; the pages of web.listen lie at the root");
        faults.blame(&["portal.public_url"], text);
    }
    if web.tls.is_some() && !url.is_secure() {
        let text = format!(
            "portal.public_url: {url} is plain; with web.tls.certificate the pages are reached by https"
        );
        faults.blame(&["portal.public_url"], text);
    }
}
