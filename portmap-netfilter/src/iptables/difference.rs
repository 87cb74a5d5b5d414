//! How what is in force differs from what should be.

use std::fmt;

use portmap_rules::{Name, TableId};

/// A chain that isn't as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub table: TableId,
    /// Which chain; a set or map, for [`DifferenceKind::Elements`].
    pub chain: Name,
    /// What is wrong with it.
    pub kind: DifferenceKind,
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// It should be there.
    Missing,
    /// It has other rules; or, where others have rules too, ours are not all there, or not first.
    Changed,
    /// It, or a rule of ours in it, should not be there any more.
    Stale,
    /// It is a set or a map of nftables, and lacks elements or has more than it should.
    Elements,
}

impl fmt::Display for Difference {
    /// `chain DOCKER in table ipv4 nat is missing`, `set bridges4 in table inet portmap has other elements`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, chain, kind } = self;
        let kind = match kind {
            DifferenceKind::Missing => "is missing",
            DifferenceKind::Changed => "was changed",
            DifferenceKind::Stale => "is stale",
            DifferenceKind::Elements => {
                return write!(f, "set {chain} in table {table} has other elements");
            }
        };
        write!(f, "chain {chain} in table {table} {kind}")
    }
}
