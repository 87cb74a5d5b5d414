//! Labs of network namespaces, webapp and busybox containers to test port publishing.

mod child;
mod error;
mod exec;
mod link;
mod ndisc;
mod node;
mod sandbox;
mod tool;

pub use child::{Child, ChildError};
pub use error::{BoxError, LabError};
pub use exec::{ExecError, Output};
pub use node::Node;
pub use sandbox::{EnterError, Sandbox, enter};
