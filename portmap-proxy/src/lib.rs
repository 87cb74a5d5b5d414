//! The userland proxy: a [`PortMapper`](portmap_core::PortMapper) that serves host ports itself.
//!
//! [`ProxyMapper`] listens on the host's side, dials the container for each client and carries the bytes or datagrams
//! both ways. One process serves however many ports, with a task for each listener and each TCP connection.
//!
//! It works without privilege and for every way to reach a host: from outside, over loopback, from containers.
//! The container sees the host's address on its network (the bridge's gateway) as its peer, not the client's, unless
//! [`SourceAddress`] says otherwise.
//!
//! ```no_run
//! use portmap_core::{Endpoint, PortMapper, PortSpec, Publish};
//! use portmap_proxy::ProxyMapper;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let request = Publish::new(Endpoint::from([172, 17, 0, 2])).with("8080:80".parse::<PortSpec>()?);
//! let lease = ProxyMapper::new().publish(request).await?;
//! // The port is served as long as the lease lives.
//! lease.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What can be replaced
//! [`ProxyMapper::layer`] puts tower layers around [`Forward`], the service that every connection goes through;
//! [`ProxyMapper::dial`] replaces [`TcpDial`], the service that connects to the container.
//! [`ProxyMapper::session_layer`] and [`ProxyMapper::session_dial`] are the same for UDP sessions, around
//! [`ForwardSession`] and in place of [`UdpDial`].
//!
//! # What can be seen
//! [`ProxyMapper::stats`] gives what was counted of each binding, and [`Connection::progress`] of a connection; with the
//! feature `metrics` the `metrics` facade is told the same. Spans of `tracing` have each publish, connection and session.
//! All names are in `docs/observability.md`.

mod builder;
mod caught;
mod causes;
mod check;
mod circle;
mod mapper;
mod netns;
mod pressure;
mod seldom;
mod serving;
mod settings;
mod share;
mod source;
mod spare;
mod tcp;
mod udp;
mod watch;
mod watched;

pub use circle::not_to_itself;
pub use mapper::ProxyMapper;
pub use netns::{NetnsDial, NetnsError, NetnsUdpDial};
pub use source::SourceAddress;
pub use tcp::{Connection, Dial, Ending, Forward, ForwardError, Side, TcpDial, Transferred};
pub use udp::{Carried, Exchanged, ForwardSession, Session, SessionEnding, UdpDial};
pub use watch::{BindingStats, Failed, FailureCause, Progress};
