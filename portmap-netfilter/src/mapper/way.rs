//! The way past what others drop, and what the host does not forward.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use portmap_core::{Binding, Endpoint, Error, ErrorKind, WithCauses};
use portmap_rules::{Family, ForeignDrop, Interface, Policy, Prefix};
use tracing::{info, warn};

use super::{
    ForwardingDropped, forwarding::forwards, passage::Passage, settle::Waiting, task::Task,
};
use crate::{Difference, DroppingChain, DroppingChains, Iptables, IptablesVariant};

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

    /// The iptables in which there is a way, or the rest of one.
    pub(super) fn iptables(&self) -> impl Iterator<Item = &Iptables> {
        self.passages.values().filter_map(Passage::iptables)
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
            let mut seen =
                Family::ALL.into_iter().filter(|family| chain.table.family.sees(*family));
            seen.any(|family| bindings.iter().any(|binding| forwards(binding, family)))
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
    ///
    /// Where that fails, it is as it was; but what was asked for is what a later look sees to, unless it is called again.
    async fn lead(&mut self, chains: &[DroppingChain], bridges: &[Interface]) -> Result<(), Error> {
        let opens = |_: &&DroppingChain| self.choice == ForeignDrop::Open;
        let chains = chains.iter().filter(opens);
        for (variant, chain) in chains.filter_map(|chain| Some((chain.variant?, chain))) {
            let passage = match self.passages.entry(variant) {
                Entry::Occupied(passage) => passage.into_mut(),
                Entry::Vacant(place) => place.insert(Passage::new(variant)?),
            };
            passage.cover(Family::ALL.into_iter().filter(|it| chain.table.family.sees(*it)));
        }
        for passage in self.passages.values_mut() {
            passage.lead_to(bridges);
        }
        self.enforce().await.map(drop)
    }

    /// Sees to it that the way is as it should be, and says what differed.
    pub(super) async fn enforce(&mut self) -> Result<Vec<Difference>, Error> {
        let mut enforced = Ok(Vec::new());
        for passage in self.passages.values_mut() {
            match (passage.enforce(&self.prefix).await, &mut enforced) {
                (Ok(more), Ok(differences)) => differences.extend(more),
                (Err(error), Ok(_)) => enforced = Err(error.into()),
                (_, Err(_)) => {}
            }
        }
        self.passages.retain(|_, passage| !passage.is_closed());
        enforced
    }
}

impl Task {
    /// Opens the way for publishes that wait, as far as it is to be opened; for the others it is an error. These are
    /// told so, and wait no more.
    pub(super) async fn make_way(&mut self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let mut passed = Vec::new();
        for one in waiting {
            let refusal = one.bindings().and_then(|it| self.kernel.forwarding.refusal(it));
            match refusal {
                Some(refusal) => turn_away(one, refusal),
                None => passed.push(one),
            }
        }
        if !passed.iter().any(|one| one.nat_bindings().is_some()) {
            return passed;
        }
        let chains = self.kernel.way.obstacles().await;
        let mut waiting = Vec::new();
        for one in passed {
            // A routed network has no host port that another mapper could serve: whether it is reached is left to others.
            match one.nat_bindings().and_then(|it| self.kernel.way.refusal(it, &chains)) {
                Some(refusal) => turn_away(one, refusal),
                None => waiting.push(one),
            }
        }
        let Err(error) = self.open_way(&chains, &coming(&waiting)).await else { return waiting };
        let (nat, passed): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|one| one.nat_bindings().is_some());
        for one in nat {
            turn_away(one, Error::new(error.kind(), error.to_string()));
        }
        self.close_way(&passed).await;
        passed
    }

    /// Makes sure that others let through what is led to these bindings' containers; where they don't, and cannot be made
    /// to, it is an error and nothing has changed.
    pub(super) async fn make_way_to(&mut self, bindings: &[Binding]) -> Result<(), Error> {
        let chains = self.kernel.way.obstacles().await;
        if let Some(refusal) = self.kernel.way.refusal(bindings, &chains) {
            return Err(refusal);
        }
        let coming: Vec<_> = bindings.iter().map(Binding::endpoint).collect();
        let opened = self.open_way(&chains, &coming).await;
        if opened.is_err() {
            self.close_way(&[]).await;
        }
        opened
    }

    async fn open_way(
        &mut self,
        chains: &[DroppingChain],
        coming: &[Endpoint],
    ) -> Result<(), Error> {
        if chains.is_empty() && self.kernel.way.passages.is_empty() {
            return Ok(());
        }
        let bridges = self.published_bridges(coming);
        let opened = self.kernel.way.lead(chains, &bridges).await;
        self.keep_watch().await;
        if opened.is_err() {
            self.lookout.failed();
        }
        opened.map_err(|error| {
            let message = "the way through others' rules cannot be opened";
            Error::new(error.kind(), format!("{message}: {}", WithCauses(&error)))
        })
    }

    /// Closes the way where nothing is published any more, nor about to be.
    pub(super) async fn close_way(&mut self, waiting: &[Waiting]) {
        if self.kernel.way.passages.is_empty() {
            return;
        }
        let bridges = self.published_bridges(&coming(waiting));
        if self.kernel.way.passages.values().all(|passage| passage.leads_to(&bridges)) {
            return;
        }
        if let Err(error) = self.kernel.way.lead(&[], &bridges).await {
            warn!(error = %WithCauses(&error), "the way through others' rules stays open; it is tried again");
            self.lookout.failed();
        }
        self.keep_watch().await;
    }

    /// The bridges of containers that are published, or soon will be.
    fn published_bridges(&self, coming: &[Endpoint]) -> Vec<Interface> {
        let coming: BTreeSet<_> = coming.iter().flat_map(Endpoint::addrs).collect();
        let networks = self.ledger.networks().iter().filter(|network| network.has_nat());
        let published = networks.filter(|network| {
            let is_coming = || {
                let mut subnets = network.subnets();
                subnets.any(|subnet| coming.iter().any(|addr| subnet.net().contains(addr)))
            };
            self.ledger.is_populated(network.bridge()) || is_coming()
        });
        published.map(portmap_rules::Network::bridge).collect()
    }
}

/// Where publishes that wait lead by NAT.
fn coming(waiting: &[Waiting]) -> Vec<Endpoint> {
    waiting.iter().filter_map(Waiting::nat_bindings).flatten().map(Binding::endpoint).collect()
}

fn turn_away(one: Waiting, error: Error) {
    if let Waiting::Publish { reply, .. } = one {
        info!(error = %WithCauses(&error), "not published");
        let _ = reply.send(Err(error));
    }
}
