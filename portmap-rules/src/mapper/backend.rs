//! Whichever rule language the kernel is told in.

use portmap_core::{Error, ErrorKind};

use crate::{Layout, Nftables, Policy, TableOwner, Transaction};

/// The way to the kernel.
#[derive(Debug)]
pub(super) enum Backend {
    Nftables(Nftables),
}

impl Backend {
    pub(super) fn open(policy: &Policy) -> Result<Self, Error> {
        match policy.layout {
            Layout::Nftables => Ok(Self::Nftables(Nftables::open(TableOwner::Socket)?)),
            Layout::Iptables => {
                Err(Error::new(ErrorKind::Unsupported, "iptables is not there yet"))
            }
        }
    }

    pub(super) async fn apply(&self, transaction: Transaction) -> Result<(), Error> {
        match self {
            Self::Nftables(nftables) => Ok(nftables.apply(transaction).await?),
        }
    }

    /// Waits until nothing of ours is in force.
    pub(super) async fn close(self) {
        match self {
            Self::Nftables(nftables) => nftables.close().await,
        }
    }
}
