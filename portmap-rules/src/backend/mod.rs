//! What touches the kernel: everything else in this crate is data.

mod iptables;
pub(crate) mod netlink;
mod nftables;
mod worker;

pub use iptables::{
    Difference, DifferenceKind, Iptables, IptablesError, IptablesTools, IptablesVariant,
};
pub use nftables::{Drift, DriftWatch, Nftables, NftablesError, Object, TableOwner};
pub(crate) use worker::Worker;
