//! Random networks, bindings, hosts and packets.
#![expect(clippy::unwrap_used, reason = "fixtures")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portmap_core::{Binding, Endpoint, HostAddr, PortRange, Protocol};
use portmap_rules::{
    CompileError, GatewayMode, Hairpin, Interface, L4, Layout, Loopback, Network, Packet, Policy,
    Socket, SocketKind, Subnet, World, compile,
};
use proptest::{collection::vec, prelude::*, sample::select};

/// What a test is about.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) networks: Vec<Network>,
    /// Without conflicts, in any policy.
    pub(crate) bindings: Vec<Binding>,
    pub(crate) policy: Policy,
}

pub(crate) fn interface(name: &str) -> Interface {
    name.parse().unwrap()
}

pub(crate) fn scene() -> impl Strategy<Value = Scene> {
    let networks = (1..5_u8).prop_flat_map(|count| (0..count).map(network).collect::<Vec<_>>());
    (networks, vec(binding(), 0..12), policy()).prop_map(|(networks, wanted, policy)| {
        let mut bindings = Vec::new();
        for binding in wanted {
            bindings.push(binding);
            if compile(&networks, &bindings, &policy).is_err() {
                bindings.pop();
            }
        }
        Scene { networks, bindings, policy }
    })
}

pub(crate) fn v4(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, network, host).into()
}

pub(crate) fn v6(network: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, network.into(), 0, 0, 0, host.into()).into()
}

fn network(number: u8) -> impl Strategy<Value = Network> {
    let modes = select(vec![
        GatewayMode::Nat,
        GatewayMode::Nat,
        GatewayMode::NatUnprotected,
        GatewayMode::Routed,
    ]);
    let flags = (0..3_u8, prop::bool::weighted(0.3), prop::bool::weighted(0.2), any::<bool>());
    (modes, flags).prop_map(move |(mode, (families, lonely, internal, trusting))| {
        let subnet = |addr: IpAddr, len| Subnet::new(format!("{addr}/{len}").parse().unwrap());
        let (four, six) = (subnet(v4(number, 0), 24).unwrap(), subnet(v6(number, 0), 64).unwrap());
        let bridge = interface(&format!("br{number}"));
        let mut network = match families {
            0 => Network::new(bridge, four),
            1 => Network::new(bridge, six),
            _ => Network::new(bridge, four).with_subnet(six).unwrap(),
        }
        .with_mode(mode);
        if lonely {
            network = network.without_icc();
        }
        if internal {
            network = network.internal();
        }
        if trusting { network.trusting(interface("eth1")) } else { network }
    })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let loopback = select(vec![Loopback::Proxy, Loopback::Nat]);
    let hairpin = select(vec![Hairpin::Masquerade, Hairpin::Bridge]);
    (loopback, hairpin, prop::bool::weighted(0.8)).prop_map(|(loopback, hairpin, isolation)| {
        Policy { loopback, hairpin, isolation, ..Policy::default() }
    })
}

fn host_addrs() -> Vec<IpAddr> {
    let texts = ["198.51.100.1", "203.0.113.1", "2001:db8::1", "127.0.0.1", "127.0.0.2", "::1"];
    texts.map(|text| text.parse().unwrap()).into_iter().chain([v4(0, 1), v6(0, 1)]).collect()
}

