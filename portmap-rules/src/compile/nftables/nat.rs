//! Where NAT happens.

use super::{
    push,
    sets::{ON_ADDR, ON_ANY, OWN_PORTS, Sets},
    write::{
        FROM_LOCAL, REWRITTEN, TO_LOCAL, family, from, goes_out, goes_out_elsewhere, to_elsewhere,
    },
};
use crate::{
    Chain, Family, Field, Hairpin, Loopback, Name, Policy, Purpose, Table, Target, compile::Plan,
};

pub(super) fn add(table: &mut Table, plan: &Plan<'_>, policy: &Policy, sets: &Sets) {
    let publish = Name::from(match plan.family {
        Family::Ipv4 => "publish4",
        Family::Ipv6 => "publish6",
    });
    let jump = || Target::Jump(publish.clone());
    push(table, "prerouting", Purpose::ToHost, [family(plan.family), TO_LOCAL], jump());
    let sent = if plan.translates_loopback(policy) {
        family(plan.family)
    } else {
        to_elsewhere(plan.loopback())
    };
    push(table, "output", Purpose::FromHost, [sent, TO_LOCAL], jump());
    sources(table, plan, policy, sets);
    let chain = destinations(plan, policy, sets);
    table.chains.insert(publish, chain);
}

/// Host ports. One map would do for each pair of single ports and ranges, but a map with intervals costs more to
/// change and to look up.
fn destinations(plan: &Plan<'_>, policy: &Policy, sets: &Sets) -> Chain {
    let mut chain = Chain::regular();
    if policy.loopback == Loopback::Proxy {
        let from_bridge = sets.bridge("bridges", Field::InInterface);
        if let Some(from_bridge) = from_bridge {
            chain.push(Purpose::LeftToProxy, [from_bridge], Target::Return);
        }
    }
    if let Some(net) = plan.mapped() {
        chain.push(Purpose::MappedSource, [from(net)], Target::Drop);
    }
    if let Some(net) = plan.link_local() {
        chain.push(Purpose::LinkLocal, [from(net)], Target::Return);
    }
    for (key, map) in ON_ADDR.into_iter().chain(ON_ANY).filter_map(|stem| sets.key(stem)) {
        let target = Target::DnatMap { family: plan.family, key, map };
        chain.push(Purpose::Translate, [], target);
    }
    chain
}

/// Who a packet seems to come from. Asked once a connection, so a rule a network will do.
fn sources(table: &mut Table, plan: &Plan<'_>, policy: &Policy, sets: &Sets) {
    let without_proxy = policy.loopback == Loopback::Nat;
    let mut push = |purpose, matches: Vec<_>| {
        push(table, "postrouting", purpose, matches, Target::Masquerade);
    };
    for member in plan.nat().rev() {
        let (bridge, net) = (member.bridge, member.net);
        if without_proxy {
            let sent = vec![family(plan.family), goes_out(bridge), FROM_LOCAL];
            push(Purpose::HostSource, sent);
        }
        push(Purpose::OutgoingSource, vec![from(net), goes_out_elsewhere(bridge)]);
        if without_proxy && policy.hairpin == Hairpin::Masquerade {
            push(Purpose::NeighbourSource, vec![from(net), goes_out(bridge), REWRITTEN]);
        }
    }
    for own in OWN_PORTS.into_iter().filter_map(|stem| sets.lookup(stem)) {
        push(Purpose::OwnPort, vec![own]);
    }
}
