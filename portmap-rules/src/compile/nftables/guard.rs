//! What must not even reach NAT.

use super::{
    push,
    sets::{LOOPBACK, PUBLISHED, Sets},
    write::{comes_in_elsewhere, to},
};
use crate::{Interface, Match, Policy, Purpose, Table, Target, What, compile::Plan};

pub(super) fn add(table: &mut Table, plan: &Plan<'_>, policy: &Policy, sets: &Sets) {
    let foreign = comes_in_elsewhere(Interface::LO);
    if plan.guards_loopback(policy) {
        // The address first: it is compared for every packet, and the name of the interface would have to be copied.
        let matches = [to(plan.loopback()), foreign.clone()];
        push(table, "guard", Purpose::LoopbackGuard, matches, Target::Drop);
    }
    for port in LOOPBACK.into_iter().filter_map(|stem| sets.lookup(stem)) {
        let matches = [port, foreign.clone()];
        push(table, "guard", Purpose::LoopbackPortGuard, matches, Target::Drop);
    }
    let Some((key, inside)) = sets.key("inside") else { return };
    for port in PUBLISHED.into_iter().filter_map(|stem| sets.lookup(stem)) {
        let matches = [port, Match::not(What::InSet(key.clone(), inside.clone()))];
        push(table, "guard", Purpose::DirectGuard, matches, Target::Drop);
    }
}
