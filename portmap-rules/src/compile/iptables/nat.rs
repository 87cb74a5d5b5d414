//! The nat table.

use std::collections::BTreeSet;

use super::builtin;
use crate::{
    Chain, ChainKind, Hairpin, Hook, Loopback, Match, Name, NatPorts, Policy, Priority, Purpose,
    Table, Target, What,
    compile::{
        Plan,
        plan::Claim,
        write::{
            FROM_LOCAL, REWRITTEN, TO_LOCAL, comes_in, comes_in_elsewhere, from, goes_out,
            goes_out_elsewhere, to_elsewhere, to_host,
        },
    },
};

pub(super) fn table(plan: &Plan<'_>, policy: &Policy) -> Table {
    let own: Name = policy.prefix.to_string().into();
    let mut arriving = Chain::regular();
    arriving.push(Purpose::ToHost, [TO_LOCAL], Target::Jump(own.clone()));

    let mut sent = Chain::regular();
    let apart = (!plan.translates_loopback(policy)).then(|| to_elsewhere(plan.loopback()));
    let matches = apart.into_iter().chain([TO_LOCAL]);
    sent.push(Purpose::FromHost, matches, Target::Jump(own.clone()));

    builtin(
        ChainKind::Nat,
        [
            (Hook::Prerouting, Priority::DSTNAT, arriving),
            (Hook::Input, Priority::SRCNAT, Chain::regular()),
            (Hook::Output, Priority::DSTNAT, sent),
            (Hook::Postrouting, Priority::SRCNAT, sources(plan, policy)),
        ],
        [(own, destinations(plan, policy))],
    )
}

/// Host ports.
fn destinations(plan: &Plan<'_>, policy: &Policy) -> Chain {
    let mut chain = Chain::regular();
    if policy.loopback == Loopback::Proxy {
        // The engine whose tables these are inserts each network's rule before the others.
        for member in plan.open().rev() {
            chain.push(Purpose::LeftToProxy, [comes_in(member.bridge)], Target::Return);
        }
    }
    for claim in plan.translated() {
        let link_local = plan.link_local().map(|net| Match::not(What::Source(net)));
        let host = claim.host.map(to_host);
        let not_own = (policy.loopback == Loopback::Proxy)
            .then(|| comes_in_elsewhere(claim.network.bridge()));
        let matches = link_local.into_iter().chain(host).chain(not_own);
        let target = Target::Dnat { to: claim.to, ports: ports(claim) };
        chain.push(Purpose::Translate, matches.chain([claim.at_host_ports()]), target);
    }
    chain
}

fn ports(claim: &Claim<'_>) -> NatPorts {
    match (claim.is_range(), claim.keeps_numbers()) {
        (false, _) => NatPorts::To(claim.container_ports.first()),
        (true, true) => NatPorts::Keep,
        (true, false) => {
            NatPorts::Shift { base: claim.host_ports.first(), to: claim.container_ports }
        }
    }
}

/// Who a packet seems to come from.
fn sources(plan: &Plan<'_>, policy: &Policy) -> Chain {
    let mut chain = Chain::regular();
    let without_proxy = policy.loopback == Loopback::Nat;
    for member in plan.nat().rev() {
        let (bridge, net) = (member.bridge, member.net);
        if without_proxy {
            let sent = [goes_out(bridge), FROM_LOCAL];
            chain.push(Purpose::HostSource, sent, Target::Masquerade);
        }
        let leaves = [from(net), goes_out_elsewhere(bridge)];
        chain.push(Purpose::OutgoingSource, leaves, Target::Masquerade);
        if without_proxy && policy.hairpin == Hairpin::Masquerade {
            let returns = [from(net), goes_out(bridge), REWRITTEN];
            chain.push(Purpose::NeighbourSource, returns, Target::Masquerade);
        }
    }
    if without_proxy && policy.hairpin == Hairpin::Bridge {
        let mut known = BTreeSet::new();
        for claim in plan.translated() {
            if known.insert((claim.protocol, claim.to, claim.container_ports)) {
                let own = [from(claim.to.into()), to_host(claim.to), claim.at_container_ports()];
                chain.push(Purpose::OwnPort, own, Target::Masquerade);
            }
        }
    }
    chain
}
