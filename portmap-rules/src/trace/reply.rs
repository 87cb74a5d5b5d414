//! The way of the answer.

use std::net::IpAddr;

use super::{End, Loss, flight::Flight, world::Route};
use crate::{Hook, Interface};

impl Flight<'_> {
    /// Whether the answer to a packet that ended so comes back to who sent it.
    pub(super) fn reply(&mut self, end: End) -> Result<(), Loss> {
        let (at, seen_from) = match end {
            End::Delivered { at, seen_from } | End::Passed { at, seen_from, .. } => (at, seen_from),
            End::Refused | End::Dropped(_) | End::Unanswered { .. } => return Ok(()),
        };
        (self.from, self.to) = (at, seen_from);
        self.leaves_by = None;
        self.connection.answered = true;
        let by = match self.world.route(at.ip()) {
            Route::Local => return self.host_answers(),
            Route::Via(by) => by,
            Route::Nowhere => return Err(Loss::NoRoute),
        };
        self.arrives_by = Some(by);
        if self.neighbours(by, seen_from.ip()) {
            return self.neighbour_answers(by);
        }
        self.answer_arrives(by)
    }

    fn host_answers(&mut self) -> Result<(), Loss> {
        self.arrives_by = None;
        self.leaves_by = Some(self.out_interface()?);
        self.hook(Hook::Output)?;
        self.hook(Hook::Postrouting)
    }

    /// Over the bridge: the host sees it with br_netfilter alone.
    fn neighbour_answers(&mut self, bridge: Interface) -> Result<(), Loss> {
        if !self.world.bridge_netfilter {
            let past_nat = self.connection.destination_rewritten;
            return if past_nat { Err(Loss::PastNat) } else { Ok(()) };
        }
        self.hook(Hook::Prerouting)?;
        self.leaves_by = Some(bridge);
        self.hook(Hook::Forward)?;
        self.hook(Hook::Postrouting)
    }

    fn answer_arrives(&mut self, interface: Interface) -> Result<(), Loss> {
        let answerer: IpAddr = self.from.ip();
        self.hook(Hook::Prerouting)?;
        self.check_martian(interface)?;
        match self.world.route(self.to.ip()) {
            Route::Local => self.hook(Hook::Input),
            Route::Nowhere => Err(Loss::NoRoute),
            Route::Via(by) => {
                self.leaves_by = Some(by);
                let back_to_sender = by == interface && self.to.ip() == answerer;
                self.hook(Hook::Forward)?;
                self.hook(Hook::Postrouting)?;
                if back_to_sender && self.world.bridge_netfilter && !self.world.hairpin_ports {
                    return Err(Loss::HairpinPort);
                }
                Ok(())
            }
        }
    }
}
