//! A transaction as `iptables-restore --noflush` reads it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::iptables::Arguments;
use crate::{Change, Name, Ownership, TableFamily, Transaction};

/// Of one table.
#[derive(Default)]
struct Commit {
    /// `:CHAIN - [0:0]` creates the chain, or flushes it and it alone.
    declared: String,
    rules: String,
    /// Chains can go once nothing refers to them.
    deleted: String,
}

impl Commit {
    fn declare(&mut self, chain: &Name) {
        let line = format!(":{chain} - [0:0]\n");
        if !self.declared.contains(&line) {
            self.declared.push_str(&line);
        }
    }
}

pub(super) fn text(transaction: &Transaction, family: TableFamily, creates_kept: bool) -> String {
    let mut commits: BTreeMap<&Name, Commit> = BTreeMap::new();
    let mut guards = false;
    for change in transaction.changes() {
        let table = change.table();
        if table.family == family {
            guards |= table.name.as_str() == "raw" && matches!(change, Change::InsertRule { .. });
            // Writing to a string cannot fail.
            let _ = write(commits.entry(&table.name).or_default(), change, creates_kept);
        }
    }
    let order = if guards { ["raw", "filter", "nat"] } else { ["nat", "filter", "raw"] };
    let mut text = String::new();
    for table in order {
        let commit = commits.remove(&Name::from(table)).unwrap_or_default();
        let Commit { declared, rules, deleted } = commit;
        if !(declared.is_empty() && rules.is_empty() && deleted.is_empty()) {
            let _ = write!(text, "*{table}\n{declared}{rules}{deleted}COMMIT\n");
        }
    }
    text
}

fn write(commit: &mut Commit, change: &Change, creates_kept: bool) -> std::fmt::Result {
    match change {
        Change::AddChain { name, chain, .. } => match chain.ownership {
            Ownership::Own => {
                commit.declare(name);
                Ok(())
            }
            Ownership::Kept if creates_kept => {
                commit.declare(name);
                chain
                    .rules
                    .iter()
                    .try_for_each(|rule| writeln!(commit.rules, "-A {name} {}", Arguments(rule)))
            }
            Ownership::Kept | Ownership::Shared => Ok(()),
        },
        Change::WriteChain { chain, rules, .. } => {
            commit.declare(chain);
            rules
                .iter()
                .try_for_each(|rule| writeln!(commit.rules, "-A {chain} {}", Arguments(rule)))
        }
        Change::DeleteRule { chain, rule, .. } => {
            writeln!(commit.rules, "-D {chain} {}", Arguments(rule))
        }
        Change::InsertRule { chain, place, rule, .. } => {
            writeln!(commit.rules, "-I {chain} {} {}", place + 1, Arguments(rule))
        }
        Change::DeleteChain { name, chain, .. } if chain.ownership == Ownership::Own => {
            // Declaring it flushes it: an iptables chain goes only when it is empty.
            commit.declare(name);
            writeln!(commit.deleted, "-X {name}")
        }
        _ => Ok(()),
    }
}
