//! What a transaction makes of a ruleset.

use crate::{Chain, Change, Ruleset, Set, Table, Transaction};

impl Ruleset {
    /// The ruleset with the changes of a transaction, as a kernel would make them.
    ///
    /// What a change refers to and is not there is passed over.
    #[must_use]
    pub fn apply(mut self, transaction: &Transaction) -> Self {
        for change in transaction.changes() {
            self.make(change);
        }
        self
    }

    fn make(&mut self, change: &Change) {
        match change {
            Change::AddTable(table) => {
                self.tables.insert(table.clone(), Table::default());
            }
            Change::DeleteTable(table) => {
                self.tables.remove(table);
            }
            _ => {
                if let Some(table) = self.tables.get_mut(change.table()) {
                    table.make(change);
                }
            }
        }
    }
}

impl Table {
    fn make(&mut self, change: &Change) {
        match change {
            Change::AddSet { name, set, .. } => {
                self.sets.insert(name.clone(), set.clone());
            }
            Change::DeleteSet { name, .. } => {
                self.sets.remove(name);
            }
            Change::AddChain { name, chain, .. } => {
                self.chains.insert(name.clone(), chain.clone());
            }
            Change::DeleteChain { name, .. } => {
                self.chains.remove(name);
            }
            Change::DeleteElements { set, .. } | Change::AddElements { set, .. } => {
                if let Some(set) = self.sets.get_mut(set) {
                    set.make(change);
                }
            }
            Change::WriteChain { chain, .. }
            | Change::DeleteRule { chain, .. }
            | Change::InsertRule { chain, .. } => {
                if let Some(chain) = self.chains.get_mut(chain) {
                    chain.make(change);
                }
            }
            Change::AddTable(_) | Change::DeleteTable(_) => {}
        }
    }
}

impl Set {
    fn make(&mut self, change: &Change) {
        match change {
            Change::DeleteElements { elements, .. } => {
                for (values, _) in elements {
                    self.elements.remove(values);
                }
            }
            Change::AddElements { elements, .. } => self.elements.extend(elements.iter().cloned()),
            _ => {}
        }
    }
}

impl Chain {
    fn make(&mut self, change: &Change) {
        match change {
            Change::WriteChain { rules, .. } => self.rules.clone_from(rules),
            Change::DeleteRule { rule, .. } => {
                let place = self.rules.iter().position(|other| other == rule);
                place.map(|place| self.rules.remove(place));
            }
            Change::InsertRule { place, rule, .. } => {
                self.rules.insert((*place).min(self.rules.len()), rule.clone());
            }
            _ => {}
        }
    }
}
