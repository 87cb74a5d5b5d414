//! Who calls, in one family: the addresses are the given networks' own, and documentation's for the rest of the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use portmap::{
    Binding, HostAddr, Port,
    rules::{Family, Interface, Network, Subnet},
};
use portmap_testkit::matrix::Path;

/// Nets that nobody has (RFC 5737, RFC 3849).
const EXAMPLES: [&str; 5] = [
    "198.51.100.0/24",
    "203.0.113.0/24",
    "192.0.2.0/24",
    "2001:db8:aaaa::/64",
    "2001:db8:bbbb::/64",
];

/// Where everything is.
#[derive(Debug)]
pub(super) struct Scene {
    /// The host's address on its LAN, with that net's length.
    pub(super) lan: IpNet,
    /// As whom the host itself connects to the container.
    pub(super) gateway: IpAddr,
    pub(super) client: IpAddr,
    container: IpAddr,
    /// The container's bridge, and a neighbour there.
    own: Option<(Interface, IpAddr)>,
    /// Another bridge, and a container there.
    other: Option<(Interface, IpAddr)>,
}

/// A call by a path; without an interface the host itself calls.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) path: Path,
    pub(super) arrives_by: Option<Interface>,
    pub(super) from: IpAddr,
    pub(super) to: SocketAddr,
}

impl Scene {
    /// `None` where the container has no address in the family, or no example address is left.
    pub(super) fn new(binding: &Binding, family: Family, networks: &[Network]) -> Option<Self> {
        let endpoint = binding.endpoint();
        let container = endpoint.addrs().find(|addr| Family::of(*addr) == family)?;
        let lan = lan(binding, family, networks)?;
        let nets: Vec<(Interface, Subnet)> = networks
            .iter()
            .filter_map(|network| network.subnet(family).map(|net| (network.bridge(), net)))
            .collect();
        let own = nets.iter().find(|(_, subnet)| subnet.net().contains(&container));
        let other = nets.iter().find(|net| own.is_some_and(|own| own.0 != net.0));
        let place = |(bridge, subnet): &(Interface, Subnet)| {
            free(subnet.net(), &[subnet.gateway(), container]).map(|addr| (*bridge, addr))
        };
        let gateway = match own {
            Some((_, subnet)) => subnet.gateway(),
            // Dialled from inside its own namespace, or by whatever way leads there.
            None if container.is_loopback() => container,
            None => lan.addr(),
        };
        let (own, other) = (own.and_then(place), other.and_then(place));
        Some(Self { lan, gateway, client: free(lan, &[lan.addr()])?, container, own, other })
    }

    /// The host's interface on its LAN. Rules go by the names of bridges, so any other does.
    pub(super) fn interface() -> Option<Interface> {
        "eth0".parse().ok()
    }

    /// The container's bridge.
    pub(super) fn bridge(&self) -> Option<Interface> {
        self.own.map(|(bridge, _)| bridge)
    }

    /// All calls that say something about a binding.
    pub(super) fn calls(&self, binding: &Binding, unpublished: Port) -> Vec<Call> {
        let port = binding.host_ports().first().number();
        let inside = binding.container_ports().first().number();
        let loopback = match (binding.host_addr(), self.container) {
            (HostAddr::Ip(own), _) if own.is_loopback() => own,
            (_, IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
            (_, IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
        };
        // The kernel calls an address of 127.0.0.0/8 from 127.0.0.1 itself.
        let itself: IpAddr = if loopback.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { loopback };
        let (host, client, container) = (self.lan.addr(), self.client, self.container);
        let lan = Self::interface();
        let mut calls = Vec::new();
        let mut add = |path, arrives_by, from: IpAddr, to: IpAddr, port| {
            if from.is_ipv4() == to.is_ipv4() {
                calls.push(Call { path, arrives_by, from, to: SocketAddr::new(to, port) });
            }
        };
        add(Path::OutsideClient, lan, client, host, port);
        add(Path::Loopback, None, itself, loopback, port);
        add(Path::OwnAddress, None, host, host, port);
        if let Some((bridge, stranger)) = self.other {
            add(Path::OtherNetwork, Some(bridge), stranger, host, port);
        }
        if let Some((bridge, neighbour)) = self.own {
            add(Path::SameNetwork, Some(bridge), neighbour, host, port);
            add(Path::Itself, Some(bridge), container, host, port);
            add(Path::DirectPublished, lan, client, container, inside);
            add(Path::DirectUnpublished, lan, client, container, unpublished.number());
        }
        // ::1 no router passes on.
        if loopback.is_ipv4() {
            add(Path::RoutedLoopback, lan, client, loopback, port);
        }
        calls
    }
}

/// The host's address on its LAN: the one that is published on, else an example that is in nobody's way.
fn lan(binding: &Binding, family: Family, networks: &[Network]) -> Option<IpNet> {
    if let HostAddr::Ip(own) = binding.host_addr()
        && Family::of(own) == family
        && !(own.is_loopback() || own.is_unspecified())
    {
        return IpNet::new(own, if own.is_ipv4() { 24 } else { 64 }).ok();
    }
    let examples = EXAMPLES.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let mut examples = examples.filter(|net| Family::of(net.addr()) == family);
    let net = examples.find(|net| {
        let mut subnets = networks.iter().flat_map(Network::subnets).map(Subnet::net);
        !subnets.any(|subnet| subnet.contains(net) || net.contains(&subnet))
            && !binding.endpoint().addrs().any(|addr| net.contains(&addr))
    })?;
    IpNet::new(free(net, &[])?, net.prefix_len()).ok()
}

/// The first address of a net that is none of some others, nor the net's own.
fn free(net: IpNet, taken: &[IpAddr]) -> Option<IpAddr> {
    let mut addrs = net.hosts().filter(|addr| *addr != net.network());
    addrs.find(|addr| !taken.contains(addr))
}
