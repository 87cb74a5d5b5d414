//! What one owner wants to be in force, and the rules for it.

mod few;

use std::collections::BTreeMap;

use portmap_core::Binding;

use crate::{CompileError, Interface, Network, Policy, Ruleset, Transaction, compile};

/// What one owner wants to be in force, and the rules for it: pure bookkeeping, changed in two steps.
///
/// [`prepare`](Self::prepare) says what the kernel has to change; when it has, [`commit`](Self::commit) writes that
/// down. Whoever fails in between has changed nothing.
///
/// Bindings are kept by entry, so that releasing one never touches another, whatever the two have in common.
#[derive(Clone, Debug)]
pub struct Ledger {
    policy: Policy,
    networks: Vec<Network>,
    entries: BTreeMap<Entry, Vec<Binding>>,
    rules: Ruleset,
}

/// A number for the bindings of one publish. Never given to another one by the same caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub u64);

/// What is to become different: all of it at once.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Networks that come, in this order, after those that are there.
    pub attach: Vec<Network>,
    /// Bridges whose networks go.
    pub detach: Vec<Interface>,
    /// Bindings that come. An entry that goes may come again with others.
    pub publish: Vec<(Entry, Vec<Binding>)>,
    /// Entries that go.
    pub release: Vec<Entry>,
}

/// An [`Edit`] that can be made: what the kernel has to do, and what to write down then.
#[derive(Clone, Debug)]
pub struct Prepared {
    edit: Edit,
    transaction: Transaction,
    /// The rules as they will be; `None` where only elements change and the transaction says it all.
    rules: Option<Ruleset>,
}

impl Ledger {
    /// Nothing is wanted yet.
    pub fn new(policy: Policy) -> Self {
        let rules = Ruleset::empty(policy.layout);
        Self { policy, networks: Vec::new(), entries: BTreeMap::new(), rules }
    }

    /// How the owner wants its rules.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its networks, oldest first.
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Everything that should be in force.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.entries.values().flatten()
    }

    /// The bindings of one entry.
    pub fn entry(&self, entry: Entry) -> Option<&[Binding]> {
        self.entries.get(&entry).map(Vec::as_slice)
    }

    /// Whether a container of this bridge's network is published.
    pub fn is_populated(&self, bridge: Interface) -> bool {
        let network = self.networks.iter().find(|network| network.bridge() == bridge);
        let subnets: Vec<_> = network.iter().flat_map(|network| network.subnets()).collect();
        let mut addrs =
            self.bindings().flat_map(|binding| binding.endpoint().addrs().collect::<Vec<_>>());
        addrs.any(|addr| subnets.iter().any(|subnet| subnet.net().contains(&addr)))
    }

    /// The rules for it.
    pub const fn rules(&self) -> &Ruleset {
        &self.rules
    }

    /// Finds out what the kernel has to change.
    ///
    /// One more port among 10,000 costs a look at each of them, and no more than that: see
    /// [`Prepared::is_by_elements`].
    ///
    /// # Errors
    /// As [`compile`], for what would be in force.
    pub fn prepare(&self, edit: Edit) -> Result<Prepared, CompileError> {
        if let Some(transaction) = few::elements(self, &edit) {
            return Ok(Prepared { edit, transaction, rules: None });
        }
        let after = self.after(&edit);
        let bindings: Vec<_> = after.bindings().cloned().collect();
        let rules = compile(&after.networks, &bindings, &self.policy)?;
        let transaction = Ruleset::diff(&self.rules, &rules);
        Ok(Prepared { edit, transaction, rules: Some(rules) })
    }

    /// Writes down what the kernel has changed.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { edit, transaction, rules } = prepared;
        let before = std::mem::replace(&mut self.rules, Ruleset::empty(self.policy.layout));
        self.rules = rules.unwrap_or_else(|| before.apply(&transaction));
        self.make(&edit);
    }

    fn after(&self, edit: &Edit) -> Self {
        let mut after = Self { rules: Ruleset::empty(self.policy.layout), ..self.clone() };
        after.make(edit);
        after
    }

    fn make(&mut self, edit: &Edit) {
        self.networks.retain(|network| !edit.detach.contains(&network.bridge()));
        self.networks.extend(edit.attach.iter().cloned());
        for entry in &edit.release {
            self.entries.remove(entry);
        }
        self.entries.extend(edit.publish.iter().cloned());
    }
}

impl Prepared {
    /// What the kernel has to do.
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The rules as they will be; `None` where only elements change.
    pub const fn rules(&self) -> Option<&Ruleset> {
        self.rules.as_ref()
    }

    /// What is asked for.
    pub const fn edit(&self) -> &Edit {
        &self.edit
    }

    /// Whether rules stay as they are, and only elements of their maps and sets come and go.
    pub const fn is_by_elements(&self) -> bool {
        self.rules.is_none()
    }
}
