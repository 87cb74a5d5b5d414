//! How what is in force differs from what should be.

use std::fmt;

use crate::{Name, TableId};

/// A chain that isn't as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub table: TableId,
    /// Which chain.
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
}

impl fmt::Display for Difference {
    /// `chain DOCKER in table ipv4 nat is missing`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, chain, kind } = self;
        let kind = match kind {
            DifferenceKind::Missing => "is missing",
            DifferenceKind::Changed => "was changed",
            DifferenceKind::Stale => "is stale",
        };
        write!(f, "chain {chain} in table {table} {kind}")
    }
}
