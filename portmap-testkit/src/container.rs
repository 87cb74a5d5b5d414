//! A node behind a bridge.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use portmap_core::Endpoint;
use rtnetlink::LinkBridgePort;

#[cfg(feature = "containers")]
use crate::docker::RealContainer;
use crate::error::{LabError, Step};
use crate::node::Node;
use crate::veth::Wire;

/// A [`Node`] with `eth0` on a [`Bridge`](crate::Bridge), whose gateway is its default route.
///
/// Dropping it drops the node and takes `eth0` out of a namespace that outlives the node.
#[derive(Debug)]
pub struct Container {
    pub(crate) node: Node,
    pub(crate) wire: Wire,
    pub(crate) gateway4: Ipv4Addr,
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// Last, as it is removed last.
    #[cfg(feature = "containers")]
    pub(crate) real: Option<Box<RealContainer>>,
}

impl Container {
    /// Its IPv4 gateway: the bridge's address.
    pub fn gateway4(&self) -> Ipv4Addr {
        self.gateway4
    }

    /// Its IPv6 gateway, if the bridge has an IPv6 subnet.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.gateway6
    }

    /// What to publish: both of its addresses.
    pub fn endpoint(&self) -> Endpoint {
        let (v4, v6) = (self.addr4(), self.addr6());
        // Only a v4-mapped address is no second one, and a node has none.
        Endpoint::dual(v4, v6).unwrap_or_else(|_| v4.into())
    }

    /// The node, for what wants a handle of its own.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Docker's container, where it is one: see [`Docker`](crate::Docker).
    #[cfg(feature = "containers")]
    pub fn real(&self) -> Option<&RealContainer> {
        self.real.as_deref()
    }

    /// Whether the bridge may send a frame back out of the port it came from: what a container needs
    /// that calls itself by way of the host. Off at first.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn set_hairpin(&self, on: bool) -> Result<(), LabError> {
        let message = LinkBridgePort::new(self.wire.port).hairpin(on).build();
        let request = self.wire.switch.netlink().link().set_port(message);
        request.execute().await.step(|| format!("set hairpin of {} to {on}", self.name()))
    }
}

impl Deref for Container {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