fn binding() -> impl Strategy<Value = Binding> {
    let unspecified = ["0.0.0.0", "::"].map(|text| text.parse::<IpAddr>().unwrap());
    let narrow = select([&host_addrs()[..], &unspecified].concat()).prop_map(HostAddr::from);
    let host = prop_oneof![2 => Just(HostAddr::Any), 1 => narrow];
    let endpoint =
        (0..4_u8, 2..5_u8, 0..3_u8).prop_map(|(network, host, families)| match families {
            0 => Endpoint::from(v4(network, host)),
            1 => Endpoint::from(v6(network, host)),
            _ => format!("{},{}", v4(network, host), v6(network, host)).parse().unwrap(),
        });
    let ports = (8000..8012_u16, 1..5_usize, prop_oneof![Just(None), (80..90_u16).prop_map(Some)]);
    (protocol(), host, endpoint, ports).prop_map(|(protocol, host, endpoint, (first, len, to))| {
        let to = to.unwrap_or(first).try_into().unwrap();
        let container = PortRange::starting_at(to, len).unwrap();
        Binding::new(protocol, host, first.try_into().unwrap(), endpoint, container).unwrap()
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

/// A host with these networks. Some settings are as they should be, some are not.
pub(crate) fn world(networks: Vec<Network>) -> impl Strategy<Value = World> {
    let kinds = select(vec![SocketKind::Serving, SocketKind::Reserving]);
    let sockets = vec((protocol(), kinds), 0..4);
    (sockets, any::<[bool; 4]>()).prop_map(
        move |(sockets, [localnet, everywhere, netfilter, ports])| {
            let mut world = World::new(networks.clone());
            for (name, address) in [
                ("eth0", "198.51.100.1/24"),
                ("eth1", "203.0.113.1/24"),
                ("eth0", "2001:db8::1/64"),
            ] {
                world = world.with_address(interface(name), address.parse().unwrap());
            }
            for (protocol, kind) in sockets {
                let ports = "8000-8008".parse().unwrap();
                world = world.with_socket(Socket { protocol, addr: HostAddr::Any, ports, kind });
            }
            if localnet {
                world = world.routing_localnet(&Policy::default());
            }
            if everywhere {
                world.route_localnet.insert(interface("eth0"));
            }
            world.bridge_netfilter = netfilter;
            world.hairpin_ports = ports;
            world
        },
    )
}

/// Packets that a container, a host process or somebody outside could send, or that only an attacker would. Half of
/// them go to some binding's host port or container port.
pub(crate) fn packets(scene: &Scene) -> impl Strategy<Value = Vec<Packet>> + use<> {
    let names = ["eth0", "eth1", "eth1", "br0", "br1", "br2", "br3"];
    let arrives =
        prop_oneof![1 => Just(None), 4 => select(names.map(|name| Some(interface(name))).to_vec())];
    let l4 = prop_oneof![6 => protocol().prop_map(L4::from), 1 => Just(L4::Icmp)];
    let port = prop_oneof![4 => 7998..8018_u16, 4 => 78..96_u16, 1 => Just(22_u16)];
    let shot = (any_addr(), l4, port);
    let shot = match aims(scene) {
        aims if aims.is_empty() => shot.boxed(),
        aims => prop_oneof![shot, select(aims)].boxed(),
    };
    let packet = (arrives, shot, any_addr(), 0..12_usize).prop_filter_map(
        "two families",
        |(arrives_by, (to, l4, port), from, honest)| {
            let from = if honest > 1 { plausible(arrives_by, from, to) } else { from };
            let protocol = if l4 == L4::Icmp && to.is_ipv6() { L4::Icmpv6 } else { l4 };
            let port = if matches!(protocol, L4::Transport(_)) { port } else { 0 };
            (from.is_ipv4() == to.is_ipv4() && from != to).then(|| Packet {
                arrives_by,
                protocol,
                from: SocketAddr::new(from, 40_000),
                to: SocketAddr::new(to, port),
            })
        },
    );
    vec(packet, 40)
}

/// The first port of every binding, by its host's addresses and by its container's.
fn aims(scene: &Scene) -> Vec<(IpAddr, L4, u16)> {
    let aims = scene.bindings.iter().flat_map(|binding| {
        let endpoint = binding.endpoint();
        let direct = endpoint.addrs().map(|to| (to, binding.container_ports()));
        let hosts = host_addrs().into_iter().filter(|host| binding.host_addr().covers(*host));
        let direct: Vec<_> = direct.chain(hosts.map(|to| (to, binding.host_ports()))).collect();
        let shot = |(to, ports): (IpAddr, PortRange)| {
            (to, L4::from(binding.protocol()), ports.first().number())
        };
        direct.into_iter().map(shot)
    });
    aims.collect()
}

fn any_addr() -> impl Strategy<Value = IpAddr> {
    let outside = ["198.51.100.9", "192.0.2.77", "2001:db8::9", "2001:db8:9::9", "fe80::9"]
        .map(|text| text.parse::<IpAddr>().unwrap());
    let container = (any::<bool>(), 0..4_u8, 1..6_u8);
    let container =
        container.prop_map(|(four, net, host)| if four { v4(net, host) } else { v6(net, host) });
    prop_oneof![select(host_addrs()), select(outside.to_vec()), container]
}

/// A source that who sends by this interface would have.
fn plausible(by: Option<Interface>, wish: IpAddr, to: IpAddr) -> IpAddr {
    let four = to.is_ipv4();
    let pick =
        |one: &str, two: &str| if four { one.parse().unwrap() } else { two.parse().unwrap() };
    let Some(by) = by else {
        return if to.is_loopback() { to } else { pick("198.51.100.1", "2001:db8::1") };
    };
    match by.name().strip_prefix("br").and_then(|number| number.parse().ok()) {
        Some(network) => {
            let host = [2, 3, 4][usize::from(wish.is_ipv4()) + usize::from(wish.is_loopback())];
            if four { v4(network, host) } else { v6(network, host) }
        }
        None => pick("198.51.100.9", "2001:db8::9"),
    }
}

/// The rules of a scene in one layout.
pub(crate) fn rules(scene: &Scene, layout: Layout) -> Result<portmap_rules::Ruleset, CompileError> {
    let policy = Policy { layout, ..scene.policy.clone() };
    compile(&scene.networks, &scene.bindings, &policy)
}
