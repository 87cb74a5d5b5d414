//! The thread's side.

use std::collections::BTreeMap;

use portmap_rules::{Change, Entrance, Family, Ownership, Ruleset, TableFamily, Transaction};

use super::{
    Difference, IptablesError, IptablesTools, IptablesVariant, chunk, entrance, leftover,
    repair::Repair, run, saved::Saved,
};
use crate::{authors::Authors, user_namespace};

/// The tools, and what is known of where they run.
#[derive(Debug)]
pub(super) struct Session {
    tools: IptablesTools,
    /// The tools that ran.
    authors: Authors,
    /// Whether long commits fail.
    short_commits: bool,
}

impl Session {
    pub(super) fn new(tools: IptablesTools, authors: Authors) -> Self {
        let short_commits = tools.variant == IptablesVariant::Nft && user_namespace::is_inner();
        Self { tools, authors, short_commits }
    }

    pub(super) fn replace(&self, old: &Ruleset, new: &Ruleset) -> Result<(), IptablesError> {
        // What a killed process left must not be there twice: nothing is never taken for granted.
        if old.is_empty() {
            return self.enforce(&[old], new).map(drop);
        }
        let Err(error) = self.apply(&Ruleset::diff(old, new)) else { return Ok(()) };
        tracing::warn!(%error, "iptables is not as it was left: comparing it");
        match self.enforce(&[old], new) {
            Ok(_) => Ok(()),
            Err(_) => Err(error),
        }
    }

    /// Has `wanted` in force and nothing else of `before`, of which the first one was in force; by comparing. Where that fails,
    /// the first one is put back.
    ///
    /// What a killed process left goes once the first rules are in force, not before: what guards its ports must not go
    /// before what leads there. The signs of it are gone by that time, so they are read first. It goes as well where the
    /// first rules failed and are taken back.
    pub(super) fn enforce(
        &self,
        before: &[&Ruleset],
        wanted: &Ruleset,
    ) -> Result<Vec<Difference>, IptablesError> {
        let is_first = before.iter().all(|rules| rules.is_empty());
        let left = if is_first { self.left(wanted) } else { Vec::new() };
        let enforced = self.reconcile(wanted, before);
        match (&enforced, before) {
            (Ok(_), _) => self.sweep(&left),
            (Err(_), [first, rest @ ..]) if *first != wanted => {
                let others: Vec<_> = rest.iter().copied().chain([wanted]).collect();
                match self.reconcile(first, &others) {
                    // Nobody looks for it again: the chains that told of it are gone.
                    Ok(_) => self.sweep(&left),
                    Err(undo) => {
                        tracing::error!(error = %undo, "iptables could not be put back: part of a change is in force");
                    }
                }
            }
            (Err(_), _) => {}
        }
        enforced
    }

    /// Where a passage is entered from in each of these families.
    pub(super) fn entrances(
        &self,
        families: &[Family],
    ) -> Result<BTreeMap<Family, Entrance>, IptablesError> {
        let entrance = |family: &Family| {
            let text = run::save(&self.tools.of_family(*family)?.save)?;
            Ok((*family, entrance::of(&Saved::parse(&text))))
        };
        families.iter().map(entrance).collect()
    }

    /// What deletes what a killed process left. In a family that nobody wants there may be no tool to ask.
    fn left(&self, wanted: &Ruleset) -> Vec<(Family, String)> {
        let saved = Family::ALL.into_iter().filter_map(|family| {
            Some((family, run::save(&self.tools.of_family(family).ok()?.save).ok()?))
        });
        saved
            .map(|(family, text)| {
                (family, leftover::deletions(family, &Saved::parse(&text), wanted))
            })
            .filter(|(_, deletions)| !deletions.is_empty())
            .collect()
    }

    fn sweep(&self, left: &[(Family, String)]) {
        for (family, deletions) in left {
            match self.write(*family, deletions.clone()) {
                Ok(()) => tracing::info!(?family, "swept what a killed process had left"),
                Err(error) => tracing::warn!(%error, "what a killed process left stays"),
            }
        }
    }

    pub(super) fn compare(
        &self,
        wanted: &Ruleset,
        others: &[&Ruleset],
    ) -> Result<Vec<Difference>, IptablesError> {
        let mut differences = Vec::new();
        for family in families(wanted, others) {
            differences.extend(self.repair(family, wanted, others)?.differences);
        }
        Ok(differences)
    }

    pub(super) fn reconcile(
        &self,
        wanted: &Ruleset,
        others: &[&Ruleset],
    ) -> Result<Vec<Difference>, IptablesError> {
        let mut differences = Vec::new();
        for family in families(wanted, others) {
            let mut repair = self.repair(family, wanted, others)?;
            differences.append(&mut repair.differences);
            // It lists a kept chain only where that is missing.
            self.restore(family, &repair.into_transaction(), true)?;
        }
        Ok(differences)
    }

    fn repair(
        &self,
        family: Family,
        wanted: &Ruleset,
        others: &[&Ruleset],
    ) -> Result<Repair, IptablesError> {
        let text = run::save(&self.tools.of_family(family)?.save)?;
        Ok(Repair::new(family, &Saved::parse(&text), wanted, others))
    }

    fn apply(&self, transaction: &Transaction) -> Result<(), IptablesError> {
        for family in Family::ALL {
            let creates_kept = self.lacks_kept(family, transaction)?;
            self.restore(family, transaction, creates_kept)?;
        }
        Ok(())
    }

    fn restore(
        &self,
        family: Family,
        transaction: &Transaction,
        creates_kept: bool,
    ) -> Result<(), IptablesError> {
        self.write(family, transaction.to_restore(family.into(), creates_kept))
    }

    fn write(&self, family: Family, mut input: String) -> Result<(), IptablesError> {
        if input.is_empty() {
            return Ok(());
        }
        if self.short_commits {
            input = chunk::cut(&input, chunk::RULES);
        }
        run::restore(&self.tools.of_family(family)?.restore, &input, &self.authors)
    }

    /// Whether a person's chain, which the transaction would begin, isn't there.
    fn lacks_kept(&self, family: Family, transaction: &Transaction) -> Result<bool, IptablesError> {
        let kept: Vec<_> = transaction
            .changes()
            .iter()
            .filter_map(|change| match change {
                Change::AddChain { table, name, chain }
                    if chain.ownership == Ownership::Kept
                        && table.family == TableFamily::from(family) =>
                {
                    Some((table.name.as_str(), name.as_str()))
                }
                _ => None,
            })
            .collect();
        if kept.is_empty() {
            return Ok(false);
        }
        let text = run::save(&self.tools.of_family(family)?.save)?;
        let saved = Saved::parse(&text);
        Ok(kept.into_iter().any(|(table, chain)| saved.chain(table, chain).is_none()))
    }
}

/// The families that any of these has a table for: the tool of another one isn't run.
fn families(wanted: &Ruleset, others: &[&Ruleset]) -> impl Iterator<Item = Family> {
    let rulesets: Vec<&Ruleset> = others.iter().copied().chain([wanted]).collect();
    let has = move |family: Family| {
        rulesets.iter().any(|rules| rules.tables().keys().any(|id| id.family == family.into()))
    };
    Family::ALL.into_iter().filter(move |family| has(*family)).collect::<Vec<_>>().into_iter()
}
