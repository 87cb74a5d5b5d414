//! What a packet meets beside rules.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use ipnet::IpNet;
use portmap_core::{HostAddr, PortRange, Protocol};

use crate::{Family, Interface, L4, Network, Policy};

/// A host: its addresses, its sockets and the settings that matter. It forwards, and serves nothing at first.
#[derive(Clone, Debug)]
pub struct World {
    /// The container networks. Every address of a subnet but the gateway is a container's, and answers at any port.
    pub networks: Vec<Network>,
    /// The other interfaces, each with an address and its prefix. What no prefix holds goes to the first one
    /// of the family, as a default route would.
    pub addresses: Vec<(Interface, IpNet)>,
    /// Sockets of the host's processes.
    pub sockets: Vec<Socket>,
    /// Whether it forwards between interfaces: `ip_forward`, and `forwarding` of IPv6.
    pub forwards: bool,
    /// Interfaces that route 127.0.0.0/8: `route_localnet`.
    pub route_localnet: BTreeSet<Interface>,
    /// Whether packets between ports of a bridge meet the rules: `bridge-nf-call-iptables`.
    pub bridge_netfilter: bool,
    /// Whether a bridge sends a packet back by the port that it came from.
    pub hairpin_ports: bool,
}

/// A socket of a process of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address.
    pub addr: HostAddr,
    /// Its port, or the ports of several sockets.
    pub ports: PortRange,
    /// What it does.
    pub kind: SocketKind,
}

/// What a socket does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// It takes it: a proxy, or another service.
    Serving,
    /// It only keeps the port: bound, never listening.
    Reserving,
}

/// The first packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The interface that it comes in by: a bridge for a container's, `None` for the host's own.
    pub arrives_by: Option<Interface>,
    /// Its protocol. Without ports those in `from` and `to` mean nothing.
    pub protocol: L4,
    /// Its source.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
}

/// Where a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Local,
    Via(Interface),
    Nowhere,
}

impl World {
    /// A host with these networks and nothing else.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            addresses: Vec::new(),
            sockets: Vec::new(),
            forwards: true,
            route_localnet: BTreeSet::new(),
            bridge_netfilter: false,
            hairpin_ports: false,
        }
    }

    /// The same with one more address.
    #[must_use]
    pub fn with_address(mut self, interface: Interface, address: IpNet) -> Self {
        self.addresses.push((interface, address));
        self
    }

    /// The same with one more socket.
    #[must_use]
    pub fn with_socket(mut self, socket: Socket) -> Self {
        self.sockets.push(socket);
        self
    }

    /// The same, with bridges that route 127.0.0.0/8 where a policy needs it.
    #[must_use]
    pub fn routing_localnet(mut self, policy: &Policy) -> Self {
        let needed = self.networks.iter().filter(|network| policy.routes_localnet(network));
        self.route_localnet.extend(needed.map(Network::bridge));
        self
    }

    pub(super) fn is_local(&self, addr: IpAddr) -> bool {
        addr.is_loopback() || self.has_address(addr)
    }

    /// Whether an interface has this address. Of 127.0.0.0/8 the loopback interface has one; the others are the host's by
    /// a route, and that is not asked where a source is checked without a reverse-path filter.
    pub(super) fn has_address(&self, addr: IpAddr) -> bool {
        addr == IpAddr::V4(Ipv4Addr::LOCALHOST)
            || self.gateways().any(|(_, gateway)| gateway == addr)
            || self.addresses.iter().any(|(_, own)| own.addr() == addr)
    }

    pub(super) fn route(&self, to: IpAddr) -> Route {
        if self.is_local(to) {
            return Route::Local;
        }
        let bridge = self.networks.iter().find(|network| contains(network, to));
        if let Some(network) = bridge {
            return Route::Via(network.bridge());
        }
        let family = Family::of(to);
        let mut links = self.addresses.iter().filter(|(_, own)| Family::of(own.addr()) == family);
        let default = links.clone().next();
        let on_link = links.find(|(_, own)| own.contains(&to));
        on_link.or(default).map_or(Route::Nowhere, |(interface, _)| Route::Via(*interface))
    }

    /// The address that masquerading takes.
    pub(super) fn address_of(&self, interface: Interface, family: Family) -> Option<IpAddr> {
        let links = self.addresses.iter().map(|(interface, own)| (*interface, own.addr()));
        self.gateways()
            .chain(links)
            .find(|(name, addr)| *name == interface && Family::of(*addr) == family)
            .map(|(_, addr)| addr)
    }

    /// The network of a bridge.
    pub(super) fn network(&self, bridge: Interface) -> Option<&Network> {
        self.networks.iter().find(|network| network.bridge() == bridge)
    }

    pub(super) fn socket(&self, protocol: L4, at: SocketAddr) -> Option<SocketKind> {
        let port = at.port().try_into().ok()?;
        let here = |socket: &&Socket| {
            L4::Transport(socket.protocol) == protocol
                && socket.addr.covers(at.ip())
                && socket.ports.contains(port)
        };
        self.sockets.iter().find(here).map(|socket| socket.kind)
    }

    fn gateways(&self) -> impl Iterator<Item = (Interface, IpAddr)> {
        self.networks.iter().flat_map(|network| {
            network.subnets().map(|subnet| (network.bridge(), subnet.gateway()))
        })
    }
}

impl From<Protocol> for L4 {
    fn from(protocol: Protocol) -> Self {
        Self::Transport(protocol)
    }
}

/// Whether the address lies in one of the network's subnets.
pub(super) fn contains(network: &Network, addr: IpAddr) -> bool {
    network.subnets().any(|subnet| subnet.net().contains(&addr))
}
