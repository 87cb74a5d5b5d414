//! The iptables layout: the chains of Docker's bridge driver, per family.

mod filter;
mod invalid;
mod nat;
mod raw;

use super::Plan;
use crate::{
    Base, Chain, ChainKind, ChainPolicy, Hook, Name, Policy, Prefix, Priority, Table, TableId,
};

/// The tables of one family; one without rules is left out.
pub(super) fn tables(plan: &Plan<'_>, policy: &Policy) -> Vec<(TableId, Table)> {
    let tables = [
        ("filter", filter::table(plan, policy)),
        ("nat", nat::table(plan, policy)),
        ("raw", raw::table(plan, policy)),
    ];
    tables
        .into_iter()
        .filter(|(_, table)| table.chains.values().any(|chain| !chain.rules.is_empty()))
        .map(|(name, table)| (TableId { family: plan.family.into(), name: name.into() }, table))
        .collect()
}

/// A table with these built-in chains.
fn builtin(
    kind: ChainKind,
    hooks: impl IntoIterator<Item = (Hook, Priority, Chain)>,
    own: impl IntoIterator<Item = (Name, Chain)>,
) -> Table {
    let mut table = Table::default();
    for (hook, priority, mut chain) in hooks {
        let base = Base { kind, hook, priority, policy: ChainPolicy::Accept };
        chain.base = Some(base);
        chain.ownership = crate::Ownership::Shared;
        table.chains.insert(hook.builtin().into(), chain);
    }
    table.chains.extend(own);
    table
}

/// `PREFIX-SUFFIX`
fn named(prefix: &Prefix, suffix: &str) -> Name {
    format!("{prefix}-{suffix}").into()
}
