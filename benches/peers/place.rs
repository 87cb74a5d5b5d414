//! Where it is measured: a client, a host and a container, each a network namespace.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, RawFd},
};

use portmap::BoxError;
use portmap_testkit::{Bridge, Container, Lab, Node};
use tokio::task::spawn_blocking;

/// The host port that every peer publishes; further ones follow it.
pub(crate) const HOST_PORT: u16 = 20_000;
/// The container port that it leads to.
pub(crate) const PORT: u16 = 80;
/// The container.
pub(crate) const CONTAINER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
/// Its network.
pub(crate) const NETWORK: &str = "docker0=172.17.0.0/16";

/// Every kernel has it and lets a namespace choose it, whatever this machine's own is, which would be inherited. BBR sets a timer for
/// each segment, to pace what meets no congestion here: one tenth of all CPU in bulk transfers.
const CONGESTION_CONTROL: &str = "reno";

/// One for each run of each peer, so that no TIME_WAIT, conntrack entry or route is left from another.
pub(crate) struct Place {
    container: Container,
    _bridge: Bridge,
    bare: Node,
    lab: Lab,
}

impl Place {
    pub(crate) async fn new() -> Result<Self, BoxError> {
        let lab = Lab::new().await?;
        let bridge = lab.docker0().await?;
        let container = bridge.container("web").await?;
        lab.host().sysctl("net/ipv4/ip_forward", "1").await?;
        // Short connections need many ports. What is published is beneath them.
        for node in [lab.client(), lab.host()] {
            node.sysctl("net/ipv4/ip_local_port_range", "32000 65535").await?;
        }
        for node in [lab.client(), lab.host(), &*container] {
            node.sysctl("net/ipv4/tcp_congestion_control", CONGESTION_CONTROL).await?;
        }
        lab.client().add_route(bridge.subnet4().into(), IpAddr::V4(lab.host().addr4())).await?;
        let bare = Node::new("bare").await?;
        Ok(Self { container, _bridge: bridge, bare, lab })
    }

    pub(crate) fn host(&self) -> &Node {
        self.lab.host()
    }

    /// The descriptor of a namespace with nothing in it, for what makes its own network.
    pub(crate) fn bare_descriptor(&self) -> RawFd {
        self.bare.as_fd().as_raw_fd()
    }

    pub(crate) fn container(&self) -> &Node {
        &self.container
    }

    /// Runs what blocks on a thread of the client's namespace.
    pub(crate) async fn on_client<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BoxError> {
        Ok(self.lab.client().run(async { spawn_blocking(work).await }).await?)
    }
}
