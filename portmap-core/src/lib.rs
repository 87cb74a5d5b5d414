//! Vocabulary, the [`PortMapper`] trait and leases for publishing container ports.
//!
//! This crate is what a container runtime and every way of publishing agree on:
//!
//! ```text
//!   a container runtime    reads a PortSpec, makes a Publish of it, keeps the Lease
//!            |
//!            |  PortMapper::publish(Publish) -> Lease     tower layers go here: a mapper is a service, and back
//!            v
//!   a way of publishing    ProxyMapper, RulesMapper, HybridMapper of both, or your own
//!            |
//!            |  host sockets, netfilter                   and tower layers around each connection of a proxy
//!            v
//!   the kernel
//! ```
//!
//! It does no I/O but taking host sockets (see [`Reservation`]) and finding who has them ([`holders`]), and holds no way of
//! publishing itself but the one that puts two together, [`HybridMapper`]: the others are `portmap-proxy` and `portmap-rules`, or your own type.
//!
//! # The life of a lease
//! 1. **Asked**: [`Publish`] names an [`Endpoint`] and its [`Mapping`]s. Bad input is refused before anything is touched.
//! 2. **Reserved**: host ports are taken, all or none. A port that is in use is an error that names the holder.
//! 3. **In force**: rules are set, then ports are served, and only then is there a [`Lease`], whose [`Binding`]s say which
//!    ports it got. Dropping the future before that leaves nothing.
//! 4. **Retargeted**, as often as you like ([`Lease::retarget`]): the same ports lead to another container, and no client is
//!    refused meanwhile.
//! 5. **Released**, in the reverse order: by [`Lease::release`], which waits and reports errors (and gives the lease back with
//!    them), or by dropping it, which does the same in the background. [`Lease::disarm`] gives the right up instead, and
//!    leaves the ports published.
//!
//! ```
//! use portmap_core::{Endpoint, HostPort, Mapping, PortSpec, Publish};
//!
//! let spec: PortSpec = "127.0.0.1:8000-8010:9000-9010/tcp".parse()?;
//! assert_eq!(spec.container_ports().len(), 11);
//!
//! let request = Publish::new(Endpoint::from([172, 17, 0, 2])).with(spec);
//! assert!(matches!(request.mappings()[0].host_port(), HostPort::Exact(_)));
//! # Ok::<(), portmap_core::PortSpecError>(())
//! ```

mod binding;
#[cfg(feature = "host")]
mod boxed;
mod endpoint;
mod error;
#[cfg(feature = "host")]
mod error_of_io;
mod foreign;
#[cfg(feature = "host")]
mod holder;
mod host_ip;
#[cfg(feature = "host")]
mod hybrid;
#[cfg(feature = "host")]
mod lease;
#[cfg(feature = "host")]
mod mapper;
mod mapping;
mod port;
mod protocol;
#[cfg(feature = "host")]
mod publish;
#[cfg(feature = "host")]
mod reserve;
#[cfg(feature = "host")]
mod service;
mod spec;
mod zone;
#[cfg(feature = "host")]
mod zone_index;

pub use binding::{Binding, HostAddr};
#[cfg(feature = "host")]
pub use boxed::BoxPortMapper;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{BoxError, Error, ErrorKind, WithCauses};
pub use foreign::Foreign;
#[cfg(feature = "host")]
pub use holder::{Holder, HolderProcess, HolderState, holders};
pub use host_ip::{HostIp, HostIpError};
#[cfg(feature = "host")]
pub use hybrid::{HybridMapper, ServedAlone, ServedBy};
#[cfg(feature = "host")]
pub use lease::{Established, Hold, Lease, NotReleased, ReleaseError};
#[cfg(feature = "host")]
pub use mapper::PortMapper;
pub use mapping::{HostPort, Mapping, MappingError};
pub use port::{Port, PortError, PortRange};
pub use protocol::{Protocol, UnknownProtocol};
#[cfg(feature = "host")]
pub use publish::Publish;
#[cfg(feature = "host")]
pub use reserve::{HostSocket, Reservation, Reserved};
#[cfg(feature = "host")]
pub use service::MapperService;
pub use spec::{PortSpec, PortSpecError, SpecPart};
pub use zone::Zone;
