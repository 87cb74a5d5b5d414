//! Which network an address lies in.

use std::{collections::BTreeMap, net::IpAddr};

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

    pub(super) fn network_of(&self, addr: IpAddr) -> Result<&'a Network, CompileError> {
        self.subnets
            .range(..=addr)
            .next_back()
            .filter(|(_, (subnet, _))| subnet.net().contains(&addr))
            .and_then(|(_, (_, place))| self.networks.get(*place))
            .ok_or(CompileError::NoNetwork(addr))
    }
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
}
