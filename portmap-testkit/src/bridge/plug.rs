//! Containers on a bridge.

use std::sync::atomic::Ordering;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::spec::everything;
use super::{Bridge, mac};
use crate::container::Container;
use crate::error::LabError;
use crate::link;
use crate::ndisc::skip_detection;
use crate::node::Node;
use crate::veth::Wire;

impl Bridge {
    /// Makes a container on the bridge, with the next address of each subnet: an address is never
    /// used twice. When it returns, the container has reached its gateway over both families.
    ///
    /// # Errors
    /// The kernel's refusal; a subnet is full; the gateway did not answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn container(&self, name: &str) -> Result<Container, LabError> {
        self.plug(Node::new(name).await?).await
    }

    /// Makes a node a container on the bridge: as [`container`](Self::container), for a namespace
    /// that exists ([`Node::join`]). It must have no `eth0` and no default route; both go again with
    /// the container.
    ///
    /// # Errors
    /// As [`container`](Self::container).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the namespace as it was.
    pub async fn plug(&self, node: Node) -> Result<Container, LabError> {
        let (v4, v6) = self.next_addresses()?;
        let wire = Wire::new(&self.node, self.index, &node, "eth0", mac(v4.addr())).await?;
        if v6.is_some() {
            skip_detection(&node, "eth0").await?;
        }
        link::up(node.netlink(), wire.link).await?;
        for address in [IpNet::V4(v4)].into_iter().chain(v6.map(IpNet::V6)) {
            node.add_address("eth0", address).await?;
        }
        for gateway in self.spec.addresses() {
            link::add_route(node.netlink(), everything(gateway), gateway.addr()).await?;
        }
        // In this order, and before the first solicitation: a frame that meets a port without
        // carrier is lost, and the kernel sends the next one a second later.
        link::operational(node.netlink(), wire.link).await?;
        link::operational(self.node.netlink(), wire.port).await?;
        link::operational(self.node.netlink(), self.index).await?;
        for gateway in self.spec.addresses() {
            link::resolve(node.netlink(), wire.link, gateway.addr()).await?;
        }
        let (gateway4, gateway6) = (self.gateway4(), self.gateway6());
        Ok(Container {
            node,
            wire,
            gateway4,
            gateway6,
            #[cfg(feature = "containers")]
            real: None,
        })
    }

    fn next_addresses(&self) -> Result<(Ipv4Net, Option<Ipv6Net>), LabError> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let full = || LabError::new(format!("a subnet of {} is full", self.name()));
            let (v4, v6) = self.spec.numbered(number).ok_or_else(full)?;
            if v4 != self.spec.v4() && (v6.is_none() || v6 != self.spec.v6()) {
                return Ok((v4, v6));
            }
        }
    }
}
