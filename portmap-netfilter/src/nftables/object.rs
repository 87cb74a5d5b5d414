//! What the kernel refuses, by name.

use std::fmt::{self, Display};

use portmap_rules::{Element, Name, TableId, Value};

/// What a change was about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NftablesObject {
    /// A table.
    Table(TableId),
    /// A chain.
    Chain {
        /// Where.
        table: TableId,
        /// Its name.
        name: Name,
    },
    /// The rules of a chain, all of them.
    Rules {
        /// Where.
        table: TableId,
        /// Which chain.
        chain: Name,
    },
    /// A rule of a chain.
    Rule {
        /// Where.
        table: TableId,
        /// Which chain.
        chain: Name,
        /// Its place in the chain, counted from 0.
        place: usize,
    },
    /// A set or a map.
    Set {
        /// Where.
        table: TableId,
        /// Its name.
        name: Name,
    },
    /// An element of a set or a map.
    Element {
        /// Where.
        table: TableId,
        /// Which set.
        set: Name,
        /// The element.
        element: Element,
    },
    /// Elements of a set or a map: the kernel didn't say which one it meant.
    Elements {
        /// Where.
        table: TableId,
        /// Which set.
        set: Name,
    },
    /// The transaction as a whole.
    Transaction,
}

impl Display for NftablesObject {
    /// `element tcp . 192.0.2.9 . 8080 of set on-addr4 in table inet portmap`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Chain { table, name } => write!(f, "chain {name} in table {table}"),
            Self::Rules { table, chain } => {
                write!(f, "the rules of chain {chain} in table {table}")
            }
            Self::Rule { table, chain, place } => {
                write!(f, "rule {} of chain {chain} in table {table}", place + 1)
            }
            Self::Set { table, name } => write!(f, "set {name} in table {table}"),
            Self::Element { table, set, element: (values, _) } => {
                f.write_str("element ")?;
                for (place, value) in values.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { " . " })?;
                    write_value(f, value)?;
                }
                write!(f, " of set {set} in table {table}")
            }
            Self::Elements { table, set } => write!(f, "elements of set {set} in table {table}"),
            Self::Transaction => f.write_str("the transaction"),
        }
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Interface(interface) => interface.fmt(f),
        Value::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
        Value::Net(net) => net.fmt(f),
        Value::Protocol(protocol) => protocol.fmt(f),
        Value::Ports(ports) => ports.fmt(f),
    }
}
