//! Where a connection comes from, as far as it can be believed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::config::Network;
use crate::config::network::masked;

/// A peer's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Source {
    /// The address; an IPv4 address that came through an IPv6 socket is written as IPv4.
    pub addr: IpAddr,
    /// What attempts are counted by: the address, or its /64 network for IPv6, which one peer owns whole.
    pub group: IpAddr,
}

impl Source {
    /// The source with this address.
    pub fn new(address: IpAddr) -> Self {
        let addr = address.to_canonical();
        let group = if addr.is_ipv4() { addr } else { masked(addr, 64) };
        Self { addr, group }
    }

    /// Whom a trusted proxy says it speaks for, by the `Forwarded` fields of a request (RFC 7239), in their order.
    ///
    /// From the right, the first `for` that is no trusted proxy itself. A proxy that hides the address, or names none,
    /// is the source. Fields from anybody else are not even read.
    ///
    /// # Errors
    /// Where a trusted proxy sends something else.
    pub fn forwarded<'a>(
        self,
        trusted: &[Network],
        fields: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, Malformed> {
        let is_trusted = |source: Self| trusted.iter().any(|network| network.contains(source.addr));
        if !is_trusted(self) {
            return Ok(self);
        }
        let mut hops = Vec::new();
        for field in fields {
            elements(field, &mut hops)?;
        }
        let mut source = self;
        for hop in hops.into_iter().rev() {
            let Some(address) = hop else { break };
            source = Self::new(address);
            if !is_trusted(source) {
                break;
            }
        }
        Ok(source)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// A trusted proxy sent a header that cannot be read; the text says what is wrong with it and holds none of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Longest `Forwarded` field, in bytes.
const FIELD_BYTES_MAX: usize = doorward_core::limits::Limit::ForwardedBytes.max() as usize;
/// Most hops in all fields.
const HOPS_MAX: usize = doorward_core::limits::Limit::ForwardedHops.max() as usize;

/// Reads one field; each element gives its `for` address, or `None` where it names none.
fn elements(field: &[u8], hops: &mut Vec<Option<IpAddr>>) -> Result<(), Malformed> {
    if field.len() > FIELD_BYTES_MAX {
        return Err(Malformed("Forwarded is longer than 4096 bytes"));
    }
    let mut rest = Reader { bytes: field };
    loop {
        rest.skip_space();
        // An empty list element is allowed (RFC 9110, 5.6.1.2).
        if !rest.is_empty() && rest.peek() != Some(b',') {
            if hops.len() == HOPS_MAX {
                return Err(Malformed("Forwarded names more than 32 hops"));
            }
            hops.push(element(&mut rest)?);
            rest.skip_space();
        }
        match rest.take() {
            None => return Ok(()),
            Some(b',') => {}
            Some(_) => return Err(Malformed("Forwarded has something between two elements")),
        }
    }
}

/// `forwarded-element = [ pair ] *( ";" [ pair ] )`.
fn element(rest: &mut Reader<'_>) -> Result<Option<IpAddr>, Malformed> {
    let mut found = None;
    let mut has_for = false;
    loop {
        if rest.peek().is_some_and(is_token_byte) {
            let name = rest.token();
            if rest.take() != Some(b'=') {
                return Err(Malformed("Forwarded has a name without a value"));
            }
            let value = rest.value()?;
            if name.eq_ignore_ascii_case(b"for") {
                if has_for {
                    return Err(Malformed("Forwarded has an element with two for="));
                }
                has_for = true;
                found = node(&value)?;
            }
        }
        if rest.peek() != Some(b';') {
            return Ok(found);
        }
        rest.take();
    }
}

/// `node = nodename [ ":" node-port ]`; an address, or `None` for `unknown` and hidden names.
fn node(value: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    const WRONG: Malformed = Malformed("Forwarded has a for= that is no address");
    let text = std::str::from_utf8(value).map_err(|_| WRONG)?;
    let (name, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, port) = inner.split_once(']').ok_or(WRONG)?;
            let address: Ipv6Addr = address.parse().map_err(|_| WRONG)?;
            let port = if port.is_empty() { "0" } else { port.strip_prefix(':').ok_or(WRONG)? };
            (Some(IpAddr::V6(address)), port)
        }
        None => {
            let (name, port) = text.split_once(':').unwrap_or((text, "0"));
            let is_hidden = name.starts_with('_') && name.len() > 1 && name.bytes().all(is_hidden_byte);
            let address = match name {
                name if is_hidden || name.eq_ignore_ascii_case("unknown") => None,
                name => Some(IpAddr::V4(name.parse().map_err(|_| WRONG)?)),
            };
            (address, port)
        }
    };
    let is_number = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let is_hidden = port.starts_with('_') && port.bytes().all(is_hidden_byte);
    if is_number || is_hidden { Ok(name) } else { Err(WRONG) }
}

