//! Subnets and their gateways.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Family, NetworkError};

/// A subnet and the bridge's own address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    net: IpNet,
    gateway: IpAddr,
}

impl Subnet {
    /// A subnet whose gateway is its first address: 192.0.2.1 in 192.0.2.0/24.
    ///
    /// # Errors
    /// [`NetworkError::HostBits`] where the address is not the first one of the prefix,
    /// [`NetworkError::NoRoom`] where there is no second one, [`NetworkError::Everywhere`] where it is every address there is.
    pub fn new(net: IpNet) -> Result<Self, NetworkError> {
        if net.prefix_len() == 0 {
            return Err(NetworkError::Everywhere(net));
        }
        if net.addr() != net.network() {
            return Err(NetworkError::HostBits(net));
        }
        if net.prefix_len() == net.max_prefix_len() {
            return Err(NetworkError::NoRoom(net));
        }
        let gateway = match net.network() {
            IpAddr::V4(addr) => IpAddr::V4((u32::from(addr) + 1).into()),
            IpAddr::V6(addr) => IpAddr::V6((u128::from(addr) + 1).into()),
        };
        Ok(Self { net, gateway })
    }

    /// The same subnet with another gateway.
    ///
    /// # Errors
    /// [`NetworkError::GatewayOutside`] where it doesn't lie in the subnet.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Self, NetworkError> {
        if !self.net.contains(&gateway) {
            return Err(NetworkError::GatewayOutside(gateway));
        }
        self.gateway = gateway;
        Ok(self)
    }

    /// The subnet as a prefix.
    pub const fn net(self) -> IpNet {
        self.net
    }

    /// The bridge's address: what containers see where the host speaks for somebody.
    pub const fn gateway(self) -> IpAddr {
        self.gateway
    }

    /// Its family.
    pub const fn family(self) -> Family {
        match self.net {
            IpNet::V4(_) => Family::Ipv4,
            IpNet::V6(_) => Family::Ipv6,
        }
    }
}
