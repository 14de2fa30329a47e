//! Where a client is, as far as it can't choose that itself.

use core::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// An IPv4 address, or the first 64 bits of an IPv6 one: whoever has one address of those has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                const FIRST_64: u128 = !0 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & FIRST_64))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl Network {
    /// Of an address as text; `None` if it is none.
    pub fn parse(address: &str) -> Option<Self> {
        let address: IpAddr = address.trim().parse().ok()?;
        Some(address.into())
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
}
