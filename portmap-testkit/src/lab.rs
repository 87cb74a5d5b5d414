//! A host, its LAN and what is outside.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bridge::{Bridge, BridgeSpec, create_switch, mac};
use crate::error::LabError;
use crate::link;
use crate::ndisc::skip_detection;
use crate::node::Node;
use crate::veth::Wire;

/// A host and a client on one LAN, each a network namespace; dropping it leaves nothing, unless a
/// handle of one of its nodes lives on.
///
/// The host has 192.168.33.2/24 and 2001:db8:33::2/64, the client 192.168.33.10 and
/// 2001:db8:33::10; further outside nodes count on from there. They know the LAN alone: no route leads
/// to a container's subnet unless a test adds one. Forwarding is off, as the kernel has it.
#[derive(Debug)]
pub struct Lab {
    host: Node,
    client: Node,
    lan: Node,
    switch: u32,
    next: AtomicU8,
}

impl Lab {
    /// Makes the lab; when it returns, host and client reach each other over both families.
    ///
    /// # Errors
    /// Where the process may not make namespaces (see [`enter`](crate::enter)), or has no IPv6.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn new() -> Result<Self, LabError> {
        let (lan, host, client) =
            tokio::try_join!(Node::new("lan"), Node::new("host"), Node::new("client"))?;
        let switch = create_switch(&lan, "lan0").await?;
        let lab = Self { host, client, lan, switch, next: AtomicU8::new(10) };
        lab.attach(&lab.host, 2).await?;
        let client = lab.client.clone();
        lab.attach_outside(&client).await?;
        Ok(lab)
    }

    /// The host, on which ports are published.
    pub fn host(&self) -> &Node {
        &self.host
    }

    /// An outside node that is there from the start.
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// Adds an outside node to the LAN, with the next address.
    ///
    /// # Errors
    /// The kernel's refusal, or the LAN is full (90 nodes).
    pub async fn outside(&self, name: &str) -> Result<Node, LabError> {
        let node = Node::new(name).await?;
        self.attach_outside(&node).await?;
        Ok(node)
    }

    /// Makes a bridge on the host.
    ///
    /// # Errors
    /// See [`Bridge::create`].
    pub async fn bridge(&self, spec: BridgeSpec) -> Result<Bridge, LabError> {
        Bridge::create(&self.host, spec).await
    }

    /// Makes the bridge [`BridgeSpec::docker0`] on the host.
    ///
    /// # Errors
    /// See [`Bridge::create`].
    pub async fn docker0(&self) -> Result<Bridge, LabError> {
        self.bridge(BridgeSpec::docker0()).await
    }

    /// Makes the bridge [`BridgeSpec::br0`] on the host.
    ///
    /// # Errors
    /// See [`Bridge::create`].
    pub async fn br0(&self) -> Result<Bridge, LabError> {
        self.bridge(BridgeSpec::br0()).await
    }

    async fn attach_outside(&self, node: &Node) -> Result<(), LabError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number > 99 {
            return Err(LabError::new("the LAN is full"));
        }
        let link = self.attach(node, number).await?;
        for address in self.host.addresses() {
            link::resolve(node.netlink(), link, address).await?;
        }
        Ok(())
    }

    /// Gives the node `eth0` on the LAN, and waits until it is up.
    async fn attach(&self, node: &Node, number: u8) -> Result<u32, LabError> {
        let (v4, v6) = lan_addresses(number);
        let wire = Wire::new(&self.lan, self.switch, node, "eth0", mac(v4.addr())).await?;
        skip_detection(node, "eth0").await?;
        link::up(node.netlink(), wire.link).await?;
        for address in [IpNet::V4(v4), IpNet::V6(v6)] {
            node.add_address("eth0", address).await?;
        }
        link::operational(node.netlink(), wire.link).await?;
        link::operational(self.lan.netlink(), wire.port).await?;
        Ok(wire.link)
    }
}

/// The same digits in both families (10 is `::10`), for people who read a capture.
fn lan_addresses(number: u8) -> (Ipv4Net, Ipv6Net) {
    let digits = u16::from(number / 10 * 16 + number % 10);
    let v4 = Ipv4Addr::new(192, 168, 33, number);
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x33, 0, 0, 0, 0, digits);
    (Ipv4Net::new_assert(v4, 24), Ipv6Net::new_assert(v6, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_show_the_same_digits() {
        let (v4, v6) = lan_addresses(42);
        assert_eq!(
            (v4.to_string(), v6.to_string()),
            ("192.168.33.42/24".into(), "2001:db8:33::42/64".into())
        );
    }
}
