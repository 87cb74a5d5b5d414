//! What holds for all networks, bindings, hosts and packets.

mod common;

use std::net::{IpAddr, SocketAddr};

use common::random::{Scene, interface, packets, rules, scene, world};
use portmap_core::HostAddr;
use portmap_rules::{
    End, L4, Layout, Network, Packet, Policy, Purpose, Ruleset, Trace, World, compile, trace,
    trace_invalid,
};
use proptest::{prelude::*, test_runner::Config};

const LAYOUTS: [Layout; 2] = [Layout::Nftables, Layout::Iptables];

fn scene_and_world() -> impl Strategy<Value = (Scene, World)> {
    scene().prop_flat_map(|scene| (Just(scene.clone()), world(scene.networks)))
}

fn scene_world_and_packets() -> impl Strategy<Value = (Scene, World, Vec<Packet>)> {
    scene_and_world().prop_flat_map(|(scene, world)| {
        let packets = packets(&scene);
        (Just(scene), Just(world), packets)
    })
}

/// Whether a binding covers the packet's destination.
fn is_claimed(scene: &Scene, packet: Packet) -> bool {
    scene.bindings.iter().any(|binding| {
        let port =
            packet.to.port().try_into().is_ok_and(|port| binding.host_ports().contains(port));
        port && packet.protocol == L4::Transport(binding.protocol())
            && binding.host_addr().covers(packet.to.ip())
    })
}

fn is_of_a_network(networks: &[Network], addr: IpAddr) -> bool {
    networks.iter().flat_map(Network::subnets).any(|subnet| subnet.net().contains(&addr))
}

/// Whether a container can have the address.
fn is_of_containers(scene: &Scene, addr: IpAddr) -> bool {
    let mut subnets = scene.networks.iter().flat_map(Network::subnets);
    subnets.any(|subnet| subnet.net().contains(&addr) && subnet.gateway() != addr)
}

/// Where the packet went and as whose.
const fn target(end: End) -> Option<(SocketAddr, SocketAddr)> {
    match end {
        End::Delivered { at, seen_from }
        | End::Passed { at, seen_from, .. }
        | End::Unanswered { at, seen_from, .. } => Some((at, seen_from)),
        End::Refused | End::Dropped(_) => None,
    }
}