fn is_hidden_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

/// RFC 9110, 5.6.2.
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn skip_space(&mut self) {
        self.bytes = self.bytes.trim_ascii_start();
    }

    fn token(&mut self) -> &'a [u8] {
        let end = self.bytes.iter().position(|b| !is_token_byte(*b)).unwrap_or(self.bytes.len());
        let (token, rest) = self.bytes.split_at(end);
        self.bytes = rest;
        token
    }

    /// A token or a quoted string.
    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        if self.peek() != Some(b'"') {
            let token = self.token();
            let is_there = !token.is_empty();
            return is_there.then(|| token.to_vec()).ok_or(Malformed("Forwarded has a name without a value"));
        }
        self.take();
        let mut value = Vec::new();
        loop {
            let byte = match self.take() {
                Some(b'"') => return Ok(value),
                Some(b'\\') => self.take(),
                byte => byte,
            };
            value.push(byte.ok_or(Malformed("Forwarded has a quote that does not end"))?);
        }
    }
}

/// Body for fuzzing: any bytes from a trusted proxy end in an address or in [`Malformed`].
pub fn fuzz(bytes: &[u8]) {
    let proxy = Source::new(IpAddr::from([10, 0, 0, 1]));
    let trusted: Vec<Network> = Network::parse("10.0.0.0/8").into_iter().collect();
    let fields = || bytes.split(|b| *b == b'\n');
    if let Ok(source) = proxy.forwarded(&trusted, fields()) {
        assert_eq!(source, Source::new(source.addr));
    }
    let stranger = Source::new(IpAddr::from([192, 0, 2, 1]));
    assert_eq!(stranger.forwarded(&trusted, fields()), Ok(stranger));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn forwarded(peer: &str, fields: &[&str]) -> Result<IpAddr, Malformed> {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| Network::parse(text).unwrap());
        let fields = fields.iter().map(|field| field.as_bytes());
        Source::new(ip(peer)).forwarded(&trusted, fields).map(|source| source.addr)
    }

    #[test]
    fn s3_an_ipv6_peer_is_counted_by_its_64_bit_network() {
        let source = Source::new(ip("2001:db8:1:2:3:4:5:6"));
        assert_eq!((source.addr, source.group), (ip("2001:db8:1:2:3:4:5:6"), ip("2001:db8:1:2::")));
        let mapped = Source::new(ip("::ffff:192.0.2.7"));
        assert_eq!((mapped.addr, mapped.group), (ip("192.0.2.7"), ip("192.0.2.7")));
    }

    #[test]
    fn forwarded_is_believed_from_trusted_proxies_only() {
        assert_eq!(forwarded("192.0.2.9", &["for=203.0.113.5"]), Ok(ip("192.0.2.9")));
        assert_eq!(forwarded("192.0.2.9", &["total \" nonsense"]), Ok(ip("192.0.2.9")));
        assert_eq!(forwarded("10.0.0.1", &["for=203.0.113.5"]), Ok(ip("203.0.113.5")));
        assert_eq!(forwarded("::ffff:10.0.0.1", &["for=203.0.113.5"]), Ok(ip("203.0.113.5")));
        assert_eq!(forwarded("10.0.0.1", &[]), Ok(ip("10.0.0.1")));
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_counts() {
        assert_eq!(
            forwarded("10.0.0.1", &["for=198.51.100.1, for=203.0.113.5, for=10.2.2.2"]),
            Ok(ip("203.0.113.5"))
        );
        assert_eq!(forwarded("10.0.0.1", &["for=198.51.100.1", "for=203.0.113.5"]), Ok(ip("203.0.113.5")));
        assert_eq!(forwarded("10.0.0.1", &["for=10.3.3.3, for=10.2.2.2"]), Ok(ip("10.3.3.3")));
        assert_eq!(forwarded("10.0.0.1", &["for=203.0.113.5, for=unknown"]), Ok(ip("10.0.0.1")));
        assert_eq!(
            forwarded("10.0.0.1", &["for=203.0.113.5, for=_hidden, for=10.2.2.2"]),
            Ok(ip("10.2.2.2"))
        );
        assert_eq!(forwarded("10.0.0.1", &["for=203.0.113.5, proto=https"]), Ok(ip("10.0.0.1")));
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for field in [
            "For=\"[2001:db8:cafe::17]:4711\"",
            "for=\"[2001:db8:cafe::17]\";proto=http;by=203.0.113.43",
            " , proto=https;FOR=\"[2001:db8:cafe::17]:_port\" ,",
            "for=\"[2001\\:db8:cafe::17]\"",
            ";;for=\"[2001:db8:cafe::17]\";",
        ] {
            assert_eq!(forwarded("10.0.0.1", &[field]), Ok(ip("2001:db8:cafe::17")), "{field}");
        }
        assert_eq!(forwarded("10.0.0.1", &["for=\"192.0.2.43:47011\""]), Ok(ip("192.0.2.43")));
    }

    #[test]
    fn a_malformed_field_of_a_trusted_proxy_is_refused() {
        for field in [
            "for",
            "for=",
            "for=host.example.com",
            "for=[2001:db8::1]",
            "for=192.0.2.43:47011",
            "for=\"192.0.2.43",
            "for=192.0.2.43 for=192.0.2.44",
            "for=192.0.2.43;for=192.0.2.44",
            "for=\"[::g]\"",
            "for=\"[::1]80\"",
            "for=\"[::1]:\"",
            "for=\"192.0.2.1:99999999\"",
            "for=\"\u{e9}\"",
            "203.0.113.5",
        ] {
            assert!(forwarded("10.0.0.1", &[field]).is_err(), "{field}");
        }
    }

    #[test]
    fn l1_forwarded_has_32_hops_and_4096_bytes_a_field_and_no_more() {
        let proxy = Ok(ip("10.0.0.2"));
        assert_eq!(forwarded("10.0.0.1", &["for=10.0.0.2"; HOPS_MAX]), proxy);
        assert!(forwarded("10.0.0.1", &["for=10.0.0.2"; HOPS_MAX + 1]).is_err());
        assert_eq!(forwarded("10.0.0.1", &[&"for=10.0.0.2,".repeat(HOPS_MAX)]), proxy);
        assert!(forwarded("10.0.0.1", &[&"for=10.0.0.2,".repeat(HOPS_MAX + 1)]).is_err());
        let filled = |bytes: usize| format!("for=10.0.0.2{}", " ".repeat(bytes - 12));
        assert_eq!(forwarded("10.0.0.1", &[&filled(FIELD_BYTES_MAX)]), proxy);
        assert!(forwarded("10.0.0.1", &[&filled(FIELD_BYTES_MAX + 1)]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            fuzz(&bytes);
        }

        #[test]
        fn any_near_miss_is_survived(text in "[,;= \"\\\\\\[\\]:.0-9a-f]{0,20}|(for=[0-9.\"\\[\\]:_]{0,20}[;, ]{0,2}){0,6}") {
            fuzz(text.as_bytes());
        }
    }
}
