//! Whichever rule language the kernel is told in.

use std::sync::Arc;

use portmap_core::Error;

use super::lookout::Lookout;
use crate::{
    Difference, Iptables, IptablesTools, Layout, Ledger, Nftables, Policy, Prepared, Ruleset,
    TableOwner,
};

/// The way to the kernel.
#[derive(Debug)]
pub(super) enum Backend {
    Nftables(Nftables),
    Iptables(Iptables),
}

impl Backend {
    pub(super) fn open(policy: &Policy) -> Result<Self, Error> {
        Ok(match policy.layout {
            Layout::Nftables => Self::Nftables(Nftables::open(TableOwner::Socket)?),
            Layout::Iptables => Self::Iptables(Iptables::open(IptablesTools::find()?)?),
        })
    }

    /// When to look whether somebody else has changed the rules.
    pub(super) async fn lookout(&self) -> Lookout {
        match self {
            Self::Nftables(_) => Lookout::of_nothing(),
            Self::Iptables(iptables) => Lookout::of_iptables(iptables).await,
        }
    }

    /// Makes a prepared change of what the ledger says is in force.
    pub(super) async fn apply(&self, ledger: &Ledger, prepared: &Prepared) -> Result<(), Error> {
        match self {
            Self::Nftables(nftables) => nftables.apply(prepared.transaction().clone()).await?,
            Self::Iptables(iptables) => {
                let before = ledger.rules().clone();
                let after = match prepared.rules() {
                    Some(rules) => rules.clone(),
                    None => before.clone().apply(prepared.transaction()),
                };
                iptables.replace(Arc::new(before), Arc::new(after)).await?;
            }
        }
        Ok(())
    }

    /// Puts right what differs from `wanted`, and says what it was. Nobody can change nftables' owned table.
    pub(super) async fn reconcile(&self, wanted: &Ruleset) -> Result<Vec<Difference>, Error> {
        match self {
            Self::Nftables(_) => Ok(Vec::new()),
            Self::Iptables(iptables) => Ok(iptables.reconcile(Arc::new(wanted.clone())).await?),
        }
    }

    /// Withdraws all that is in force.
    pub(super) async fn close(self, rules: &Ruleset) -> Result<(), Error> {
        match self {
            Self::Nftables(nftables) => nftables.close().await,
            Self::Iptables(iptables) => {
                let nothing = Ruleset::empty(Layout::Iptables);
                iptables.replace(Arc::new(rules.clone()), Arc::new(nothing)).await?;
            }
        }
        Ok(())
    }
}
