//! By which ways ports would be reached, worked out from the rules and sockets that would be there: nothing is asked of the
//! kernel, and nothing done.

mod footnotes;
mod scene;
mod verdict;

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
};

use portmap::{
    Binding, BoxError, HostAddr, Port, Protocol,
    rules::{
        Family, Hairpin, Layout, Loopback, Network, Policy, Ruleset, Socket, SocketKind, World,
        compile,
    },
};

use self::{footnotes::Footnotes, scene::Scene, verdict::verdict};
use crate::{
    args::{Args, Mode},
    assume,
    choice::Choice,
    demo::Contained,
    output::{Columns, print},
    plan::Plan,
};

/// Who serves what comes to the host's own sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    Proxy,
    /// They only hold their ports.
    Nobody,
}

pub(crate) fn show(args: &Args, plan: &Plan, choice: &Choice) -> Result<(), BoxError> {
    let mut networks = plan.networks(args.networks());
    let mut requests = plan.named();
    if !plan.for_webapp().is_empty() {
        let (network, request) = Contained::assumed(plan.for_webapp())?;
        networks.push(network);
        requests.push(request);
    }
    let said = choice.said().unwrap_or_else(|| format!("mode {}", choice.mode));
    let bindings = assume::bindings(&networks, &requests);
    let (rules, world) = in_force(args, choice.mode, &networks, &bindings)?;
    let serving = match choice.mode {
        Mode::Hybrid | Mode::Proxy => Serving::Proxy,
        Mode::Rules => Serving::Nobody,
    };
    // All of it at once: what fails half way explains nothing.
    let (mut page, mut notes) = (said + "\n", Footnotes::default());
    for binding in &bindings {
        let scenes = Family::ALL.iter().filter_map(|it| Scene::new(binding, *it, &networks));
        let scenes: Vec<_> = scenes.collect();
        writeln!(page, "\n{binding}")?;
        for Scene { lan, client, .. } in &scenes {
            let host = lan.addr();
            writeln!(page, "for example, this host is {host} on its LAN, a client {client}")?;
        }
        let mut columns = Columns::new(["path", "call", "served by", "container sees", "why"]);
        for scene in &scenes {
            let mut world = world.clone();
            world.addresses.extend(Scene::interface().map(|lan| (lan, scene.lan)));
            for call in scene.calls(binding, unpublished(binding, &bindings)) {
                let way = format!("{} -> {}", call.from, call.to);
                let of = (scene, binding);
                let [who, sees, why] = verdict(&call, of, (&rules, &world), serving, &mut notes);
                columns.push([call.path.to_string(), way, who, sees, why]);
            }
        }
        write!(page, "{columns}")?;
    }
    let notes = notes.to_string();
    if !notes.is_empty() {
        write!(page, "\n{notes}")?;
    }
    Ok(print(page)?)
}

/// The rules that there would be, and what packets would meet beside them.
fn in_force(
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
    let has_network = |binding: &&Binding| {
        let mut nets = networks.iter().flat_map(Network::subnets);
        nets.any(|subnet| binding.endpoint().addrs().any(|addr| subnet.net().contains(&addr)))
    };
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

/// A port of the container, from the published one on, that nobody publishes.
fn unpublished(binding: &Binding, bindings: &[Binding]) -> Port {
    let first = binding.container_ports().first();
    let of_it = bindings.iter().filter(|other| other.endpoint() == binding.endpoint());
    let taken: Vec<_> = of_it.map(Binding::container_ports).collect();
    let mut ports = (first.number()..=u16::MAX).filter_map(|port| Port::try_from(port).ok());
    ports.find(|port| !taken.iter().any(|range| range.contains(*port))).unwrap_or(first)
}
