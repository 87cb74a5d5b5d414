//! Container networks.

use std::{error, fmt, net::IpAddr};

use ipnet::IpNet;

use crate::{Family, Interface, Subnet};

/// A container network: a bridge, a subnet in one family or in both, and who may talk to whom.
///
/// Read from `BRIDGE=SUBNET[,SUBNET6][,gateway=IP][,icc=off][,internal][,mode=nat|nat-unprotected|routed]`
/// with `trusted=INTERFACE` as often as needed, and displayed so.
///
/// ```
/// use portmap_rules::{GatewayMode, Network};
///
/// let network: Network = "bridge1=192.0.2.0/24,2001:db8::/64,mode=routed".parse()?;
/// assert_eq!(network.mode(), GatewayMode::Routed);
/// assert_eq!(network.subnets().count(), 2);
/// # Ok::<(), portmap_rules::NetworkParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    bridge: Interface,
    v4: Option<Subnet>,
    v6: Option<Subnet>,
    icc: bool,
    internal: bool,
    mode: GatewayMode,
    trusted: Vec<Interface>,
}

/// How a network is reached from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GatewayMode {
    /// By its published ports, through NAT, and in no other way.
    #[default]
    Nat,
    /// By its published ports through NAT, and directly by its containers' addresses, whatever the port.
    NatUnprotected,
    /// By its containers' addresses, at the published container ports. No NAT, no host ports.
    Routed,
}

impl Network {
    /// A network with one subnet: containers talk to each other and to the world, ports are published by NAT.
    pub const fn new(bridge: Interface, subnet: Subnet) -> Self {
        let (v4, v6) = match subnet.net() {
            IpNet::V4(_) => (Some(subnet), None),
            IpNet::V6(_) => (None, Some(subnet)),
        };
        let mode = GatewayMode::Nat;
        Self { bridge, v4, v6, icc: true, internal: false, mode, trusted: Vec::new() }
    }

    /// The network with a subnet more.
    ///
    /// # Errors
    /// [`NetworkError::SameFamily`] where it has one of that family.
    pub fn with_subnet(mut self, subnet: Subnet) -> Result<Self, NetworkError> {
        let place = match subnet.family() {
            Family::Ipv4 => &mut self.v4,
            Family::Ipv6 => &mut self.v6,
        };
        if let Some(first) = place {
            return Err(NetworkError::SameFamily { first: first.net(), second: subnet.net() });
        }
        *place = Some(subnet);
        Ok(self)
    }

    /// The same, with this address of the bridge in the subnet where it lies.
    ///
    /// # Errors
    /// [`NetworkError::GatewayOutside`] where it lies in none.
    pub fn with_gateway(mut self, gateway: IpAddr) -> Result<Self, NetworkError> {
        let place = match Family::of(gateway) {
            Family::Ipv4 => &mut self.v4,
            Family::Ipv6 => &mut self.v6,
        };
        let subnet = place.ok_or(NetworkError::GatewayOutside(gateway))?;
        *place = Some(subnet.with_gateway(gateway)?);
        Ok(self)
    }

    /// The same, with containers that don't talk to each other.
    #[must_use]
    pub const fn without_icc(mut self) -> Self {
        self.icc = false;
        self
    }

    /// The same, without a way in or out. Nothing is published there.
    #[must_use]
    pub const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    /// The same, reached in this way.
    #[must_use]
    pub const fn with_mode(mut self, mode: GatewayMode) -> Self {
        self.mode = mode;
        self
    }

    /// The same, with one more interface of the host that may go round NAT to the published container ports.
    #[must_use]
    pub fn trusting(mut self, interface: Interface) -> Self {
        if !self.trusted.contains(&interface) {
            self.trusted.push(interface);
        }
        self
    }

    /// Its bridge.
    pub const fn bridge(&self) -> Interface {
        self.bridge
    }

    /// Its subnet in a family.
    pub const fn subnet(&self, family: Family) -> Option<Subnet> {
        match family {
            Family::Ipv4 => self.v4,
            Family::Ipv6 => self.v6,
        }
    }

    /// Its subnets, IPv4 first.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> {
        self.v4.into_iter().chain(self.v6)
    }

    /// Whether its containers talk to each other.
    pub const fn icc(&self) -> bool {
        self.icc
    }

    /// Whether it has no way in or out.
    pub const fn is_internal(&self) -> bool {
        self.internal
    }

    /// How it is reached from outside.
    pub const fn mode(&self) -> GatewayMode {
        self.mode
    }

    /// Interfaces of the host that may go round NAT.
    pub fn trusted(&self) -> &[Interface] {
        &self.trusted
    }

    /// Whether host ports can lead to it through NAT: neither internal nor routed.
    pub const fn has_nat(&self) -> bool {
        !self.internal && !matches!(self.mode, GatewayMode::Routed)
    }
}

/// Why something is not a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// Bits behind the prefix are set: 192.0.2.1/24 for 192.0.2.0/24.
    HostBits(IpNet),
    /// A single address, with no room for a gateway and a container.
    NoRoom(IpNet),
    /// Every address of a family: whoever is called would be in the network.
    Everywhere(IpNet),
    /// Two subnets of one family.
    SameFamily {
        /// The one that stood first.
        first: IpNet,
        /// The other one.
        second: IpNet,
    },
    /// A gateway that lies in none of the network's subnets.
    GatewayOutside(IpAddr),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostBits(net) => {
                write!(f, "subnet {net} has host bits: {} is meant", net.trunc())
            }
            Self::NoRoom(net) => write!(f, "subnet {net} has no room for a gateway"),
            Self::Everywhere(net) => write!(f, "subnet {net} is every address there is"),
            Self::SameFamily { first, second } => {
                write!(f, "subnets {first} and {second} are of one family")
            }
            Self::GatewayOutside(addr) => write!(f, "gateway {addr} is not in the subnet"),
        }
    }
}

impl error::Error for NetworkError {}
