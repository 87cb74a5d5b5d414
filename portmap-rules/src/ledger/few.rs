//! The short way for a few bindings among many: what changes is elements of sets and maps.
//!
//! Compiling 10,000 bindings and comparing the outcome takes 6 ms, for one more port as for all of them. But in the
//! nftables layout a binding is a handful of elements, and the rules depend on which sets exist, no more. So the
//! elements can be had by compiling the few alone, as long as no set begins or ceases to exist.

use std::collections::BTreeMap;

use portmap_core::Binding;

use super::{Edit, Ledger};
use crate::{Change, Data, Layout, Name, Table, TableId, Transaction, Value, compile};

/// Each is compared with every binding that is there; with many of them the long way is shorter.
const FEW: usize = 16;

type Elements = BTreeMap<Vec<Value>, Option<Data>>;

/// The transaction for an edit that is a matter of elements alone. `None` where it is not, or not surely: the long
/// way knows, and has the errors.
pub(super) fn elements(ledger: &Ledger, edit: &Edit) -> Option<Transaction> {
    let networks_stay = edit.attach.is_empty() && edit.detach.is_empty();
    let few = edit.publish.len() + edit.release.len() <= FEW;
    if ledger.policy.layout != Layout::Nftables || !networks_stay || !few {
        return None;
    }
    let (id, present) = ledger.rules.tables.iter().next()?;
    let coming: Vec<_> = edit.publish.iter().flat_map(|(_, bindings)| bindings.clone()).collect();
    let going = edit.release.iter().filter_map(|entry| ledger.entries.get(entry)).flatten();
    let going: Vec<_> = going.cloned().collect();
    if coming.len() + going.len() > FEW {
        return None;
    }
    let mut sharing = Vec::new();
    let staying = ledger.entries.iter().filter(|(entry, _)| !edit.release.contains(entry));
    for other in staying.flat_map(|(_, bindings)| bindings) {
        if coming.iter().any(|binding| binding.conflicts(other)) {
            return None;
        }
        if going.iter().any(|binding| shares_container_ports(binding, other)) {
            sharing.push(other.clone());
        }
    }
    if sharing.len() > FEW {
        return None;
    }
    let base = alone(ledger, &[])?;
    let come = alone(ledger, &coming)?;
    if !has_rules_of(present, &come) {
        return None;
    }
    let change = SetChange {
        gone: beyond(alone(ledger, &going)?, &base),
        kept: beyond(alone(ledger, &sharing)?, &base),
        come: beyond(come, &base),
    };
    change.into_transaction(id, present)
}

/// Host ports belong to one binding alone, but two may lead to one container port.
fn shares_container_ports(one: &Binding, other: &Binding) -> bool {
    one.protocol() == other.protocol()
        && one.container_ports().overlaps(other.container_ports())
        && one.endpoint().addrs().any(|addr| other.endpoint().addrs().any(|other| other == addr))
}

/// The table as it would be with these bindings alone.
fn alone(ledger: &Ledger, bindings: &[Binding]) -> Option<Table> {
    let rules = compile(&ledger.networks, bindings, &ledger.policy).ok()?;
    rules.tables.into_values().next()
}

/// Whether the rules that these few bindings need are all there.
fn has_rules_of(present: &Table, few: &Table) -> bool {
    few.chains.iter().all(|(name, chain)| {
        let there = present.chains.get(name).map_or(&[][..], |there| &there.rules);
        chain.rules.iter().all(|rule| there.contains(rule))
    })
}

/// What the table has beyond its networks' part.
fn beyond(table: Table, base: &Table) -> BTreeMap<Name, Elements> {
    let of_networks = |name: &Name, values: &Vec<Value>| {
        base.sets.get(name).is_some_and(|set| set.elements.contains_key(values))
    };
    let sets = table.sets.into_iter().map(|(name, mut set)| {
        set.elements.retain(|values, _| !of_networks(&name, values));
        (name, set.elements)
    });
    sets.filter(|(_, elements)| !elements.is_empty()).collect()
}

/// Elements by set: those of bindings that go, of those that stay and share some with them, and of those that come.
struct SetChange {
    gone: BTreeMap<Name, Elements>,
    kept: BTreeMap<Name, Elements>,
    come: BTreeMap<Name, Elements>,
}

impl SetChange {
    fn into_transaction(mut self, table: &TableId, present: &Table) -> Option<Transaction> {
        let none = Elements::new();
        let mut changes = Vec::new();
        let names = self.gone.keys().chain(self.come.keys()).cloned();
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let set = present.sets.get(&name)?;
            // Intervals merge where they meet; what one binding contributed is not to be told then.
            if set.interval {
                return None;
            }
            let kept = self.kept.get(&name).unwrap_or(&none);
            let mut gone = self.gone.remove(&name).unwrap_or_default();
            gone.retain(|values, _| !kept.contains_key(values));
            let mut come = self.come.remove(&name).unwrap_or_default();
            let known = gone.iter().all(|(values, data)| set.elements.get(values) == Some(data));
            // What goes and comes again with the same data stays: no change, as in the long way.
            gone.retain(|values, data| {
                let stays = come.get(values) == Some(&*data);
                if stays {
                    come.remove(values);
                }
                !stays
            });
            // What comes and is there already, of another binding, stays as it is.
            come.retain(|values, data| {
                gone.contains_key(values) || set.elements.get(values) != Some(data)
            });
            let fresh = come
                .keys()
                .all(|values| gone.contains_key(values) || !set.elements.contains_key(values));
            if !known || !fresh || set.elements.len() + come.len() == gone.len() {
                return None;
            }
            let (table, set) = (table.clone(), name);
            if !gone.is_empty() {
                let elements = gone.into_iter().collect();
                changes.push(Change::DeleteElements {
                    table: table.clone(),
                    set: set.clone(),
                    elements,
                });
            }
            if !come.is_empty() {
                let elements = come.into_iter().collect();
                changes.push(Change::AddElements { table, set, elements });
            }
        }
        Some(Transaction { changes })
    }
}
