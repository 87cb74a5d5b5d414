//! Who may reach a published port by which way, and who the container takes the caller for: what `trace` says of every path
//! of the test kit's matrix, for every bridge, and of some more. What it cannot know is what the kernel does: the
//! matrix itself holds the two equal.
#![expect(clippy::unwrap_used, reason = "fixtures")]

mod common;

use std::net::{IpAddr, SocketAddr};

use portmap_core::{HostAddr, Protocol};
use portmap_rules::{
    End, Family, Hairpin, Layout, Loopback, Loss, Packet, Policy, Purpose, Ruleset, Socket,
    SocketKind, World, trace, trace_invalid,
};
use portmap_testkit::matrix::{self, Kind, Outcome, Path, Places, SeenAs, Way};

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
            let bound = format!("127.0.1.2:8081:80/{protocol}@192.0.2.2");
            let rules = common::compiled(&NETWORKS, &[&web, &bound], &policy);
            let kind = match loopback {
                Loopback::Proxy => SocketKind::Serving,
                Loopback::Nat => SocketKind::Reserving,
            };
            let ports = "8080-8081".parse().unwrap();
            let mut world = World::new(common::networks(&NETWORKS))
                .with_address("eth0".parse().unwrap(), "198.51.100.1/24".parse().unwrap())
                .with_address("eth0".parse().unwrap(), "2001:db8:100::1/64".parse().unwrap())
                .with_address("eth0".parse().unwrap(), "fe80::1/64".parse().unwrap())
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

    /// What becomes of it, where the proxy serves what the rules leave to it.
    fn outcome(&self, way: &Way) -> Outcome {
        let packet = Packet {
            arrives_by: way.arrives_by.as_ref().map(|name| name.parse().unwrap()),
            protocol: self.protocol.into(),
            from: SocketAddr::new(way.from, 40_000),
            to: way.to,
        };
        match trace(&self.rules, &self.world, packet).end {
            End::Delivered { at, .. } if at == way.to && way.path.leads_to_host() => {
                Outcome::Delivered(way.gateway)
            }
            End::Delivered { seen_from, .. } | End::Passed { seen_from, .. } => {
                Outcome::Delivered(seen_from.ip())
            }
            End::Refused => Outcome::Refused,
            End::Dropped(_) | End::Unanswered { .. } => Outcome::Dropped,
        }
    }

    /// What is to become of it: as the matrix has it, but where it depends on the bridge.
    fn expected(&self, path: Path, family: matrix::Family) -> Outcome<SeenAs> {
        let kind = match self.policy.loopback {
            Loopback::Nat => Kind::Nat,
            Loopback::Proxy => Kind::Hybrid,
        };
        let World { bridge_netfilter, hairpin_ports, .. } = self.world;
        match (path, kind, self.policy.hairpin) {
            (Path::SameNetwork, Kind::Nat, Hairpin::Bridge) if bridge_netfilter => {
                Outcome::Delivered(SeenAs::Client)
            }
            // The answer goes past the host, and so past NAT.
            (Path::SameNetwork, Kind::Nat, Hairpin::Bridge) => Outcome::Dropped,
            (Path::Itself, Kind::Nat, _) if bridge_netfilter && !hairpin_ports => Outcome::Dropped,
            _ => kind.expected(path, family, self.protocol),
        }
    }

    fn is_dropped(&self, path: (&str, &str, &str, u16)) {
        let end = self.end(path.0, path.1, path.2, path.3);
        assert!(matches!(end, End::Dropped(_)), "{path:?} {:?} {end}", self.policy);
    }
}

impl Addrs {
    fn places(&self) -> Places {
        let ip = |addr: &str| addr.parse::<IpAddr>().unwrap();
        Places {
            lan: "eth0".to_owned(),
            bridge: "bridge1".to_owned(),
            other_bridge: "docker0".to_owned(),
            host: ip(self.lan),
            client: ip(self.client),
            attacker: ip(self.client),
            elsewhere: ip(self.elsewhere),
            gateway: ip(self.gateway),
            container: ip(self.container),
            neighbour: ip(self.neighbour),
            stranger: ip(self.stranger),
            link_local: Some(("fe80::9".parse().unwrap(), "fe80::1".parse().unwrap(), 0)),
        }
    }
}

