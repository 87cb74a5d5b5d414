//! What touches the kernel: everything else in this crate is data.

mod netlink;
mod nftables;
mod worker;

pub use nftables::{Nftables, NftablesError, Object, TableOwner};
