//! A table as `nft list table` prints it.

use std::fmt;

use super::{
    nft_rule::RuleText,
    nft_set::{ElementText, TypeText, kind},
};
use crate::{Base, ChainKind, ChainPolicy, Hook, Priority, Set, Table, TableId};

pub(super) fn write(f: &mut fmt::Formatter<'_>, id: &TableId, table: &Table) -> fmt::Result {
    writeln!(f, "table {id} {{")?;
    let mut first = true;
    let mut apart = |f: &mut fmt::Formatter<'_>| {
        if std::mem::replace(&mut first, false) { Ok(()) } else { writeln!(f) }
    };
    for (name, set) in &table.sets {
        apart(f)?;
        writeln!(f, "\t{} {name} {{", kind(set))?;
        write_set(f, set)?;
        writeln!(f, "\t}}")?;
    }
    let mut chains: Vec<_> = table.chains.iter().collect();
    // Base chains in the order in which a packet meets them.
    chains.sort_by_key(|(_, chain)| {
        (chain.base.is_none(), chain.base.map(|base| (base.hook, base.priority)))
    });
    for (name, chain) in chains {
        apart(f)?;
        writeln!(f, "\tchain {name} {{")?;
        if let Some(base) = chain.base {
            writeln!(f, "\t\t{}", BaseText(base))?;
        }
        for rule in &chain.rules {
            writeln!(f, "\t\t{}", RuleText(rule))?;
        }
        writeln!(f, "\t}}")?;
    }
    writeln!(f, "}}")
}

/// `type filter hook forward priority filter; policy accept;`
pub(super) struct BaseText(pub(super) Base);

impl fmt::Display for BaseText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Base { kind, hook, priority, policy } = self.0;
        let kind = match kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        };
        let policy = match policy {
            ChainPolicy::Accept => "accept",
            ChainPolicy::Drop => "drop",
        };
        write!(f, "type {kind} hook {} priority ", hook.name())?;
        match (priority, hook) {
            (Priority::RAW, _) => f.write_str("raw")?,
            (Priority::MANGLE, _) => f.write_str("mangle")?,
            (Priority::FILTER, _) => f.write_str("filter")?,
            // nft has these names at these hooks alone.
            (Priority::DSTNAT, Hook::Prerouting) => f.write_str("dstnat")?,
            (Priority::SRCNAT, Hook::Postrouting) => f.write_str("srcnat")?,
            (Priority(number), _) => write!(f, "{number}")?,
        }
        write!(f, "; policy {policy};")
    }
}

fn write_set(f: &mut fmt::Formatter<'_>, set: &Set) -> fmt::Result {
    writeln!(f, "\t\ttype {}", TypeText(set))?;
    if set.interval {
        writeln!(f, "\t\tflags interval")?;
    }
    let mut elements = set.elements.iter().peekable();
    if elements.peek().is_none() {
        return Ok(());
    }
    write!(f, "\t\telements = {{ ")?;
    while let Some((values, data)) = elements.next() {
        write!(f, "{}", ElementText(values, *data))?;
        f.write_str(if elements.peek().is_some() { ",\n\t\t\t     " } else { " }\n" })?;
    }
    Ok(())
}
