//! Labs of network namespaces, webapp and busybox containers to test port publishing.
//!
//! A [`Lab`] is a host, outside clients, bridges and containers, each a network namespace with a
//! thread of its own. It is made in process by netlink: no `ip` program, nothing under `/run`, and
//! nothing is left when it is dropped or when the process is killed. A [`Suite`] runs async test
//! bodies in a sandbox, so that no test can reach the real host's network; it needs root or user
//! namespaces, and says so where it has neither.
//!
//! It is for tests and demonstrations on Linux. It isn't a container runtime: a [`Container`] has
//! a network namespace of its own and shares everything else with the process. With feature
//! `containers` it can be a real one, of the machine's Docker: see `Docker`.
//!
//! ```no_run
//! use portmap_testkit::{Lab, Need, Suite, Webapp};
//! use std::process::ExitCode;
//!
//! fn main() -> ExitCode {
//!     let mut suite = Suite::from_args();
//!     suite.test("a_container_sees_the_gateway", &[Need::Netns], async || {
//!         let lab = Lab::new().await?;
//!         let bridge = lab.docker0().await?;
//!         let web = bridge.container("web").await?;
//!         let _webapp = Webapp::start(&web, 80).await?;
//!
//!         let page = lab.host().get((web.addr4(), 80).into()).await?;
//!         assert_eq!(page.hostname, "web");
//!         assert_eq!(page.remote_ip, bridge.gateway4());
//!         Ok(())
//!     });
//!     suite.run()
//! }
//! ```

mod bridge;
mod busybox;
mod call;
mod child;
mod claim;
mod container;
pub mod contract;
mod descriptors;
#[cfg(feature = "containers")]
mod docker;
mod error;
mod exec;
mod lab;
mod link;
pub mod matrix;
mod ndisc;
mod need;
mod node;
mod page;
mod sandbox;
mod site;
mod suite;
mod tool;
mod veth;
mod webapp;

pub use bridge::{Bridge, BridgeSpec};
pub use busybox::{Busybox, BusyboxError};
pub use call::CallError;
pub use child::{Child, ChildError};
pub use container::Container;
#[cfg(feature = "containers")]
pub use docker::{Docker, RealContainer};
pub use error::{BoxError, LabError};
pub use exec::{ExecError, Output};
pub use lab::Lab;
pub use need::Need;
pub use node::Node;
pub use page::Page;
pub use sandbox::{EnterError, Sandbox, enter};
pub use site::Site;
pub use suite::{Suite, TestResult};
pub use webapp::Webapp;
