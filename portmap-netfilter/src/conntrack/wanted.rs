//! Which flows are to be forgotten.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use portmap_core::{Binding, HostAddr, Port, Protocol};
use portmap_rules::Family;

use super::{entry::Entry, local::Local};

/// Up to how many filtered deletions are cheaper than a listing: each of them walks the kernel's whole table.
const FEW: usize = 4;

/// Which flows to bindings' host ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those of UDP, whoever answers.
    Udp,
    /// Those of TCP that NAT leads to the binding's endpoint.
    Tcp,
}

/// Flows to host ports, by port.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    which: Which,
    ports: HashMap<Port, Vec<&'a Binding>>,
}

/// Where flows go that can be deleted by a filter, and who answers them if that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub addr: IpAddr,
    pub port: Port,
    pub answers: Option<Ipv4Addr>,
}

impl Which {
    pub(super) const fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
        }
    }
}

impl<'a> Wanted<'a> {
    /// Bindings of other protocols are passed over.
    pub(super) fn new(which: Which, bindings: &'a [Binding]) -> Self {
        let mut ports: HashMap<_, Vec<_>> = HashMap::new();
        for binding in bindings.iter().filter(|binding| binding.protocol() == which.protocol()) {
            for port in binding.host_ports().iter() {
                ports.entry(port).or_default().push(binding);
            }
        }
        Self { which, ports }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    pub(super) const fn which(&self) -> Which {
        self.which
    }

    pub(super) fn has(&self, entry: &Entry, local: &mut Local) -> bool {
        let Some(bindings) = self.ports.get(&entry.port) else { return false };
        bindings.iter().any(|binding| {
            let reaches = || binding.endpoint().addrs().any(|addr| addr == entry.answers);
            match (self.which, binding.host_addr()) {
                (Which::Tcp, host) => {
                    let is_translated = entry.answers != entry.destination;
                    host.covers(entry.destination) && is_translated && reaches()
                }
                (Which::Udp, HostAddr::Ip(ip)) if !ip.addr().is_unspecified() => {
                    ip.addr() == entry.destination
                }
                (Which::Udp, all) => {
                    all.covers(entry.destination) && (reaches() || local.has(entry.destination))
                }
            }
        })
    }

    /// The families in which flows are wanted.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(|family| {
            let mut bindings = self.ports.values().flatten();
            bindings.any(|binding| match binding.host_addr() {
                HostAddr::Any => true,
                HostAddr::Ip(ip) => Family::of(ip.addr()) == *family,
            })
        })
    }

    /// The port, if there is only one.
    pub(super) fn only_port(&self) -> Option<Port> {
        if self.ports.len() == 1 { self.ports.keys().next().copied() } else { None }
    }

    /// Where they go, if that is few enough to be deleted one by one: single ports on single addresses, all of them. Of
    /// IPv6 there are none: the kernel's filter takes every address for a match but the one that is meant (seen on
    /// 6.18).
    pub(super) fn few(&self) -> Option<Vec<Place>> {
        let mut few = Vec::new();
        for (port, bindings) in &self.ports {
            for binding in bindings {
                let HostAddr::Ip(ip) = binding.host_addr() else { return None };
                let addr @ IpAddr::V4(_) = ip.addr() else { return None };
                if addr.is_unspecified() || few.len() == FEW {
                    return None;
                }
                let answers = match self.which {
                    Which::Udp => None,
                    // Nothing leads from IPv4 to an endpoint without it.
                    Which::Tcp => match binding.endpoint().v4() {
                        Some(answers) => Some(answers),
                        None => continue,
                    },
                };
                few.push(Place { addr, port: *port, answers });
            }
        }
        Some(few)
    }
}
