//! All of one owner's rules.

use std::{collections::BTreeMap, fmt};

use super::{Chain, Name, Set};
use crate::{Family, Layout};

/// All of one owner's rules: what should be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    pub(crate) layout: Layout,
    pub(crate) tables: BTreeMap<TableId, Table>,
}

impl Ruleset {
    /// No rules at all.
    pub const fn empty(layout: Layout) -> Self {
        Self { layout, tables: BTreeMap::new() }
    }

    /// These tables, for a rule language.
    pub const fn new(layout: Layout, tables: BTreeMap<TableId, Table>) -> Self {
        Self { layout, tables }
    }

    /// The rule language that they are for.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The tables: IPv4 before IPv6, by name within a family.
    pub const fn tables(&self) -> &BTreeMap<TableId, Table> {
        &self.tables
    }

    /// Whether there is nothing to be in force.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }
}

/// Which table: its family and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Whose packets it sees.
    pub family: TableFamily,
    /// `filter`, `nat` or `raw` for iptables, the owner's name for nftables.
    pub name: Name,
}

impl fmt::Display for TableId {
    /// `ipv4 filter`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Whose packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 alone: iptables.
    Ipv4,
    /// IPv6 alone: ip6tables.
    Ipv6,
    /// Both: nftables.
    Inet,
}

impl TableFamily {
    /// Whether the table sees packets of this family.
    pub const fn sees(self, family: Family) -> bool {
        matches!(
            (self, family),
            (Self::Inet, _) | (Self::Ipv4, Family::Ipv4) | (Self::Ipv6, Family::Ipv6)
        )
    }
}

impl From<Family> for TableFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Inet => "inet",
        })
    }
}

/// A table: chains, and the sets that their rules look up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The chains by name.
    pub chains: BTreeMap<Name, Chain>,
    /// The sets and maps by name; iptables has none.
    pub sets: BTreeMap<Name, Set>,
}
