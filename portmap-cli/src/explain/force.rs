//! What would be in force: the rules, and the host's sockets.

use std::net::{Ipv4Addr, Ipv6Addr};

use portmap::{
    Binding, BoxError, HostAddr, Protocol,
    rules::{
        Hairpin, Layout, Loopback, Network, Policy, Ruleset, Socket, SocketKind, World, compile,
    },
};

use crate::{
    args::{Args, Mode},
    assume,
};

/// The rules that there would be, and what packets would meet beside them.
pub(super) fn in_force(
    args: &Args,
    mode: Mode,
    networks: &[Network],
    bindings: &[Binding],
) -> Result<(Ruleset, World), BoxError> {
    let policy = args.rules.policy(mode);
    let mut world = World::new(networks.to_vec());
    let is_routed = |binding: &Binding| assume::is_routed(networks, binding.endpoint());
    // A routed network's containers are reached by their own addresses, and no host port is taken. An SCTP port has no socket:
    // rules alone lead anywhere, and the proxy serves none.
    let has_socket = |binding: &&Binding| {
        binding.protocol() != Protocol::Sctp && (mode == Mode::Proxy || !is_routed(binding))
    };
    for binding in bindings.iter().filter(has_socket) {
        let (protocol, addr) = (binding.protocol(), taken(binding, (mode, &policy)));
        let (ports, kind) = (binding.host_ports(), SocketKind::Serving);
        world = world.with_socket(Socket { protocol, addr, ports, kind });
    }
    if mode == Mode::Proxy {
        // Nobody has switched it on.
        world.forwards = false;
        return Ok((Ruleset::empty(Layout::Nftables), world));
    }
    world = world.routing_localnet(&policy);
    world.hairpin_ports = policy.hairpin == Hairpin::Bridge;
    world.bridge_netfilter = world.hairpin_ports;
    let has_network = |binding: &&Binding| assume::is_known(networks, binding.endpoint());
    let by_nat: Vec<_> = bindings.iter().filter(has_network).cloned().collect();
    Ok((compile(networks, &by_nat, &policy)?, world))
}

/// The host address that a socket has. NAT alone does not translate between the families, and takes no port of the other one.
fn taken(binding: &Binding, (mode, policy): (Mode, &Policy)) -> HostAddr {
    let is_alone = mode == Mode::Rules && policy.loopback == Loopback::Nat;
    match (binding.host_addr(), binding.endpoint().v4(), binding.endpoint().v6()) {
        (HostAddr::Any, Some(_), None) if is_alone => HostAddr::Ip(Ipv4Addr::UNSPECIFIED.into()),
        (HostAddr::Any, None, Some(_)) if is_alone => HostAddr::Ip(Ipv6Addr::UNSPECIFIED.into()),
        (host, ..) => host,
    }
}
