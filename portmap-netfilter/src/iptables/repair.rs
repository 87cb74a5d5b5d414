//! From what iptables lists to what should be in force.

use std::collections::{BTreeMap, HashSet};

use portmap_rules::{
    Chain, Change, Family, Layout, Name, Ownership, Rule, Ruleset, Table, TableFamily, TableId,
    Transaction,
};

use super::{Difference, DifferenceKind, saved::Saved};

/// How the name of a chain ends that is some owner's passage, as [`portmap_rules::compile_passage`] has it.
const PASSAGE: &str = "-OPEN";

/// What is wrong in one family, and the changes that put it right.
#[derive(Debug, Default)]
pub(super) struct Repair {
    pub differences: Vec<Difference>,
    changes: Vec<Change>,
}

impl Repair {
    /// Compares what is in force with `wanted`. What `others` have and `wanted` hasn't is to go, if it is there.
    pub(super) fn new(
        family: Family,
        saved: &Saved<'_>,
        wanted: &Ruleset,
        others: &[&Ruleset],
    ) -> Self {
        let mut repair = Self::default();
        let ours = |id: &TableId| id.family == TableFamily::from(family);
        for (id, table) in wanted.tables().iter().filter(|(id, _)| ours(id)) {
            for (name, chain) in &table.chains {
                let others = tables(others, id).filter_map(|table| table.chains.get(name));
                let others = distinct(others.flat_map(|chain| &chain.rules));
                repair.chain(saved, (id, name), chain, &others);
            }
        }
        let mut gone: BTreeMap<(&TableId, &Name), Vec<&Chain>> = BTreeMap::new();
        for (id, table) in others.iter().flat_map(|other| other.tables()).filter(|(id, _)| ours(id))
        {
            let wanted = wanted.tables().get(id);
            let is_gone =
                |name: &&Name| wanted.is_none_or(|table| !table.chains.contains_key(*name));
            for name in table.chains.keys().filter(is_gone) {
                gone.entry((id, name)).or_default().extend(table.chains.get(name));
            }
        }
        for (place, chains) in gone {
            repair.stale(saved, place, &chains);
        }
        repair
    }

    /// The changes as one transaction.
    pub(super) fn into_transaction(self) -> Transaction {
        self.changes.into()
    }

    fn chain(
        &mut self,
        saved: &Saved<'_>,
        place: (&TableId, &Name),
        chain: &Chain,
        others: &[&Rule],
    ) {
        let (id, name) = place;
        let found = saved.chain(id.name.as_str(), name.as_str());
        match chain.ownership {
            Ownership::Shared => {
                self.shared(found.unwrap_or_default(), place, &chain.rules, others)
            }
            Ownership::Kept if found.is_some() => {}
            Ownership::Kept => {
                self.note(place, DifferenceKind::Missing);
                self.add(place, chain.clone());
            }
            Ownership::Own => {
                let wanted = chain.rules.iter().map(text);
                match found {
                    Some(found) if wanted.eq(found.iter().copied()) => return,
                    Some(_) => self.note(place, DifferenceKind::Changed),
                    None => {
                        self.note(place, DifferenceKind::Missing);
                        self.add(place, Chain::regular());
                    }
                }
                let (table, chain, rules) = (id.clone(), name.clone(), chain.rules.clone());
                self.changes.push(Change::WriteChain { table, chain, rules });
            }
        }
    }

    /// Ours stand first, in order, each once; the others' stay as they are. Where ours lead to a passage, those of other
    /// owners' passages may stand before them: each wants to be first, and none drops anything.
    fn shared(
        &mut self,
        found: &[&str],
        place: (&TableId, &Name),
        wanted: &[Rule],
        others: &[&Rule],
    ) {
        let texts: Vec<String> = wanted.iter().map(text).collect();
        let count = |rule: &str| found.iter().filter(|found| **found == rule).count();
        let ahead = other_passages(found, &texts);
        let present = found.iter().copied().skip(ahead).take(texts.len());
        let first = texts.iter().map(String::as_str).eq(present);
        let once = texts.iter().all(|rule| count(rule) == 1);
        let stale: Vec<&Rule> = others
            .iter()
            .copied()
            .filter(|rule| !wanted.contains(rule) && count(&text(rule)) > 0)
            .collect();
        if !stale.is_empty() {
            self.note(place, DifferenceKind::Stale);
            stale.into_iter().for_each(|rule| self.delete(place, rule, count(&text(rule))));
        }
        if first && once {
            return;
        }
        self.note(place, DifferenceKind::Changed);
        for (rule, text) in wanted.iter().zip(&texts) {
            self.delete(place, rule, count(text));
        }
        for (number, rule) in wanted.iter().enumerate() {
            let (table, chain) = (place.0.clone(), place.1.clone());
            self.changes.push(Change::InsertRule {
                table,
                chain,
                place: number,
                rule: rule.clone(),
            });
        }
    }

