//! The host's settings that rules need, where the mapper may change them.

use std::collections::HashMap;

use portmap_core::{Error, ErrorKind};
use portmap_rules::{Answers, Edit, Family, Hairpin, Interface, Loopback, Network, Policy};

use super::hairpin::{HairpinPorts, Which};
use crate::{Sysctl, SysctlGuard, answers::AnswerRouting};

/// Who sees to the settings that rules need: forwarding, `route_localnet` on bridges, for hairpin policy `bridge`
/// `br_netfilter`, and the hairpin flag of bridges' ports, which that policy needs, and any policy on a bridge whose packets
/// netfilter sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostSettings {
    /// Somebody else: a host's settings are its administrator's. Where the host does not forward, publishing is
    /// [`Unsupported`](portmap_core::ErrorKind::Unsupported), by [`ForwardingOff`](crate::ForwardingOff).
    #[default]
    Untouched,
    /// The mapper: it switches on what is off and needed, and puts it back in the end.
    ///
    /// With forwarding on, a host forwards between all its interfaces unless a rule forbids it; the mapper forbids only
    /// what concerns its networks.
    Managed,
}

/// Settings that are kept on.
#[derive(Debug)]
pub(super) struct Settings {
    choice: HostSettings,
    guards: HashMap<Sysctl, SysctlGuard>,
    /// Where the hairpin policy needs them.
    ports: Option<HairpinPorts>,
    /// Where the policy wants it.
    answers: Option<AnswerRouting>,
}

impl Settings {
    pub(super) fn new(choice: HostSettings) -> Self {
        Self { choice, guards: HashMap::new(), ports: None, answers: None }
    }

    /// Sees to the ports of bridges whose containers were published.
    pub(super) async fn published(&mut self, edit: &Edit, networks: &[Network]) {
        if let Some(answers) = &mut self.answers
            && !edit.publish.is_empty()
        {
            answers.lead(networks).await;
        }
        let Some(ports) = &mut self.ports else { return };
        let bindings = edit.publish.iter().flat_map(|(_, bindings)| bindings);
        let addrs: Vec<_> =
            bindings.flat_map(|binding| binding.endpoint().addrs().collect::<Vec<_>>()).collect();
        for network in networks.iter().filter(|network| network.has_nat()) {
            let mut subnets = network.subnets();
            if subnets.any(|subnet| addrs.iter().any(|addr| subnet.net().contains(addr))) {
                ports.set(network.bridge()).await;
            }
        }
    }

    /// Switches on what a network needs; its rules, guards among them, are in force.
    pub(super) fn attach(&mut self, network: &Network, policy: &Policy) -> Result<(), Error> {
        if self.choice == HostSettings::Untouched || network.is_internal() {
            return Ok(());
        }
        let mut fresh = Vec::new();
        for key in needed(network, policy) {
            if !self.guards.contains_key(&key) {
                // Where one fails, those before it are put back.
                fresh.push((key, SysctlGuard::enable(key)?));
            }
        }
        if let Some(which) = hairpin_ports(policy)
            && self.ports.is_none()
        {
            let failed = |error| {
                Error::new(ErrorKind::Backend, "no socket to the host's links").with_source(error)
            };
            self.ports = Some(HairpinPorts::open(which).map_err(failed)?);
        }
        if policy.answers == Answers::AsCalled && network.has_nat() && self.answers.is_none() {
            let failed = |error| {
                Error::new(ErrorKind::Backend, "no socket to the host's routing").with_source(error)
            };
            self.answers = Some(AnswerRouting::open().map_err(failed)?);
        }
        self.guards.extend(fresh);
        Ok(())
    }

    /// Puts back what was a network's alone. What is the host's as a whole stays on until the mapper ends.
    pub(super) async fn detach(&mut self, bridge: Interface) {
        if let Some(ports) = &mut self.ports {
            ports.restore(bridge).await;
        }
        if let Some(answers) = &mut self.answers {
            answers.leave(bridge).await;
        }
        self.guards.remove(&Sysctl::RouteLocalnet(bridge));
    }
}

/// Which ports of bridges need their hairpin flag: none where what a container sends to the host is a proxy's.
const fn hairpin_ports(policy: &Policy) -> Option<Which> {
    match (policy.hairpin, policy.loopback) {
        (Hairpin::Bridge, _) => Some(Which::All),
        (Hairpin::Masquerade, Loopback::Nat) => Some(Which::Seen),
        (Hairpin::Masquerade, Loopback::Proxy) => None,
    }
}

fn needed(network: &Network, policy: &Policy) -> Vec<Sysctl> {
    let mut keys = Vec::new();
    for family in network.subnets().map(|subnet| Family::of(subnet.gateway())) {
        keys.push(Sysctl::Forward(family));
        if policy.hairpin == Hairpin::Bridge {
            keys.push(Sysctl::BridgeNetfilter(family));
        }
    }
    if policy.routes_localnet(network) {
        keys.push(Sysctl::RouteLocalnet(network.bridge()));
    }
    keys
}
