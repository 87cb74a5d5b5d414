//! Bindings that lead to each other.
//!
//! A binding whose endpoint is this host itself may lead to a published port, and that to the next. Where the way comes back,
//! each connection or session makes the next one, until no descriptor is left.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use portmap_core::{Binding, Endpoint, Error, ErrorKind, Port, PortRange};

use crate::udp::{Namespace, is_own};

/// What leads from a port of this host to one of this host, of all that this process serves. Mostly nothing does.
static SERVED: Mutex<Vec<(u64, Passage)>> = Mutex::new(Vec::new());

/// A binding that leads back to this host.
#[derive(Clone, Debug)]
struct Passage {
    binding: Binding,
    /// Those of its endpoint's addresses that are this host's.
    own: Vec<IpAddr>,
    /// The network namespace whose addresses these are.
    namespace: Namespace,
}

/// Bindings that are served and lead to no circle. Dropping it says that they are served no more.
#[derive(Debug)]
pub(crate) struct Passages {
    id: u64,
    bindings: Vec<Binding>,
    /// That of their ports.
    namespace: Namespace,
}

impl Passages {
    /// Takes note of bindings that are going to be served.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where one leads back to itself, by way of whatever this process serves.
    pub(crate) fn enter(bindings: Vec<Binding>) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::current();
        replace(id, passages(&bindings, namespace, is_own_here))?;
        Ok(Self { id, bindings, namespace })
    }

    /// The same, leading to another container from now on. Where that makes a circle, nothing changes.
    ///
    /// The kernel tells of the calling thread's network namespace alone. Where that is not the one of the ports, their host has
    /// the addresses that it was found to have before.
    pub(crate) fn lead_to(&mut self, endpoint: Endpoint) -> Result<(), Error> {
        let led = |binding: &Binding| binding.clone().to(endpoint);
        let (led, namespace) = (self.bindings.iter().map(led).collect::<Vec<_>>(), self.namespace);
        let entering = if namespace == Namespace::current() {
            passages(&led, namespace, is_own_here)
        } else {
            let known = known_in(namespace);
            passages(&led, namespace, |ip| ip.is_loopback() || known.contains(&ip))
        };
        replace(self.id, entering)
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
    let entering = passages(bindings, Namespace::current(), is_own_here);
    check(&entering, served().iter().map(|(_, passage)| passage))
}

/// Has these be what one publish serves.
fn replace(id: u64, entering: Vec<Passage>) -> Result<(), Error> {
    let mut served = served();
    check(&entering, served.iter().filter(|(of, _)| *of != id).map(|(_, passage)| passage))?;
    served.retain(|(of, _)| *of != id);
    served.extend(entering.into_iter().map(|passage| (id, passage)));
    Ok(())
}

/// Those of the bindings that lead back to this host, which is the one of `namespace` and has its `own` addresses.
fn passages(
    bindings: &[Binding],
    namespace: Namespace,
    is_own: impl Fn(IpAddr) -> bool,
) -> Vec<Passage> {
    // Most often one endpoint has them all: the kernel is asked once for each address.
    let addrs: HashSet<_> =
        bindings.iter().flat_map(|to| to.endpoint().addrs().collect::<Vec<_>>()).collect();
    let own: HashSet<_> = addrs.into_iter().filter(|ip| is_own(*ip)).collect();
    if own.is_empty() {
        return Vec::new();
    }
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
    let all = ByPort::new(entering.iter().chain(here).collect());
    for passage in entering {
        if let Some(last) = back_to(passage, &all) {
            let (to, from) = (&last.binding, &passage.binding);
            let message = match std::ptr::eq(last, passage) {
                true => format!("{to} leads back to this host, where {from} is published"),
                false => format!("{from} leads back to itself by way of {to}"),
            };
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}

/// Where the way that begins at `first` comes back to it: the passage before.
fn back_to<'p>(first: &'p Passage, all: &ByPort<'p>) -> Option<&'p Passage> {
    let mut ways = vec![(first, first.binding.container_ports())];
    let mut seen = HashSet::new();
    while let Some((from, ports)) = ways.pop() {
        for to in all.with(ports) {
            let Some(through) = leads_into(from, ports, to) else { continue };
            if std::ptr::eq(to, first) {
                return Some(from);
            }
            if seen.insert((std::ptr::from_ref(to), through)) {
                ways.push((to, through));
            }
        }
    }
    None
}

/// Passages by host port, for many questions which of them have one of some ports: in the order of their first host
/// ports, each with the last host port of all so far.
struct ByPort<'p>(Vec<(&'p Passage, Port)>);

