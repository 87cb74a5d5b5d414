//! What connection tracking makes nothing of, and NAT passes by.

use super::{
    push,
    sets::{HOST_ADDR_PORTS, HOST_PORTS, Sets},
    write::{INVALID, family, from, goes_out_elsewhere, to},
};
use crate::{
    Base, Chain, ChainKind, ChainPolicy, Field, Hook, Loopback, Match, Policy, Priority, Purpose,
    Table, Target, compile::Plan,
};

/// Packets to published ports, and packets that leave a masqueraded network: one comparison for any other packet, whatever is
/// published.
const ARRIVING: &str = "invalid-in";
const LEAVING: &str = "invalid-out";

/// Adds the chains for both ways, if the policy wants them and they have anything to say.
pub(super) fn add(table: &mut Table, plans: &[Plan<'_>], policy: &Policy, sets: &[Sets]) {
    if !policy.drops_invalid() {
        return;
    }
    if sets.iter().any(|sets| ports(sets).next().is_some()) {
        let input = Base {
            kind: ChainKind::Filter,
            hook: Hook::Input,
            priority: Priority::FILTER,
            policy: ChainPolicy::Accept,
        };
        table.chains.insert("input".into(), Chain::base(input));
        push(table, "input", Purpose::Invalid, [INVALID], Target::Jump(ARRIVING.into()));
        let mut chain = Chain::regular();
        for (plan, sets) in plans.iter().zip(sets) {
            arriving(&mut chain, plan, policy, sets);
        }
        table.chains.insert(ARRIVING.into(), chain);
    }
    if plans.iter().any(masquerades) {
        let mut chain = Chain::regular();
        for member in plans.iter().flat_map(|plan| plan.nat().rev()) {
            let leaves = [from(member.net), goes_out_elsewhere(member.bridge)];
            chain.push(Purpose::InvalidDeparture, leaves, Target::Drop);
        }
        table.chains.insert(LEAVING.into(), chain);
    }
}

/// The jump to what is said about packets that leave, in a chain that accepts what belongs to a connection before.
pub(super) fn look_at_leaving(chain: &mut Chain, plan: &Plan<'_>, policy: &Policy) {
    if policy.drops_invalid() && masquerades(plan) {
        chain.push(Purpose::Invalid, [INVALID], Target::Jump(LEAVING.into()));
    }
}

fn masquerades(plan: &Plan<'_>) -> bool {
    plan.nat().next().is_some()
}

/// What NAT doesn't serve, as in the chain where it happens, is for sockets of the host: an invalid packet is theirs to judge.
fn arriving(chain: &mut Chain, plan: &Plan<'_>, policy: &Policy, sets: &Sets) {
    if ports(sets).next().is_none() {
        return;
    }
    if !plan.translates_loopback(policy) {
        chain.push(Purpose::LoopbackUntranslated, [to(plan.loopback())], Target::Return);
    }
    if policy.loopback == Loopback::Proxy
        && let Some(from_bridge) = sets.bridge("bridges", Field::InInterface)
    {
        chain.push(Purpose::LeftToProxy, [family(plan.family), from_bridge], Target::Return);
    }
    if let Some(net) = plan.link_local() {
        chain.push(Purpose::LinkLocal, [from(net)], Target::Return);
    }
    for port in HOST_ADDR_PORTS.into_iter().filter_map(|stem| sets.lookup(stem)) {
        chain.push(Purpose::InvalidArrival, [port], Target::Drop);
    }
    // A port says nothing of its family.
    for port in HOST_PORTS.into_iter().filter_map(|stem| sets.lookup(stem)) {
        chain.push(Purpose::InvalidArrival, [family(plan.family), port], Target::Drop);
    }
}

fn ports(sets: &Sets) -> impl Iterator<Item = Match> {
    HOST_ADDR_PORTS.into_iter().chain(HOST_PORTS).filter_map(|stem| sets.lookup(stem))
}
