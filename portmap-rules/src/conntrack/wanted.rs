//! Which flows are to be forgotten.

use std::{collections::HashMap, net::IpAddr};

use portmap_core::{Binding, HostAddr, Port, Protocol};

use super::{entry::Entry, local::Local};
use crate::Family;

/// Up to how many filtered deletions are cheaper than a listing: each of them walks the kernel's whole table.
const FEW: usize = 4;

/// Flows to host ports, by port.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    ports: HashMap<Port, Vec<&'a Binding>>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(bindings: impl IntoIterator<Item = &'a Binding>) -> Self {
        let mut wanted = Self::default();
        for binding in bindings {
            for port in binding.host_ports().iter() {
                wanted.ports.entry(port).or_default().push(binding);
            }
        }
        wanted
    }

    pub(super) fn has(&self, entry: &Entry, local: &mut Local) -> bool {
        let Some(bindings) = self.ports.get(&entry.port) else { return false };
        bindings.iter().any(|binding| match binding.host_addr() {
            HostAddr::Ip(ip) if !ip.addr().is_unspecified() => ip.addr() == entry.destination,
            all => {
                let reaches = || binding.endpoint().addrs().any(|addr| addr == entry.answers);
                all.covers(entry.destination) && (reaches() || local.has(entry.destination))
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
}

/// Addresses and ports that are few enough to be deleted one by one, if all bindings have such. Of IPv6 there are none: the kernel's
/// filter takes every address for a match but the one that is meant (seen on 6.18).
pub(super) fn few(bindings: &[&Binding]) -> Option<Vec<(IpAddr, Port)>> {
    let mut few = Vec::new();
    for binding in bindings {
        let HostAddr::Ip(ip) = binding.host_addr() else { return None };
        let addr @ IpAddr::V4(_) = ip.addr() else { return None };
        if addr.is_unspecified() || few.len() + binding.host_ports().len() > FEW {
            return None;
        }
        few.extend(binding.host_ports().iter().map(|port| (addr, port)));
    }
    Some(few)
}

/// The bindings of one protocol.
pub(super) fn of(protocol: Protocol, bindings: &[Binding]) -> Vec<&Binding> {
    bindings.iter().filter(|binding| binding.protocol() == protocol).collect()
}
