//! Whether mappings of one request want one host port.

use std::collections::HashMap;

use crate::{HostAddr, HostIp, HostPort, Mapping, Port, PortRange, Protocol};

/// Finds the first ports that two mappings name, on addresses that have something in common.
///
/// Sorted, then one pass: a request may have tens of thousands of mappings.
pub(super) fn named_twice(mappings: &[Mapping]) -> Option<(PortRange, Protocol)> {
    let mut claims: Vec<_> = mappings.iter().filter_map(named).collect();
    claims.sort_unstable_by_key(|(mapping, ports)| (mapping.protocol(), *ports));
    let mut seen = Seen::default();
    for (mapping, ports) in claims {
        if seen.protocol != Some(mapping.protocol()) {
            seen = Seen { protocol: Some(mapping.protocol()), ..Seen::default() };
        }
        for host in mapping.host() {
            if seen.reach(host).is_some_and(|last| last >= ports.first()) {
                return Some((ports, mapping.protocol()));
            }
            seen.add(host, ports.last());
        }
    }
    None
}

/// A mapping with the ports that it names.
fn named(mapping: &Mapping) -> Option<(&Mapping, PortRange)> {
    match mapping.host_port() {
        HostPort::Exact(ports) => Some((mapping, ports)),
        HostPort::Ephemeral | HostPort::AnyOf(_) => None,
    }
}

/// How far up the claims so far reach, by who can want the same: with their order, one that ends below the next one's first
/// port overlaps none that comes.
#[derive(Default)]
struct Seen {
    protocol: Option<Protocol>,
    /// Of all claims; of those for every address; and for each family of all, and of those for every address of it.
    all: Option<Port>,
    any: Option<Port>,
    family: [Option<Port>; 2],
    unspecified: [Option<Port>; 2],
    one: HashMap<HostIp, Port>,
}

impl Seen {
    /// How far up those reach that have an address in common with this one.
    fn reach(&self, host: HostAddr) -> Option<Port> {
        match host {
            HostAddr::Any => self.all,
            HostAddr::Ip(ip) => {
                let family = usize::from(ip.addr().is_ipv6());
                let own = match ip.addr().is_unspecified() {
                    true => self.family[family],
                    false => self.unspecified[family].max(self.one.get(&ip).copied()),
                };
                self.any.max(own)
            }
        }
    }

    fn add(&mut self, host: HostAddr, last: Port) {
        let further = |reach: &mut Option<Port>| *reach = (*reach).max(Some(last));
        further(&mut self.all);
        match host {
            HostAddr::Any => further(&mut self.any),
            HostAddr::Ip(ip) => {
                let family = usize::from(ip.addr().is_ipv6());
                further(&mut self.family[family]);
                match ip.addr().is_unspecified() {
                    true => further(&mut self.unspecified[family]),
                    false => {
                        let reach = self.one.entry(ip).or_insert(last);
                        *reach = (*reach).max(last);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        time::{Duration, Instant},
    };

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn mappings() -> impl Strategy<Value = Vec<Mapping>> {
        let hosts = ["0.0.0.0", "::", "127.0.0.1", "127.0.0.2", "::1", "fe80::1%a", "fe80::1%b"];
        let host = proptest::option::of(select(hosts.to_vec()));
        let protocol = select(vec![Protocol::Tcp, Protocol::Udp]);
        let mapping =
            (protocol, host, 1..40_u16, 0..4_u16).prop_map(|(protocol, host, first, more)| {
                let ports: PortRange = format!("{first}-{}", first + more).parse().unwrap();
                let mapping = Mapping::new(protocol, HostPort::Exact(ports), ports).unwrap();
                host.into_iter()
                    .fold(mapping, |mapping, host| mapping.on(host.parse::<HostIp>().unwrap()))
            });
        vec(mapping, 0..8)
    }

    proptest! {
        #[test]
        fn it_is_found_exactly_where_two_overlap(mappings in mappings()) {
            let overlap = |one: &Mapping, two: &Mapping| {
                let (Some((_, a)), Some((_, b))) = (named(one), named(two)) else { return false };
                one.protocol() == two.protocol()
                    && a.overlaps(b)
                    && one.host().any(|a| two.host().any(|b| a.overlaps(b)))
            };
            let expected = mappings.iter().enumerate().any(|(place, one)| {
                mappings[..place].iter().any(|two| overlap(one, two))
            });
            prop_assert_eq!(named_twice(&mappings).is_some(), expected);
        }
    }

    /// Each with each would be 1,800 million comparisons, and take a minute in this build.
    #[test]
    fn sixty_thousand_on_one_port_take_no_time_to_speak_of() {
        let port = PortRange::from(Port::MIN);
        let mapping = Mapping::new(Protocol::Tcp, HostPort::Exact(port), port).unwrap();
        let addrs = (0..60_000_u32).map(|n| Ipv4Addr::from(0x7f00_0001 + n));
        let mappings: Vec<_> = addrs.map(|addr| mapping.clone().on(addr)).collect();
        let begun = Instant::now();
        assert_eq!(named_twice(&mappings), None);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
