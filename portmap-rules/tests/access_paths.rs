//! Who may reach a published port by which way, and who the container takes the caller for.
#![expect(clippy::unwrap_used, reason = "fixtures")]

mod common;

use std::net::{IpAddr, SocketAddr};

use portmap_core::{HostAddr, Protocol};
use portmap_rules::{
    End, Family, Hairpin, Layout, Loopback, Loss, Packet, Policy, Purpose, Ruleset, Socket,
    SocketKind, World, trace,
};

/// Addresses of one family.
struct Addrs {
    lan: &'static str,
    client: &'static str,
    elsewhere: &'static str,
    gateway: &'static str,
    container: &'static str,
    neighbour: &'static str,
    stranger: &'static str,
    loopback: &'static str,
}

const V4: Addrs = Addrs {
    lan: "198.51.100.1",
    client: "198.51.100.9",
    elsewhere: "203.0.113.7",
    gateway: "192.0.2.1",
    container: "192.0.2.2",
    neighbour: "192.0.2.3",
    stranger: "172.17.0.2",
    loopback: "127.0.0.1",
};

const V6: Addrs = Addrs {
    lan: "2001:db8:100::1",
    client: "2001:db8:100::9",
    elsewhere: "2001:db8:113::7",
    gateway: "2001:db8:2::1",
    container: "2001:db8:2::2",
    neighbour: "2001:db8:2::3",
    stranger: "fd00:17::2",
    loopback: "::1",
};

const NETWORKS: [&str; 2] =
    ["docker0=172.17.0.0/16,fd00:17::/64", "bridge1=192.0.2.0/24,2001:db8:2::/64"];

struct Case {
    addrs: &'static Addrs,
    family: Family,
    protocol: Protocol,
    policy: Policy,
    rules: Ruleset,
    world: World,
}

/// Every layout, family and protocol, for a policy and a bridge.
fn cases(loopback: Loopback, hairpin: Hairpin, netfilter: bool, hairpin_ports: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in [Layout::Nftables, Layout::Iptables] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let policy = Policy { layout, loopback, hairpin, ..Policy::default() };
            let web = format!("8080:80/{protocol}@192.0.2.2,2001:db8:2::2");
            let rules = common::compiled(&NETWORKS, &[&web], &policy);
            let kind = match loopback {
                Loopback::Proxy => SocketKind::Serving,
                Loopback::Nat => SocketKind::Reserving,
            };
            let ports = "8080".parse().unwrap();
            let mut world = World::new(common::networks(&NETWORKS))
                .with_address("eth0".parse().unwrap(), "198.51.100.1/24".parse().unwrap())
                .with_address("eth0".parse().unwrap(), "2001:db8:100::1/64".parse().unwrap())
                .with_socket(Socket { protocol, addr: HostAddr::Any, ports, kind });
            world = world.routing_localnet(&policy);
            world.bridge_netfilter = netfilter;
            world.hairpin_ports = hairpin_ports;
            for (family, addrs) in [(Family::Ipv4, &V4), (Family::Ipv6, &V6)] {
                let (policy, rules, world) = (policy.clone(), rules.clone(), world.clone());
                cases.push(Case { addrs, family, protocol, policy, rules, world });
            }
        }
    }
    cases
}

/// All bridges that behave the same for a path.
fn any_bridge(loopback: Loopback) -> Vec<Case> {
    let mut all = Vec::new();
    for hairpin in [Hairpin::Masquerade, Hairpin::Bridge] {
        for (netfilter, ports) in [(false, false), (false, true), (true, false), (true, true)] {
            all.extend(cases(loopback, hairpin, netfilter, ports));
        }
    }
    all
}

fn at(addr: &str, port: u16) -> SocketAddr {
    SocketAddr::new(addr.parse::<IpAddr>().unwrap(), port)
}

impl Case {
    fn end(&self, arrives_by: &str, from: &str, to: &str, port: u16) -> End {
        let packet = Packet {
            arrives_by: arrives_by.parse().ok(),
            protocol: self.protocol.into(),
            from: at(from, 40_000),
            to: at(to, port),
        };
        trace(&self.rules, &self.world, packet).end
    }

    fn expect(&self, path: (&str, &str, &str, u16), wanted: End) {
        let (arrives_by, from, to, port) = path;
        let end = self.end(arrives_by, from, to, port);
        let Policy { layout, loopback, hairpin, .. } = self.policy;
        let (family, protocol) = (self.family, self.protocol);
        assert_eq!(
            end, wanted,
            "{path:?} {layout:?} {loopback:?} {hairpin:?} {family:?} {protocol}"
        );
    }

    /// The container gets it, and takes `seen` for the caller.
    fn reaches_container(&self, path: (&str, &str, &str, u16), seen: &str) {
        let end = End::Delivered { at: at(self.addrs.container, 80), seen_from: at(seen, 40_000) };
        self.expect(path, end);
    }

    /// The proxy gets it.
    fn reaches_proxy(&self, path: (&str, &str, &str, u16)) {
        let (_, from, to, port) = path;
        self.expect(path, End::Delivered { at: at(to, port), seen_from: at(from, 40_000) });
    }

    fn is_dropped(&self, path: (&str, &str, &str, u16)) {
        let end = self.end(path.0, path.1, path.2, path.3);
        assert!(matches!(end, End::Dropped(_)), "{path:?} {:?} {end}", self.policy);
    }
}

#[test]
fn an_external_client_is_seen_as_itself() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        let Addrs { client, lan, elsewhere, .. } = case.addrs;
        case.reaches_container(("eth0", client, lan, 8080), client);
        case.reaches_container(("eth0", elsewhere, lan, 8080), elsewhere);
    }
}

