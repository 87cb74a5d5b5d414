//! What becomes of a call in the test kit's labs, from the rules alone.

use std::net::SocketAddr;

use portmap::{
    Binding, BoxError, Protocol,
    rules::{
        End, Hairpin, Layout, Network, Packet, Policy, Ruleset, Socket, SocketKind, World, compile,
        trace,
    },
};
use portmap_testkit::{
    BridgeSpec,
    matrix::{Outcome, Path, Way},
};

/// What is in force for a port.
#[derive(Clone)]
pub(crate) struct Model {
    /// The rules, where there are any.
    pub(crate) policy: Option<Policy>,
    /// Whether a proxy serves what comes to the host's sockets.
    pub(crate) proxy: bool,
    /// Whether packets between ports of a bridge meet the rules.
    pub(crate) netfilter: bool,
}

impl Model {
    /// What the rules do with a call, and, where they leave it to the host's own socket, what that does.
    pub(crate) fn predict(
        &self,
        way: &Way,
        protocol: Protocol,
        bindings: &[Binding],
    ) -> Result<Outcome, BoxError> {
        let networks = networks()?;
        let mut world = World::new(networks.clone());
        for address in ["192.168.33.2/24", "2001:db8:33::2/64", "fe80::42:c0ff:fea8:2102/64"] {
            world = world.with_address("eth0".parse()?, address.parse()?);
        }
        for binding in bindings {
            world = world.with_socket(Socket {
                protocol: binding.protocol(),
                addr: binding.host_addr(),
                ports: binding.host_ports(),
                kind: SocketKind::Serving,
            });
        }
        let rules = match &self.policy {
            // Nobody has switched forwarding on, but where a host is to be crossed.
            None => {
                world.forwards = way.path == Path::Transit;
                Ruleset::empty(Layout::Nftables)
            }
            Some(policy) => {
                world = world.routing_localnet(policy);
                world.bridge_netfilter = self.netfilter;
                // The mapper sees to the flag where the bridge's packets meet the rules.
                world.hairpin_ports = self.netfilter || policy.hairpin == Hairpin::Bridge;
                compile(&networks, bindings, policy)?
            }
        };
        let packet = Packet {
            arrives_by: way.arrives_by.as_deref().map(str::parse).transpose()?,
            protocol: protocol.into(),
            from: SocketAddr::new(way.from, 40_000),
            to: way.to,
        };
        Ok(match trace(&rules, &world, packet).end {
            End::Delivered { at, .. } if at == way.to && way.path.leads_to_host() => {
                self.by_socket(way, protocol)
            }
            End::Delivered { seen_from, .. } | End::Passed { seen_from, .. } => {
                Outcome::Delivered(seen_from.ip())
            }
            End::Refused => Outcome::Refused,
            End::Dropped(_) | End::Unanswered { .. } => Outcome::Dropped,
        })
    }

    fn by_socket(&self, way: &Way, protocol: Protocol) -> Outcome {
        // The socket by which rules hold a UDP port is bound to the container's bridge. It cannot refuse what comes by
        // that one.
        let held = protocol == Protocol::Udp && way.arrives_by.as_deref() == Some("docker0");
        match self.proxy {
            true => Outcome::Delivered(way.gateway),
            false if held => Outcome::Dropped,
            false => Outcome::Refused,
        }
    }
}

fn networks() -> Result<Vec<Network>, BoxError> {
    [BridgeSpec::docker0(), BridgeSpec::br0()]
        .map(|spec| {
            let v6 = spec.v6().map(|net| format!(",{}", net.trunc())).unwrap_or_default();
            Ok(format!("{}={}{v6}", spec.name(), spec.v4().trunc()).parse()?)
        })
        .into_iter()
        .collect()
}
