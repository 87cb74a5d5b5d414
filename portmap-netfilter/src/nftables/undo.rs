//! Taking back what was done of a transaction.

use portmap_rules::{Change, Transaction};

use super::batch::Batch;

/// What takes back the first `done` messages of a transaction, in reverse; `None` where something went that isn't
/// known any more.
///
/// Only a transaction that is longer than the send buffer needs it (in a user namespace, above some 6,000 elements).
/// What it adds stands in front, and nothing refers to it yet.
pub(super) fn undo(transaction: &Transaction, batch: &Batch, done: usize) -> Option<Transaction> {
    let mut changes = Vec::with_capacity(done);
    for number in (0..done).rev() {
        let origin = batch.origin(number)?;
        changes.push(match transaction.changes().get(origin.change)? {
            Change::AddTable(table) => Change::DeleteTable(table.clone()),
            Change::AddSet { table, name, set } => {
                Change::DeleteSet { table: table.clone(), name: name.clone(), set: set.clone() }
            }
            Change::AddChain { table, name, chain } => Change::DeleteChain {
                table: table.clone(),
                name: name.clone(),
                chain: chain.clone(),
            },
            Change::DeleteElements { table, set, elements } => Change::AddElements {
                table: table.clone(),
                set: set.clone(),
                elements: elements.get(origin.elements())?.to_vec(),
            },
            Change::AddElements { table, set, elements } => Change::DeleteElements {
                table: table.clone(),
                set: set.clone(),
                elements: elements.get(origin.elements())?.to_vec(),
            },
            _ => return None,
        });
    }
    Some(Transaction::from(changes))
}
