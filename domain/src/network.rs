//! Where a client is, as far as it can't choose that itself.

use core::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An IPv4 address, or the first 64 bits of an IPv6 one: whoever has one address of those has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(cut(address.to_canonical(), 64))
    }
}

/// An IPv6 address without what stands behind its first bits; an IPv4 address as it is.
fn cut(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let first = u128::MAX << (u128::BITS - bits);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & first))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Network {
    /// Of an address as text; `None` if it is none.
    pub fn parse(address: &str) -> Option<Self> {
        let address: IpAddr = address.trim().parse().ok()?;
        Some(address.into())
    }

    /// The networks that one client may have at most, as one: an IPv4 address, or the first 48 bits of an
    /// IPv6 one. A provider gives a connection a /56 or a /48, and with it up to 65,536 networks.
    #[must_use]
    pub fn site(self) -> Self {
        Self(cut(self.0, 48))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        Network::parse(one).unwrap() == Network::parse(other).unwrap()
    }

    #[test]
    fn who_has_one_address_of_an_ipv6_network_has_them_all() {
        assert!(same("2001:db8:1:2::3", "2001:db8:1:2:ffff::1"));
        assert!(!same("2001:db8:1:2::3", "2001:db8:1:3::3"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert_eq!(Network::parse("garbage"), None);
    }

    #[test]
    fn the_networks_of_one_connection_are_one_site() {
        let site = |address: &str| Network::parse(address).unwrap().site();
        assert_eq!(site("2001:db8:1:2::3"), site("2001:db8:1:ff::4"));
        assert_ne!(site("2001:db8:1:2::3"), site("2001:db8:2:2::3"));
        assert_ne!(site("192.0.2.1"), site("192.0.2.2"));
    }
}
