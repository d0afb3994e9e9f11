//! Which web pages may open a door (S13).

use crate::config::value::{Scheme, host_and_port, is_loopback_host};
use crate::config::{OriginRule, PublicUrl};

/// Whether a request with these `Origin` and `Host` fields may come in.
///
/// Programs send no `Origin` and are welcome; a page's must be that of the portal or in `ws.origins`, by scheme, host
/// and port. `Host` must be there and well formed; what it says opens nothing.
pub fn origin_allowed(
    origin: Option<&str>,
    host: Option<&str>,
    portal: Option<&PublicUrl>,
    origins: &[OriginRule],
) -> bool {
    if host.and_then(|host| host_and_port(host, Scheme::Http)).is_none() {
        return false;
    }
    match origin {
        None => true,
        Some(origin) => {
            portal.is_some_and(|url| url.origin().allows(origin))
                || origins.iter().any(|rule| rule.allows(origin))
        }
    }
}

/// Whether the `Host` field of a request to a listener on loopback names this machine.
///
/// A page that has bound its own name to a loopback address does not.
pub fn host_is_loopback(host: Option<&str>) -> bool {
    host.and_then(|host| host_and_port(host, Scheme::Http)).is_some_and(|(host, _)| is_loopback_host(&host))
}

/// Body for fuzzing: of any `Origin` and `Host`, one each line, only those that are listed come in.
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (origin, host) = text.split_once('\n').unwrap_or((text, "gate.example.com"));
    let portal = PublicUrl::parse("https://portal.example.com").ok();
    let rules: Vec<OriginRule> = OriginRule::parse("http://127.0.0.1:*").into_iter().collect();
    let well_formed = host_and_port(host, Scheme::Http).is_some();
    assert_eq!(origin_allowed(None, Some(host), portal.as_ref(), &rules), well_formed);
    if origin_allowed(Some(origin), Some(host), portal.as_ref(), &rules) {
        let low = origin.to_ascii_lowercase();
        let portal = low.strip_prefix("https://portal.example.com");
        let listed = low.strip_prefix("http://127.0.0.1");
        let rest = portal.or(listed).unwrap_or("not listed");
        let is_port = |port: &str| port.parse::<u16>().is_ok() || port.is_empty();
        let rest_fits = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        assert!(well_formed && rest_fits, "{origin:?} came in");
    }
    if host_is_loopback(Some(host)) {
        let low = host.to_ascii_lowercase();
        assert!(low.starts_with("localhost") || low.starts_with("127.") || low.starts_with('['), "{host:?}");
    }
    for text in [origin, host] {
        if let Ok(rule) = OriginRule::parse(text) {
            assert_eq!(OriginRule::parse(&rule.to_string()), Ok(rule));
        }
        if let Ok(url) = PublicUrl::parse(text) {
            assert!(PublicUrl::parse(url.as_str()).is_ok_and(|again| again.origin() == url.origin()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(origin: Option<&str>) -> bool {
        let portal = PublicUrl::parse("https://portal.example.com/people").unwrap();
        let origins = [OriginRule::parse("http://127.0.0.1:*").unwrap()];
        origin_allowed(origin, Some("gate.example.com:7402"), Some(&portal), &origins)
    }

    #[test]
    fn s13_programs_the_portal_and_listed_origins_come_in() {
        assert!(allowed(None));
        assert!(allowed(Some("https://portal.example.com")));
        assert!(allowed(Some("http://127.0.0.1:49000")));
    }

    #[test]
    fn s13_other_origins_stay_out() {
        for origin in [
            "null",
            "",
            "https://gate.example.com:7402",
            "http://gate.example.com:7402",
            "http://portal.example.com",
            "https://portal.example.com:444",
            "https://portal.example.com.evil.test",
            "https://portal.example.com, https://evil.test",
            "http://127.0.0.1.evil.test:49000",
            "file://",
        ] {
            assert!(!allowed(Some(origin)), "{origin}");
        }
        assert!(
            !origin_allowed(Some("https://portal.example.com"), Some("h"), None, &[]),
            "no portal is configured"
        );
    }

    #[test]
    fn s13_a_request_without_a_well_formed_host_stays_out() {
        for host in [None, Some(""), Some("a b"), Some("a/b"), Some("a:99999"), Some("u@a"), Some("[::1")] {
            assert!(!origin_allowed(None, host, None, &[]), "{host:?}");
        }
        assert!(origin_allowed(None, Some("[::1]:7402"), None, &[]));
    }

    #[test]
    fn s13_a_name_bound_to_loopback_is_not_this_machine() {
        for here in ["127.0.0.1:7490", "localhost:7490", "[::1]:7490", "LOCALHOST"] {
            assert!(host_is_loopback(Some(here)), "{here}");
        }
        for elsewhere in
            [None, Some("evil.test:7490"), Some("127.0.0.1.evil.test"), Some("192.0.2.1"), Some("")]
        {
            assert!(!host_is_loopback(elsewhere), "{elsewhere:?}");
        }
    }
}
