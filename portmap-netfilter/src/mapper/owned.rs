//! iptables with an owner.

use std::sync::Arc;

use portmap_rules::{Layout, Ruleset};

use crate::{Difference, Iptables, IptablesError};

/// iptables, whose rules know no owner, with one: **dropping it withdraws them**, and blocks for that, some 30 ms. It is
/// only dropped with something in force where the runtime ends before the mapper.
///
/// Whoever drops it while it changes something has that withdrawn as well: the tools run on, whether or not anybody waits.
#[derive(Debug)]
pub(super) struct OwnedIptables {
    /// `None` while it is dropped.
    iptables: Option<Iptables>,
    in_force: Arc<Ruleset>,
    /// What is just being put in force, or could not be: all of it, a part or nothing is there.
    pending: Option<Arc<Ruleset>>,
}

impl OwnedIptables {
    /// With nothing in force.
    pub(super) fn new(iptables: Iptables) -> Self {
        let in_force = Arc::new(Ruleset::empty(Layout::Iptables));
        Self { iptables: Some(iptables), in_force, pending: None }
    }

    pub(super) const fn handle(&self) -> Option<&Iptables> {
        self.iptables.as_ref()
    }

    /// Whether nothing is in force, for sure.
    pub(super) fn is_empty(&self) -> bool {
        self.in_force.is_empty() && self.pending.is_none()
    }

    /// Replaces the rules by others that lead the same ports elsewhere, so that no packet is lost on the way.
    pub(super) async fn pass_over(&mut self, after: Ruleset) -> Result<(), IptablesError> {
        let before = Arc::clone(&self.in_force);
        self.replace(before.widened(&after)).await?;
        let passed = self.replace(after).await;
        if passed.is_err() {
            self.replace(Ruleset::clone(&before)).await?;
        }
        passed
    }

    /// Replaces the rules by others. Where that fails, those before are in force.
    pub(super) async fn replace(&mut self, after: Ruleset) -> Result<(), IptablesError> {
        if self.pending.is_some() {
            return self.enforce(after).await.map(drop);
        }
        let Some(iptables) = &self.iptables else { return Ok(()) };
        let after = Arc::new(after);
        self.pending = Some(Arc::clone(&after));
        iptables.replace(Arc::clone(&self.in_force), Arc::clone(&after)).await?;
        (self.in_force, self.pending) = (after, None);
        Ok(())
    }

    /// Sees to it that these rules are in force, by comparing, and says what differed.
    pub(super) async fn enforce(
        &mut self,
        wanted: Ruleset,
    ) -> Result<Vec<Difference>, IptablesError> {
        let Some(iptables) = &self.iptables else { return Ok(Vec::new()) };
        let wanted = Arc::new(wanted);
        let doubtful = self.pending.replace(Arc::clone(&wanted));
        let before = [Some(Arc::clone(&self.in_force)), doubtful].into_iter().flatten().collect();
        let differences = iptables.enforce(before, Arc::clone(&wanted)).await?;
        (self.in_force, self.pending) = (wanted, None);
        Ok(differences)
    }
}

impl Drop for OwnedIptables {
    fn drop(&mut self) {
        let there = [Some(Arc::clone(&self.in_force)), self.pending.take()];
        let there: Vec<_> = there.into_iter().flatten().filter(|rules| !rules.is_empty()).collect();
        match self.iptables.take() {
            Some(iptables) if !there.is_empty() => iptables.withdraw(there),
            _ => {}
        }
    }
}