#[test]
fn nat_serves_loopback_as_the_gateway_and_refuses_it_in_ipv6() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { loopback, gateway, .. } = case.addrs;
        let path = ("", *loopback, *loopback, 8080);
        match case.family {
            Family::Ipv4 => case.reaches_container(path, gateway),
            Family::Ipv6 => case.expect(path, End::Refused),
        }
    }
    for case in any_bridge(Loopback::Proxy) {
        case.reaches_proxy(("", case.addrs.loopback, case.addrs.loopback, 8080));
    }
}

#[test]
fn a_host_process_that_calls_the_hosts_own_address_is_the_gateway_or_that_address() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { lan, gateway, .. } = case.addrs;
        case.reaches_container(("", lan, lan, 8080), gateway);
    }
    for case in any_bridge(Loopback::Proxy) {
        let Addrs { lan, .. } = case.addrs;
        case.reaches_container(("", lan, lan, 8080), lan);
    }
}

#[test]
fn a_container_of_another_network_is_dropped_or_left_to_the_proxy() {
    for (dropped, cases) in
        [(true, any_bridge(Loopback::Nat)), (false, any_bridge(Loopback::Proxy))]
    {
        for case in cases {
            for host in [case.addrs.lan, case.addrs.gateway] {
                let path = ("docker0", case.addrs.stranger, host, 8080);
                if dropped { case.is_dropped(path) } else { case.reaches_proxy(path) }
            }
        }
    }
}

#[test]
fn a_neighbour_is_masqueraded_or_needs_br_netfilter_to_be_seen_as_itself() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { neighbour, lan, gateway, container, .. } = case.addrs;
        for host in [lan, gateway] {
            let path = ("bridge1", *neighbour, *host, 8080);
            match (case.policy.hairpin, case.world.bridge_netfilter) {
                (Hairpin::Masquerade, _) => case.reaches_container(path, gateway),
                (Hairpin::Bridge, true) => case.reaches_container(path, neighbour),
                (Hairpin::Bridge, false) => {
                    let (at, seen_from) = (at(container, 80), at(neighbour, 40_000));
                    case.expect(path, End::Unanswered { at, seen_from, why: Loss::PastNat });
                }
            }
        }
    }
    for case in any_bridge(Loopback::Proxy) {
        case.reaches_proxy(("bridge1", case.addrs.neighbour, case.addrs.lan, 8080));
    }
}

#[test]
fn a_container_that_calls_itself_is_the_gateway() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { container, lan, gateway, .. } = case.addrs;
        let path = ("bridge1", *container, *lan, 8080);
        if case.world.bridge_netfilter && !case.world.hairpin_ports {
            case.expect(path, End::Dropped(Loss::HairpinPort));
        } else {
            case.reaches_container(path, gateway);
        }
    }
    for case in any_bridge(Loopback::Proxy) {
        case.reaches_proxy(("bridge1", case.addrs.container, case.addrs.lan, 8080));
    }
}

#[test]
fn an_outsider_reaches_no_container_by_its_own_address() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        for port in [80, 81, 8080] {
            let Addrs { client, container, stranger, .. } = case.addrs;
            case.is_dropped(("eth0", client, container, port));
            case.is_dropped(("docker0", stranger, container, port));
        }
    }
}

#[test]
fn a_trace_names_the_rule_that_decided() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { client, container, lan, .. } = case.addrs;
        for (to, port, purpose) in [
            (lan, 8080, Purpose::Translate),
            (container, 80, Purpose::DirectGuard),
            (container, 81, Purpose::Unpublished),
        ] {
            let (from, to) = (at(client, 40_000), at(to, port));
            let protocol = case.protocol.into();
            let arrives_by = "eth0".parse().ok();
            let packet = Packet { arrives_by, protocol, from, to };
            let trace = trace(&case.rules, &case.world, packet);
            let rule = trace.decision().and_then(|step| step.rule(&case.rules)).unwrap();
            assert_eq!(rule.purpose, purpose, "{}", rule.text(case.policy.layout));
        }
    }
}

#[test]
fn an_outsider_with_a_route_to_loopback_is_dropped() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        for (interface, from) in [("eth0", case.addrs.client), ("bridge1", case.addrs.neighbour)] {
            case.is_dropped((interface, from, case.addrs.loopback, 8080));
            case.is_dropped((interface, from, case.addrs.loopback, 22));
        }
    }
}

#[test]
fn an_outsider_does_not_reach_a_port_that_is_published_on_a_loopback_address() {
    for layout in [Layout::Nftables, Layout::Iptables] {
        for loopback in [Loopback::Nat, Loopback::Proxy] {
            let policy = Policy { layout, loopback, ..Policy::default() };
            for web in ["127.0.0.2:8080:80@192.0.2.2", "127.0.0.2:8080-8089:80-89@192.0.2.2"] {
                let rules = common::compiled(&NETWORKS, &[web], &policy);
                for mut case in cases(loopback, Hairpin::Bridge, false, false) {
                    case.rules = rules.clone();
                    case.is_dropped(("eth0", V4.client, "127.0.0.2", 8080));
                }
            }
        }
    }
}

#[test]
fn transit_traffic_to_a_published_port_number_is_untouched() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        let Addrs { client, elsewhere, .. } = case.addrs;
        let (at, seen_from) = (at(elsewhere, 8080), at(client, 40_000));
        let passed = End::Passed { by: "eth0".parse().unwrap(), at, seen_from };
        case.expect(("eth0", client, elsewhere, 8080), passed);
    }
}
