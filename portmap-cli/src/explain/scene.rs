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
    /// The callers'.
    family: Family,
    /// The host's address on its LAN, with that net's length.
    pub(super) lan: IpNet,
    /// As whom the host itself connects to the container.
    pub(super) gateway: IpAddr,
    pub(super) client: IpAddr,
    /// Of the other family where the container has no address in this one.
    container: IpAddr,
    /// The container's bridge.
    pub(super) bridge: Option<Interface>,
    /// Its bridge, and a neighbour there, where the network has the family.
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
    /// `None` where a binding has no host address in the family, or no example address is left.
    pub(super) fn new(binding: &Binding, family: Family, networks: &[Network]) -> Option<Self> {
        let of_family: IpAddr = match family {
            Family::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let is_here = match binding.host_addr() {
            HostAddr::Any => true,
            HostAddr::Ip(own) => Family::of(own.addr()) == family,
        };
        // A socket takes clients of the other family, too: what becomes of these is to be said as well.
        let container = binding.endpoint().toward(of_family);
        if !is_here && Family::of(container) != family {
            return None;
        }
        let lan = lan(binding, family, networks)?;
        let of_container = networks.iter().find_map(|network| {
            let subnet = network.subnet(Family::of(container))?;
            subnet.net().contains(&container).then(|| (network.bridge(), subnet))
        });
        let bridge = of_container.map(|(bridge, _)| bridge);
        let gateway = match of_container {
            Some((_, subnet)) => subnet.gateway(),
            // Dialled from inside its own namespace, or by whatever way leads there.
            None if container.is_loopback() => container,
            None => lan.addr(),
        };
        let nets: Vec<(Interface, Subnet)> = networks
            .iter()
            .filter_map(|network| network.subnet(family).map(|net| (network.bridge(), net)))
            .collect();
        let own = nets.iter().find(|net| Some(net.0) == bridge);
        let other = nets.iter().find(|net| bridge.is_some_and(|own| own != net.0));
        let place = |(bridge, subnet): &(Interface, Subnet)| {
            free(subnet.net(), &[subnet.gateway(), container]).map(|addr| (*bridge, addr))
        };
        let (own, other) = (own.and_then(place), other.and_then(place));
        let client = free(lan, &[lan.addr()])?;
        Some(Self { family, lan, gateway, client, container, bridge, own, other })
    }

    /// Whether the container has no address in the callers' family.
    pub(super) fn is_foreign(&self) -> bool {
        Family::of(self.container) != self.family
    }

    /// The host's interface on its LAN. Rules go by the names of bridges, so any other does.
    pub(super) fn interface() -> Option<Interface> {
        "eth0".parse().ok()
    }

    /// All calls that say something about a binding.
    pub(super) fn calls(&self, binding: &Binding, unpublished: Port) -> Vec<Call> {
        let port = binding.host_ports().first().number();
        let inside = binding.container_ports().first().number();
        let own = match binding.host_addr() {
            HostAddr::Ip(own) => Some(own.addr()),
            HostAddr::Any => None,
        };
        let loopback = match (own, self.family) {
            (Some(own), family) if own.is_loopback() && Family::of(own) == family => own,
            (_, Family::Ipv4) => Ipv4Addr::LOCALHOST.into(),
            (_, Family::Ipv6) => Ipv6Addr::LOCALHOST.into(),
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
        && let own = own.addr()
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
