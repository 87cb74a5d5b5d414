//! Which network an address lies in.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{CompileError, Network, Subnet};

/// Networks whose bridges differ and whose subnets don't overlap.
pub(super) struct Places<'a> {
    networks: &'a [Network],
    /// By the first address of the subnet.
    subnets: BTreeMap<IpAddr, (Subnet, usize)>,
}

impl<'a> Places<'a> {
    pub(super) fn new(networks: &'a [Network]) -> Result<Self, CompileError> {
        let mut bridges = BTreeMap::new();
        let mut subnets: BTreeMap<IpAddr, (Subnet, usize)> = BTreeMap::new();
        for (place, network) in networks.iter().enumerate() {
            if bridges.insert(network.bridge(), place).is_some() {
                return Err(CompileError::BridgeTwice(network.bridge()));
            }
            for subnet in network.subnets() {
                let net = subnet.net();
                let below = subnets.range(..=net.broadcast()).next_back();
                if let Some((_, (other, _))) = below
                    && (net.contains(&other.net().network())
                        || other.net().contains(&net.network()))
                {
                    return Err(CompileError::Overlap(other.net(), net));
                }
                subnets.insert(net.network(), (subnet, place));
            }
        }
        Ok(Self { networks, subnets })
    }

    /// The networks, oldest first.
    pub(super) const fn networks(&self) -> &'a [Network] {
        self.networks
    }

    /// The network of a container with this address, where it can have that.
    pub(super) fn network_of(&self, addr: IpAddr) -> Result<&'a Network, CompileError> {
        let below = self.subnets.range(..=addr).next_back();
        let around = below.filter(|(_, (subnet, _))| subnet.net().contains(&addr));
        let (subnet, network) = around
            .and_then(|(_, (subnet, place))| Some((*subnet, self.networks.get(*place)?)))
            .ok_or(CompileError::NoNetwork(addr))?;
        if addr == subnet.gateway() {
            return Err(CompileError::Gateway(addr, network.bridge()));
        }
        match is_host(addr, subnet.net()) {
            true => Ok(network),
            false => Err(CompileError::NotAHost(addr, subnet.net())),
        }
    }
}

/// IPv6 has no broadcast, and two addresses alone (RFC 3021) are both hosts'.
fn is_host(addr: IpAddr, net: IpNet) -> bool {
    let is_end = addr == net.network() || addr == net.broadcast();
    addr.is_ipv6() || net.prefix_len() > 30 || !is_end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(texts: &[&str]) -> Result<(), CompileError> {
        let networks: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Places::new(&networks).map(drop)
    }

    #[test]
    fn networks_that_share_addresses_are_refused() {
        assert_eq!(
            places(&["a=10.0.0.0/24", "b=10.0.1.0/24,fd00::/64", "c=fd00:0:0:1::/64"]),
            Ok(())
        );
        for pair in [["a=10.0.0.0/16", "b=10.0.1.0/24"], ["a=10.0.1.0/24", "b=10.0.0.0/16"]] {
            assert!(matches!(places(&pair), Err(CompileError::Overlap(..))), "{pair:?}");
        }
        let twice = places(&["a=10.0.0.0/24", "a=10.0.1.0/24"]);
        assert_eq!(twice, Err(CompileError::BridgeTwice("a".parse().unwrap())));
    }
    #[test]
    fn no_container_has_the_gateway_nor_the_ends_of_a_subnet() {
        let texts = ["a=10.0.0.0/24,fd00::/64,gateway=10.0.0.9", "b=10.0.1.0/31"];
        let networks: Vec<Network> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let places = Places::new(&networks).unwrap();
        let place = |text: &str| places.network_of(text.parse().unwrap()).map(Network::bridge);
        for addr in ["10.0.0.9", "fd00::1", "10.0.1.1"] {
            assert!(matches!(place(addr), Err(CompileError::Gateway(..))), "{addr}");
        }
        for addr in ["10.0.0.0", "10.0.0.255"] {
            assert!(matches!(place(addr), Err(CompileError::NotAHost(..))), "{addr}");
        }
        for addr in ["10.0.0.1", "10.0.0.254", "10.0.1.0", "fd00::", "fd00::ffff:ffff:ffff:ffff"] {
            assert!(place(addr).is_ok(), "{addr}");
        }
    }
}
