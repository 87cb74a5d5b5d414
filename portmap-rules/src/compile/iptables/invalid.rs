//! What connection tracking makes nothing of, and NAT passes by: chains of the filter table.

use crate::{
    Chain, Loopback, Policy, Purpose, Target,
    compile::{
        Plan,
        write::{comes_in, from, goes_out_elsewhere, to, to_host},
    },
};

/// Packets to published ports. What NAT doesn't serve, as in the chain where it happens, is for sockets of the host: an invalid
/// packet is theirs to judge.
pub(super) fn arriving(plan: &Plan<'_>, policy: &Policy) -> Chain {
    let mut chain = Chain::regular();
    if plan.translated().next().is_none() {
        return chain;
    }
    if !plan.translates_loopback(policy) {
        chain.push(Purpose::LoopbackUntranslated, [to(plan.loopback())], Target::Return);
    }
    if policy.loopback == Loopback::Proxy {
        for member in plan.open().rev() {
            chain.push(Purpose::LeftToProxy, [comes_in(member.bridge)], Target::Return);
        }
    }
    if let Some(net) = plan.link_local() {
        chain.push(Purpose::LinkLocal, [from(net)], Target::Return);
    }
    for claim in plan.translated() {
        let host = claim.host.map(to_host);
        let matches = host.into_iter().chain([claim.at_host_ports()]);
        chain.push(Purpose::InvalidArrival, matches, Target::Drop);
    }
    chain
}

/// Packets that leave a masqueraded network.
pub(super) fn leaving(plan: &Plan<'_>) -> Chain {
    let mut chain = Chain::regular();
    for member in plan.nat().rev() {
        let leaves = [from(member.net), goes_out_elsewhere(member.bridge)];
        chain.push(Purpose::InvalidDeparture, leaves, Target::Drop);
    }
    chain
}
