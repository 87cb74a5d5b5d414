//! The raw table: what must not even reach NAT.

use std::collections::BTreeSet;

use super::builtin;
use crate::{
    Chain, ChainKind, GatewayMode, Hook, Interface, Policy, Priority, Purpose, Table, Target,
    compile::{
        Plan,
        write::{comes_in, comes_in_elsewhere, from, to, to_host},
    },
};

pub(super) fn table(plan: &Plan<'_>, policy: &Policy) -> Table {
    let mut chain = Chain::regular();
    if plan.guards_loopback(policy) {
        let foreign = [to(plan.loopback()), comes_in_elsewhere(Interface::LO)];
        chain.push(Purpose::LoopbackGuard, foreign, Target::Drop);
    }
    if plan.routes_localnet(policy) {
        let foreign = [from(plan.loopback()), comes_in_elsewhere(Interface::LO)];
        chain.push(Purpose::LoopbackSourceGuard, foreign, Target::Drop);
    }
    for claim in plan.translated() {
        if let Some(host) = claim.loopback_host() {
            let foreign = [to_host(host), comes_in_elsewhere(Interface::LO), claim.at_host_ports()];
            chain.push(Purpose::LoopbackPortGuard, foreign, Target::Drop);
        }
    }
    let mut known = BTreeSet::new();
    for claim in plan.published(GatewayMode::Nat) {
        if !known.insert((claim.protocol, claim.to, claim.container_ports)) {
            continue;
        }
        let (to, ports) = (to_host(claim.to), claim.at_container_ports());
        for interface in claim.network.trusted() {
            let trusted = [to.clone(), comes_in(*interface), ports.clone()];
            chain.push(Purpose::Trusted, trusted, Target::Accept);
        }
        let foreign = [to, comes_in_elsewhere(claim.network.bridge()), ports];
        chain.push(Purpose::DirectGuard, foreign, Target::Drop);
    }
    builtin(
        ChainKind::Filter,
        [(Hook::Prerouting, Priority::RAW, chain), (Hook::Output, Priority::RAW, Chain::regular())],
        [],
    )
}
