//! From what is in force to what should be.

mod apply;
mod between;
mod compare;
mod transaction;

pub use transaction::{Change, Element, Transaction};
