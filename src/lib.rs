//! Publishes container ports on a Linux host: what Docker does with docker-proxy and iptables, as an embeddable async
//! library.
//!
//! A container runtime asks for "host 8080/tcp -> this container's 80" and gets a [`Lease`]. The port is published as
//! long as the lease lives. One process, the one that embeds the library, serves all ports of all containers.
//!
//! ```
//! use portmap::{Endpoint, PortMapper, PortSpec, ProxyMapper, Publish};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let container: Endpoint = "172.17.0.2".parse()?;
//! let request = Publish::new(container).with("127.0.0.1::80/tcp".parse::<PortSpec>()?);
//!
//! let lease = ProxyMapper::new().publish(request).await?;
//! for binding in lease.bindings() {
//!     println!("{binding}"); // tcp 127.0.0.1:49153 -> 172.17.0.2:80
//! }
//! lease.release().await?; // dropping the lease does the same in the background
//! # Ok(())
//! # }
//! ```
//!
//! # Who sees whom
//!
//! | a call from | [`ProxyMapper`] | [`RulesMapper`] | [`HybridMapper`] |
//! |---|---|---|---|
//! | an outside client | the bridge's address | the client's own address | the client's own address |
//! | the host, by 127.0.0.1 | the bridge's address | the bridge's address | the bridge's address |
//! | the host, by `::1` | the bridge's address | refused | the bridge's address |
//! | another container | the bridge's address | dropped between networks | the bridge's address |
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
//! | [`RulesMapper`], connection tracking | `portmap-netfilter`, here in [`rules`]; feature `rules`, on by default |
//! | networks, policies, the rules as data | `portmap-rules`, here in [`rules`] too |
//! | labs of network namespaces to test a mapper in | `portmap-testkit`, a development dependency of its own |

pub use portmap_core::{
    Binding, BoxError, BoxPortMapper, Endpoint, EndpointError, Error, ErrorKind, Established,
    Foreign, Holder, HolderProcess, HolderState, HostAddr, HostIp, HostIpError, HostPort,
    HybridMapper, Lease, Mapping, MappingError, Port, PortError, PortMapper, PortRange, PortSpec,
    PortSpecError, Protocol, Publish, ReleaseError, ServedAlone, ServedBy, SpecPart,
    UnknownProtocol, WithCauses, Zone, holders,
};
#[cfg(feature = "rules")]
pub use portmap_netfilter::RulesMapper;
#[cfg(feature = "proxy")]
pub use portmap_proxy::ProxyMapper;

/// For authors of mappers: what a [`PortMapper`] is made with.
pub mod mapper {
    pub use portmap_core::{Hold, HostSocket, MapperService, NotReleased, Reservation, Reserved};
}

/// NAT in the kernel: networks, policies, and the rules as data.
#[cfg(feature = "rules")]
pub mod rules {
    pub use portmap_netfilter::*;
    pub use portmap_rules::*;
}

/// The userland proxy: its connections, its layers and its dial service.
#[cfg(feature = "proxy")]
pub mod proxy {
    pub use portmap_proxy::*;
}

/// The examples of the pages that are no Rust, as tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    #[cfg(all(feature = "proxy", feature = "rules"))]
    struct Readme;

    #[doc = include_str!("../docs/embedding.md")]
    #[cfg(all(feature = "proxy", feature = "rules"))]
    struct Embedding;
}
