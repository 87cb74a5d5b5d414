//! What would be in force if every host port were free: worked out, with nothing taken and nobody asked.

mod free;
mod routed;

use std::fs;

use portmap::{
    Binding, HostPort, Mapping, Port, PortRange, Publish,
    rules::{CompileError, Network, Policy, Ruleset, compile},
};

use self::free::Free;
pub(crate) use self::routed::{has_nat, is_known, is_routed, routed};

/// The rules that requests would have.
pub(crate) fn rules(
    networks: &[Network],
    requests: &[Publish],
    policy: &Policy,
) -> Result<Ruleset, CompileError> {
    compile(networks, &bindings(networks, requests), policy)
}

/// The bindings that requests would have. Of several host ports the lowest that no other of them has is taken, for
/// ephemeral ones those at the beginning of the host's range.
pub(crate) fn bindings(networks: &[Network], requests: &[Publish]) -> Vec<Binding> {
    let mut wanted: Vec<_> = requests
        .iter()
        .flat_map(|request| request.mappings().iter().map(move |mapping| (request, mapping)))
        .enumerate()
        .collect();
    wanted.sort_by_key(|(_, (_, mapping))| match mapping.host_port() {
        HostPort::Exact(_) => 0,
        HostPort::AnyOf(_) => 1,
        HostPort::Ephemeral => 2,
    });
    let mut taken: Vec<(usize, Binding)> = Vec::new();
    let mut free = Free::default();
    for (place, (request, mapping)) in wanted {
        let block = match mapping.host_port() {
            // A conflict is for the compiler to find: it knows which ones count.
            HostPort::Exact(ports) => at(request, mapping, ports.first()),
            _ if is_routed(networks, request.endpoint()) => {
                at(request, mapping, mapping.container_ports().first())
            }
            HostPort::AnyOf(ports) => free.first_of(ports, request, mapping),
            HostPort::Ephemeral => match ephemeral() {
                Some(ports) => free.first_of(ports, request, mapping),
                None => Vec::new(),
            },
        };
        free.take(&block);
        taken.extend(block.into_iter().map(|binding| (place, binding)));
    }
    taken.sort_by_key(|(place, _)| *place);
    taken.into_iter().map(|(_, binding)| binding).collect()
}

fn at(request: &Publish, mapping: &Mapping, first: Port) -> Vec<Binding> {
    let ports = mapping.container_ports();
    let bind = |host| Binding::new(mapping.protocol(), host, first, request.endpoint(), ports);
    mapping.host().filter_map(bind).collect()
}

/// The host's ephemeral ports, or the kernel's default.
fn ephemeral() -> Option<PortRange> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().map(str::parse);
    match (ends.next(), ends.next()) {
        (Some(Ok(first)), Some(Ok(last))) => PortRange::new(first, last).ok(),
        _ => "32768-60999".parse().ok(),
    }
}
