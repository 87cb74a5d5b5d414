//! What must not even reach NAT.

use super::{
    push,
    sets::{LOOPBACK, PUBLISHED, Sets},
    write::{ESTABLISHED, comes_in_elsewhere, from, to},
};
use crate::{Interface, Match, Policy, Purpose, Table, Target, What, compile::Plan};

/// Every packet comes by, so what is cheap to compare comes first: an address before the name of an interface, which is
/// copied for it, and before a look-up.
pub(super) fn add_loopback(table: &mut Table, plan: &Plan<'_>, policy: &Policy, sets: &Sets) {
    let (net, foreign) = (to(plan.loopback()), comes_in_elsewhere(Interface::LO));
    if plan.guards_loopback(policy) {
        let matches = [net.clone(), foreign.clone()];
        push(table, "guard", Purpose::LoopbackGuard, matches, Target::Drop);
    }
    if plan.routes_localnet(policy) {
        let matches = [from(plan.loopback()), foreign.clone()];
        push(table, "guard", Purpose::LoopbackSourceGuard, matches, Target::Drop);
    }
    for port in LOOPBACK.into_iter().filter_map(|stem| sets.lookup(stem)) {
        let matches = [net.clone(), port, foreign.clone()];
        push(table, "guard", Purpose::LoopbackPortGuard, matches, Target::Drop);
    }
}

/// What begins a connection alone is looked up among the published ports, which takes connection tracking to have seen it.
pub(super) fn add_direct(table: &mut Table, families: &[Sets]) {
    let rules: Vec<_> = families.iter().flat_map(direct).collect();
    if !rules.is_empty() {
        push(table, "guard", Purpose::Judged, [ESTABLISHED], Target::Accept);
    }
    for matches in rules {
        push(table, "guard", Purpose::DirectGuard, matches, Target::Drop);
    }
}

fn direct(sets: &Sets) -> Vec<[Match; 2]> {
    let Some((key, inside)) = sets.key("inside") else { return Vec::new() };
    let ports = PUBLISHED.into_iter().filter_map(|stem| sets.lookup(stem));
    ports.map(|port| [port, Match::not(What::InSet(key.clone(), inside.clone()))]).collect()
}
