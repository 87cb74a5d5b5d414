//! The table that marks answers, in the kernel.

use std::mem;

use portmap_core::WithCauses;
use portmap_rules::{Layout, Ruleset};
use tracing::warn;

use crate::{Nftables, NftablesError};

/// A table of the process's own, and what is in it. Who has it is the one who marks answers in a network namespace.
#[derive(Debug)]
pub(super) struct Marking {
    nftables: Nftables,
    rules: Ruleset,
    /// Whether something else may be in force: a change was begun, and its outcome is not known.
    in_doubt: bool,
}

impl Marking {
    /// Makes the table. Where that fails nothing is left of it.
    ///
    /// # Errors
    /// [`NftablesError`]: somebody else has it, say.
    ///
    /// # Cancel safety
    /// Dropping the future takes back what was done.
    pub(super) async fn begin(nftables: Nftables, rules: Ruleset) -> Result<Self, NftablesError> {
        let nothing = Ruleset::empty(Layout::Nftables);
        let mut marking = Self { nftables, rules: nothing, in_doubt: false };
        marking.write(rules).await?;
        Ok(marking)
    }

    /// Has these rules in it; not none, which would give the table away.
    ///
    /// # Cancel safety
    /// Where it was dropped, the next call settles what is in force.
    pub(super) async fn write(&mut self, rules: Ruleset) -> Result<(), NftablesError> {
        // Until it is known how it went: this future may be dropped, and the change is made all the same.
        if !mem::replace(&mut self.in_doubt, true) {
            match self.nftables.apply(Ruleset::diff(&self.rules, &rules)).await {
                Err(error) if error.is_in_doubt() => {
                    let error = WithCauses(&error).to_string();
                    warn!(error, "how answers are marked is not known, and written anew");
                }
                applied => {
                    self.in_doubt = false;
                    if applied.is_ok() {
                        self.rules = rules;
                    }
                    return applied;
                }
            }
        }
        self.nftables.rewrite(rules.clone()).await?;
        self.in_doubt = false;
        self.rules = rules;
        Ok(())
    }

    /// Deletes the table.
    ///
    /// # Cancel safety
    /// It goes in any case.
    pub(super) async fn end(self) {
        self.nftables.close().await;
    }
}
