//! What touches the kernel: everything else in this crate is data.

mod authors;
mod drift;
mod dropping;
mod iptables;
pub(crate) mod netlink;
mod nftables;
mod owner;
mod sysctl;
mod worker;

pub use drift::{Drift, DriftWatch};
pub(crate) use dropping::{DroppingChain, DroppingChains};
pub use iptables::{
    Difference, DifferenceKind, Iptables, IptablesError, IptablesTools, IptablesVariant,
};
pub use nftables::{Nftables, NftablesError, NftablesObject, TableOwner};
pub use owner::{OwnerError, OwnerLock};
pub use sysctl::{Sysctl, SysctlError, SysctlGuard};
pub(crate) use worker::Worker;
