//! Networks of IP addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
}
