//! Port specifications: what a person writes after `-p`.

mod error;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use crate::{HostAddr, HostIp, HostPort, Mapping, PortRange, Protocol};

pub use self::error::{PortSpecError, SpecPart};

/// A port specification, as a person writes it: `[ip:][host[-end]:]port[-end][/proto]`, IPv6 in brackets.
///
/// This is the grammar of Docker's `-p`:
///
/// | written | asks for |
/// |---|---|
/// | `80` | container port 80 on a free ephemeral host port |
/// | `8080:80/udp` | host port 8080, UDP |
/// | `127.0.0.1:8080:80` | the same on one host address |
/// | `[2001:db8::1]::80` | a free ephemeral port of one IPv6 host address |
/// | `[fe80::1%eth0]:8080:80` | host port 8080 of a link-local address, which needs its interface |
/// | `8000-8010:80` | the lowest free port of the eleven |
/// | `8000-8010:9000-9010` | eleven ports, one to one |
/// | `1000-1005/udp` | six neighbouring free ephemeral host ports |
///
/// Where no host address is given, all of both families are meant. The protocol is read in any case and is
/// `tcp` where none is given. [`Display`](fmt::Display) prints the canonical form, which parses to an equal value.
///
/// Differences from Docker: a range stays one [`Mapping`] and is never expanded, an IPv6 address needs its
/// brackets, and host port 0 is an error (leave the port out for a free one).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSpec {
    protocol: Protocol,
    host_addr: Option<HostIp>,
    host_port: HostPort,
    container_ports: PortRange,
}

impl PortSpec {
    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host address; `None` is every address of both families.
    pub const fn host_addr(&self) -> Option<HostIp> {
        self.host_addr
    }

    /// The host ports.
    pub const fn host_port(&self) -> HostPort {
        self.host_port
    }

    /// The container's ports.
    pub const fn container_ports(&self) -> PortRange {
        self.container_ports
    }
}

impl FromStr for PortSpec {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(PortSpecError::Empty);
        }
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::default()),
        };
        let (host_addr, ports) = split_host_addr(ports)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (host, container),
            None => ("", ports),
        };
        let container_ports = parse_ports(SpecPart::ContainerPort, container)?;
        let host_port = match host {
            "" => HostPort::Ephemeral,
            host => pair(parse_ports(SpecPart::HostPort, host)?, container_ports),
        };
        Mapping::new(protocol, host_port, container_ports)?;
        Ok(Self { protocol, host_addr, host_port, container_ports })
    }
}

/// Takes the host address off the front: what is in brackets, or what stands before the second last colon.
fn split_host_addr(text: &str) -> Result<(Option<HostIp>, &str), PortSpecError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (addr, ports) =
            rest.split_once(']').ok_or_else(|| PortSpecError::UnclosedBracket(text.to_owned()))?;
        // Brackets are for IPv6 alone, as in a URL.
        if addr.parse::<Ipv4Addr>().is_ok() {
            return Err(PortSpecError::NotAnAddress(addr.to_owned()));
        }
        let addr: HostIp = addr.parse()?;
        return match ports.strip_prefix(':').map(|ports| (ports, ports.matches(':').count())) {
            Some((ports, 1)) => Ok((Some(addr), ports)),
            Some((_, 2..)) => Err(PortSpecError::TooManyColons(text.to_owned())),
            _ => Err(PortSpecError::MissingPorts(text.to_owned())),
        };
    }
    match text.matches(':').count() {
        0 | 1 => Ok((None, text)),
        2 => {
            let (addr, ports) = text.split_once(':').unwrap_or((text, ""));
            Ok((Some(addr.parse()?), ports))
        }
        _ => Err(PortSpecError::TooManyColons(text.to_owned())),
    }
}

fn parse_ports(part: SpecPart, text: &str) -> Result<PortRange, PortSpecError> {
    if part == SpecPart::HostPort && text.parse::<IpAddr>().is_ok() {
        return Err(PortSpecError::AddressAsPort(text.to_owned()));
    }
    text.parse().map_err(|error| PortSpecError::Port { part, error })
}

/// Several host ports for one container port are a choice; anything else is one to one.
fn pair(host: PortRange, container: PortRange) -> HostPort {
    if host.len() > 1 && container.len() == 1 {
        HostPort::AnyOf(host)
    } else {
        HostPort::Exact(host)
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(addr) = self.host_addr {
            write!(f, "{}:", HostAddr::Ip(addr))?;
        }
        match self.host_port {
            HostPort::Exact(ports) | HostPort::AnyOf(ports) => write!(f, "{ports}:")?,
            HostPort::Ephemeral if self.host_addr.is_some() => f.write_str(":")?,
            HostPort::Ephemeral => {}
        }
        write!(f, "{}/{}", self.container_ports, self.protocol)
    }
}
