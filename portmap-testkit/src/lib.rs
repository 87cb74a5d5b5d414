//! Labs of network namespaces, webapp and busybox containers to test port publishing.

mod error;
mod link;
mod sandbox;

pub use error::{BoxError, LabError};
pub use sandbox::{EnterError, Sandbox, enter};
