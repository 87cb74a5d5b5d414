//! The nftables layout: one `inet` table, whose maps and sets hold what differs between bindings.
//!
//! Publishing a port adds an element to a map and one to a set; the rules that look them up stay as they are, and
//! take as long with 10,000 ports as with one. A set exists as long as it has elements.

mod forward;
mod guard;
mod invalid;
mod nat;
mod sets;

use std::collections::BTreeMap;

use sets::Sets;

use super::{Plan, write};
use crate::{
    Base, Chain, ChainKind, ChainPolicy, Hook, Match, Name, Policy, Priority, Purpose, Table,
    TableFamily, TableId, Target,
};

/// The one table, unless there are no networks.
pub(super) fn table(plans: &[Plan<'_>], policy: &Policy) -> Option<(TableId, Table)> {
    if plans.is_empty() {
        return None;
    }
    let mut table = Table { chains: base_chains(), sets: BTreeMap::new() };
    let sets: Vec<_> = plans.iter().map(|plan| Sets::new(plan, policy)).collect();
    let judged = forward::add_judged(&mut table, plans);
    for (plan, sets) in plans.iter().zip(&sets) {
        guard::add_loopback(&mut table, plan, policy, sets);
        nat::add(&mut table, plan, policy, sets);
        forward::add(&mut table, plan, policy, sets, judged);
    }
    guard::add_direct(&mut table, &sets);
    invalid::add(&mut table, plans, policy, &sets);
    table.sets.extend(sets.into_iter().flat_map(Sets::into_inner));
    let name = policy.prefix.as_str().to_ascii_lowercase();
    Some((TableId { family: TableFamily::Inet, name: name.into() }, table))
}

fn base_chains() -> BTreeMap<Name, Chain> {
    use ChainKind::{Filter, Nat};
    [
        ("guard", Filter, Hook::Prerouting, Priority::MANGLE),
        ("prerouting", Nat, Hook::Prerouting, Priority::DSTNAT),
        ("output", Nat, Hook::Output, Priority::DSTNAT),
        ("forward", Filter, Hook::Forward, Priority::FILTER),
        ("postrouting", Nat, Hook::Postrouting, Priority::SRCNAT),
    ]
    .into_iter()
    .map(|(name, kind, hook, priority)| {
        let base = Base { kind, hook, priority, policy: ChainPolicy::Accept };
        (name.into(), Chain::base(base))
    })
    .collect()
}

/// Appends to a base chain.
fn push(
    table: &mut Table,
    chain: &'static str,
    purpose: Purpose,
    matches: impl IntoIterator<Item = Match>,
    target: Target,
) {
    if let Some(chain) = table.chains.get_mut(&Name::from(chain)) {
        chain.push(purpose, matches, target);
    }
}
