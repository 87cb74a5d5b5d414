//! Chains.

use super::{Base, Rule};

/// Rules, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whose it is.
    pub ownership: Ownership,
    /// Where the kernel calls it; `None` where only other chains do. A chain that somebody else calls first of all at a
    /// hook, as Docker does `DOCKER-USER`, counts as called there.
    pub base: Option<Base>,
    /// Its rules, or the owner's part of them: see [`Ownership::Shared`].
    pub rules: Vec<Rule>,
}

/// Whose a chain is, and so how it may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The owner's alone: rewritten as a whole.
    Own,
    /// A built-in chain of iptables, or one of somebody else's, where others have rules too. Ours stand first, in this order; they are added
    /// and deleted one by one, and the chain itself is never created, flushed or deleted.
    Shared,
    /// Made once with these rules, then a person's: never flushed, changed or deleted.
    Kept,
}

impl Chain {
    /// An empty chain of the owner's that other chains call.
    pub const fn regular() -> Self {
        Self { ownership: Ownership::Own, base: None, rules: Vec::new() }
    }

    /// An empty chain of the owner's that the kernel calls.
    pub const fn base(base: Base) -> Self {
        Self { ownership: Ownership::Own, base: Some(base), rules: Vec::new() }
    }

    /// A built-in chain of iptables.
    pub const fn builtin(base: Base) -> Self {
        Self { ownership: Ownership::Shared, base: Some(base), rules: Vec::new() }
    }
}