/// Whether NAT gave the packet another destination.
fn is_translated(trace: &Trace) -> bool {
    trace.request.iter().any(|step| step.purpose == Purpose::Translate)
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn both_layouts_do_the_same_to_every_packet(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        let nftables = rules(&scene, Layout::Nftables).unwrap();
        let iptables = rules(&scene, Layout::Iptables).unwrap();
        for packet in packets {
            let ends = [&nftables, &iptables].map(|rules| trace(rules, &world, packet));
            prop_assert_eq!(ends[0].end, ends[1].end, "{:?}\n{:#?}\n{}\n{}", packet, ends, nftables, iptables);
        }
    }

    #[test]
    fn both_layouts_do_the_same_to_every_invalid_packet(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        let nftables = rules(&scene, Layout::Nftables).unwrap();
        let iptables = rules(&scene, Layout::Iptables).unwrap();
        for packet in packets {
            let ends = [&nftables, &iptables].map(|rules| trace_invalid(rules, &world, packet));
            prop_assert_eq!(ends[0].end, ends[1].end, "{:?}\n{:#?}\n{}\n{}", packet, ends, nftables, iptables);
        }
    }

    #[test]
    fn an_invalid_packet_reaches_the_host_where_nat_does_not_serve_it_and_nowhere_else(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        for rules in LAYOUTS.map(|layout| rules(&scene, layout).unwrap()) {
            for packet in &packets {
                let (valid, invalid) =
                    (trace(&rules, &world, *packet), trace_invalid(&rules, &world, *packet));
                let at_host = |end| match end {
                    End::Delivered { at, .. } => at == packet.to && !is_of_containers(&scene, at.ip()),
                    End::Refused => true,
                    _ => false,
                };
                if is_translated(&valid) {
                    prop_assert!(!at_host(invalid.end), "{packet:?} {invalid:?}\n{rules}");
                } else if at_host(valid.end) {
                    prop_assert_eq!(invalid.end, valid.end, "{:?} {:?}\n{}", packet, invalid, rules);
                }
            }
        }
    }

    #[test]
    fn nothing_leaves_a_masqueraded_network_with_a_containers_own_address(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        for rules in LAYOUTS.map(|layout| rules(&scene, layout).unwrap()) {
            for packet in &packets {
                let home = scene.networks.iter().filter(|network| network.has_nat()).find(|network| {
                    network.subnets().any(|subnet| subnet.net().contains(&packet.from.ip()))
                });
                let Some(home) = home.filter(|home| Some(home.bridge()) == packet.arrives_by) else { continue };
                for trace in [trace, trace_invalid] {
                    let left = match trace(&rules, &world, *packet).end {
                        End::Passed { seen_from, .. } => Some(seen_from),
                        End::Delivered { at, seen_from }
                            if is_of_containers(&scene, at.ip())
                                && !home.subnets().any(|subnet| subnet.net().contains(&at.ip())) =>
                        {
                            Some(seen_from)
                        }
                        _ => None,
                    };
                    prop_assert!(left.is_none_or(|as_whom| as_whom != packet.from), "{packet:?}\n{rules}");
                }
            }
        }
    }

    #[test]
    fn only_a_packet_to_a_published_port_gets_another_destination(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        for rules in LAYOUTS.map(|layout| rules(&scene, layout).unwrap()) {
            for packet in &packets {
                if let Some((at, _)) = target(trace(&rules, &world, *packet).end) {
                    prop_assert!(at == packet.to || is_claimed(&scene, *packet), "{packet:?} {at}");
                }
            }
        }
    }

    #[test]
    fn traffic_that_is_neither_to_the_host_nor_of_a_network_is_untouched(
        (scene, world, packets) in scene_world_and_packets(),
    ) {
        for rules in LAYOUTS.map(|layout| rules(&scene, layout).unwrap()) {
            for packet in &packets {
                let networks = &scene.networks;
                let by_bridge = networks.iter().any(|it| Some(it.bridge()) == packet.arrives_by);
                let ours = by_bridge || [packet.from, packet.to]
                    .iter()
                    .any(|addr| addr.ip().is_loopback() || is_of_a_network(networks, addr.ip()));
                if !ours && !is_claimed(&scene, *packet) {
                    let bare = trace(&Ruleset::empty(rules.layout()), &world, *packet).end;
                    prop_assert_eq!(trace(&rules, &world, *packet).end, bare, "{:?}", packet);
                }
            }
        }
    }

    #[test]
    fn a_client_reaches_the_endpoint_of_every_binding_and_is_seen_as_itself(
        (scene, mut world) in scene_and_world(),
    ) {
        world.route_localnet.clear();
        for rules in LAYOUTS.map(|layout| rules(&scene, layout).unwrap()) {
            for binding in &scene.bindings {
                for (host, client) in [("198.51.100.1", "198.51.100.9"), ("2001:db8::1", "2001:db8::9")] {
                    let (host, client): (IpAddr, IpAddr) = (host.parse().unwrap(), client.parse().unwrap());
                    let to = binding.endpoint().addrs().find(|addr| addr.is_ipv4() == host.is_ipv4());
                    let Some(to) = to.filter(|_| binding.host_addr().covers(host)) else { continue };
                    let network = scene.networks.iter().find(|it| {
                        it.subnets().any(|subnet| subnet.net().contains(&to))
                    });
                    if !network.is_some_and(Network::has_nat) {
                        continue;
                    }
                    for port in binding.host_ports().iter() {
                        let from = SocketAddr::new(client, 40_000);
                        let packet = Packet {
                            arrives_by: Some(interface("eth0")),
                            protocol: binding.protocol().into(),
                            from,
                            to: SocketAddr::new(host, port.number()),
                        };
                        let at = binding.container_port(port).unwrap().number();
                        let wanted = End::Delivered { at: SocketAddr::new(to, at), seen_from: from };
                        prop_assert_eq!(trace(&rules, &world, packet).end, wanted, "{}", binding);
                    }
                }
            }
        }
    }

    #[test]
    fn a_transaction_leads_from_the_old_rules_to_the_new((old, new) in (scene(), scene())) {
        for layout in LAYOUTS {
            let (old, new) = (rules(&old, layout).unwrap(), rules(&new, layout).unwrap());
            let transaction = Ruleset::diff(&old, &new);
            prop_assert_eq!(transaction.is_empty(), old == new);
            prop_assert_eq!(old.clone().apply(&transaction), new);
            prop_assert!(Ruleset::diff(&old, &old).is_empty());
        }
    }

    #[test]
    fn releasing_undoes_publishing(scene in scene(), keep in 0..12_usize) {
        for layout in LAYOUTS {
            let policy = Policy { layout, ..scene.policy.clone() };
            let fewer = &scene.bindings[..keep.min(scene.bindings.len())];
            let before = compile(&scene.networks, fewer, &policy).unwrap();
            let after = rules(&scene, layout).unwrap();
            let published = before.clone().apply(&Ruleset::diff(&before, &after));
            let released = published.clone().apply(&Ruleset::diff(&published, &before));
            prop_assert_eq!(released, before);
        }
    }

    #[test]
    fn the_order_of_publishing_does_not_show(
        (scene, shuffled) in scene().prop_flat_map(|scene| {
            let shuffled = Just(scene.bindings.clone()).prop_shuffle();
            (Just(scene), shuffled)
        }),
    ) {
        for layout in LAYOUTS {
            let policy = Policy { layout, ..scene.policy.clone() };
            let other = compile(&scene.networks, &shuffled, &policy).unwrap();
            prop_assert_eq!(rules(&scene, layout).unwrap(), other);
        }
    }

    #[test]
    fn the_notation_of_a_network_is_read_back_as_the_same_network(scene in scene()) {
        for network in scene.networks {
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }
    }

    #[test]
    fn bindings_conflict_where_two_of_them_do_and_nowhere_else(
        one in scene(), two in scene(),
    ) {
        let all: Vec<_> = one.bindings.iter().chain(&two.bindings).cloned().collect();
        let networks: Vec<Network> = (0..4)
            .map(|n| format!("br{n}=10.0.{n}.0/24,fd00:0:0:{n}::/64").parse().unwrap())
            .collect();
        // A wildcard claims a family only where the container has an address of it.
        let served = |it: &portmap_core::Binding| match it.host_addr() {
            HostAddr::Any if it.endpoint().v6().is_none() => HostAddr::from(IpAddr::from([0; 4])),
            HostAddr::Any if it.endpoint().v4().is_none() => HostAddr::from(IpAddr::from([0_u16; 8])),
            host => host,
        };
        let policy = Policy { loopback: portmap_rules::Loopback::Proxy, ..Policy::default() };
        let translated: Vec<_> = all.iter().filter(|it| match it.host_addr() {
            HostAddr::Any => true,
            HostAddr::Ip(host) => it.endpoint().addrs().any(|addr| addr.is_ipv4() == host.addr().is_ipv4()),
        }).collect();
        let clash = translated.iter().enumerate().any(|(place, one)| {
            translated[..place].iter().any(|two| {
                one.protocol() == two.protocol()
                    && one.host_ports().overlaps(two.host_ports())
                    && served(one).overlaps(served(two))
            })
        });
        prop_assert_eq!(compile(&networks, &all, &policy).is_err(), clash);
    }
}
