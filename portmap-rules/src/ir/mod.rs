//! One vocabulary for both rule languages: what is compiled, compared, rendered, traced and applied.

mod chain;
mod hook;
mod name;
mod purpose;
mod rule;
mod ruleset;
mod set;

pub use chain::{Chain, Ownership};
pub use hook::{Base, ChainKind, ChainPolicy, Hook, Priority};
pub use name::Name;
pub use purpose::Purpose;
pub use rule::{Connection, L4, Mark, Match, NatPorts, Rule, Target, What};
pub use ruleset::{Ruleset, Table, TableFamily, TableId};
pub use set::{Data, DataType, Field, Key, Set, Value, Verdict};
