//! The flag of a bridge's ports by which a container reaches itself.

use std::io;

use futures::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkBridgePort, new_connection,
    packet_route::link::{
        InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkInfo, LinkMessage,
    },
};
use tokio::task::AbortHandle;
use tracing::warn;

use crate::{Family, Interface, Sysctl};

/// Ports of bridges that were made to send a frame back by the port it came from: what a container needs that calls
/// itself by way of the host, where the bridge itself carries its packet on, as it does once NAT has seen it there. A port
/// comes with its container, so they are looked for at each publish.
#[derive(Debug)]
pub(super) struct HairpinPorts {
    netlink: Handle,
    connection: AbortHandle,
    which: Which,
    set: Vec<(Interface, u32)>,
}

/// Which bridges' ports need the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Those whose packets netfilter sees. A container on another bridge would only hear its own broadcasts by it.
    Seen,
}

impl HairpinPorts {
    /// In the network namespace of the calling thread.
    pub(super) fn open(which: Which) -> io::Result<Self> {
        let (connection, netlink, _) = new_connection()?;
        let connection = tokio::spawn(connection).abort_handle();
        Ok(Self { netlink, connection, which, set: Vec::new() })
    }

    /// Sets the flag of all ports of a bridge that lack it. A failure is no reason not to publish: one path is not served.
    pub(super) async fn set(&mut self, bridge: Interface) {
        match self.ports_without(bridge).await {
            Ok(ports) => {
                for port in ports {
                    if self.switch(port, true).await {
                        self.set.push((bridge, port));
                    }
                }
            }
            Err(error) => warn!(%bridge, %error, "the ports of a bridge could not be listed"),
        }
    }

    /// Takes back the flags that were set on ports of a bridge; a port that has gone took its own along.
    pub(super) async fn restore(&mut self, bridge: Interface) {
        let (own, others): (Vec<_>, Vec<_>) = self.set.drain(..).partition(|(of, _)| *of == bridge);
        self.set = others;
        for (_, port) in own {
            self.switch(port, false).await;
        }
    }

    async fn switch(&self, port: u32, on: bool) -> bool {
        let message = LinkBridgePort::new(port).hairpin(on).build();
        let switched = self.netlink.link().set_port(message).execute().await;
        if let Err(error) = &switched
            && on
        {
            warn!(port, %error, "a bridge's port does not send back what it got");
        }
        switched.is_ok()
    }

    async fn ports_without(&self, bridge: Interface) -> Result<Vec<u32>, rtnetlink::Error> {
        let mut links = Vec::new();
        let mut dump = self.netlink.link().get().execute();
        while let Some(link) = dump.try_next().await? {
            links.push(link);
        }
        let is_bridge = |link: &&LinkMessage| {
            link.attributes.iter().any(
                |attribute| matches!(attribute, LinkAttribute::IfName(name) if name == bridge.name()),
            )
        };
        let Some(bridge) = links.iter().find(is_bridge) else { return Ok(Vec::new()) };
        if self.which == Which::Seen && !is_seen(bridge) {
            return Ok(Vec::new());
        }
        let bridge = bridge.header.index;
        let lacks = |link: &&LinkMessage| {
            link.attributes.contains(&LinkAttribute::Controller(bridge)) && !has_flag(link)
        };
        Ok(links.iter().filter(lacks).map(|link| link.header.index).collect())
    }
}

/// Whether packets between the bridge's ports meet the rules: by the setting of the network namespace, or the bridge's own.
fn is_seen(bridge: &LinkMessage) -> bool {
    if Family::ALL.iter().any(|family| Sysctl::BridgeNetfilter(*family).is_on()) {
        return true;
    }
    let infos = bridge.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| match info {
        LinkInfo::Data(InfoData::Bridge(settings)) => settings.iter().any(|setting| {
            matches!(setting, InfoBridge::NfCallIpTables(true) | InfoBridge::NfCallIp6Tables(true))
        }),
        _ => false,
    })
}

fn has_flag(link: &LinkMessage) -> bool {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().any(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
            port.contains(&InfoBridgePort::HairpinMode(true))
        }
        _ => false,
    })
}

impl Drop for HairpinPorts {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
