//! What differs between two rulesets.

use std::collections::{BTreeMap, HashSet};

use crate::{
    Chain, Change, Data, Element, Name, Ownership, Rule, Ruleset, Set, Table, TableId, Transaction,
    Value,
};

impl Ruleset {
    /// The way from `old` to `new`, both of one layout; empty where they are equal.
    ///
    /// Own chains are rewritten as a whole, in one change; rules in shared chains and elements change one by one.
    /// Rules whose purpose alone differs are the same to the kernel, and rewritten all the same.
    pub fn diff(old: &Self, new: &Self) -> Transaction {
        let mut phases = Phases::default();
        for (id, table) in &new.tables {
            let before = old.tables.get(id);
            if before.is_none() {
                phases.tables.push(Change::AddTable(id.clone()));
            }
            phases.compare(id, before.unwrap_or(&Table::default()), table);
        }
        for (id, table) in &old.tables {
            if !new.tables.contains_key(id) {
                phases.compare(id, table, &Table::default());
                phases.deleted_tables.push(Change::DeleteTable(id.clone()));
            }
        }
        phases.into_transaction()
    }
}

/// Changes in an order that the kernel takes.
#[derive(Default)]
struct Phases {
    tables: Vec<Change>,
    sets: Vec<Change>,
    chains: Vec<Change>,
    elements: Vec<Change>,
    rules: Vec<Change>,
    deleted_chains: Vec<Change>,
    deleted_sets: Vec<Change>,
    deleted_tables: Vec<Change>,
}

impl Phases {
    fn into_transaction(self) -> Transaction {
        let phases = [
            self.tables,
            self.sets,
            self.chains,
            self.elements,
            self.rules,
            self.deleted_chains,
            self.deleted_sets,
            self.deleted_tables,
        ];
        Transaction { changes: phases.into_iter().flatten().collect() }
    }

    fn compare(&mut self, table: &TableId, old: &Table, new: &Table) {
        for (name, set) in &new.sets {
            self.set(table, name, old.sets.get(name), set);
        }
        for (name, chain) in &new.chains {
            self.chain(table, name, old.chains.get(name), chain);
        }
        for (name, chain) in old.chains.iter().filter(|(name, _)| !new.chains.contains_key(*name)) {
            let emptied = Chain { rules: Vec::new(), ..*chain };
            self.chain(table, name, Some(chain), &emptied);
            let (table, name, chain) = (table.clone(), name.clone(), bare(chain));
            self.deleted_chains.push(Change::DeleteChain { table, name, chain });
        }
        for (name, set) in old.sets.iter().filter(|(name, _)| !new.sets.contains_key(*name)) {
            let (table, name, set) = (table.clone(), name.clone(), without_elements(set));
            self.deleted_sets.push(Change::DeleteSet { table, name, set });
        }
    }

    /// A set never changes its type: its name says what it holds.
    fn set(&mut self, table: &TableId, name: &Name, old: Option<&Set>, new: &Set) {
        let none = BTreeMap::new();
        let before = old.map_or(&none, |old| &old.elements);
        if old.is_none() {
            let (table, name, set) = (table.clone(), name.clone(), without_elements(new));
            self.sets.push(Change::AddSet { table, name, set });
        }
        let gone = missing(before, &new.elements);
        let come = missing(&new.elements, before);
        if !gone.is_empty() {
            let (table, set) = (table.clone(), name.clone());
            self.elements.push(Change::DeleteElements { table, set, elements: gone });
        }
        if !come.is_empty() {
            let (table, set) = (table.clone(), name.clone());
            self.elements.push(Change::AddElements { table, set, elements: come });
        }
    }

    fn chain(&mut self, table: &TableId, name: &Name, old: Option<&Chain>, new: &Chain) {
        if old.is_none() {
            let (table, name, chain) = (table.clone(), name.clone(), bare(new));
            self.chains.push(Change::AddChain { table, name, chain });
        }
        let before = old.map_or(&[][..], |old| &old.rules);
        match new.ownership {
            Ownership::Kept => {}
            Ownership::Shared => self.shared(table, name, before, &new.rules),
            Ownership::Own if before == new.rules => {}
            Ownership::Own => {
                let (table, chain, rules) = (table.clone(), name.clone(), new.rules.clone());
                self.rules.push(Change::WriteChain { table, chain, rules });
            }
        }
    }

    /// Rules that stay keep their order, so only those between them change; where it changed, all are moved.
    fn shared(&mut self, table: &TableId, chain: &Name, old: &[Rule], new: &[Rule]) {
        if old == new {
            return;
        }
        let (in_old, in_new): (HashSet<_>, HashSet<_>) =
            (old.iter().collect(), new.iter().collect());
        let staying = old.iter().filter(|rule| in_new.contains(rule));
        let in_order = staying.eq(new.iter().filter(|rule| in_old.contains(rule)));
        for rule in old.iter().filter(|rule| !in_order || !in_new.contains(rule)).cloned() {
            let (table, chain) = (table.clone(), chain.clone());
            self.rules.push(Change::DeleteRule { table, chain, rule });
        }
        let come = new.iter().enumerate();
        for (place, rule) in come.filter(|(_, rule)| !in_order || !in_old.contains(rule)) {
            let (table, chain, rule) = (table.clone(), chain.clone(), rule.clone());
            self.rules.push(Change::InsertRule { table, chain, place, rule });
        }
    }
}

/// The chain as it begins: empty, unless it is made once for all.
fn bare(chain: &Chain) -> Chain {
    match chain.ownership {
        Ownership::Kept => chain.clone(),
        Ownership::Own | Ownership::Shared => Chain { rules: Vec::new(), ..*chain },
    }
}

fn without_elements(set: &Set) -> Set {
    Set { key: set.key.clone(), elements: BTreeMap::new(), ..*set }
}

/// The elements of `these` that `those` lack or have with other data. Both are sorted: one pass.
fn missing(
    these: &BTreeMap<Vec<Value>, Option<Data>>,
    those: &BTreeMap<Vec<Value>, Option<Data>>,
) -> Vec<Element> {
    let mut those = those.iter().peekable();
    let mut missing = Vec::new();
    for (values, data) in these {
        while those.next_if(|(other, _)| *other < values).is_some() {}
        if those.next_if(|other| *other == (values, data)).is_none() {
            missing.push((values.clone(), *data));
        }
    }
    missing
}
