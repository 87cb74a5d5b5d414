#![doc = include_str!("../README.md")]
//!
//! # Three layers
//!
//! ```text
//!   your runtime      PortSpec -> Publish                                     a Lease, kept as long as the container runs
//!        |                                                                        ^
//!        |  tower layers around publishing: a mapper is a service, and back       |
//!        v                                                                        |
//!   PortMapper        ProxyMapper         RulesMapper         HybridMapper of both, or your own
//!        |                |                   |
//!        |  tower layers around each          |  rules as data: compiled, compared,
//!        |  connection, a dial service        |  printed, traced
//!        v                v                   v
//!   the kernel        host sockets        nftables or iptables, connection tracking
//! ```
//!
//! # The life of a lease
//!
//! Asked ([`Publish`]), reserved (all host ports or none), in force (rules first, then the ports are served), retargeted as often as
//! you like ([`Lease::retarget`]), released in the reverse order: by [`Lease::release`], or by dropping it, which does the
//! same in the background. An error or a dropped future before there is a lease leaves nothing. Each step has its contract at
//! [`PortMapper`].
//!
//! # Where things are
//!
//! | what | where |
//! |---|---|
//! | the vocabulary, [`PortMapper`], [`Lease`], [`Error`], [`HybridMapper`] | `portmap-core`, re-exported here |
//! | [`ProxyMapper`] and what can be replaced in it | `portmap-proxy`, here as [`proxy`]; feature `proxy`, on by default |
//! | [`RulesMapper`], networks, policies, the rules as data | `portmap-rules`, here as [`rules`]; feature `rules`, on by default |
//! | labs of network namespaces to test a mapper in | `portmap-testkit`, a development dependency of its own |

pub use portmap_core::{
    Binding, BoxError, BoxPortMapper, Endpoint, EndpointError, Error, ErrorKind, Established,
    Holder, HolderProcess, HolderState, HostAddr, HostIp, HostIpError, HostPort, HybridMapper,
    Lease, Mapping, MappingError, Port, PortError, PortMapper, PortRange, PortSpec, PortSpecError,
    Protocol, Publish, ReleaseError, ServedAlone, ServedBy, SpecPart, UnknownProtocol, WithCauses,
    Zone, holders,
};
#[cfg(feature = "proxy")]
pub use portmap_proxy::ProxyMapper;
#[cfg(feature = "rules")]
pub use portmap_rules::RulesMapper;

/// For authors of mappers: what a [`PortMapper`] is made with.
pub mod mapper {
    pub use portmap_core::{Hold, HostSocket, MapperService, NotReleased, Reservation, Reserved};
}

/// NAT in the kernel: networks, policies, and the rules as data.
#[cfg(feature = "rules")]
pub mod rules {
    pub use portmap_rules::*;
}

/// The userland proxy: its connections, its layers and its dial service.
#[cfg(feature = "proxy")]
pub mod proxy {
    pub use portmap_proxy::*;
}
