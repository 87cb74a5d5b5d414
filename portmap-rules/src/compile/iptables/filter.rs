//! The filter table.

use std::collections::BTreeSet;

use super::{builtin, invalid, named};
use crate::{
    Chain, ChainKind, GatewayMode, Hook, Name, Ownership, Policy, Priority, Purpose, Table, Target,
    compile::{
        Plan,
        write::{
            ESTABLISHED, INVALID, REWRITTEN, comes_in, comes_in_elsewhere, from, from_elsewhere,
            goes_out, goes_out_elsewhere, to_elsewhere, to_host,
        },
    },
};

pub(super) fn table(plan: &Plan<'_>, policy: &Policy) -> Table {
    let prefix = &policy.prefix;
    let own: Name = prefix.to_string().into();
    let [bridge, ct, forward, stage1, stage2, user] =
        ["BRIDGE", "CT", "FORWARD", "ISOLATION-STAGE-1", "ISOLATION-STAGE-2", "USER"]
            .map(|suffix| named(prefix, suffix));

    let mut entry = Chain::regular();
    entry.push(Purpose::UserFirst, [], Target::Jump(user.clone()));
    entry.push(Purpose::Enter, [], Target::Jump(forward.clone()));

    let invalid = policy
        .drops_invalid()
        .then(|| ["INVALID-IN", "INVALID-OUT"].map(|suffix| named(prefix, suffix)));
    let mut received = Chain::regular();
    let mut onward = Chain::regular();
    onward.push(Purpose::Next, [], Target::Jump(ct.clone()));
    // Here and not in raw, where a rule that names no bridge would outlive a killed owner.
    if let Some(net) = plan.mapped().filter(|_| plan.translated().next().is_some()) {
        onward.push(Purpose::MappedSource, [from(net)], Target::Drop);
    }
    if let Some([arriving, leaving]) = &invalid {
        received.push(Purpose::Invalid, [INVALID], Target::Jump(arriving.clone()));
        onward.push(Purpose::Invalid, [INVALID], Target::Jump(leaving.clone()));
    }
    for chain in [&stage1, &bridge] {
        onward.push(Purpose::Next, [], Target::Jump(chain.clone()));
    }
    outgoing(&mut onward, plan);

    let mut answers = Chain::regular();
    let mut arriving = Chain::regular();
    for member in plan.open() {
        answers.push(Purpose::Answers, [goes_out(member.bridge), ESTABLISHED], Target::Accept);
        arriving.push(Purpose::Next, [goes_out(member.bridge)], Target::Jump(own.clone()));
    }

    let mut kept = Chain { ownership: Ownership::Kept, ..Chain::regular() };
    kept.push(Purpose::UserDefault, [], Target::Return);

    let hooks = [(Hook::Input, received), (Hook::Forward, entry), (Hook::Output, Chain::regular())];
    let mut table = builtin(
        ChainKind::Filter,
        hooks.map(|(hook, chain)| (hook, Priority::FILTER, chain)),
        [
            (own, published(plan, policy)),
            (bridge, arriving),
            (ct, answers),
            (forward, onward),
            (stage1, leaving(plan, policy, &stage2)),
            (stage2, entering(plan, policy)),
            (user, kept),
        ],
    );
    // They are there, empty or not, as the others are: who sweeps what was left goes by their names.
    if let Some([arriving, leaving]) = invalid {
        table.chains.insert(arriving, invalid::arriving(plan, policy));
        table.chains.insert(leaving, invalid::leaving(plan));
    }
    table
}

/// What containers may reach.
fn outgoing(chain: &mut Chain, plan: &Plan<'_>) {
    for member in &plan.networks {
        let (within, bridge) = ([comes_in(member.bridge), goes_out(member.bridge)], member.bridge);
        match (member.network.is_internal(), member.network.icc()) {
            (true, true) => chain.push(Purpose::Neighbours, within, Target::Accept),
            (true, false) => chain.push(Purpose::NoNeighbours, within, Target::Drop),
            (false, true) => chain.push(Purpose::Outgoing, [comes_in(bridge)], Target::Accept),
            (false, false) => {
                chain.push(Purpose::NoNeighbours, within, Target::Drop);
                let elsewhere = [comes_in(bridge), goes_out_elsewhere(bridge)];
                chain.push(Purpose::OutgoingAlone, elsewhere, Target::Accept);
            }
        }
    }
}

/// What may reach containers.
fn published(plan: &Plan<'_>, policy: &Policy) -> Chain {
    let mut chain = Chain::regular();
    let mut known = BTreeSet::new();
    for claim in &plan.claims {
        let new = known.insert((claim.protocol, claim.to, claim.container_ports));
        if !new || claim.network.mode() == GatewayMode::NatUnprotected {
            continue;
        }
        let bridge = claim.network.bridge();
        let arrives = [to_host(claim.to), comes_in_elsewhere(bridge), goes_out(bridge)];
        let matches = arrives.into_iter().chain([claim.at_container_ports()]);
        chain.push(Purpose::Published, matches, Target::Accept);
    }
    for member in plan.open() {
        let arrives = [comes_in_elsewhere(member.bridge), goes_out(member.bridge)];
        match member.network.mode() {
            GatewayMode::Nat => {}
            GatewayMode::NatUnprotected => {
                chain.push(Purpose::Unprotected, arrives, Target::Accept);
                continue;
            }
            GatewayMode::Routed => {
                let ping = [goes_out(member.bridge), plan.icmp()];
                chain.push(Purpose::RoutedIcmp, ping, Target::Accept);
            }
        }
        if policy.spares_other_owners() {
            let led = [goes_out(member.bridge), REWRITTEN];
            chain.push(Purpose::LedByOthers, led, Target::Return);
        }
        chain.push(Purpose::Unpublished, arrives, Target::Drop);
    }
    chain
}

/// What leaves a network. Internal networks come first: an exception for a routed one must not open them.
fn leaving(plan: &Plan<'_>, policy: &Policy, stage2: &Name) -> Chain {
    let mut chain = Chain::regular();
    for member in plan.internal().rev() {
        let (bridge, net) = (member.bridge, member.net);
        chain.push(Purpose::InternalIn, [from_elsewhere(net), goes_out(bridge)], Target::Drop);
        chain.push(Purpose::InternalOut, [to_elsewhere(net), comes_in(bridge)], Target::Drop);
    }
    for member in plan.of_mode(GatewayMode::Routed) {
        let answers = [comes_in(member.bridge), ESTABLISHED];
        chain.push(Purpose::RoutedAnswers, answers, Target::Accept);
        chain.push(Purpose::RoutedOpen, [goes_out(member.bridge)], Target::Return);
    }
    for member in plan.open().filter(|_| policy.isolation) {
        let leaves = [comes_in(member.bridge), goes_out_elsewhere(member.bridge)];
        chain.push(Purpose::Isolation, leaves, Target::Jump(stage2.clone()));
    }
    chain
}

/// What has left a network and would enter another.
fn entering(plan: &Plan<'_>, policy: &Policy) -> Chain {
    let mut chain = Chain::regular();
    for member in plan.open().rev().filter(|_| policy.isolation) {
        chain.push(Purpose::Isolation, [goes_out(member.bridge)], Target::Drop);
    }
    chain
}
