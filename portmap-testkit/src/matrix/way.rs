//! A path in terms of addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{Family, Path};

/// The host port that is published on every address, and its number on other hosts.
pub(super) const PORT: u16 = 8080;
/// The host port that is published on [`BOUND`] alone.
pub(super) const BOUND_PORT: u16 = 8081;
pub(super) const BOUND: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
/// The container's ports: the one that is published, and one that is not.
pub(super) const INSIDE: u16 = 80;
pub(super) const UNPUBLISHED: u16 = 81;

/// What is published over each protocol: a port on every address, and one on an address of 127.0.0.0/8.
pub(super) const SPECS: [&str; 2] = ["8080:80", "127.0.1.2:8081:80"];

/// Where everything is, in the terms of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The host's interface on its LAN.
    pub lan: String,
    /// The bridge of the container's network.
    pub bridge: String,
    /// The bridge of the other network.
    pub other_bridge: String,
    /// The host's address on its LAN.
    pub host: IpAddr,
    /// The client outside.
    pub client: IpAddr,
    /// Who has a route to 127.0.0.0/8 by way of the host.
    pub attacker: IpAddr,
    /// The other host, to which the client's route leads over this one.
    pub elsewhere: IpAddr,
    /// The address of the container's bridge.
    pub gateway: IpAddr,
    /// The container.
    pub container: IpAddr,
    /// A container of the same network.
    pub neighbour: IpAddr,
    /// A container of the other network.
    pub stranger: IpAddr,
    /// The link-local addresses of client and host, and the client's number for its link.
    pub link_local: Option<(Ipv6Addr, Ipv6Addr, u32)>,
}

/// A call by a path: from where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The path that it takes.
    pub path: Path,
    /// The family that it is of.
    pub family: Family,
    /// The interface by which it comes to the host; `None` where the host itself calls.
    pub arrives_by: Option<String>,
    /// The caller's address.
    pub from: IpAddr,
    /// Where it calls.
    pub to: SocketAddr,
    /// The gateway of the container's network.
    pub gateway: IpAddr,
}

impl Way {
    /// A path, given where everything is; `None` where the family has no such path.
    pub fn new(path: Path, family: Family, places: &Places) -> Option<Self> {
        if !path.exists_in(family) {
            return None;
        }
        let Places { host, client, container, .. } = *places;
        let loopback: IpAddr = match family {
            Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
            Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        };
        let bound = IpAddr::from(BOUND);
        let lan = Some(&places.lan);
        let (arrives_by, from, to, port) = match path {
            Path::OutsideClient => (lan, client, host, PORT),
            Path::LinkLocal => {
                let (from, to, scope) = places.link_local?;
                let to = SocketAddrV6::new(to, PORT, 0, scope).into();
                return Some(places.way(path, family, lan, from.into(), to));
            }
            Path::Loopback => (None, loopback, loopback, PORT),
            // The kernel calls an address of 127.0.0.0/8 from 127.0.0.1 itself.
            Path::LoopbackBinding => (None, loopback, bound, BOUND_PORT),
            Path::OwnAddress => (None, host, host, PORT),
            Path::OtherNetwork => (Some(&places.other_bridge), places.stranger, host, PORT),
            Path::SameNetwork => (Some(&places.bridge), places.neighbour, host, PORT),
            Path::Itself => (Some(&places.bridge), container, host, PORT),
            Path::DirectPublished => (lan, client, container, INSIDE),
            Path::DirectUnpublished => (lan, client, container, UNPUBLISHED),
            Path::RoutedLoopback => (lan, places.attacker, loopback, PORT),
            Path::RoutedLoopbackBinding => (lan, places.attacker, bound, BOUND_PORT),
            Path::Transit => (lan, client, places.elsewhere, PORT),
        };
        Some(places.way(path, family, arrives_by, from, SocketAddr::new(to, port)))
    }
}

impl Places {
    fn way(
        &self,
        path: Path,
        family: Family,
        arrives_by: Option<&String>,
        from: IpAddr,
        to: SocketAddr,
    ) -> Way {
        Way { path, family, arrives_by: arrives_by.cloned(), from, to, gateway: self.gateway }
    }
}
