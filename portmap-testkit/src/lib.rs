//! Labs of network namespaces, webapp and busybox containers to test port publishing.

mod busybox;
mod child;
mod error;
mod exec;
mod link;
mod ndisc;
mod need;
mod node;
mod sandbox;
mod suite;
mod tool;

pub use busybox::{Busybox, BusyboxError};
pub use child::{Child, ChildError};
pub use error::{BoxError, LabError};
pub use exec::{ExecError, Output};
pub use need::Need;
pub use node::Node;
pub use sandbox::{EnterError, Sandbox, enter};
pub use suite::{Suite, TestResult};
