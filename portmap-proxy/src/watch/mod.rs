//! Seen from outside: what is counted of bindings, connections and sessions, and the spans around them.

mod attended;
mod cause;
mod counters;
mod facade;
mod meter;
mod registry;
pub(crate) mod spans;
mod stats;
mod tally;

pub(crate) use attended::{Attended, attend};
pub(crate) use counters::Counters;
pub(crate) use meter::Meter;
pub(crate) use registry::Registry;

pub use cause::FailureCause;
pub use meter::Progress;
pub use stats::{BindingStats, Failed};
