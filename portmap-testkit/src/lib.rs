//! Labs of network namespaces, webapp and busybox containers to test port publishing.

mod bridge;
mod busybox;
mod call;
mod child;
mod claim;
mod container;
mod error;
mod exec;
mod lab;
mod link;
mod ndisc;
mod need;
mod node;
mod page;
mod sandbox;
mod suite;
mod tool;
mod veth;
mod webapp;

pub use bridge::{Bridge, BridgeSpec};
pub use busybox::{Busybox, BusyboxError};
pub use call::CallError;
pub use child::{Child, ChildError};
pub use container::Container;
pub use error::{BoxError, LabError};
pub use exec::{ExecError, Output};
pub use lab::Lab;
pub use need::Need;
pub use node::Node;
pub use page::Page;
pub use sandbox::{EnterError, Sandbox, enter};
pub use suite::{Suite, TestResult};
pub use webapp::Webapp;
