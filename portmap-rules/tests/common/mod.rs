//! What the tests share.
#![allow(dead_code, reason = "each test uses its part")]

use portmap_core::{Binding, HostPort, Mapping, PortSpec};
use portmap_rules::{Network, Policy, Ruleset, compile};

/// Networks, oldest first.
pub fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What `SPEC@ENDPOINT` becomes once it is in force.
pub fn bindings(texts: &[&str]) -> Vec<Binding> {
    texts.iter().flat_map(|text| binding(text)).collect()
}

fn binding(text: &str) -> Vec<Binding> {
    let (spec, endpoint) = text.split_once('@').unwrap();
    let mapping = Mapping::from(spec.parse::<PortSpec>().unwrap());
    let HostPort::Exact(ports) = mapping.host_port() else { panic!("{text} has no host port") };
    let endpoint = endpoint.parse().unwrap();
    let bind = |host| {
        let container_ports = mapping.container_ports();
        Binding::new(mapping.protocol(), host, ports.first(), endpoint, container_ports).unwrap()
    };
    mapping.host().map(bind).collect()
}

pub fn compiled(networks_: &[&str], bindings_: &[&str], policy: &Policy) -> Ruleset {
    compile(&networks(networks_), &bindings(bindings_), policy).unwrap()
}
