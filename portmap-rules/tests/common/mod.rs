//! What the tests share.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read ends the test")]
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod document;
pub(crate) mod random;
pub(crate) mod scenes;

use portmap_core::{Binding, HostPort, Mapping, PortSpec};
use portmap_rules::{Network, Policy, Ruleset, compile};

/// `PATH` with the folders of administration tools, which an ordinary user's often lacks.
pub(crate) fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// Networks, oldest first.
pub(crate) fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What `SPEC@ENDPOINT` becomes once it is in force.
pub(crate) fn bindings(texts: &[&str]) -> Vec<Binding> {
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

pub(crate) fn compiled(nets: &[&str], publishes: &[&str], policy: &Policy) -> Ruleset {
    compile(&networks(nets), &bindings(publishes), policy).unwrap()
}
