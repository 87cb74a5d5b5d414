//! A transaction as `nft -f` reads it.

use std::fmt;

use super::{
    nft_rule::RuleText,
    nft_set::{ElementText, TypeText, kind},
    nftables::BaseText,
};
use crate::{Change, Element, Transaction};

pub(super) fn write(f: &mut fmt::Formatter<'_>, transaction: &Transaction) -> fmt::Result {
    transaction.changes().iter().try_for_each(|change| write_change(f, change))
}

fn write_change(f: &mut fmt::Formatter<'_>, change: &Change) -> fmt::Result {
    match change {
        Change::AddTable(table) => writeln!(f, "add table {table}"),
        Change::DeleteTable(table) => writeln!(f, "delete table {table}"),
        Change::AddSet { table, name, set } => {
            let flags = if set.interval { " flags interval;" } else { "" };
            writeln!(f, "add {} {table} {name} {{ type {};{flags} }}", kind(set), TypeText(set))
        }
        Change::DeleteSet { table, name, set } => {
            writeln!(f, "delete {} {table} {name}", kind(set))
        }
        Change::AddChain { table, name, chain } => match chain.base {
            Some(base) => writeln!(f, "add chain {table} {name} {{ {} }}", BaseText(base)),
            None => writeln!(f, "add chain {table} {name}"),
        },
        Change::DeleteChain { table, name, .. } => writeln!(f, "delete chain {table} {name}"),
        Change::AddElements { table, set, elements } => {
            write!(f, "add element {table} {set} {{ ")?;
            write_elements(f, elements)
        }
        Change::DeleteElements { table, set, elements } => {
            write!(f, "delete element {table} {set} {{ ")?;
            write_elements(f, elements)
        }
        Change::WriteChain { table, chain, rules } => {
            writeln!(f, "flush chain {table} {chain}")?;
            rules
                .iter()
                .try_for_each(|rule| writeln!(f, "add rule {table} {chain} {}", RuleText(rule)))
        }
        // Chains are never shared in an owner's own table.
        Change::DeleteRule { .. } | Change::InsertRule { .. } => Ok(()),
    }
}

fn write_elements(f: &mut fmt::Formatter<'_>, elements: &[Element]) -> fmt::Result {
    for (place, (values, data)) in elements.iter().enumerate() {
        f.write_str(if place > 0 { ", " } else { "" })?;
        write!(f, "{}", ElementText(values, *data))?;
    }
    writeln!(f, " }}")
}
