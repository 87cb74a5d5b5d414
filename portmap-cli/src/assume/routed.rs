//! Containers of routed networks: they are reached by their own addresses, and no host port is taken.

use portmap::{
    Endpoint, HostAddr, HostPort, Mapping, Publish,
    rules::{Network, Subnet},
};

/// What is reached by containers' own addresses, in words: of the host ports that were asked for, none is used.
pub(crate) fn routed(networks: &[Network], requests: &[Publish]) -> Vec<String> {
    let routed = requests.iter().filter(|request| is_routed(networks, request.endpoint()));
    let mappings = routed.flat_map(|request| {
        request.mappings().iter().map(|mapping| said(request.endpoint(), mapping))
    });
    mappings.collect()
}

fn said(endpoint: Endpoint, mapping: &Mapping) -> String {
    let (protocol, ports) = (mapping.protocol(), mapping.container_ports());
    let addrs = endpoint.addrs().map(|addr| format!("{}:{ports}", HostAddr::from(addr)));
    let addrs = addrs.collect::<Vec<_>>().join(", ");
    let unused = match mapping.host_port() {
        HostPort::Exact(ports) | HostPort::AnyOf(ports) => format!("host port {ports} is not used"),
        HostPort::Ephemeral => "no host port is used".to_owned(),
    };
    format!("by rules {protocol} {addrs} is reached at the container's own address; {unused}")
}

/// Whether host ports lead to a request's container.
pub(crate) fn has_nat(networks: &[Network], request: &Publish) -> bool {
    around(networks, request.endpoint()).any(Network::has_nat)
}

/// Whether a container is reached by its own address instead of by host ports.
pub(crate) fn is_routed(networks: &[Network], endpoint: Endpoint) -> bool {
    let mut around = around(networks, endpoint).peekable();
    around.peek().is_some() && !around.any(Network::has_nat)
}

/// Whether a container is in one of these networks.
pub(crate) fn is_known(networks: &[Network], endpoint: Endpoint) -> bool {
    around(networks, endpoint).next().is_some()
}

/// The networks that a container is in.
fn around(networks: &[Network], endpoint: Endpoint) -> impl Iterator<Item = &Network> {
    networks.iter().filter(move |network| {
        let mut nets = network.subnets().map(Subnet::net);
        nets.any(|net| endpoint.addrs().any(|addr| net.contains(&addr)))
    })
}
