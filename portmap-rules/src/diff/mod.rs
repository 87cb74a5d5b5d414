//! From what is in force to what should be.

mod transaction;

pub use transaction::{Change, Element, Transaction};