    /// What is left of a chain that nobody wants. Each of `chains` is what some rulesets had of it.
    fn stale(&mut self, saved: &Saved<'_>, place: (&TableId, &Name), chains: &[&Chain]) {
        let (id, name) = place;
        let Some(found) = saved.chain(id.name.as_str(), name.as_str()) else { return };
        match chains.first().map(|chain| chain.ownership) {
            Some(Ownership::Kept) | None => {}
            Some(Ownership::Shared) => {
                let rules = distinct(chains.iter().flat_map(|chain| &chain.rules));
                self.shared(found, place, &[], &rules);
            }
            Some(Ownership::Own) => {
                self.note(place, DifferenceKind::Stale);
                let (table, name) = (id.clone(), name.clone());
                self.changes.push(Change::DeleteChain { table, name, chain: Chain::regular() });
            }
        }
    }

    fn add(&mut self, (table, name): (&TableId, &Name), chain: Chain) {
        let (table, name) = (table.clone(), name.clone());
        self.changes.push(Change::AddChain { table, name, chain });
    }

    fn delete(&mut self, (table, chain): (&TableId, &Name), rule: &Rule, times: usize) {
        for _ in 0..times {
            let (table, chain, rule) = (table.clone(), chain.clone(), rule.clone());
            self.changes.push(Change::DeleteRule { table, chain, rule });
        }
    }

    fn note(&mut self, (table, chain): (&TableId, &Name), kind: DifferenceKind) {
        let (table, chain) = (table.clone(), chain.clone());
        self.differences.push(Difference { table, chain, kind });
    }
}

fn tables<'a>(rulesets: &[&'a Ruleset], id: &TableId) -> impl Iterator<Item = &'a Table> {
    rulesets.iter().filter_map(|rules| rules.tables().get(id))
}

/// Each once: what several rulesets have is there once all the same.
fn distinct<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<&'a Rule> {
    let mut known = HashSet::new();
    rules.filter(|rule| known.insert(*rule)).collect()
}

/// How many rules stand first that lead to other owners' passages, where what is wanted leads to one.
fn other_passages(found: &[&str], wanted: &[String]) -> usize {
    if wanted.is_empty() || !wanted.iter().all(|rule| leads_to_passage(rule)) {
        return 0;
    }
    let is_other = |rule: &&&str| leads_to_passage(rule) && !wanted.iter().any(|own| own == **rule);
    found.iter().take_while(is_other).count()
}

/// Whether a rule does nothing but call some owner's passage.
fn leads_to_passage(rule: &str) -> bool {
    let chain = rule.strip_prefix("-j ");
    chain.is_some_and(|chain| chain.ends_with(PASSAGE) && !chain.contains(' '))
}

fn text(rule: &Rule) -> String {
    rule.text(Layout::Iptables).to_string()
}

#[cfg(test)]
mod tests {
    use portmap_rules::{Entrance, compile_passage};

    use super::*;

    #[test]
    fn passages_of_several_owners_stand_beside_each_other() {
        let entrances = [(Family::Ipv4, Entrance::Forward)].into();
        let bridges = ["br0".parse().unwrap()];
        let wanted = compile_passage(&bridges, &entrances, &"P".parse().unwrap());
        let rules = "-A P-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT\n\
                     -A P-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n";
        let places = |forward: &[&str]| {
            let calls: String = forward.iter().map(|rule| format!("-A FORWARD {rule}\n")).collect();
            let text = format!("*filter\n:FORWARD DROP [0:0]\n:P-OPEN - [0:0]\n{calls}{rules}");
            let repair = Repair::new(Family::Ipv4, &Saved::parse(&text), &wanted, &[]);
            let places = repair.differences.iter().map(|it| it.chain.to_string());
            places.collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(places(&["-j P-OPEN", "-j DROP"]), none);
        assert_eq!(places(&["-j A-OPEN", "-j B-OPEN", "-j P-OPEN", "-j DROP"]), none);
        for wrong in [
            &["-j DROP", "-j P-OPEN"][..],
            &["-j A-OPEN", "-j DROP", "-j P-OPEN"],
            &["-s 192.0.2.1/32 -j A-OPEN", "-j P-OPEN"],
            &["-j A-OPEN", "-j P-OPEN", "-j P-OPEN"],
            &["-j A-OPEN"],
            &[],
        ] {
            assert_eq!(places(wrong), ["FORWARD"], "{wrong:?}");
        }
    }
}
