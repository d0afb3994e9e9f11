//! What configuration values are once they are read: networks, origins, URLs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use doorward_core::secret::Secret;

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
    /// User ids.
    Uids(Vec<u32>),
}

/// A network of IP addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `10.1.0.0/16`, `fd00::/8` or a single address; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| format!("{text:?} is no network"))?;
        let bits_max = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => bits_max,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|n| *n <= bits_max)
                .ok_or_else(|| format!("{text:?} has a prefix out of range 0..={bits_max}"))?,
        };
        let network = Self { base, prefix_bits };
        if masked(base, prefix_bits) == base {
            Ok(network)
        } else {
            let meant = Self { base: masked(base, prefix_bits), prefix_bits };
            Err(format!("{text:?} has bits set past its prefix; did you mean {meant}?"))
        }
    }

    /// Whether an address lies in it. An IPv4 address that came through an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && masked(address, self.prefix_bits) == self.base
    }
}

/// The address with everything past the first `bits` bits cleared.
pub fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
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
    fn a_network_holds_the_addresses_of_its_prefix() {
        let network = Network::parse("10.1.0.0/16").unwrap();
        assert!(network.contains("10.1.255.255".parse().unwrap()));
        assert!(network.contains("::ffff:10.1.2.3".parse().unwrap()), "IPv4 through an IPv6 socket");
        assert!(!network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("203.0.113.9".parse().unwrap()));
        assert!(Network::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
        assert!(!Network::parse("192.0.2.1").unwrap().contains("192.0.2.2".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.1/8", "host", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }

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