#[test]
fn every_path_is_as_the_matrix_has_it() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        let family = match case.family {
            Family::Ipv4 => matrix::Family::Ipv4,
            Family::Ipv6 => matrix::Family::Ipv6,
        };
        for path in Path::ALL {
            let Some(way) = Way::new(path, family, &case.addrs.places()) else {
                continue;
            };
            let (outcome, expected) = (case.outcome(&way), case.expected(path, family).on(&way));
            let Policy { layout, loopback, hairpin, .. } = case.policy;
            assert_eq!(
                outcome, expected,
                "{way:?} {} {layout:?} {loopback:?} {hairpin:?} {:?}",
                case.protocol, case.world
            );
        }
    }
}

#[test]
fn a_client_from_beyond_the_lan_is_seen_as_itself() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        let Addrs { elsewhere, lan, container, .. } = *case.addrs;
        let end = End::Delivered { at: at(container, 80), seen_from: at(elsewhere, 40_000) };
        assert_eq!(case.end("eth0", elsewhere, lan, 8080), end);
    }
}

#[test]
fn the_gateways_address_is_an_address_of_the_host_like_others() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        let Addrs { neighbour, stranger, lan, gateway, .. } = *case.addrs;
        for (bridge, from) in [("bridge1", neighbour), ("docker0", stranger)] {
            let ends = [lan, gateway].map(|host| case.end(bridge, from, host, 8080));
            let to_socket = |end, host| match end {
                End::Delivered { at: it, .. } if it == at(host, 8080) => None,
                end => Some(end),
            };
            assert_eq!(to_socket(ends[0], lan), to_socket(ends[1], gateway), "{from}");
        }
    }
}

#[test]
fn no_container_is_reached_by_its_own_address_whatever_the_port() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        for port in [80, 81, 8080] {
            let Addrs { client, container, stranger, .. } = case.addrs;
            case.is_dropped(("eth0", client, container, port));
            case.is_dropped(("docker0", stranger, container, port));
        }
    }
}

#[test]
fn nobody_but_the_host_reaches_loopback_whatever_the_port() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        for (interface, from) in [("eth0", case.addrs.client), ("bridge1", case.addrs.neighbour)] {
            case.is_dropped((interface, from, case.addrs.loopback, 8080));
            case.is_dropped((interface, from, case.addrs.loopback, 22));
        }
    }
}

#[test]
fn nobody_but_the_host_speaks_as_loopback() {
    for case in any_bridge(Loopback::Nat).iter().chain(&any_bridge(Loopback::Proxy)) {
        if case.family == Family::Ipv4 {
            for (interface, from) in
                [("eth0", "127.0.0.2"), ("bridge1", "127.0.0.2"), ("bridge1", "127.0.0.1")]
            {
                for (to, port) in [(V4.gateway, 22), (V4.lan, 8080), (V4.stranger, 80)] {
                    case.is_dropped((interface, from, to, port));
                }
            }
        }
    }
}

#[test]
fn a_trace_names_the_rule_that_drops_what_nat_passes_by() {
    for case in any_bridge(Loopback::Nat) {
        let Addrs { client, container, lan, .. } = case.addrs;
        for (arrives_by, from, to, port, purpose) in [
            ("eth0", client, lan, 8080, Purpose::InvalidArrival),
            ("bridge1", container, client, 40_001, Purpose::InvalidDeparture),
        ] {
            let arrives_by = arrives_by.parse().ok();
            let (from, to) = (at(from, 40_000), at(to, port));
            let packet = Packet { arrives_by, protocol: case.protocol.into(), from, to };
            let trace = trace_invalid(&case.rules, &case.world, packet);
            assert_eq!(trace.end, End::Dropped(Loss::Rule));
            let rule = trace.decision().and_then(|step| step.rule(&case.rules)).unwrap();
            assert_eq!(rule.purpose, purpose, "{}", rule.text(case.policy.layout));
        }
    }
}

#[test]
fn a_host_that_does_not_forward_drops_what_is_not_its_own() {
    for mut case in any_bridge(Loopback::Proxy) {
        case.world.forwards = false;
        let Addrs { client, elsewhere, container, .. } = case.addrs;
        for to in [elsewhere, container] {
            case.is_dropped(("eth0", client, to, 8080));
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
fn no_packet_from_a_mapped_address_reaches_a_container() {
    for case in any_bridge(Loopback::Nat).into_iter().chain(any_bridge(Loopback::Proxy)) {
        if case.family == Family::Ipv6 {
            let end = case.end("eth0", "::ffff:198.51.100.1", "2001:db8:100::1", 8080);
            assert_eq!(end, End::Dropped(Loss::Rule));
        }
    }
}
