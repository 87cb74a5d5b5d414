//! A state on the way, where one commit is a table and not all of them.

use crate::{Ownership, Ruleset};

impl Ruleset {
    /// These rules, with a filter that also lets through what `after` lets through, and the guards of both.
    ///
    /// iptables commits table by table. Where a host port changes its container, a packet that comes between the two
    /// would be led to the new one and not let through, and its sender would wait a second to try again. So everything
    /// but NAT is widened before NAT changes, and narrowed after.
    pub(crate) fn widened(&self, after: &Self) -> Self {
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
