//! Bindings that lead to each other.
//!
//! A binding whose endpoint is this host itself may lead to a published port, and that to the next. Where the way comes back,
//! each connection or session makes the next one, until no descriptor is left.

use std::{
    collections::HashSet,
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use portmap_core::{Binding, Endpoint, Error, ErrorKind, PortRange};

use crate::source::own_address_toward;

/// What leads from a port of this host to one of this host, of all that this process serves. Mostly nothing does.
static SERVED: Mutex<Vec<(u64, Passage)>> = Mutex::new(Vec::new());

/// A binding that leads back to this host.
#[derive(Clone, Debug)]
struct Passage {
    binding: Binding,
    /// Those of its endpoint's addresses that are this host's.
    own: Vec<IpAddr>,
    /// The network namespace whose addresses these are; unknown without `/proc`.
    namespace: Option<(u64, u64)>,
}

/// Bindings that are served and lead to no circle. Dropping it says that they are served no more.
#[derive(Debug)]
pub(crate) struct Passages {
    id: u64,
    bindings: Vec<Binding>,
}

impl Passages {
    /// Takes note of bindings that are going to be served.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where one leads back to itself, by way of whatever this process serves.
    pub(crate) fn enter(bindings: Vec<Binding>) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        replace(id, &bindings)?;
        Ok(Self { id, bindings })
    }

    /// The same, leading to another container from now on. Where that makes a circle, nothing changes.
    pub(crate) fn lead_to(&mut self, endpoint: Endpoint) -> Result<(), Error> {
        let led = |binding: &Binding| binding.clone().to(endpoint);
        replace(self.id, &self.bindings.iter().map(led).collect::<Vec<_>>())
    }

    /// They are served as long as this process lives.
    pub(crate) fn keep(mut self) {
        // An identity that nobody has.
        self.id = u64::MAX;
    }
}

impl Drop for Passages {
    fn drop(&mut self) {
        if !self.bindings.is_empty() {
            served().retain(|(id, _)| *id != self.id);
        }
    }
}

/// Refuses bindings that lead back to themselves, served by a proxy that dials from this host, be it by way of each other or of
/// what proxies of this process serve already: each connection or session would make the next one, until no descriptor is left.
///
/// [`ProxyMapper::serve`](crate::ProxyMapper::serve) does it first. It asks the kernel for the routes to the containers, of the
/// network namespace of the calling thread, and sends nothing. What other processes serve it cannot see.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid), with the bindings in question.
pub fn not_to_itself(bindings: &[Binding]) -> Result<(), Error> {
    let entering = passages(bindings);
    check(&entering, served().iter().map(|(_, passage)| passage))
}

/// Has these be what one publish serves.
fn replace(id: u64, bindings: &[Binding]) -> Result<(), Error> {
    let entering = passages(bindings);
    let mut served = served();
    check(&entering, served.iter().filter(|(of, _)| *of != id).map(|(_, passage)| passage))?;
    served.retain(|(of, _)| *of != id);
    served.extend(entering.into_iter().map(|passage| (id, passage)));
    Ok(())
}

/// Those of the bindings that lead back to this host.
fn passages(bindings: &[Binding]) -> Vec<Passage> {
    // Most often one endpoint has them all: the kernel is asked once for each address.
    let addrs: HashSet<_> =
        bindings.iter().flat_map(|to| to.endpoint().addrs().collect::<Vec<_>>()).collect();
    let own: HashSet<_> = addrs.into_iter().filter(|ip| is_own(*ip)).collect();
    if own.is_empty() {
        return Vec::new();
    }
    let namespace = fs::metadata("/proc/thread-self/ns/net").ok();
    let namespace = namespace.map(|namespace| (namespace.dev(), namespace.ino()));
    let passages = bindings.iter().map(|binding| Passage {
        binding: binding.clone(),
        own: binding.endpoint().addrs().filter(|ip| own.contains(ip)).collect(),
        namespace,
    });
    passages.filter(|passage| !passage.own.is_empty()).collect()
}

/// Follows each binding that is new.
fn check<'p>(
    entering: &'p [Passage],
    served: impl Iterator<Item = &'p Passage>,
) -> Result<(), Error> {
    let Some(namespace) = entering.first().map(|passage| passage.namespace) else { return Ok(()) };
    let here = served.filter(|passage| passage.namespace == namespace);
    let all: Vec<_> = entering.iter().chain(here).collect();
    for (first, passage) in entering.iter().enumerate() {
        if let Some(last) = back_to(first, &all) {
            let (to, from) = (&all[last].binding, &passage.binding);
            let message = match last == first {
                true => format!("{to} leads back to this host, where {from} is published"),
                false => format!("{from} leads back to itself by way of {to}"),
            };
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

/// Where the way that begins at this place comes back to it: the place before.
fn back_to(first: usize, all: &[&Passage]) -> Option<usize> {
    let mut ways = vec![(first, all[first].binding.container_ports())];
    let mut seen = HashSet::new();
    while let Some((place, ports)) = ways.pop() {
        for (next, passage) in all.iter().enumerate() {
            let Some(through) = leads_into(all[place], ports, passage) else { continue };
            if next == first {
                return Some(place);
            }
            if seen.insert((next, through)) {
                ways.push((next, through));
            }
        }
    }
    None
}

/// The container ports of `to` that these of `from` lead to.
fn leads_into(from: &Passage, ports: PortRange, to: &Passage) -> Option<PortRange> {
    let (one, two) = (&from.binding, &to.binding);
    let meant = from.own.iter().any(|ip| two.host_addr().covers(*ip));
    if one.protocol() != two.protocol() || !meant || !two.host_ports().overlaps(ports) {
        return None;
    }
    let (first, last) =
        (ports.first().max(two.host_ports().first()), ports.last().min(two.host_ports().last()));
    PortRange::new(two.container_port(first)?, two.container_port(last)?).ok()
}

/// Whether an address is one of this host's: to itself it would speak from that address, or it is a loopback one.
///
/// Being able to bind it says less: where `net.ipv4.ip_nonlocal_bind` is on, any address can be bound. No packet is sent.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || own_address_toward(ip).is_ok_and(|source| source == ip)
}

fn served() -> MutexGuard<'static, Vec<(u64, Passage)>> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}
