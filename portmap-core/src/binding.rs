//! What is in force: host ports that lead to a container's.

use std::{fmt, net::IpAddr};

use crate::{Endpoint, HostIp, Port, PortRange, Protocol};

/// The host's side of a [`Binding`]: every address, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostAddr {
    /// Every address of the host in both families.
    Any,
    /// One address, or all of one family where it is `0.0.0.0` or `::`.
    Ip(HostIp),
}

impl HostAddr {
    /// Whether traffic to this address of the host is meant. A link-local address may be meant on whichever link.
    pub fn covers(self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        match self {
            Self::Any => true,
            Self::Ip(ip) if ip.addr().is_unspecified() => ip.addr().is_ipv4() == addr.is_ipv4(),
            Self::Ip(ip) => ip.addr() == addr,
        }
    }

    /// Whether some address belongs to both.
    pub fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Ip(one), Self::Ip(two)) => {
                (self.covers(two.addr()) || other.covers(one.addr())) && one.may_share_link(two)
            }
        }
    }
}

impl From<HostIp> for HostAddr {
    fn from(addr: HostIp) -> Self {
        Self::Ip(addr)
    }
}

impl From<IpAddr> for HostAddr {
    /// A v4-mapped address counts as the IPv4 address that it is.
    fn from(addr: IpAddr) -> Self {
        Self::Ip(addr.into())
    }
}

impl fmt::Display for HostAddr {
    /// `*`, `192.0.2.1`, `[2001:db8::1]` or `[fe80::1%eth0]`: ready to be followed by `:8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Ip(ip) if ip.addr().is_ipv4() => ip.fmt(f),
            Self::Ip(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// What is in force as long as its [`Lease`](crate::Lease) lives: plain data.
///
/// Host port *n* of [`host_ports`](Self::host_ports) leads to container port *n* of
/// [`container_ports`](Self::container_ports); the two ranges are of one length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    protocol: Protocol,
    host_addr: HostAddr,
    host_ports: PortRange,
    endpoint: Endpoint,
    container_ports: PortRange,
}

impl Binding {
    /// Host ports from `first_host_port` on that lead to as many container ports.
    ///
    /// `None` where that would go past 65535.
    pub fn new(
        protocol: Protocol,
        host_addr: HostAddr,
        first_host_port: Port,
        endpoint: Endpoint,
        container_ports: PortRange,
    ) -> Option<Self> {
        Some(Self {
            protocol,
            host_addr,
            host_ports: PortRange::starting_at(first_host_port, container_ports.len())?,
            endpoint,
            container_ports,
        })
    }

    /// The same host ports, leading to the same ports of another container.
    #[must_use]
    pub const fn to(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host address, or all of them.
    pub const fn host_addr(&self) -> HostAddr {
        self.host_addr
    }

    /// The host's ports, as they were given: never ephemeral any more.
    pub const fn host_ports(&self) -> PortRange {
        self.host_ports
    }

    /// The container.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The container's ports.
    pub const fn container_ports(&self) -> PortRange {
        self.container_ports
    }

    /// The container port that a host port leads to.
    pub fn container_port(&self, host_port: Port) -> Option<Port> {
        self.container_ports.nth(self.host_ports.position(host_port)?)
    }

    /// Whether both want the same host port of the same address.
    pub fn conflicts(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.host_ports.overlaps(other.host_ports)
            && self.host_addr.overlaps(other.host_addr)
    }
}

impl fmt::Display for Binding {
    /// `tcp *:8080 -> 172.17.0.2:80`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{} -> ", self.protocol, self.host_addr, self.host_ports)?;
        for (place, addr) in self.endpoint.addrs().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}", HostAddr::from(addr), self.container_ports)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostAddr {
        text.parse::<HostIp>().map_or(HostAddr::Any, HostAddr::from)
    }

    #[test]
    fn addresses_overlap_where_a_packet_could_go_to_both() {
        let cases = [
            ("*", "127.0.0.1", true),
            ("*", "::1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("0.0.0.0", "::", false),
            ("::", "2001:db8::1", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("::", "fe80::1%eth0", true),
            ("fe80::1%eth0", "fe80::1%eth0", true),
            ("fe80::1%eth0", "fe80::1%eth1", false),
            ("fe80::1%eth0", "fe80::1", true),
            ("fe80::1%eth0", "fe80::2%eth0", false),
        ];
        for (one, two, overlap) in cases {
            assert_eq!(host(one).overlaps(host(two)), overlap, "{one} {two}");
            assert_eq!(host(two).overlaps(host(one)), overlap, "{two} {one}");
        }
    }

    #[test]
    fn a_binding_is_shown_with_both_addresses_of_its_endpoint() {
        let endpoint = "172.17.0.2,fd00:17::2".parse().unwrap();
        let ports = "80-81".parse().unwrap();
        let first = "8080".parse().unwrap();
        let binding = Binding::new(Protocol::Tcp, HostAddr::Any, first, endpoint, ports).unwrap();
        let shown = "tcp *:8080-8081 -> 172.17.0.2:80-81,[fd00:17::2]:80-81";
        assert_eq!(binding.to_string(), shown);
        assert_eq!(binding.container_port("8081".parse().unwrap()), Some("81".parse().unwrap()));
        assert_eq!(binding.container_port("8082".parse().unwrap()), None);
    }
}
