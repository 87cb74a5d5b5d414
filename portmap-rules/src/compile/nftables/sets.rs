//! Sets and maps of one family.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use portmap_core::{PortRange, Protocol};

use crate::{
    Data, DataType, Element, Family, Field, GatewayMode, Hairpin, Interface, Key, Loopback, Match,
    Name, Policy, Set, Value, Verdict, What,
    compile::{Plan, plan::Claim},
};

/// The sets that have elements, by name. Names end with the family's number.
pub(super) struct Sets {
    family: Family,
    sets: BTreeMap<Name, Set>,
}

/// Names of sets whose ranges, if any, are in a second one: a look-up of single ports is one hash.
pub(super) const PUBLISHED: [&str; 2] = ["published", "published-ranges"];
pub(super) const ROUTED_PORTS: [&str; 2] = ["routed-ports", "routed-port-ranges"];
pub(super) const LOOPBACK: [&str; 2] = ["loopback", "loopback-ranges"];
pub(super) const OWN_PORTS: [&str; 2] = ["own-ports", "own-port-ranges"];
/// Host ports on one address of the host.
pub(super) const ON_ADDR: [&str; 2] = ["on-addr", "on-addr-ranges"];
/// Host ports on every address of the host.
pub(super) const ON_ANY: [&str; 2] = ["on-any", "on-any-ranges"];

/// Host ports on every address of the host, without what they lead to: a map is no set to kernels before Linux 6.10.
pub(super) const HOST_PORTS: [&str; 2] = ["host-ports", "host-port-ranges"];
/// Host ports on one address of the host.
pub(super) const HOST_ADDR_PORTS: [&str; 2] = ["host-addr-ports", "host-addr-port-ranges"];

impl Sets {
    pub(super) fn new(plan: &Plan<'_>, policy: &Policy) -> Self {
        let mut sets = Self { family: plan.family, sets: BTreeMap::new() };
        sets.add_networks(plan, policy);
        sets.add_host_ports(plan);
        let nat = plan.published(GatewayMode::Nat).map(container_side);
        sets.add_ports(PUBLISHED, vec![Field::Destination(plan.family)], nat);
        let routed = plan.published(GatewayMode::Routed).map(container_side);
        sets.add_ports(ROUTED_PORTS, vec![Field::Destination(plan.family)], routed);
        let loopback = plan.translated().filter_map(|claim| {
            Some((vec![claim.loopback_host()?], claim.protocol, claim.host_ports))
        });
        sets.add_ports(LOOPBACK, vec![Field::Destination(plan.family)], loopback);
        if policy.drops_invalid() {
            sets.add_untranslated(plan);
        }
        if policy.loopback == Loopback::Nat && policy.hairpin == Hairpin::Bridge {
            let own = plan
                .translated()
                .map(|claim| (vec![claim.to, claim.to], claim.protocol, claim.container_ports));
            let key = vec![Field::Source(plan.family), Field::Destination(plan.family)];
            sets.add_ports(OWN_PORTS, key, own);
        }
        sets
    }

    pub(super) fn into_inner(self) -> BTreeMap<Name, Set> {
        self.sets
    }

    /// The name of a set and what it is asked for, if it exists.
    pub(super) fn key(&self, stem: &str) -> Option<(Key, Name)> {
        let name = named(stem, self.family);
        self.sets.get(&name).map(|set| (set.key.clone(), name))
    }

    /// The match that asks the set, if it exists.
    pub(super) fn lookup(&self, stem: &str) -> Option<Match> {
        self.key(stem).map(|(key, name)| Match::is(What::InSet(key, name)))
    }

    /// The match that asks the set of bridges for a field.
    pub(super) fn bridge(&self, stem: &str, field: Field) -> Option<Match> {
        self.key(stem).map(|(_, name)| Match::is(What::InSet(vec![field], name)))
    }

    fn set(&mut self, stem: &str, empty: impl FnOnce() -> Set) -> &mut Set {
        self.sets.entry(named(stem, self.family)).or_insert_with(empty)
    }

    fn add_networks(&mut self, plan: &Plan<'_>, policy: &Policy) {
        for member in &plan.networks {
            let (network, bridge) = (member.network, Value::Interface(member.bridge));
            let verdict = if network.icc() { Verdict::Accept } else { Verdict::Drop };
            let key = vec![Field::InInterface, Field::OutInterface];
            self.set("within", || Set::new(key).with_data(DataType::Verdict))
                .elements
                .insert(vec![bridge, bridge], Some(Data::Verdict(verdict)));
            if network.is_internal() {
                continue;
            }
            let mode = network.mode();
            let stems = [
                ("bridges", true),
                ("routed", mode == GatewayMode::Routed),
                ("isolated", policy.isolation && mode != GatewayMode::Routed),
                ("protected", mode != GatewayMode::NatUnprotected),
            ];
            for (stem, _) in stems.into_iter().filter(|(_, belongs)| *belongs) {
                let set = self.set(stem, || Set::new(vec![Field::OutInterface]));
                set.elements.insert(vec![bridge], None);
            }
        }
        for member in plan.of_mode(GatewayMode::Nat) {
            let mut inside = |interface: Interface| {
                let key = vec![Field::InInterface, Field::Destination(plan.family)];
                self.set("inside", || Set::new(key).with_intervals())
                    .elements
                    .insert(vec![Value::Interface(interface), Value::Net(member.net)], None);
            };
            inside(member.bridge);
            member.network.trusted().iter().copied().for_each(&mut inside);
        }
    }

