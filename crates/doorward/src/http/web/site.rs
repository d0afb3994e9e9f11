//! What the pages know of where they are reached: the names that are taken, and how a cookie is called there (S13).

use crate::config::PublicUrl;
use crate::doors::origin::host_is_loopback;

/// The cookie where the browser reaches us by TLS; the prefix makes browsers hold it to Secure, Path=/ and one host.
const COOKIE_SECURE: &str = "__Host-doorward";
/// The cookie on plain loopback, where browsers would not take the other.
const COOKIE_PLAIN: &str = "dw_session";

/// Where the pages are reached.
#[derive(Clone, Debug)]
pub struct Site {
    public: PublicUrl,
    on_loopback: bool,
}

impl Site {
    /// A site at a public URL; `on_loopback`: the listener is on loopback, whose names are taken as well.
    pub fn new(public: PublicUrl, on_loopback: bool) -> Self {
        Self { public, on_loopback }
    }

    /// The URL for links in mails and answers, without a slash at its end.
    pub fn public_url(&self) -> &str {
        self.public.as_str()
    }

    /// Whether browsers reach us by TLS.
    pub fn is_secure(&self) -> bool {
        self.public.is_secure()
    }

    /// What the session's cookie is called.
    pub fn cookie_name(&self) -> &'static str {
        if self.is_secure() { COOKIE_SECURE } else { COOKIE_PLAIN }
    }

    /// Whether a request for this `Host` is meant for us.
    pub fn takes_host(&self, host: &str) -> bool {
        self.public.origin().is_host(host) || (self.on_loopback && host_is_loopback(Some(host)))
    }

    /// Whether a page of this `Origin` is ours, on a request with this `Host`, which was taken already.
    pub fn is_own_origin(&self, origin: &str, host: &str) -> bool {
        let plain = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        self.public.origin().allows(origin)
            || (self.on_loopback
                && host_is_loopback(Some(host))
                && plain.is_some_and(|plain| plain.eq_ignore_ascii_case(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(public: &str, on_loopback: bool) -> Site {
        Site::new(PublicUrl::parse(public).unwrap(), on_loopback)
    }

    #[test]
    fn s13_only_the_public_name_and_on_loopback_this_machine_are_taken() {
        let far = site("https://portal.example.com", false);
        assert!(far.takes_host("portal.example.com") && far.takes_host("PORTAL.example.com:443"));
        for host in ["portal.example.com:444", "127.0.0.1:8443", "localhost", "evil.test", "", "a b"] {
            assert!(!far.takes_host(host), "{host:?}");
        }
        let near = site("http://127.0.0.1:8443", true);
        assert!(near.takes_host("127.0.0.1:8443") && near.takes_host("localhost:8443"));
        assert!(!near.takes_host("rebound.example:8443"));
    }

    #[test]
    fn s13_only_pages_of_our_own_origin_may_post() {
        let far = site("https://portal.example.com", false);
        assert!(far.is_own_origin("https://portal.example.com", "portal.example.com"));
        for origin in
            ["null", "", "http://portal.example.com", "https://portal.example.com.evil.test", "https://a"]
        {
            assert!(!far.is_own_origin(origin, "portal.example.com"), "{origin:?}");
        }
        let near = site("http://127.0.0.1:8443", true);
        assert!(near.is_own_origin("http://localhost:8443", "localhost:8443"));
        assert!(
            !near.is_own_origin("http://localhost:9000", "localhost:8443"),
            "another port is another origin"
        );
        assert!(!near.is_own_origin("http://evil.test:8443", "evil.test:8443"));
    }

    #[test]
    fn s6_the_cookie_is_a_host_cookie_wherever_there_is_tls() {
        assert_eq!(site("https://portal.example.com", false).cookie_name(), "__Host-doorward");
        assert_eq!(site("http://127.0.0.1:1", true).cookie_name(), "dw_session");
    }
}
