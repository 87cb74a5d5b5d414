//! What is asked for: container ports and where on the host they should appear.

use std::{error, fmt};

use crate::{Binding, HostAddr, HostIp, PortRange, PortSpec, Protocol};

/// Which host ports a [`Mapping`] wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostPort {
    /// Free ones of the host's ephemeral range (`net.ipv4.ip_local_port_range` without
    /// `ip_local_reserved_ports`), neighbours where the mapping has several container ports.
    #[default]
    Ephemeral,
    /// These, one to one with the container ports.
    Exact(PortRange),
    /// The lowest free one of these, for one container port.
    AnyOf(PortRange),
}

/// One thing asked for in a [`Publish`](crate::Publish): container ports, and where on the host they should appear.
///
/// A range of ports is one mapping, whatever its length.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    protocol: Protocol,
    host_addrs: Vec<HostIp>,
    host_port: HostPort,
    container_ports: PortRange,
}

impl Mapping {
    /// A mapping on every address of the host, IPv4 and IPv6. [`on`](Self::on) narrows it.
    ///
    /// # Errors
    /// Where the host ports and the container ports cannot belong together: see [`MappingError`].
    pub fn new(
        protocol: Protocol,
        host_port: HostPort,
        container_ports: PortRange,
    ) -> Result<Self, MappingError> {
        match host_port {
            HostPort::Exact(host) if host.len() != container_ports.len() => {
                Err(MappingError::LengthsDiffer { host, container: container_ports })
            }
            HostPort::AnyOf(host) if container_ports.len() != 1 => {
                Err(MappingError::AnyOfForSeveral { host, container: container_ports })
            }
            _ => Ok(Self { protocol, host_addrs: Vec::new(), host_port, container_ports }),
        }
    }

    /// Narrows the mapping to this host address; called again, adds a further one.
    ///
    /// All addresses get the same port number. `0.0.0.0` is every IPv4 address of the host and no IPv6
    /// one, `::` every IPv6 address and no IPv4 one.
    #[must_use]
    pub fn on(mut self, host_addr: impl Into<HostIp>) -> Self {
        let host_addr = host_addr.into();
        if !self.host_addrs.contains(&host_addr) {
            self.host_addrs.push(host_addr);
        }
        self
    }

    /// The protocol of all its ports.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The host addresses it is narrowed to; none means every address of both families.
    pub fn host_addrs(&self) -> &[HostIp] {
        &self.host_addrs
    }

    /// The same as [`HostAddr`]s: [`HostAddr::Any`] alone where it is not narrowed.
    pub fn host(&self) -> impl Iterator<Item = HostAddr> {
        let any = self.host_addrs.is_empty().then_some(HostAddr::Any);
        any.into_iter().chain(self.host_addrs.iter().copied().map(HostAddr::from))
    }

    /// The host ports it wants.
    pub const fn host_port(&self) -> HostPort {
        self.host_port
    }

    /// The container's ports.
    pub const fn container_ports(&self) -> PortRange {
        self.container_ports
    }
}

impl From<&Binding> for Mapping {
    /// What would be asked for to get just this binding.
    fn from(binding: &Binding) -> Self {
        let host_addrs = match binding.host_addr() {
            HostAddr::Any => Vec::new(),
            HostAddr::Ip(addr) => vec![addr],
        };
        Self {
            protocol: binding.protocol(),
            host_addrs,
            host_port: HostPort::Exact(binding.host_ports()),
            container_ports: binding.container_ports(),
        }
    }
}

impl From<PortSpec> for Mapping {
    fn from(spec: PortSpec) -> Self {
        Self {
            protocol: spec.protocol(),
            host_addrs: spec.host_addr().into_iter().collect(),
            host_port: spec.host_port(),
            container_ports: spec.container_ports(),
        }
    }
}

/// Why host ports and container ports cannot make a [`Mapping`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MappingError {
    /// Ranges that should be one to one are not of one length.
    LengthsDiffer {
        /// The host's ports.
        host: PortRange,
        /// The container's ports.
        container: PortRange,
    },
    /// "Any free one of these" makes sense for one container port only.
    AnyOfForSeveral {
        /// The host's ports.
        host: PortRange,
        /// The container's ports.
        container: PortRange,
    },
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthsDiffer { host, container } => {
                write!(f, "the ranges {host} and {container} differ in length")
            }
            Self::AnyOfForSeveral { host, container } => {
                write!(f, "any free port of {host} is for one container port, not for {container}")
            }
        }
    }
}

impl error::Error for MappingError {}
