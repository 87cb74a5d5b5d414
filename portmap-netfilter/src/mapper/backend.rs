//! Whichever rule language the kernel is told in.

use std::sync::Arc;

use portmap_core::Error;
use portmap_rules::{Layout, Ledger, Policy, Prepared, Ruleset};

#[cfg(test)]
use super::mock::Mock;
use super::{owned::OwnedIptables, settled::SettledNftables};
use crate::{Difference, Iptables, IptablesTools, IptablesVariant, Nftables, OwnerLock};

/// The way to the kernel.
#[derive(Debug)]
pub(super) enum Backend {
    Nftables(SettledNftables),
    Iptables(OwnedIptables),
    #[cfg(test)]
    Mock(Mock),
}

impl Backend {
    pub(super) fn open(policy: &Policy, lock: &Arc<OwnerLock>) -> Result<Self, Error> {
        Ok(match policy.layout {
            Layout::Nftables => {
                Self::Nftables(SettledNftables::new(Nftables::open_locked(Arc::clone(lock))?))
            }
            Layout::Iptables => {
                Self::Iptables(OwnedIptables::new(Iptables::open(IptablesTools::find()?)?))
            }
        })
    }

    /// The iptables that it is, where it is one.
    pub(super) fn variant(&self) -> Option<IptablesVariant> {
        self.iptables().map(Iptables::variant)
    }

    pub(super) const fn iptables(&self) -> Option<&Iptables> {
        match self {
            Self::Iptables(owned) => owned.handle(),
            _ => None,
        }
    }

    pub(super) const fn nftables(&self) -> Option<&Nftables> {
        match self {
            Self::Nftables(settled) => Some(settled.handle()),
            _ => None,
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
            #[cfg(test)]
            Self::Mock(mock) => mock.apply()?,
        }
        Ok(())
    }

    /// Whether what is in force is not known, and a [`reconcile`](Self::reconcile) has to settle it.
    pub(super) const fn in_doubt(&self) -> bool {
        matches!(self, Self::Nftables(settled) if settled.in_doubt())
    }

    /// Puts right what differs from `wanted`, and says what it was. Nobody else can change an owned table of nftables: it is
    /// not looked at, but written anew where what is in force is not known.
    pub(super) async fn reconcile(&mut self, wanted: &Ruleset) -> Result<Vec<Difference>, Error> {
        match self {
            Self::Iptables(owned) if wanted.is_empty() && owned.is_empty() => Ok(Vec::new()),
            Self::Iptables(owned) => Ok(owned.enforce(wanted.clone()).await?),
            Self::Nftables(settled) if settled.in_doubt() => {
                settled.rewrite(wanted.clone()).await?;
                Ok(Vec::new())
            }
            Self::Nftables(settled) if settled.handle().is_exposed() && !wanted.is_empty() => {
                let differences = settled.handle().compare(Arc::new(wanted.clone())).await?;
                if !differences.is_empty() {
                    settled.rewrite(wanted.clone()).await?;
                }
                Ok(differences)
            }
            Self::Nftables(_) => Ok(Vec::new()),
            #[cfg(test)]
            Self::Mock(mock) => mock.reconcile(),
        }
    }

    /// Withdraws all that is in force.
    pub(super) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Nftables(nftables) => nftables.close().await,
            Self::Iptables(mut owned) => owned.replace(Ruleset::empty(Layout::Iptables)).await?,
            #[cfg(test)]
            Self::Mock(_) => {}
        }
        Ok(())
    }
}
