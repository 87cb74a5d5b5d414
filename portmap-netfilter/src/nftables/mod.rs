//! nftables by netlink, in process: no `nft`, no text.

mod batch;
mod count;
mod encode;
mod error;
mod handle;
mod kernel;
mod object;
mod origin;
mod register;
mod registry;
mod session;
mod undo;

pub use error::NftablesError;
pub use handle::{Nftables, TableOwner};
pub use object::NftablesObject;
