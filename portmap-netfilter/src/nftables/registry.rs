//! The tables that were made, and what the sets look like that elements and rules refer to.

use std::collections::BTreeMap;

use portmap_rules::{Change, DataType, Name, Set, TableId};

/// What an element or a look-up must know of its set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Whether an element has several fields.
    pub concatenated: bool,
    /// Whether elements may be prefixes and ranges.
    pub interval: bool,
    /// What a map holds.
    pub data: Option<DataType>,
}

/// The tables and sets that exist. The kernel could be asked; but we made them.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry(BTreeMap<TableId, BTreeMap<Name, Shape>>);

impl Registry {
    pub(super) fn find(&self, table: &TableId, set: &Name) -> Option<Shape> {
        self.0.get(table)?.get(set).copied()
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &TableId> {
        self.0.keys()
    }

    pub(super) fn has(&self, table: &TableId) -> bool {
        self.0.contains_key(table)
    }

    /// Whether [`note`](Self::note) would change anything.
    pub(super) const fn concerns(change: &Change) -> bool {
        matches!(
            change,
            Change::AddTable(_)
                | Change::DeleteTable(_)
                | Change::AddSet { .. }
                | Change::DeleteSet { .. }
        )
    }

    /// Keeps up with a change.
    pub(super) fn note(&mut self, change: &Change) {
        match change {
            Change::AddTable(table) => {
                self.0.entry(table.clone()).or_default();
            }
            Change::AddSet { table, name, set } => {
                let sets = self.0.entry(table.clone()).or_default();
                sets.insert(name.clone(), Shape::of(set));
            }
            Change::DeleteSet { table, name, .. } => {
                if let Some(sets) = self.0.get_mut(table) {
                    sets.remove(name);
                }
            }
            Change::DeleteTable(table) => {
                self.0.remove(table);
            }
            _ => {}
        }
    }
}

impl Shape {
    const fn of(set: &Set) -> Self {
        Self { concatenated: set.key.len() > 1, interval: set.interval, data: set.data }
    }
}
