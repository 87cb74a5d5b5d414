//! The flag of a bridge's ports by which a container reaches itself.

use std::{collections::BTreeSet, io, mem};

use futures::TryStreamExt as _;
use portmap_rules::{Family, Interface};
use rtnetlink::{
    Handle, LinkBridgePort, new_connection,
    packet_route::link::{
        InfoBridge, InfoBridgePort, InfoData, InfoPortData, LinkAttribute, LinkInfo, LinkMessage,
    },
};
use tokio::task::AbortHandle;
use tracing::warn;

use crate::Sysctl;

/// Ports of bridges that were made to send a frame back by the port it came from: what a container needs that calls
/// itself by way of the host, where the bridge itself carries its packet on, as it does once NAT has seen it there. A port
/// comes with its container, so they are looked for at each publish.
#[derive(Debug)]
pub(super) struct HairpinPorts {
    netlink: Handle,
    connection: AbortHandle,
    which: Which,
    set: BTreeSet<(Interface, u32)>,
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
        Ok(Self { netlink, connection, which, set: BTreeSet::new() })
    }

    /// Sets the flag of all ports of a bridge that lack it. A failure is no reason not to publish: one path is not served.
    pub(super) async fn set(&mut self, bridge: Interface) {
        match self.links().await {
            Ok(links) => {
                // A port goes with its container.
                forget_gone(&mut self.set, bridge, &links);
                let found = find(bridge, &links);
                let needed = found.filter(|link| self.which == Which::All || is_seen(link));
                for port in ports_without(needed.map(|link| link.header.index), &links) {
                    if self.switch(port, true).await {
                        self.set.insert((bridge, port));
                    }
                }
            }
            Err(error) => warn!(%bridge, %error, "the ports of a bridge could not be listed"),
        }
    }

    /// Takes back the flags that were set on ports of a bridge; a port that has gone took its own along.
    pub(super) async fn restore(&mut self, bridge: Interface) {
        let all = mem::take(&mut self.set);
        let (own, others): (BTreeSet<_>, _) = all.into_iter().partition(|(of, _)| *of == bridge);
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

    async fn links(&self) -> Result<Vec<LinkMessage>, rtnetlink::Error> {
        self.netlink.link().get().execute().try_collect().await
    }
}

/// A bridge's interface, where it is there.
fn find(bridge: Interface, links: &[LinkMessage]) -> Option<&LinkMessage> {
    let is_bridge = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfName(name) if name == bridge.name());
    links.iter().find(|link| link.attributes.iter().any(is_bridge))
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

/// The ports of a bridge that lack the flag.
fn ports_without(bridge: Option<u32>, links: &[LinkMessage]) -> Vec<u32> {
    let lacks = |link: &&LinkMessage| is_behind(link, bridge) && !has_flag(link);
    links.iter().filter(lacks).map(|link| link.header.index).collect()
}

/// Forgets ports of a bridge that are not plugged into it any more.
fn forget_gone(set: &mut BTreeSet<(Interface, u32)>, bridge: Interface, links: &[LinkMessage]) {
    let index = find(bridge, links).map(|link| link.header.index);
    let ports = links.iter().filter(|link| is_behind(link, index));
    let ports: BTreeSet<u32> = ports.map(|link| link.header.index).collect();
    set.retain(|(of, port)| *of != bridge || ports.contains(port));
}

fn is_behind(link: &LinkMessage, bridge: Option<u32>) -> bool {
    bridge.is_some_and(|index| link.attributes.contains(&LinkAttribute::Controller(index)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, attribute: LinkAttribute) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(attribute);
        link
    }

    #[test]
    fn a_port_is_of_the_bridge_that_it_is_plugged_into() {
        let links = [
            link(3, LinkAttribute::IfName("br0".into())),
            link(4, LinkAttribute::Controller(3)),
            link(5, LinkAttribute::Controller(9)),
        ];
        let bridge = find("br0".parse().unwrap(), &links).map(|link| link.header.index);
        assert_eq!((bridge, ports_without(bridge, &links)), (Some(3), vec![4]));
        let gone = find("br1".parse().unwrap(), &links).map(|link| link.header.index);
        assert_eq!((gone, ports_without(gone, &links)), (None, Vec::new()));
    }

    #[test]
    fn ports_that_have_gone_are_forgotten() {
        let (br0, br1) = ("br0".parse().unwrap(), "br1".parse().unwrap());
        let links =
            [link(3, LinkAttribute::IfName("br0".into())), link(4, LinkAttribute::Controller(3))];
        let mut set = BTreeSet::from([(br0, 4), (br0, 5), (br0, 6), (br1, 5)]);
        forget_gone(&mut set, br0, &links);
        assert_eq!(set, BTreeSet::from([(br0, 4), (br1, 5)]));
        forget_gone(&mut set, br1, &links);
        assert_eq!(set, BTreeSet::from([(br0, 4)]));
    }
}
