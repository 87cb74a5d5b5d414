//! Publishing container ports by NAT in the Linux kernel: what puts the rules of `portmap-rules` in force.
//!
//! [`RulesMapper`] is the mapper. Below it, [`Nftables`] and [`Iptables`] write rules and put them right, [`Conntrack`]
//! flushes and lists flows, [`SysctlGuard`] and [`OwnerLock`] manage sysctls and exclusive ownership, and [`DriftWatch`]
//! reports changes by others.
//!
//! [`TransparentRouting`] is for a proxy that speaks from its clients' addresses: it brings it the answers.

mod answers;
mod authors;
mod conntrack;
mod drift;
mod dropping;
mod error;
mod iptables;
mod mapper;
mod netlink;
mod nftables;
mod owner;
mod sysctl;
mod transparent;
mod user_namespace;
mod worker;

pub use conntrack::{Conntrack, ConntrackError, Counted, Flow, FlowState};
pub use drift::{Drift, DriftWatch};
pub(crate) use dropping::{DroppingChain, DroppingChains};
pub use iptables::{
    Difference, DifferenceKind, Iptables, IptablesError, IptablesTools, IptablesVariant,
};
pub use mapper::{ForwardingDropped, ForwardingOff, HostSettings, NetworkLease, RulesMapper};
pub use nftables::{Nftables, NftablesError, NftablesObject, TableOwner};
pub use owner::{OwnerError, OwnerLock};
pub use sysctl::{Sysctl, SysctlError, SysctlGuard};
pub use transparent::TransparentRouting;
pub(crate) use worker::Worker;
