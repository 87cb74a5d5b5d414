//! A way through one iptables.

use std::collections::{BTreeMap, BTreeSet};

use portmap_rules::{Family, Interface, Prefix, compile_passage};

use super::owned::OwnedIptables;
use crate::{Difference, Iptables, IptablesError, IptablesTools, IptablesVariant};

/// The rules that let through, in one iptables, what is published: [`compile_passage`]'s, in force like all others.
///
/// Dropping it closes the way, and blocks for that.
#[derive(Debug)]
pub(super) struct Passage {
    iptables: OwnedIptables,
    /// Of the chains that drop. They stay until the way is closed.
    families: BTreeSet<Family>,
    bridges: Vec<Interface>,
}

impl Passage {
    /// Finds the tools. Nothing is open yet.
    pub(super) fn new(variant: IptablesVariant) -> Result<Self, IptablesError> {
        let iptables = Iptables::open(IptablesTools::of(variant)?)?;
        let iptables = OwnedIptables::new(iptables);
        Ok(Self { iptables, families: BTreeSet::new(), bridges: Vec::new() })
    }

    pub(super) const fn iptables(&self) -> Option<&Iptables> {
        self.iptables.handle()
    }

    /// Wants the way open in these families too.
    pub(super) fn cover(&mut self, families: impl Iterator<Item = Family>) {
        self.families.extend(families);
    }

    /// Wants the way open to these bridges, and to no others.
    pub(super) fn lead_to(&mut self, bridges: &[Interface]) {
        self.bridges = bridges.to_vec();
    }

    /// Whether that is what is wanted.
    pub(super) fn leads_to(&self, bridges: &[Interface]) -> bool {
        self.bridges == bridges
    }

    /// Has it as it is wanted, and says what differed. Docker may have come or gone since, so where the way begins is looked
    /// at each time.
    pub(super) async fn enforce(
        &mut self,
        prefix: &Prefix,
    ) -> Result<Vec<Difference>, IptablesError> {
        let entrances = match self.iptables.handle() {
            Some(iptables) if !self.bridges.is_empty() => {
                iptables.entrances(self.families.iter().copied().collect()).await?
            }
            _ => BTreeMap::new(),
        };
        self.iptables.enforce(compile_passage(&self.bridges, &entrances, prefix)).await
    }

    /// Whether nothing is open, and nothing is to be.
    pub(super) fn is_closed(&self) -> bool {
        self.bridges.is_empty() && self.iptables.is_empty()
    }
}
