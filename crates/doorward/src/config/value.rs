//! What configuration values are once they are read: origins, URLs and plain values.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use doorward_core::secret::Secret;

use super::network::Network;
use super::read::Settings;

/// A value that fits its key's kind.
#[derive(Clone, Debug)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A number within its range.
    Number(u64),
    /// A word, a name, a text.
    Text(String),
    /// A secret.
    Secret(Secret<String>),
    /// A path, from the configuration file's folder where it was relative.
    Path(PathBuf),
    /// A URL.
    Url(PublicUrl),
    /// One address.
    Address(SocketAddr),
    /// Addresses.
    Addresses(Vec<SocketAddr>),
    /// Networks.
    Networks(Vec<Network>),
    /// Origins.
    Origins(Vec<OriginRule>),
    /// Texts.
    Texts(Vec<String>),
    /// Tables.
    Tables(Vec<Row>),
}

/// One table of a list of tables.
#[derive(Clone, Debug)]
pub struct Row {
    /// The line on which it begins.
    pub line: usize,
    /// Its values in force.
    pub settings: Settings,
}

/// Scheme of a web address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// An origin that pages may come from: scheme, host and port, compared exactly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OriginRule {
    scheme: Scheme,
    host: String,
    /// `None` allows every port.
    port: Option<u16>,
}

impl OriginRule {
    /// Reads `https://portal.example.com`, `http://[::1]:8080` or `http://127.0.0.1:*`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} is no origin: {what}");
        let (scheme, authority) =
            scheme_of(text).ok_or_else(|| wrong("it must begin with http:// or https://"))?;
        if let Some(host) = authority.strip_suffix(":*") {
            let host = host_of(host).ok_or_else(|| wrong("the host is not well formed"))?;
            return Ok(Self { scheme, host, port: None });
        }
        if authority.contains('/') {
            return Err(wrong("it ends before the path"));
        }
        let (host, port) =
            host_and_port(authority, scheme).ok_or_else(|| wrong("the host is not well formed"))?;
        Ok(Self { scheme, host, port: Some(port) })
    }

    /// Whether the `Origin` field of a request is this one.
    pub fn allows(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = scheme_of(origin) else { return false };
        let Some((host, port)) = host_and_port(authority, scheme) else { return false };
        scheme == self.scheme && host == self.host && self.port.is_none_or(|allowed| allowed == port)
    }

    /// Whether the `Host` field of a request names this origin's host and port.
    pub fn is_host(&self, host: &str) -> bool {
        host_and_port(host, self.scheme)
            .is_some_and(|(host, port)| host == self.host && self.port.is_none_or(|allowed| allowed == port))
    }
}

impl fmt::Display for OriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            None => f.write_str(":*"),
            Some(port) if port == self.scheme.port() => Ok(()),
            Some(port) => write!(f, ":{port}"),
        }
    }
}

/// Where people reach the portal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicUrl {
    text: String,
    origin: OriginRule,
}

impl PublicUrl {
    /// Reads a URL without user, query and fragment; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} is no URL: {what}");
        let (scheme, rest) =
            scheme_of(text).ok_or_else(|| wrong("it must begin with http:// or https://"))?;
        if !rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'<' | b'>' | b'\\'))
        {
            return Err(wrong("it may hold neither query, fragment, space nor quote"));
        }
        let authority = rest.split('/').next().unwrap_or(rest);
        let (host, port) =
            host_and_port(authority, scheme).ok_or_else(|| wrong("the host is not well formed"))?;
        let text = text.trim_end_matches('/').to_owned();
        Ok(Self { text, origin: OriginRule { scheme, host, port: Some(port) } })
    }

    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The origin of its pages.
    pub fn origin(&self) -> &OriginRule {
        &self.origin
    }

    /// Whether there is a path behind the host.
    pub fn has_path(&self) -> bool {
        scheme_of(&self.text).is_some_and(|(_, rest)| rest.contains('/'))
    }

    /// Whether browsers reach it by TLS.
    pub fn is_secure(&self) -> bool {
        self.origin.scheme == Scheme::Https
    }

    /// Whether it is plain HTTP to another machine.
    pub fn is_plain_off_loopback(&self) -> bool {
        self.origin.scheme == Scheme::Http && !is_loopback_host(&self.origin.host)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether only this machine reaches an address.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a host of an origin or a `Host` field is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    host == "localhost" || bare(host).parse::<IpAddr>().is_ok_and(is_loopback)
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn scheme_of(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("http") {
        Some((Scheme::Http, rest))
    } else if scheme.eq_ignore_ascii_case("https") {
        Some((Scheme::Https, rest))
    } else {
        None
    }
}

/// Host, in lower case and with brackets around IPv6, and port of `host[:port]`.
pub fn host_and_port(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let ends_at = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(ends_at);
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => scheme.port(),
        None => return None,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
    };
    Some((host_of(host)?, port))
}

fn host_of(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let fits = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    fits.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_an_origin_is_compared_by_scheme_host_and_port() {
        let rule = OriginRule::parse("https://Portal.example.com").unwrap();
        for same in ["https://portal.example.com", "HTTPS://PORTAL.EXAMPLE.COM:443"] {
            assert!(rule.allows(same), "{same}");
        }
        for other in [
            "http://portal.example.com",
            "https://portal.example.com:8443",
            "https://portal.example.com.evil.test",
            "https://evil.test/https://portal.example.com",
            "https://portal.example.com@evil.test",
            "https://portal.example.com:443:443",
            "https://portal.example.com/",
            "null",
            "",
        ] {
            assert!(!rule.allows(other), "{other}");
        }
    }

    #[test]
    fn s13_a_star_allows_every_port_of_one_host() {
        let rule = OriginRule::parse("http://127.0.0.1:*").unwrap();
        assert!(rule.allows("http://127.0.0.1:49152") && rule.allows("http://127.0.0.1"));
        assert!(!rule.allows("http://127.0.0.2:49152") && !rule.allows("https://127.0.0.1:49152"));
        assert_eq!(rule.to_string(), "http://127.0.0.1:*");
        for wrong in ["http://*:80", "http://*", "*", "http://a/b", "ftp://a", "http://", "http://[::g]"] {
            assert!(OriginRule::parse(wrong).is_err(), "{wrong}");
        }
        assert!(OriginRule::parse("http://[::1]:8080").unwrap().allows("http://[0:0::1]:8080"));
    }

    #[test]
    fn a_public_url_gives_its_origin() {
        let url = PublicUrl::parse("https://portal.example.com/people/").unwrap();
        assert_eq!(url.as_str(), "https://portal.example.com/people");
        assert_eq!(url.origin().to_string(), "https://portal.example.com");
        assert!(!url.is_plain_off_loopback());
        assert!(PublicUrl::parse("http://192.0.2.1").unwrap().is_plain_off_loopback());
        assert!(!PublicUrl::parse("http://[::1]:80").unwrap().is_plain_off_loopback());
        for wrong in
            ["portal", "https://a?b", "https://a#b", "https://u:p@a", "https://a b", "https://a\u{202e}"]
        {
            assert!(PublicUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
