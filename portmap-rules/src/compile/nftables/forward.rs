//! Who may talk to whom.

use super::{
    invalid, push,
    sets::{PUBLISHED, ROUTED_PORTS, Sets},
    write::{ESTABLISHED, REWRITTEN, comes_in, family, from_elsewhere, goes_out, to_elsewhere},
};
use crate::{Chain, Family, Field, Name, Policy, Purpose, Table, Target, compile::Plan};

/// Most packets end here, in either direction, after one comparison: an answer that was asked whether it leaves by one of our
/// bridges was looked up in five sets before it went on. What is none of ours is accepted all the same, and only an
/// internal network drops what belongs to a connection: where there is one, each family has a rule of its own.
pub(super) fn add_judged(table: &mut Table, plans: &[Plan<'_>]) -> bool {
    let judged = plans.iter().all(|plan| plan.internal().next().is_none());
    if judged {
        push(table, "forward", Purpose::Judged, [ESTABLISHED], Target::Accept);
    }
    judged
}

/// `judged` says whether what belongs to a connection was accepted before.
pub(super) fn add(table: &mut Table, plan: &Plan<'_>, policy: &Policy, sets: &Sets, judged: bool) {
    let name = Name::from(match plan.family {
        Family::Ipv4 => "forward4",
        Family::Ipv6 => "forward6",
    });
    push(table, "forward", Purpose::Enter, [family(plan.family)], Target::Jump(name.clone()));
    table.chains.insert(name, chain(plan, policy, sets, judged));
}

/// What no rule decides goes on: containers reach the world, and traffic that is none of ours is left alone.
fn chain(plan: &Plan<'_>, policy: &Policy, sets: &Sets, judged: bool) -> Chain {
    let mut chain = Chain::regular();
    let out_of = |stem| sets.bridge(stem, Field::OutInterface);
    let into = |stem| sets.bridge(stem, Field::InInterface);

    let is_internal = plan.internal().next().is_some();
    if let Some(bridge) = out_of("bridges").filter(|_| !judged) {
        match is_internal {
            true => chain.push(Purpose::Answers, [bridge, ESTABLISHED], Target::Accept),
            false => chain.push(Purpose::Judged, [ESTABLISHED], Target::Accept),
        }
    }
    invalid::look_at_leaving(&mut chain, plan, policy);
    for member in plan.internal().rev() {
        let (bridge, net) = (member.bridge, member.net);
        chain.push(Purpose::InternalIn, [goes_out(bridge), from_elsewhere(net)], Target::Drop);
        chain.push(Purpose::InternalOut, [comes_in(bridge), to_elsewhere(net)], Target::Drop);
    }
    if let (Some(from), Some(to)) = (into("routed"), out_of("routed")) {
        if is_internal {
            chain.push(Purpose::RoutedAnswers, [from, ESTABLISHED], Target::Accept);
        }
        chain.push(Purpose::RoutedIcmp, [to, plan.icmp()], Target::Accept);
    }
    if let Some((key, map)) = sets.key("within") {
        chain.push(Purpose::Neighbours, [], Target::VerdictMap { key, map });
    }
    if let (Some(from), Some(to)) = (into("bridges"), out_of("isolated")) {
        chain.push(Purpose::Isolation, [from, to], Target::Drop);
    }
    for port in PUBLISHED.into_iter().chain(ROUTED_PORTS).filter_map(|stem| sets.lookup(stem)) {
        chain.push(Purpose::Published, [port], Target::Accept);
    }
    if let Some(bridge) = out_of("protected") {
        let led = [bridge.clone(), REWRITTEN];
        chain.push(Purpose::LedByOthers, led, Target::Return);
        chain.push(Purpose::Unpublished, [bridge], Target::Drop);
    }
    chain
}
