//! The way past what others drop.

use std::collections::BTreeMap;

use portmap_core::{Binding, Error, ErrorKind, WithCauses};
use tracing::{info, warn};

use super::{ForwardingDropped, settle::Waiting, task::Task};
use crate::{
    Family, ForeignDrop, Interface, IptablesVariant, Policy, Prefix,
    backend::{DroppingChain, DroppingChains, Passage},
};

/// Looks for chains of others that drop what our rules lead to a container, and opens a way through them.
#[derive(Debug)]
pub(super) struct Way {
    choice: ForeignDrop,
    prefix: Prefix,
    chains: DroppingChains,
    /// Our own iptables: rules of ours come first in its chains, so none of these is in the way.
    own: Option<IptablesVariant>,
    passages: BTreeMap<IptablesVariant, Passage>,
}

impl Way {
    pub(super) fn open(policy: &Policy, own: Option<IptablesVariant>) -> Result<Self, Error> {
        let failed = |error| {
            Error::new(ErrorKind::Backend, "no socket to others' chains").with_source(error)
        };
        let chains = DroppingChains::open().map_err(failed)?;
        let (choice, prefix) = (policy.foreign_drop, policy.prefix.clone());
        Ok(Self { choice, prefix, chains, own, passages: BTreeMap::new() })
    }

    /// The chains that are in the way.
    async fn obstacles(&self) -> Vec<DroppingChain> {
        if self.choice == ForeignDrop::Ignore {
            return Vec::new();
        }
        match self.chains.list().await {
            Ok(mut chains) => {
                chains.retain(|chain| chain.variant.is_none() || chain.variant != self.own);
                chains
            }
            Err(error) => {
                warn!(error = %WithCauses(&error), "whether others drop what is published is not known");
                Vec::new()
            }
        }
    }

    /// Why bindings cannot be served, where one of these chains is in their way and cannot be opened.
    fn refusal(&self, bindings: &[Binding], chains: &[DroppingChain]) -> Option<Error> {
        let is_closed =
            |chain: &&DroppingChain| self.choice != ForeignDrop::Open || chain.variant.is_none();
        let is_passed = |chain: &&DroppingChain| {
            let mut addrs = bindings.iter().map(Binding::endpoint);
            addrs.any(|to| to.addrs().any(|addr| chain.table.family.sees(Family::of(addr))))
        };
        let chain = chains.iter().filter(is_closed).find(is_passed)?;
        let message = format!("{chain} drops forwarded packets by default, so NAT cannot work");
        let cause = match chain.variant {
            Some(_) => ForwardingDropped::ByIptables,
            None => ForwardingDropped::ByNftables,
        };
        Some(Error::new(ErrorKind::Unsupported, message).with_source(cause))
    }

    /// Opens the way through these chains, to these bridges alone. Where it is open already, and there are none any more, it
    /// is closed.
    async fn lead(&mut self, chains: &[DroppingChain], bridges: &[Interface]) -> Result<(), Error> {
        for variant in chains.iter().filter_map(|chain| chain.variant) {
            if self.choice == ForeignDrop::Open && !self.passages.contains_key(&variant) {
                self.passages.insert(variant, Passage::new(variant, &self.prefix)?);
            }
        }
        for (variant, passage) in &mut self.passages {
            let is_seen = |family: &Family| {
                let chains = chains.iter().filter(|chain| chain.variant == Some(*variant));
                let mut seen = chains.map(|chain| chain.table.family.sees(*family));
                passage.families().contains(family) || seen.any(|seen| seen)
            };
            let families: Vec<_> = Family::ALL.into_iter().filter(is_seen).collect();
            passage.lead(&families, bridges).await?;
        }
        Ok(())
    }
}

impl Task {
    /// Opens the way for publishes that wait, as far as it is to be opened; for the others it is an error. These are
    /// told so, and wait no more.
    pub(super) async fn make_way(&mut self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        if !waiting.iter().any(|one| matches!(one, Waiting::Publish { reservation: Some(_), .. })) {
            return waiting;
        }
        let chains = self.kernel.way.obstacles().await;
        if chains.is_empty() {
            return waiting;
        }
        let bridges = self.published_bridges(&waiting);
        let opened = self.kernel.way.lead(&chains, &bridges).await;
        let mut passed = Vec::new();
        for one in waiting {
            // A routed network has no host port that another mapper could serve: whether it is reached is left to others.
            let Waiting::Publish { bindings, reservation: Some(_), .. } = &one else {
                passed.push(one);
                continue;
            };
            let refusal = self.kernel.way.refusal(bindings, &chains);
            match (refusal, &opened) {
                (None, Ok(())) => passed.push(one),
                (Some(refusal), _) => self.turn_away(one, refusal),
                (None, Err(error)) => {
                    let message = "the way through others' rules cannot be opened";
                    let error = Error::new(error.kind(), format!("{message}: {error}"));
                    self.turn_away(one, error);
                }
            }
        }
        passed
    }

    /// Closes the way where nothing is published any more, nor about to be.
    pub(super) async fn close_way(&mut self, waiting: &[Waiting]) {
        if self.kernel.way.passages.is_empty() {
            return;
        }
        let bridges = self.published_bridges(waiting);
        if let Err(error) = self.kernel.way.lead(&[], &bridges).await {
            warn!(error = %WithCauses(&error), "the way through others' rules stays open");
        }
    }

    /// The bridges of containers that are published, or soon will be.
    fn published_bridges(&self, waiting: &[Waiting]) -> Vec<Interface> {
        let coming = waiting.iter().filter_map(|one| match one {
            Waiting::Publish { bindings, reservation: Some(_), .. } => Some(bindings),
            _ => None,
        });
        let coming: Vec<_> = coming.flatten().map(Binding::endpoint).collect();
        let networks = self.ledger.networks().iter().filter(|network| network.has_nat());
        let published = networks.filter(|network| {
            let is_coming = || {
                let mut subnets = network.subnets();
                subnets.any(|net| {
                    coming.iter().any(|to| to.addrs().any(|addr| net.net().contains(&addr)))
                })
            };
            self.ledger.is_populated(network.bridge()) || is_coming()
        });
        published.map(crate::Network::bridge).collect()
    }

    fn turn_away(&self, one: Waiting, error: Error) {
        if let Waiting::Publish { reply, .. } = one {
            info!(error = %WithCauses(&error), "not published");
            let _ = reply.send(Err(error));
        }
    }
}
