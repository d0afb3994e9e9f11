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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "doorward.toml", Path::new("/etc/doorward"), &|_| None)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn without_an_address_there_are_no_pages() {
        assert!(parse("").unwrap().web.listen.is_empty());
    }

    #[test]
    fn e7_pages_off_loopback_need_tls_or_its_switch_and_a_name() {
        let plain = "portal.public_url = \"https://p.example\"\nweb.listen = [\"192.0.2.1:443\"]\n";
        let error = parse(plain).unwrap_err();
        assert!(error.contains("web.listen: 192.0.2.1:443 is off loopback and has no TLS"), "{error}");
        let switched = parse(&format!("{plain}web.insecure_off_loopback = true")).unwrap();
        assert_eq!(switched.warnings().len(), 1, "{:?}", switched.warnings());
        let tls = "web.tls.certificate = \"c.pem\"\nweb.tls.key = \"k.pem\"\n";
        assert!(parse(&format!("{plain}{tls}")).unwrap().warnings().is_empty());
        let unnamed = parse(&format!("web.listen = [\"192.0.2.1:443\"]\n{tls}")).unwrap_err();
        assert!(unnamed.contains("say in portal.public_url how people reach it"), "{unnamed}");
        assert!(parse("web.tls.key = \"k.pem\"").unwrap_err().contains("needs web.tls.certificate as well"));
    }

    #[test]
    fn pages_lie_at_the_root_of_the_public_url_and_are_https_where_they_speak_tls() {
        let with = |rest: &str| parse(&format!("web.listen = [\"127.0.0.1:8443\"]\n{rest}"));
        assert!(with("portal.public_url = \"https://p.example/\"").is_ok());
        let error = with("portal.public_url = \"https://p.example/portal\"").unwrap_err();
        assert!(error.contains("portal.public_url: https://p.example/portal has a path"), "{error}");
        assert!(parse("portal.public_url = \"https://p.example/portal\"").is_ok(), "somebody else's pages");
        let tls = "web.tls.certificate = \"c.pem\"\nweb.tls.key = \"k.pem\"\nportal.public_url = \"http://p.example\"";
        assert!(with(tls).unwrap_err().contains("are reached by https"));
    }

    #[test]
    fn without_a_public_url_it_is_the_listeners() {
        let web = parse("web.listen = [\"127.0.0.1:0\"]").unwrap().web;
        assert_eq!(web.url_of("127.0.0.1:8443".parse().unwrap()).unwrap().as_str(), "http://127.0.0.1:8443");
        assert_eq!(web.url_of("[::1]:8443".parse().unwrap()).unwrap().as_str(), "http://[::1]:8443");
    }
}
