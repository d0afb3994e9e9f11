//! The PROXY protocol header, version 2, that a trusted proxy sends before anything else.

use std::net::IpAddr;

use ppp::v2::{Addresses, Command, Header, PROTOCOL_PREFIX, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::source::Malformed;

/// Bytes before the addresses: signature, version, family and length.
const FIXED_BYTES: usize = 16;
/// Longest header taken, in bytes: addresses and what proxies add about TLS.
const BYTES_MAX: usize = doorward_core::limits::Limit::ProxyHeaderBytes.max() as usize;

/// Why a header was not read.
#[derive(Debug, thiserror::Error)]
pub enum HeaderFault {
    /// It cannot be read.
    #[error("PROXY protocol header: {0}")]
    Malformed(#[from] Malformed),
    /// The connection ended first.
    #[error("PROXY protocol header: {0}")]
    Lost(#[from] std::io::Error),
}

/// A header that is read piece by piece, and not one byte of what follows it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
}

impl Pending {
    /// How many more bytes are certain to belong to the header; zero once it is whole.
    ///
    /// # Errors
    /// Where it is malformed or too long.
    pub(super) fn lacks(&self) -> Result<usize, Malformed> {
        let whole =
            if self.bytes.len() < FIXED_BYTES { FIXED_BYTES } else { len(&self.bytes[..FIXED_BYTES])? };
        Ok(whole - self.bytes.len())
    }

    /// Takes bytes, at most as many as it lacks.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What the whole header says; see [`read`].
    pub(super) fn address(&self) -> Result<Option<IpAddr>, Malformed> {
        parse(&self.bytes)
    }
}

/// Reads the header and not one byte more. The address of the peer behind the proxy; `None` where the proxy speaks for
/// itself (health checks) or for a peer without an IP address.
///
/// # Errors
/// Where it is malformed, too long, or the connection ends.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeaderFault> {
    let mut bytes = vec![0; FIXED_BYTES];
    stream.read_exact(&mut bytes).await?;
    let len = len(&bytes)?;
    bytes.resize(len, 0);
    if let Some(rest) = bytes.get_mut(FIXED_BYTES..) {
        stream.read_exact(rest).await?;
    }
    Ok(parse(&bytes)?)
}

/// Length of the whole header by its first [`FIXED_BYTES`] bytes.
fn len(fixed: &[u8]) -> Result<usize, Malformed> {
    let (Some(signature), Some([_, _, high, low])) = (fixed.get(..12), fixed.get(12..FIXED_BYTES)) else {
        return Err(Malformed("it is too short"));
    };
    if signature != PROTOCOL_PREFIX {
        return Err(Malformed("there is none"));
    }
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if len > BYTES_MAX { Err(Malformed("it is longer than 2048 bytes")) } else { Ok(len) }
}

fn parse(bytes: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    let header = Header::try_from(bytes).map_err(|_| Malformed("it is not well formed"))?;
    match (header.command, header.protocol, header.addresses) {
        (Command::Local, _, _) => Ok(None),
        (Command::Proxy, Protocol::Datagram, _) => Err(Malformed("it speaks of datagrams")),
        (Command::Proxy, _, Addresses::IPv4(addresses)) => Ok(Some(addresses.source_address.into())),
        (Command::Proxy, _, Addresses::IPv6(addresses)) => Ok(Some(addresses.source_address.into())),
        (Command::Proxy, _, Addresses::Unix(_) | Addresses::Unspecified) => Ok(None),
    }
}

/// Body for fuzzing: any bytes end in an address, none, or [`Malformed`].
pub fn fuzz(bytes: &[u8]) {
    if let Ok(len) = len(bytes) {
        assert!((FIXED_BYTES..=BYTES_MAX).contains(&len));
    }
    let _ = parse(bytes);
    let mut signed = PROTOCOL_PREFIX.to_vec();
    signed.extend_from_slice(bytes);
    let _ = parse(&signed);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A header with this command and family, and what follows it.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = PROTOCOL_PREFIX.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    const V4: [u8; 12] = [203, 0, 113, 5, 192, 0, 2, 1, 0xc0, 0, 0x1c, 0xea];

    #[tokio::test]
    async fn the_header_is_read_and_not_one_byte_more() {
        let mut bytes = header(1, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat());
        bytes.extend_from_slice(b"GET / HTTP/1.1");
        let mut stream = bytes.as_slice();
        assert_eq!(read(&mut stream).await.unwrap(), Some("203.0.113.5".parse().unwrap()));
        assert_eq!(stream, b"GET / HTTP/1.1");
    }

    #[test]
    fn addresses_come_from_the_header() {
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert_eq!(parse(&header(1, 0x21, &v6)), Ok(Some("2001:db8::7".parse().unwrap())));
        assert_eq!(parse(&header(0, 0x11, &V4)), Ok(None), "a health check");
        assert_eq!(parse(&header(1, 0x00, &[])), Ok(None));
        assert_eq!(parse(&header(1, 0x31, &[0; 216])), Ok(None));
    }

    #[tokio::test]
    async fn l1_a_header_has_2048_bytes_and_no_more() {
        let sized = |total: usize| {
            // A field of nothing (type 4) fills it up.
            let filling = total - FIXED_BYTES - V4.len() - 3;
            let head = [&[4][..], &u16::try_from(filling).unwrap().to_be_bytes()].concat();
            header(1, 0x11, &[&V4[..], &head, &vec![0; filling]].concat())
        };
        let longest = sized(BYTES_MAX);
        assert_eq!((longest.len(), BYTES_MAX), (2048, 2048));
        assert_eq!(read(&mut longest.as_slice()).await.unwrap(), Some("203.0.113.5".parse().unwrap()));
        assert!(read(&mut sized(BYTES_MAX + 1).as_slice()).await.is_err());
    }

    #[tokio::test]
    async fn s10_a_malformed_long_or_half_header_is_refused() {
        let long = header(1, 0x11, &[0; BYTES_MAX]);
        let half = &header(1, 0x11, &V4)[..20];
        let version_1 = b"PROXY TCP4 203.0.113.5 192.0.2.1 49152 7402\r\n".as_slice();
        let datagram = header(1, 0x12, &V4);
        let short = header(1, 0x11, &V4[..8]);
        for bytes in
            [long.as_slice(), half, version_1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &datagram, &short, b""]
        {
            assert!(read(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            fuzz(&bytes);
        }

        #[test]
        fn any_near_miss_is_survived(command in 0..=255_u8, family in 0..=255_u8, rest in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz(&header(command & 0x0f, family, &rest));
        }
    }
}
