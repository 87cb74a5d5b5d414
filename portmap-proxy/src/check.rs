//! What the proxy refuses to publish.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use portmap_core::{Binding, Error, ErrorKind, PortRange, Protocol, Publish};

use crate::source::own_address_toward;

pub(crate) fn only_tcp_and_udp(request: &Publish) -> Result<(), Error> {
    let protocols = request.mappings().iter().map(|mapping| mapping.protocol());
    match protocols.into_iter().find(|protocol| !is_served(*protocol)) {
        Some(protocol) => {
            let message = format!("the proxy does not serve {protocol}");
            Err(Error::new(ErrorKind::Unsupported, message))
        }
        None => Ok(()),
    }
}

fn is_served(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp | Protocol::Udp)
}

/// Refuses bindings that lead back to themselves, served together by a proxy that dials from this host: each connection or
/// session would make the next one, until no descriptor is left.
///
/// [`ProxyMapper::serve`](crate::ProxyMapper::serve) does it first. It asks the kernel for the routes to the containers, of the
/// network namespace of the calling thread, and sends nothing.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid), with the bindings in question.
pub fn not_to_itself(bindings: &[Binding]) -> Result<(), Error> {
    // Most often one endpoint has them all: the kernel is asked once for each address.
    let addrs: BTreeSet<_> =
        bindings.iter().flat_map(|to| to.endpoint().addrs().collect::<Vec<_>>()).collect();
    for ip in addrs.into_iter().filter(|ip| is_own(*ip)) {
        let here = Here::new(ip, bindings);
        let to = bindings.iter().filter(|to| to.endpoint().addrs().any(|addr| addr == ip));
        for to in to {
            if let Some(from) = here.has(to.protocol(), to.container_ports()) {
                let message = format!("{to} leads back to this host, where {from} is published");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
    }
    Ok(())
}

/// Bindings on an address of this host, for many questions whether one of them has a port: in the order of their first ports,
/// each with the one so far that reaches furthest up.
struct Here<'a>(HashMap<Protocol, Vec<(&'a Binding, &'a Binding)>>);

impl<'a> Here<'a> {
    fn new(ip: IpAddr, bindings: &'a [Binding]) -> Self {
        let mut here: Vec<_> = bindings.iter().filter(|from| from.host_addr().covers(ip)).collect();
        here.sort_by_key(|from| from.host_ports());
        let mut by_protocol: HashMap<Protocol, Vec<(&Binding, &Binding)>> = HashMap::new();
        for from in here {
            let before = by_protocol.entry(from.protocol()).or_default();
            let furthest = before.last().map(|(_, furthest)| *furthest);
            let reach = |of: &Binding| of.host_ports().last();
            let furthest = furthest.filter(|last| reach(last) >= reach(from)).unwrap_or(from);
            before.push((from, furthest));
        }
        Self(by_protocol)
    }

    fn has(&self, protocol: Protocol, ports: PortRange) -> Option<&'a Binding> {
        let here = self.0.get(&protocol)?;
        let below = here.partition_point(|(from, _)| from.host_ports().first() <= ports.last());
        let (_, furthest) = here.get(below.checked_sub(1)?)?;
        Some(*furthest).filter(|from| from.host_ports().last() >= ports.first())
    }
}

/// Whether an address is one of this host's: to itself it would speak from that address, or it is a loopback one.
///
/// Being able to bind it says less: where `net.ipv4.ip_nonlocal_bind` is on, any address can be bound. No packet is sent.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || own_address_toward(ip).is_ok_and(|source| source == ip)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use portmap_core::{Endpoint, HostAddr, Port};

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
