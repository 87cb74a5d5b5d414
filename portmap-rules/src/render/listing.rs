//! A table as `iptables -S` prints it.

use std::fmt;

use super::iptables::Arguments;
use crate::{Chain, ChainPolicy, Name, Table};

pub(super) fn write(f: &mut fmt::Formatter<'_>, table: &Table) -> fmt::Result {
    let (builtin, own) = chains(table);
    for (name, chain) in &builtin {
        let policy = match chain.base.map(|base| base.policy) {
            Some(ChainPolicy::Drop) => "DROP",
            _ => "ACCEPT",
        };
        // A chain that others have made for others has no policy.
        if chain.base.is_some_and(|base| base.hook.builtin() == name.as_str()) {
            writeln!(f, "-P {name} {policy}")?;
        }
    }
    for (name, _) in &own {
        writeln!(f, "-N {name}")?;
    }
    for (name, chain) in builtin.into_iter().chain(own) {
        for rule in &chain.rules {
            writeln!(f, "-A {name} {}", Arguments(rule))?;
        }
    }
    Ok(())
}

type Named<'a> = Vec<(&'a Name, &'a Chain)>;

/// Built-in chains in the order in which a packet meets them, then the owner's by name.
fn chains(table: &Table) -> (Named<'_>, Named<'_>) {
    let (mut builtin, own): (Named<'_>, Named<'_>) =
        table.chains.iter().partition(|(_, chain)| chain.base.is_some());
    builtin.sort_by_key(|(_, chain)| chain.base.map(|base| base.hook));
    (builtin, own)
}
