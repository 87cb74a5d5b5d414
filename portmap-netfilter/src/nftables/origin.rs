//! From a message back to what it is about.

use portmap_rules::{Change, Element};

use super::NftablesObject;

/// What a message is about.
#[derive(Debug)]
pub(super) struct Origin {
    /// The place of its change in the transaction.
    pub change: usize,
    /// Which part of the change it is.
    pub part: Part,
}

/// A part of a change.
#[derive(Debug)]
pub(super) enum Part {
    /// All of it; or the deletion that prepares it.
    Whole,
    /// The rule at this place.
    Rule(usize),
    /// Elements.
    Elements {
        /// The place of the first one.
        first: usize,
        /// Where each of them begins in the message.
        starts: Vec<u32>,
    },
}

impl Origin {
    pub(super) const fn whole(change: usize) -> Self {
        Self { change, part: Part::Whole }
    }

    /// By its name: what of `change` the kernel means, where it points at `offset` in the message.
    pub(super) fn object(&self, change: &Change, offset: Option<usize>) -> NftablesObject {
        match change {
            Change::AddTable(table) | Change::DeleteTable(table) => {
                NftablesObject::Table(table.clone())
            }
            Change::AddSet { table, name, .. } | Change::DeleteSet { table, name, .. } => {
                NftablesObject::Set { table: table.clone(), name: name.clone() }
            }
            Change::AddChain { table, name, .. } | Change::DeleteChain { table, name, .. } => {
                NftablesObject::Chain { table: table.clone(), name: name.clone() }
            }
            Change::AddElements { table, set, elements }
            | Change::DeleteElements { table, set, elements } => {
                let (table, set) = (table.clone(), set.clone());
                match self.element(elements, offset).cloned() {
                    Some(element) => NftablesObject::Element { table, set, element },
                    None => NftablesObject::Elements { table, set },
                }
            }
            Change::WriteChain { table, chain, .. } => {
                let (table, chain) = (table.clone(), chain.clone());
                match self.part {
                    Part::Rule(place) => NftablesObject::Rule { table, chain, place },
                    _ => NftablesObject::Rules { table, chain },
                }
            }
            Change::DeleteRule { table, chain, .. } => {
                NftablesObject::Rules { table: table.clone(), chain: chain.clone() }
            }
            Change::InsertRule { table, chain, place, .. } => {
                let (table, chain) = (table.clone(), chain.clone());
                NftablesObject::Rule { table, chain, place: *place }
            }
        }
    }

    /// Whether the change takes something away.
    pub(super) const fn deletes(&self, change: &Change) -> bool {
        matches!(
            change,
            Change::DeleteTable(_)
                | Change::DeleteSet { .. }
                | Change::DeleteChain { .. }
                | Change::DeleteElements { .. }
                | Change::DeleteRule { .. }
        )
    }

    /// Which places of the change's elements the message has.
    pub(super) fn elements(&self) -> std::ops::Range<usize> {
        match &self.part {
            Part::Elements { first, starts } => *first..first + starts.len(),
            _ => 0..0,
        }
    }

    fn element<'a>(&self, elements: &'a [Element], offset: Option<usize>) -> Option<&'a Element> {
        let Part::Elements { first, starts } = &self.part else { return None };
        let before = match offset {
            Some(offset) => starts.partition_point(|start| *start as usize <= offset),
            // Without the kernel's word it can only be the one that is alone.
            None if starts.len() == 1 => 1,
            None => 0,
        };
        elements.get(first + before.checked_sub(1)?)
    }
}
