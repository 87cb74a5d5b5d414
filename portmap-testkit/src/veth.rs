//! The wire between a node and a bridge.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::error::{LabError, Step};
use crate::link;
use crate::node::Node;

/// Both ends of a wire, as their namespaces number them.
///
/// Dropping it takes the wire out of a namespace that outlives its node; from one that goes with the
/// node the kernel takes it, and sooner than we could.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) switch: Node,
    /// The bridge port in the switch's namespace.
    pub(crate) port: u32,
    /// The link in the node's namespace.
    pub(crate) link: u32,
    outlived: bool,
}

impl Wire {
    /// Makes a veth pair between a bridge's new port and `node`'s new link `name`, which stays down.
    ///
    /// One message: the peer is born in its namespace, the port enslaved and up. The kernel numbers
    /// the ports (`veth0`, `veth1`..), so that no two collide on a host that has others.
    pub(crate) async fn new(
        switch: &Node,
        bridge: u32,
        node: &Node,
        name: &'static str,
        mac: Vec<u8>,
    ) -> Result<Self, LabError> {
        let (inside, end) = (switch.clone(), node.clone());
        // On the switch's thread, not in the caller's future: were that dropped between request and
        // answer, nobody would know of the pair.
        let task = switch.spawn(async move { Self::connect(inside, bridge, end, name, mac).await });
        let step = || format!("plug {} into {}", node.name(), switch.name());
        task.await.map_err(std::io::Error::other).step(step)?
    }

    async fn connect(
        switch: Node,
        bridge: u32,
        node: Node,
        name: &str,
        mac: Vec<u8>,
    ) -> Result<Self, LabError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(name)
            .address(mac)
            .setns_by_fd(node.as_fd().as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Veth)
            .name("veth%d")
            .controller(bridge)
            .up()
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let made = switch.netlink().link().add(pair).execute().await;
        made.step(|| format!("plug {} into {}", node.name(), switch.name()))?;

        let link = link::find(node.netlink(), name).await?;
        let link = link.ok_or_else(|| LabError::new(format!("{name} has vanished")))?;
        let port = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Link(port) => Some(*port),
            _ => None,
        });
        let port = port.ok_or_else(|| LabError::new(format!("{name} has no peer")))?;
        let outlived = node.is_outlived();
        Ok(Self { switch, port, link: link.header.index, outlived })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.outlived {
            let (netlink, port) = (self.switch.netlink().clone(), self.port);
            self.switch.finish(async move {
                if let Err(error) = link::delete(&netlink, port).await {
                    tracing::debug!(%error, "a bridge port was gone already");
                }
            });
        }
    }
}
