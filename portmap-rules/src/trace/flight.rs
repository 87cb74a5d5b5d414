//! A packet on its way.

use std::net::{IpAddr, SocketAddr};

use super::{Loss, Packet, Step, World};
use crate::{Family, Interface, L4, Ruleset};

/// A packet, what the kernel knows of it, and what it met so far.
pub(super) struct Flight<'a> {
    pub(super) rules: &'a Ruleset,
    pub(super) world: &'a World,
    /// As it was sent.
    pub(super) packet: Packet,
    pub(super) protocol: L4,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) arrives_by: Option<Interface>,
    pub(super) leaves_by: Option<Interface>,
    pub(super) connection: Tracked,
    pub(super) steps: Vec<Step>,
}

/// What connection tracking knows of it.
#[derive(Default)]
pub(super) struct Tracked {
    /// This packet is the answer.
    pub(super) answered: bool,
    /// NAT was asked about the destination, and may have changed nothing.
    pub(super) destination_asked: bool,
    pub(super) source_asked: bool,
    pub(super) destination_rewritten: bool,
    /// It makes nothing of the packet.
    pub(super) invalid: bool,
}

impl<'a> Flight<'a> {
    pub(super) fn new(rules: &'a Ruleset, world: &'a World, packet: Packet) -> Self {
        Self {
            rules,
            world,
            packet,
            protocol: packet.protocol,
            from: packet.from,
            to: packet.to,
            arrives_by: packet.arrives_by,
            leaves_by: None,
            connection: Tracked::default(),
            steps: Vec::new(),
        }
    }

    pub(super) fn family(&self) -> Family {
        Family::of(self.to.ip())
    }

    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Where a bridge takes the packet without asking the host's routing: to a neighbour.
    pub(super) fn neighbours(&self, bridge: Interface, to: IpAddr) -> bool {
        let inside = |network| super::world::contains(network, to);
        self.world.network(bridge).is_some_and(inside) && !self.world.is_local(to)
    }

    /// What the kernel checks when it routes a packet that came in.
    pub(super) fn check_martian(&self, arrives_by: Interface) -> Result<(), Loss> {
        let (from, to) = (self.from.ip(), self.to.ip());
        let loopback = from.is_loopback() || to.is_loopback();
        if loopback && !self.routes_loopback(arrives_by) {
            return Err(Loss::Martian);
        }
        // A host doesn't believe that it sent what comes in. For IPv6 it doesn't look.
        if from.is_ipv4() && self.world.has_address(from) && arrives_by != Interface::LO {
            return Err(Loss::Martian);
        }
        Ok(())
    }

    pub(super) fn routes_loopback(&self, interface: Interface) -> bool {
        interface == Interface::LO
            || (self.to.is_ipv4() && self.world.route_localnet.contains(&interface))
    }
}
