//! The way of a connection's first packet.

use super::{End, Loss, SocketKind, flight::Flight, world::Route};
use crate::{Hook, Interface, L4};

impl Flight<'_> {
    pub(super) fn request(&mut self) -> End {
        let end = match self.packet.arrives_by {
            None => self.sent(),
            Some(bridge) if self.neighbours(bridge, self.to.ip()) => self.bridged(bridge),
            Some(interface) => self.arrived(interface),
        };
        end.unwrap_or_else(End::Dropped)
    }

    /// From a process of the host.
    fn sent(&mut self) -> Result<End, Loss> {
        self.leaves_by = Some(self.out_interface()?);
        self.hook(Hook::Output)?;
        let by = self.out_interface()?;
        self.leaves_by = Some(by);
        if self.from.ip().is_loopback() && !self.routes_loopback(by) {
            return Err(Loss::Martian);
        }
        self.hook(Hook::Postrouting)?;
        if by != Interface::LO {
            return self.left(by);
        }
        self.arrives_by = Some(Interface::LO);
        self.leaves_by = None;
        self.hook(Hook::Prerouting)?;
        self.host()
    }

    /// From outside, or from a container by way of the bridge's own address.
    fn arrived(&mut self, interface: Interface) -> Result<End, Loss> {
        // IPv6 drops ::1 from outside before it asks any rule.
        if self.to.is_ipv6() {
            self.check_martian(interface)?;
        }
        self.hook(Hook::Prerouting)?;
        self.check_martian(interface)?;
        let by = match self.world.route(self.to.ip()) {
            Route::Local => return self.host(),
            Route::Nowhere => return Err(Loss::NoRoute),
            Route::Via(_) if !self.world.forwards => return Err(Loss::NotForwarded),
            Route::Via(by) => by,
        };
        self.leaves_by = Some(by);
        self.hook(Hook::Forward)?;
        let back_to_sender = by == interface && self.to.ip() == self.packet.from.ip();
        self.hook(Hook::Postrouting)?;
        // With br_netfilter the bridge itself carries on a packet whose new destination is on the same bridge.
        if back_to_sender && self.world.bridge_netfilter && !self.world.hairpin_ports {
            return Err(Loss::HairpinPort);
        }
        self.left(by)
    }

    /// From a container to its neighbour.
    fn bridged(&mut self, bridge: Interface) -> Result<End, Loss> {
        if self.world.bridge_netfilter {
            self.hook(Hook::Prerouting)?;
            self.leaves_by = Some(bridge);
            self.hook(Hook::Forward)?;
            self.hook(Hook::Postrouting)?;
        }
        self.left(bridge)
    }

    /// To a process of the host.
    fn host(&mut self) -> Result<End, Loss> {
        self.hook(Hook::Input)?;
        let end = End::Delivered { at: self.to, seen_from: self.from };
        Ok(match self.world.socket(self.protocol, self.to) {
            Some(SocketKind::Serving) => end,
            // The kernel itself answers what has no ports.
            None if !matches!(self.protocol, L4::Transport(_)) => end,
            Some(SocketKind::Reserving) | None => End::Refused,
        })
    }

    /// To a container, or into the world.
    fn left(&self, by: Interface) -> Result<End, Loss> {
        let (at, seen_from) = (self.to, self.from);
        if self.world.network(by).is_none() {
            return Ok(End::Passed { by, at, seen_from });
        }
        // A container doesn't believe that it sent what comes in.
        if at.ip() == seen_from.ip() {
            return Err(Loss::Martian);
        }
        Ok(End::Delivered { at, seen_from })
    }

    pub(super) fn out_interface(&self) -> Result<Interface, Loss> {
        match self.world.route(self.to.ip()) {
            Route::Local => Ok(Interface::LO),
            Route::Via(by) => Ok(by),
            Route::Nowhere => Err(Loss::NoRoute),
        }
    }
}
