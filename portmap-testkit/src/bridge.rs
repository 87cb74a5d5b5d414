//! A bridge of a host, with its subnets and containers.

mod free;
mod plug;
mod spec;
mod stale;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicU32;

use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::packet_route::link::{BridgeStpState, LinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec};

use crate::claim::Claim;
use crate::error::{LabError, Step};
use crate::link;
use crate::ndisc::skip_detection;
use crate::node::Node;
pub use spec::BridgeSpec;
pub(crate) use spec::mac;

/// What the kernel shows as the alias of our bridges (`ip link`): the mark by which a later process
/// knows one that was left behind.
const ALIAS: &str = "portmap-testkit";

/// The same mark for the machine: the kernel takes a link's group in the message that makes it, but its
/// alias only in a second one, and the process may be killed in between ("port" in ASCII).
const GROUP: u32 = 0x706f_7274;

/// A bridge on a node; dropping it deletes the link in the background.
///
/// The node's thread doesn't end before that is done, so on the real host ([`Node::current`]) a bridge
/// goes with a panic too; [`remove`](Self::remove) deletes it and reports errors. What a killed
/// process leaves, [`sweep`](Self::sweep) finds.
#[derive(Debug)]
pub struct Bridge {
    node: Node,
    spec: BridgeSpec,
    index: u32,
    next: AtomicU32,
    /// Held as long as the bridge lives: who finds the alias and can take the name, found a stale one.
    claim: Option<Claim>,
}

impl Bridge {
    /// Makes the bridge on a node and gives it its addresses.
    ///
    /// # Errors
    /// When the node has a link of that name or another process holds the name; otherwise the kernel's
    /// refusal. Nothing is left then.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing: what was begun is finished in the node and deleted.
    pub async fn create(node: &Node, spec: BridgeSpec) -> Result<Self, LabError> {
        let claim = Claim::take(node, &claim_name(spec.name())).await?;
        let claim =
            claim.ok_or_else(|| LabError::new(format!("the name {} is taken", spec.name())))?;
        Self::create_claimed(node, spec, claim).await
    }

    async fn create_claimed(node: &Node, spec: BridgeSpec, claim: Claim) -> Result<Self, LabError> {
        let inside = node.clone();
        let task = node.spawn(async move {
            // Not in the caller's future: were that dropped between request and answer, nobody
            // would know of the link.
            let name = spec.name();
            let index = add_link(&inside, name, mac(spec.v4().addr())).await?;
            let bridge =
                Self { node: inside, index, next: AtomicU32::new(1), claim: Some(claim), spec };
            bridge.configure().await.map(|()| bridge)
        });
        task.await.map_err(std::io::Error::other).step(|| "make a bridge".to_owned())?
    }

    /// Leaves the link to the kernel, which takes it with the namespace of a node that is about to go: that costs nobody the
    /// 50 ms that each deleted wire does.
    pub(crate) fn leave_to_namespace(&mut self) {
        if !self.node.is_outlived() {
            self.claim = None;
        }
    }

    async fn configure(&self) -> Result<(), LabError> {
        let netlink = self.node.netlink();
        let marked = LinkUnspec::new_with_index(self.index).alias(ALIAS).build();
        netlink.link().change(marked).execute().await.step(|| format!("mark {}", self.name()))?;
        if self.spec.v6().is_some() {
            skip_detection(&self.node, self.name()).await?;
        }
        link::up(netlink, self.index).await?;
        for address in self.spec.addresses() {
            self.node.give_address(self.name(), self.index, address).await?;
        }
        Ok(())
    }

    /// The link's name.
    pub fn name(&self) -> &str {
        self.spec.name()
    }

    /// The node it is on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its IPv4 address: the gateway of its containers, and what they take a masqueraded client for.
    pub fn gateway4(&self) -> Ipv4Addr {
        self.spec.v4().addr()
    }

    /// Its IPv6 address, if it has an IPv6 subnet.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.spec.v6().map(|net| net.addr())
    }

    /// The IPv4 subnet of its containers.
    pub fn subnet4(&self) -> Ipv4Net {
        self.spec.v4().trunc()
    }

    /// The IPv6 subnet of its containers.
    pub fn subnet6(&self) -> Option<Ipv6Net> {
        self.spec.v6().map(|net| net.trunc())
    }

    /// Deletes the bridge and the wires to its containers, which lose their `eth0`.
    ///
    /// # Errors
    /// The kernel's refusal: somebody else deleted it, say.
    ///
    /// # Cancel safety
    /// Dropping the future deletes the bridge in the background, as dropping the bridge does.
    pub async fn remove(mut self) -> Result<(), LabError> {
        let removed = link::delete_bridge(self.node.netlink(), self.index).await;
        self.claim = None;
        removed
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let (netlink, index) = (self.node.netlink().clone(), self.index);
        self.node.finish(async move {
            if let Err(error) = link::delete_bridge(&netlink, index).await {
                tracing::warn!(%error, "a bridge was not deleted");
            }
            // Not earlier: a link with our alias and a free name is a stale one.
            drop(claim);
        });
    }
}

/// A bridge without addresses, which only joins nodes: it goes with its namespace.
pub(crate) async fn create_switch(node: &Node, name: &str) -> Result<u32, LabError> {
    let index = add_link(node, name, Vec::new()).await?;
    link::up(node.netlink(), index).await?;
    Ok(index)
}

async fn add_link(node: &Node, name: &str, mac: Vec<u8>) -> Result<u32, LabError> {
    let netlink = node.netlink();
    let request = netlink.link().add(bridge_message(name, mac));
    request.execute().await.step(|| format!("make bridge {name} on {}", node.name()))?;
    link::index(netlink, name).await
}

/// No spanning tree, no forward delay: a port forwards as soon as it has carrier. A fixed MAC (empty:
/// none): a bridge without one takes its lowest port's, and every neighbour's entry goes stale when a
/// container joins.
fn bridge_message(name: &str, mac: Vec<u8>) -> LinkMessage {
    let bridge = LinkMessageBuilder::<LinkBridge>::new(name)
        .stp_state(BridgeStpState::Disabled)
        .forward_delay(0)
        .link_group(GROUP);
    if mac.is_empty() { bridge.build() } else { bridge.address(mac).build() }
}

fn claim_name(bridge: &str) -> String {
    format!("bridge/{bridge}")
}
