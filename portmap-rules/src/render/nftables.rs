//! A table as `nft list table` prints it.

use std::fmt::{self, Display as _};

use super::nft_rule::{KeyTypes, RuleText};
use crate::{
    Base, ChainKind, ChainPolicy, Data, DataType, Family, Hook, Priority, Set, Table, TableId,
    Value, Verdict,
};

pub(super) fn write(f: &mut fmt::Formatter<'_>, id: &TableId, table: &Table) -> fmt::Result {
    writeln!(f, "table {id} {{")?;
    let mut first = true;
    let mut apart = |f: &mut fmt::Formatter<'_>| {
        if std::mem::replace(&mut first, false) { Ok(()) } else { writeln!(f) }
    };
    for (name, set) in &table.sets {
        apart(f)?;
        let kind = if set.data.is_some() { "map" } else { "set" };
        writeln!(f, "\t{kind} {name} {{")?;
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
            write_base(f, base)?;
        }
        for rule in &chain.rules {
            writeln!(f, "\t\t{}", RuleText(rule))?;
        }
        writeln!(f, "\t}}")?;
    }
    writeln!(f, "}}")
}

fn write_base(f: &mut fmt::Formatter<'_>, base: Base) -> fmt::Result {
    let kind = match base.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    };
    let policy = match base.policy {
        ChainPolicy::Accept => "accept",
        ChainPolicy::Drop => "drop",
    };
    write!(f, "\t\ttype {kind} hook {} priority ", base.hook.name())?;
    match (base.priority, base.hook) {
        (Priority::RAW, _) => f.write_str("raw")?,
        (Priority::FILTER, _) => f.write_str("filter")?,
        // nft has these names at these hooks alone.
        (Priority::DSTNAT, Hook::Prerouting) => f.write_str("dstnat")?,
        (Priority::SRCNAT, Hook::Postrouting) => f.write_str("srcnat")?,
        (Priority(number), _) => write!(f, "{number}")?,
    }
    writeln!(f, "; policy {policy};")
}

fn write_set(f: &mut fmt::Formatter<'_>, set: &Set) -> fmt::Result {
    write!(f, "\t\ttype {}", KeyTypes(&set.key))?;
    match set.data {
        None => writeln!(f)?,
        Some(DataType::Verdict) => writeln!(f, " : verdict")?,
        Some(DataType::Addr(family)) => writeln!(f, " : {}", address(family))?,
        Some(DataType::AddrPort(family)) => writeln!(f, " : {} . inet_service", address(family))?,
    }
    if set.interval {
        writeln!(f, "\t\tflags interval")?;
    }
    let mut elements = set.elements.iter().peekable();
    if elements.peek().is_none() {
        return Ok(());
    }
    write!(f, "\t\telements = {{ ")?;
    while let Some((values, data)) = elements.next() {
        for (place, value) in values.iter().enumerate() {
            f.write_str(if place > 0 { " . " } else { "" })?;
            write_value(f, value)?;
        }
        match data {
            None => {}
            Some(Data::Verdict(Verdict::Accept)) => f.write_str(" : accept")?,
            Some(Data::Verdict(Verdict::Drop)) => f.write_str(" : drop")?,
            Some(Data::Addr(addr)) => write!(f, " : {addr}")?,
            Some(Data::AddrPort(addr, port)) => write!(f, " : {addr} . {port}")?,
        }
        f.write_str(if elements.peek().is_some() { ",\n\t\t\t     " } else { " }\n" })?;
    }
    Ok(())
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Interface(interface) => write!(f, "\"{interface}\""),
        Value::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
        Value::Net(net) => net.fmt(f),
        Value::Protocol(protocol) => protocol.fmt(f),
        Value::Ports(ports) => ports.fmt(f),
    }
}

pub(super) const fn address(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4_addr",
        Family::Ipv6 => "ipv6_addr",
    }
}
