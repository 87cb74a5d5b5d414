//! A state on the way, where host ports change their container.

use crate::{Change, Ownership, Ruleset, Transaction};

impl Ruleset {
    /// These rules, with a filter that also lets through what `after` lets through, and the guards of both.
    ///
    /// iptables commits table by table. Where a host port changes its container, a packet that comes between the two
    /// would be led to the new one and not let through, and its sender would wait a second to try again. So everything
    /// but NAT is widened before NAT changes, and narrowed after.
    pub fn widened(&self, after: &Self) -> Self {
        let mut both = self.clone();
        for (id, table) in after.tables.iter().filter(|(id, _)| id.name.as_str() != "nat") {
            let wider = both.tables.entry(id.clone()).or_default();
            for (name, next) in &table.chains {
                let chain = wider.chains.entry(name.clone()).or_insert_with(|| next.clone());
                if chain.ownership != Ownership::Kept {
                    chain.rules = merged(&chain.rules, &next.rules);
                }
            }
        }
        both
    }
}

impl Transaction {
    /// The same in two steps: the second one takes back what is let through no longer.
    ///
    /// A packet that was led to the old container before the first step may come to the filter after it. What it looks up
    /// there are sets without data. `before` tells which sets have intervals: these may overlap what comes, and go with it.
    pub fn narrowing_last(self, before: &Ruleset) -> (Self, Self) {
        let has_intervals = |change: &Change| match change {
            Change::DeleteElements { table, set, .. } => before
                .tables
                .get(table)
                .and_then(|table| table.sets.get(set))
                .is_none_or(|set| set.interval),
            _ => true,
        };
        let narrows = |change: &Change| match change {
            Change::DeleteElements { elements, .. } => {
                elements.iter().all(|(_, data)| data.is_none())
            }
            _ => false,
        };
        let (last, first) =
            self.changes.into_iter().partition(|one| narrows(one) && !has_intervals(one));
        (Self { changes: first }, Self { changes: last })
    }
}

/// All of both, each as it stands between those that both have.
fn merged<T: Clone + PartialEq>(before: &[T], after: &[T]) -> Vec<T> {
    let mut merged = Vec::with_capacity(before.len() + 1);
    let mut rest = after;
    for one in before {
        if let Some(place) = rest.iter().position(|next| next == one) {
            merged.extend_from_slice(&rest[..place]);
            rest = &rest[place + 1..];
        }
        merged.push(one.clone());
    }
    merged.extend_from_slice(rest);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_alone_stands_before_what_follows_it_in_both() {
        assert_eq!(merged(&[1, 2, 9], &[1, 3, 9]), [1, 2, 3, 9]);
        assert_eq!(merged(&[1, 9], &[3, 1, 9, 4]), [3, 1, 9, 4]);
        assert_eq!(merged(&[] as &[u8], &[1]), [1]);
        assert_eq!(merged(&[1, 2], &[]), [1, 2]);
    }
}