impl<'p> ByPort<'p> {
    fn new(mut all: Vec<&'p Passage>) -> Self {
        all.sort_by_key(|passage| passage.binding.host_ports());
        let mut furthest = None;
        let furthest = all.into_iter().map(|passage| {
            let last = passage.binding.host_ports().last();
            let last = furthest.map_or(last, |before: Port| before.max(last));
            furthest = Some(last);
            (passage, last)
        });
        Self(furthest.collect())
    }

    fn with(&self, ports: PortRange) -> impl Iterator<Item = &'p Passage> {
        let begin = |passage: &Passage| passage.binding.host_ports().first();
        let below = self.0.partition_point(|(passage, _)| begin(passage) <= ports.last());
        let reach =
            self.0[..below].iter().rev().take_while(move |(_, last)| *last >= ports.first());
        reach.map(|(passage, _)| *passage)
    }
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

/// Whether an address is one of this host's, in the calling thread's network namespace.
fn is_own_here(ip: IpAddr) -> bool {
    is_own(SocketAddr::new(ip, 0))
}

/// The addresses of a namespace's host that what is served there leads to.
fn known_in(namespace: Namespace) -> HashSet<IpAddr> {
    let served = served();
    let there = served.iter().filter(|(_, passage)| passage.namespace == namespace);
    there.flat_map(|(_, passage)| passage.own.iter().copied()).collect()
}

fn served() -> MutexGuard<'static, Vec<(u64, Passage)>> {
    SERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use portmap_core::{HostAddr, Protocol};

    use super::*;

    fn binding(protocol: Protocol, host: &str, ports: &str, to: &str) -> Binding {
        let host = host.parse::<IpAddr>().map_or(HostAddr::Any, HostAddr::from);
        let (ports, to): (PortRange, PortRange) = (ports.parse().unwrap(), to.parse().unwrap());
        Binding::new(protocol, host, ports.first(), Endpoint::from([127, 0, 0, 1]), to).unwrap()
    }

    #[test]
    fn what_leads_back_is_found_among_others() {
        use Protocol::{Tcp, Udp};
        let round = [
            binding(Tcp, "*", "1000-1999", "1-1000"),
            binding(Tcp, "*", "2000", "3000"),
            binding(Tcp, "127.0.0.1", "5000", "1999"),
        ];
        let error = not_to_itself(&round).unwrap_err().to_string();
        assert!(error.contains("where tcp *:1000-1999 -> "), "{error}");
        let fine = [
            binding(Tcp, "*", "2000-2009", "1990-1999"),
            binding(Udp, "*", "1990", "2010"),
            binding(Tcp, "127.0.0.2", "1995", "80"),
            binding(Tcp, "::1", "1996", "80"),
        ];
        not_to_itself(&fine).unwrap();
    }

    #[test]
    fn a_retarget_from_another_namespace_goes_by_what_is_known_of_the_ports_own() {
        const OWN: [u8; 4] = [192, 0, 2, 2];
        let namespace = Namespace::ANOTHER;
        let lead = |id, ports, to, endpoint: [u8; 4]| {
            let bindings = vec![binding(Protocol::Tcp, "*", ports, to).to(endpoint.into())];
            let own = passages(&bindings, namespace, |ip| ip == IpAddr::from(OWN));
            replace(id, own).map(|()| Passages { id, bindings, namespace })
        };
        let mut one = lead(u64::MAX - 1, "1000", "2000", OWN).unwrap();
        let mut two = lead(u64::MAX - 2, "2000", "1000", [192, 0, 2, 3]).unwrap();
        // The kernel would say, of here, that it is nobody's.
        assert_eq!(two.lead_to(OWN.into()).unwrap_err().kind(), ErrorKind::Invalid);
        one.lead_to(OWN.into()).unwrap();
        assert!(two.lead_to(OWN.into()).is_err());
        assert!(two.lead_to([127, 0, 0, 1].into()).is_err());
        drop(one);
        two.lead_to([127, 0, 0, 1].into()).unwrap();
    }

    /// Each with each would be 900 million comparisons, and take half a minute in this build.
    #[test]
    fn thirty_thousand_that_lead_to_this_host_take_no_time_to_speak_of() {
        let port = |number: u16| Port::try_from(number).unwrap();
        let lead = |number: u16| {
            let (to, endpoint) = (port(number).into(), Endpoint::from([127, 0, 0, 1]));
            Binding::new(Protocol::Tcp, HostAddr::Any, port(number + 30_000), endpoint, to).unwrap()
        };
        let bindings: Vec<_> = (1..=30_000).map(lead).collect();
        let begun = Instant::now();
        not_to_itself(&bindings).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
