//! Whichever rule language the kernel is told in.

use std::sync::Arc;

use portmap_core::Error;

use super::{lookout::Lookout, settled::SettledNftables};
use crate::{
    Difference, Iptables, IptablesTools, IptablesVariant, Layout, Ledger, Nftables, Policy,
    Prepared, Ruleset, TableOwner,
};

/// The way to the kernel.
#[derive(Debug)]
pub(super) enum Backend {
    Nftables(SettledNftables),
    Iptables(OwnedIptables),
}

impl Backend {
    pub(super) fn open(policy: &Policy) -> Result<Self, Error> {
        Ok(match policy.layout {
            Layout::Nftables => {
                Self::Nftables(SettledNftables::new(Nftables::open(TableOwner::Socket)?))
            }
            Layout::Iptables => {
                let iptables = Iptables::open(IptablesTools::find()?)?;
                let in_force = Arc::new(Ruleset::empty(Layout::Iptables));
                Self::Iptables(OwnedIptables { iptables: Some(iptables), in_force })
            }
        })
    }

    /// The iptables that it is, where it is one.
    pub(super) fn variant(&self) -> Option<IptablesVariant> {
        match self {
            Self::Nftables(_) => None,
            Self::Iptables(owned) => owned.iptables.as_ref().map(Iptables::variant),
        }
    }

    /// When to look whether somebody else has changed the rules.
    pub(super) async fn lookout(&self) -> Lookout {
        match self {
            Self::Nftables(_) => Lookout::of_nothing(),
            Self::Iptables(owned) => match &owned.iptables {
                Some(iptables) => Lookout::of_iptables(iptables).await,
                None => Lookout::of_nothing(),
            },
        }
    }

    /// Makes a prepared change of what the ledger says is in force.
    pub(super) async fn apply(
        &mut self,
        ledger: &Ledger,
        prepared: &Prepared,
    ) -> Result<(), Error> {
        let edit = prepared.edit();
        let retargets = edit.publish.iter().any(|(entry, _)| edit.release.contains(entry));
        let after = || match prepared.rules() {
            Some(rules) => rules.clone(),
            None => ledger.rules().clone().apply(prepared.transaction()),
        };
        match self {
            Self::Nftables(nftables) => {
                let (before, change) = (ledger.rules(), prepared.transaction().clone());
                match retargets {
                    true => nftables.pass_over(before, after, change).await?,
                    false => nftables.change(before, change).await?,
                }
            }
            Self::Iptables(owned) => match retargets {
                true => owned.pass_over(after()).await?,
                false => owned.replace(after()).await?,
            },
        }
        Ok(())
    }

    /// Puts right what differs from `wanted`, and says what it was. Nobody can change nftables' owned table.
    pub(super) async fn reconcile(&self, wanted: &Ruleset) -> Result<Vec<Difference>, Error> {
        match self {
            Self::Iptables(OwnedIptables { iptables: Some(iptables), .. }) => {
                Ok(iptables.reconcile(Arc::new(wanted.clone())).await?)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Withdraws all that is in force.
    pub(super) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Nftables(nftables) => nftables.close().await,
            Self::Iptables(mut owned) => owned.replace(Ruleset::empty(Layout::Iptables)).await?,
        }
        Ok(())
    }
}

/// iptables, whose rules know no owner, with one: **dropping it withdraws them**, and blocks for that, some 30 ms. It is
/// only dropped with something in force where the runtime ends before the mapper.
#[derive(Debug)]
pub(super) struct OwnedIptables {
    /// `None` while it is dropped.
    iptables: Option<Iptables>,
    in_force: Arc<Ruleset>,
}

impl OwnedIptables {
    /// Replaces the rules by others that lead the same ports elsewhere, so that no packet is lost on the way.
    async fn pass_over(&mut self, after: Ruleset) -> Result<(), Error> {
        let before = Arc::clone(&self.in_force);
        self.replace(before.widened(&after)).await?;
        let passed = self.replace(after).await;
        if passed.is_err() {
            self.replace(Ruleset::clone(&before)).await?;
        }
        passed
    }

    async fn replace(&mut self, after: Ruleset) -> Result<(), Error> {
        let after = Arc::new(after);
        if let Some(iptables) = &self.iptables {
            iptables.replace(Arc::clone(&self.in_force), Arc::clone(&after)).await?;
        }
        self.in_force = after;
        Ok(())
    }
}

impl Drop for OwnedIptables {
    fn drop(&mut self) {
        let in_force = Arc::clone(&self.in_force);
        match self.iptables.take() {
            Some(iptables) if !in_force.is_empty() => iptables.withdraw(in_force),
            _ => {}
        }
    }
}
