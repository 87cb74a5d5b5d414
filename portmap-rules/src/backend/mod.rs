//! What touches the kernel: everything else in this crate is data.

pub(crate) mod netlink;
mod nftables;
mod worker;

pub use nftables::{Drift, DriftWatch, Nftables, NftablesError, Object, TableOwner};
pub(crate) use worker::Worker;
