//! What a bridge is to be.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A bridge's name and its subnets, each written as the bridge's own address with a prefix length:
/// `172.17.0.1/16`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    name: String,
    v4: Ipv4Net,
    v6: Option<Ipv6Net>,
}

impl BridgeSpec {
    /// A bridge with an IPv4 subnet.
    pub fn new(name: impl Into<String>, v4: Ipv4Net) -> Self {
        Self { name: name.into(), v4, v6: None }
    }

    /// Adds an IPv6 subnet, as the bridge's address in it.
    #[must_use]
    pub fn with_v6(mut self, v6: Ipv6Net) -> Self {
        self.v6 = Some(v6);
        self
    }

    /// Docker's default: `docker0`, 172.17.0.1/16, with fd00:172:17::1/64.
    pub fn docker0() -> Self {
        let v6 = Ipv6Addr::new(0xfd00, 0x172, 0x17, 0, 0, 0, 0, 1);
        Self::new("docker0", Ipv4Net::new_assert(Ipv4Addr::new(172, 17, 0, 1), 16))
            .with_v6(Ipv6Net::new_assert(v6, 64))
    }

    /// A second network: `br0`, 192.168.99.1/24, with fd00:192:99::1/64.
    pub fn br0() -> Self {
        let v6 = Ipv6Addr::new(0xfd00, 0x192, 0x99, 0, 0, 0, 0, 1);
        Self::new("br0", Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 99, 1), 24))
            .with_v6(Ipv6Net::new_assert(v6, 64))
    }

    /// The link's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bridge's IPv4 address, with its subnet's prefix length.
    pub fn v4(&self) -> Ipv4Net {
        self.v4
    }

    /// The bridge's IPv6 address, with its subnet's prefix length.
    pub fn v6(&self) -> Option<Ipv6Net> {
        self.v6
    }

    pub(super) fn addresses(&self) -> Vec<IpNet> {
        let v6 = self.v6.map(IpNet::V6);
        [IpNet::V4(self.v4)].into_iter().chain(v6).collect()
    }

    /// The subnets' addresses of that number, counted from the network's; `None` past the end.
    pub(super) fn numbered(&self, number: u32) -> Option<(Ipv4Net, Option<Ipv6Net>)> {
        let v4 = Ipv4Addr::from(u32::from(self.v4.network()).checked_add(number)?);
        if !self.v4.contains(&v4) || v4 == self.v4.broadcast() {
            return None;
        }
        let v4 = Ipv4Net::new_assert(v4, self.v4.prefix_len());
        let Some(net) = self.v6 else {
            return Some((v4, None));
        };
        let v6 = Ipv6Addr::from(u128::from(net.network()).checked_add(number.into())?);
        net.contains(&v6).then(|| (v4, Some(Ipv6Net::new_assert(v6, net.prefix_len()))))
    }
}

/// Locally administered, and readable: 172.17.0.2 is 02:42:ac:11:00:02, as Docker has it.
pub(crate) fn mac(address: Ipv4Addr) -> Vec<u8> {
    [0x02, 0x42].into_iter().chain(address.octets()).collect()
}

/// 0.0.0.0/0 or ::/0, whichever is of the same family.
pub(super) fn everything(net: IpNet) -> IpNet {
    match net {
        IpNet::V4(_) => Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0).into(),
        IpNet::V6(_) => Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(addresses: Option<(Ipv4Net, Option<Ipv6Net>)>) -> Vec<String> {
        let Some((v4, v6)) = addresses else {
            return Vec::new();
        };
        [v4.to_string()].into_iter().chain(v6.map(|net| net.to_string())).collect()
    }

    #[test]
    fn addresses_count_up_in_both_families() {
        let spec = BridgeSpec::docker0();
        assert_eq!(texts(spec.numbered(2)), ["172.17.0.2/16", "fd00:172:17::2/64"]);
        assert_eq!(texts(spec.numbered(256)), ["172.17.1.0/16", "fd00:172:17::100/64"]);
    }

    #[test]
    fn a_full_subnet_has_no_more_addresses() {
        let spec = BridgeSpec::new("tiny", "192.0.2.1/30".parse().unwrap());
        assert_eq!(texts(spec.numbered(2)), ["192.0.2.2/30"]);
        assert_eq!(spec.numbered(3), None, "the broadcast address");
        assert_eq!(spec.numbered(4), None);
        let last = BridgeSpec::new("last", "255.255.255.253/30".parse().unwrap());
        assert_eq!(last.numbered(9), None);
    }
}
