//! Vocabulary, the [`PortMapper`] trait and leases for publishing container ports.
//!
//! This crate is what a container runtime and every way of publishing agree on. A runtime reads a
//! [`PortSpec`], makes a [`Publish`] request of it and of the container's [`Endpoint`], and hands that
//! to a [`PortMapper`]; it gets back a [`Lease`], whose [`Binding`]s say what is in force.
//!
//! It does no I/O but taking host sockets (see [`Reservation`]) and finding who has them ([`holders`]), and holds no way of publishing itself:
//! those are `portmap-proxy` and its siblings, or your own type.
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
mod boxed;
mod endpoint;
mod error;
mod holder;
mod hybrid;
mod lease;
mod mapper;
mod mapping;
mod port;
mod protocol;
mod publish;
mod reserve;
mod service;
mod spec;

pub use binding::{Binding, HostAddr};
pub use boxed::BoxPortMapper;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{BoxError, Error, ErrorKind, WithCauses};
pub use holder::{Holder, Process, holders};
pub use hybrid::HybridMapper;
pub use lease::{Established, Hold, Lease, NotReleased, ReleaseError};
pub use mapper::PortMapper;
pub use mapping::{HostPort, Mapping, MappingError};
pub use port::{Port, PortError, PortRange};
pub use protocol::{Protocol, UnknownProtocol};
pub use publish::Publish;
pub use reserve::{HostSocket, Reservation, Reserved};
pub use service::MapperService;
pub use spec::{PortSpec, PortSpecError, SpecPart};
