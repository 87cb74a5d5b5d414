//! A change of everything at once.

use crate::{Chain, Data, Name, Rule, Set, TableId, Value};

/// The way from one [`Ruleset`](crate::Ruleset) to another: all of it, or nothing.
///
/// The order is one that the kernel takes: what is referred to comes before what refers to it, and goes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    pub(crate) changes: Vec<Change>,
}

impl Transaction {
    /// The changes, in the order in which they are to be made.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl IntoIterator for Transaction {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

impl From<Vec<Change>> for Transaction {
    /// Changes in an order that the kernel takes; [`Ruleset::diff`](crate::Ruleset::diff) knows one.
    fn from(changes: Vec<Change>) -> Self {
        Self { changes }
    }
}

/// An element of a [`Set`]: its values, and what a map says for it.
pub type Element = (Vec<Value>, Option<Data>);

/// One change in a [`Transaction`]. In nftables each is one message, or several where elements are many.
///
/// In iptables the tables and the chains of [`Ownership::Shared`](crate::Ownership::Shared) are always there: a
/// backend skips [`AddTable`](Self::AddTable), [`DeleteTable`](Self::DeleteTable), and adding or deleting such a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new table, empty.
    AddTable(TableId),
    /// A new set, empty: its elements follow as [`AddElements`](Self::AddElements).
    AddSet {
        /// Where.
        table: TableId,
        /// Its name.
        name: Name,
        /// Its key, data and flags; no elements.
        set: Set,
    },
    /// A new chain: its rules follow as [`WriteChain`](Self::WriteChain) or [`InsertRule`](Self::InsertRule).
    AddChain {
        /// Where.
        table: TableId,
        /// Its name.
        name: Name,
        /// Its ownership and hook. No rules, unless it is a [`Kept`](crate::Ownership::Kept) one: its own.
        chain: Chain,
    },
    /// Elements go. In one set deletions come before additions: new data for an old key is both.
    DeleteElements {
        /// Where.
        table: TableId,
        /// Which set.
        set: Name,
        /// The elements, with the data that they have.
        elements: Vec<Element>,
    },
    /// Elements come.
    AddElements {
        /// Where.
        table: TableId,
        /// Which set.
        set: Name,
        /// The elements.
        elements: Vec<Element>,
    },
    /// All rules of an own chain are replaced: flush, then append.
    WriteChain {
        /// Where.
        table: TableId,
        /// Which chain.
        chain: Name,
        /// All its rules.
        rules: Vec<Rule>,
    },
    /// A rule of ours goes from a shared chain.
    DeleteRule {
        /// Where.
        table: TableId,
        /// Which chain.
        chain: Name,
        /// The rule: it is there once.
        rule: Rule,
    },
    /// A rule of ours comes into a shared chain.
    InsertRule {
        /// Where.
        table: TableId,
        /// Which chain.
        chain: Name,
        /// Before which of our rules, counted from 0. Ours stand first, so this is iptables' number less one.
        place: usize,
        /// The rule.
        rule: Rule,
    },
    /// A chain goes. Its rules went before.
    DeleteChain {
        /// Where.
        table: TableId,
        /// Which chain.
        name: Name,
        /// As it was: an iptables backend leaves a [`Kept`](crate::Ownership::Kept) one alone.
        chain: Chain,
    },
    /// A set goes with its elements.
    DeleteSet {
        /// Where.
        table: TableId,
        /// Which set.
        name: Name,
        /// What it was, without elements.
        set: Set,
    },
    /// A table goes with all that is in it.
    DeleteTable(TableId),
}

impl Change {
    /// The table that it is about.
    pub const fn table(&self) -> &TableId {
        match self {
            Self::AddTable(table)
            | Self::DeleteTable(table)
            | Self::AddSet { table, .. }
            | Self::AddChain { table, .. }
            | Self::DeleteElements { table, .. }
            | Self::AddElements { table, .. }
            | Self::WriteChain { table, .. }
            | Self::DeleteRule { table, .. }
            | Self::InsertRule { table, .. }
            | Self::DeleteChain { table, .. }
            | Self::DeleteSet { table, .. } => table,
        }
    }
}
