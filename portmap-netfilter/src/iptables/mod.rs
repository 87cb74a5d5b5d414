//! iptables by its own tools: `iptables-restore` writes, `iptables-save` reads.

mod chunk;
mod difference;
mod entrance;
mod error;
mod forwarded;
mod handle;
mod leftover;
mod lock_file;
mod repair;
mod run;
mod saved;
mod session;
mod tools;

pub use difference::{Difference, DifferenceKind};
pub use error::IptablesError;
pub(crate) use forwarded::drops_forwarded;
pub use handle::Iptables;
pub use tools::{IptablesTools, IptablesVariant};