    fn add_host_ports(&mut self, plan: &Plan<'_>) {
        for (stems, on_addr) in [(ON_ANY, false), (ON_ADDR, true)] {
            let claims = || plan.translated().filter(|claim| claim.host.is_some() == on_addr);
            let [single, range] = stems;
            let address = on_addr.then_some(Field::Destination(plan.family));
            let key = [Some(Field::Protocol), address, Some(Field::DestinationPort)];
            let set = Set::new(key.into_iter().flatten().collect());

            let ports = set.clone().with_data(DataType::AddrPort(plan.family));
            let elements = claims().filter(|claim| !is_kept_range(claim)).flat_map(|claim| {
                // A shifted range is an element a port. NAT in nftables cannot add to a port number; the kernel's
                // own shift counts from a base that only iptables' DNAT sets. Each look-up stays one hash.
                let ports = claim.host_ports.iter().zip(claim.container_ports.iter());
                ports.map(|(from, to)| {
                    (host_side(claim, from.into()), Some(Data::AddrPort(claim.to, to)))
                })
            });
            self.insert(single, ports, elements);

            let ranges = set.with_data(DataType::Addr(plan.family)).with_intervals();
            let elements = claims()
                .filter(|claim| is_kept_range(claim))
                .map(|claim| (host_side(claim, claim.host_ports), Some(Data::Addr(claim.to))));
            self.insert(range, ranges, elements);
        }
    }

    /// Host ports as they are asked for where NAT passed a packet by.
    fn add_untranslated(&mut self, plan: &Plan<'_>) {
        for (stems, on_addr) in [(HOST_PORTS, false), (HOST_ADDR_PORTS, true)] {
            let claims = plan.translated().filter(|claim| claim.host.is_some() == on_addr);
            let ports =
                claims.map(|claim| (Vec::from_iter(claim.host), claim.protocol, claim.host_ports));
            let address = on_addr.then_some(Field::Destination(plan.family));
            self.add_ports(stems, Vec::from_iter(address), ports);
        }
    }

    /// Addresses, protocol and ports, where single ports and ranges go into different sets.
    fn add_ports(
        &mut self,
        [single, range]: [&str; 2],
        addresses: Key,
        ports: impl Iterator<Item = (Vec<IpAddr>, Protocol, PortRange)>,
    ) {
        let key = addresses.into_iter().chain([Field::Protocol, Field::DestinationPort]);
        let set = Set::new(key.collect());
        let (one, many): (Vec<_>, Vec<_>) = ports.partition(|(.., ports)| ports.len() == 1);
        self.insert(single, set.clone(), one.into_iter().map(container_element));
        let ranges = merged(many).into_iter().map(container_element);
        self.insert(range, set.with_intervals(), ranges);
    }

    fn insert(&mut self, stem: &str, set: Set, elements: impl Iterator<Item = Element>) {
        let set = Set { elements: elements.collect(), ..set };
        if !set.elements.is_empty() {
            self.sets.insert(named(stem, self.family), set);
        }
    }
}

/// A range whose ports keep their numbers is one interval; its map needs the address alone.
fn is_kept_range(claim: &Claim<'_>) -> bool {
    claim.is_range() && claim.keeps_numbers()
}

fn host_side(claim: &Claim<'_>, ports: PortRange) -> Vec<Value> {
    let address = claim.host.map(|host| Value::Net(host.into()));
    let values = [Some(Value::Protocol(claim.protocol)), address, Some(Value::Ports(ports))];
    values.into_iter().flatten().collect()
}

fn container_element((addrs, protocol, ports): (Vec<IpAddr>, Protocol, PortRange)) -> Element {
    let addrs = addrs.into_iter().map(|addr| Value::Net(IpNet::from(addr)));
    (addrs.chain([Value::Protocol(protocol), Value::Ports(ports)]).collect(), None)
}

fn named(stem: &str, family: Family) -> Name {
    let number = match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    };
    format!("{stem}{number}").into()
}

fn container_side(claim: &Claim<'_>) -> (Vec<IpAddr>, Protocol, PortRange) {
    (vec![claim.to], claim.protocol, claim.container_ports)
}

/// Ranges of one address that overlap become one: intervals of a set may not.
fn merged(
    mut ranges: Vec<(Vec<IpAddr>, Protocol, PortRange)>,
) -> Vec<(Vec<IpAddr>, Protocol, PortRange)> {
    ranges.sort_unstable();
    ranges.dedup_by(|(addrs, protocol, ports), (last_addrs, last_protocol, last)| {
        let same = addrs == last_addrs && protocol == last_protocol && ports.overlaps(*last);
        if same && ports.last() > last.last() {
            let union = PortRange::new(last.first(), ports.last());
            *last = union.unwrap_or(*last);
        }
        same
    });
    ranges
}
