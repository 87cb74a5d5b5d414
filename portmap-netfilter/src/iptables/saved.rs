//! What `iptables-save` prints.

use std::collections::HashMap;

/// The rules of one family, as text.
#[derive(Debug, Default)]
pub(super) struct Saved<'a> {
    tables: HashMap<&'a str, HashMap<&'a str, Vec<&'a str>>>,
}

impl<'a> Saved<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut saved = Self::default();
        let mut table = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(declared) = line.strip_prefix(':') {
                let chain = declared.split(' ').next().unwrap_or(declared);
                saved.tables.entry(table).or_default().entry(chain).or_default();
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, rule) = rule.split_once(' ').unwrap_or((rule, ""));
                let chains = saved.tables.entry(table).or_default();
                chains.entry(chain).or_default().push(rule);
            }
        }
        saved
    }

    /// The rules of a chain; `None` where there is no such chain. A table that nobody has used may be missing with
    /// its built-in chains.
    pub(super) fn chain(&self, table: &str, chain: &str) -> Option<&[&'a str]> {
        self.tables.get(table)?.get(chain).map(Vec::as_slice)
    }

    /// The chains of a table and their rules.
    pub(super) fn chains(&self, table: &str) -> impl Iterator<Item = (&'a str, &[&'a str])> {
        let chains = self.tables.get(table).into_iter().flatten();
        chains.map(|(name, rules)| (*name, rules.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn every_rule_is_in_its_chain_and_no_text_is_too_strange(
            lines in vec("\\*(nat|raw)|:A - \\[0:0\\]|:B|-A (A|B) .{0,9}|-A [AB]?|COMMIT|.{0,9}", 0..20),
        ) {
            let text = lines.join("\n");
            let saved = Saved::parse(&text);
            let mut rules = 0;
            for table in ["", "nat", "raw"] {
                for (chain, found) in saved.chains(table) {
                    prop_assert_eq!(saved.chain(table, chain), Some(found));
                    rules += found.len();
                }
            }
            // A table may be called otherwise too: a line of the last kind that begins with an asterisk.
            let appended = text.lines().filter(|line| line.starts_with("-A ")).count();
            let others = text.lines().any(|line| line.starts_with('*') && !["*nat", "*raw", "*"].contains(&line));
            prop_assert!(rules == appended || others);
        }
    }
}
