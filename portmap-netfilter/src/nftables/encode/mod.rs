//! From changes to messages.

mod chain;
mod element;
mod expression;
mod matches;
mod packet;
mod rule;
mod set;
mod value;

use std::borrow::Cow;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use portmap_rules::{Change, Element, Name, TableFamily, TableId, Transaction};

use super::{
    NftablesError, NftablesObject, TableOwner,
    batch::Batch,
    kernel::{NFT_TABLE_F_OWNER, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, msg, nfproto},
    origin::Origin,
    registry::{Registry, Shape},
};

/// What a transaction becomes.
#[derive(Debug)]
pub(super) struct Encoded<'a> {
    /// Its messages.
    pub batch: Batch,
    /// The sets that exist when it is done.
    pub registry: Cow<'a, Registry>,
}

/// Which tables of a name go before one is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Whatever there is that this socket may delete.
    Any,
    /// What this socket owns: any other is refused.
    Owned,
}

/// Writes a transaction's messages. `sweep` says of which tables something may be there that has to go before: what a
/// killed process has left, say.
pub(super) fn encode<'a>(
    transaction: &Transaction,
    registry: &'a Registry,
    owner: TableOwner,
    sweep: impl Fn(&TableId) -> Option<Sweep>,
) -> Result<Encoded<'a>, NftablesError> {
    let mut encoder = Encoder {
        batch: Batch::default(),
        registry: Cow::Borrowed(registry),
        owner,
        sweep: &sweep,
    };
    for (place, change) in transaction.changes().iter().enumerate() {
        if Registry::concerns(change) {
            encoder.registry.to_mut().note(change);
        }
        encoder.change(place, change)?;
    }
    let Encoder { batch, registry, .. } = encoder;
    Ok(Encoded { batch, registry })
}

struct Encoder<'a, 's> {
    batch: Batch,
    registry: Cow<'a, Registry>,
    owner: TableOwner,
    sweep: &'s dyn Fn(&TableId) -> Option<Sweep>,
}

/// What is made must not be there yet: nothing that we don't know of is ever taken for ours.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

impl Encoder<'_, '_> {
    fn change(&mut self, place: usize, change: &Change) -> Result<(), NftablesError> {
        let whole = || Origin::whole(place);
        match change {
            Change::AddTable(table) => self.add_table(place, table),
            Change::DeleteTable(table) => {
                self.batch.push(msg::DELTABLE, 0, family(table), whole(), |writer| {
                    writer.text(NFTA_TABLE_NAME, table.name.as_str());
                });
            }
            Change::AddChain { table, name, chain } => {
                self.batch.push(msg::NEWCHAIN, NEW, family(table), whole(), |writer| {
                    chain::add(writer, table, name, chain);
                });
            }
            Change::DeleteChain { table, name, .. } => {
                self.batch.push(msg::DELCHAIN, 0, family(table), whole(), |writer| {
                    chain::refer(writer, table, name);
                });
            }
            Change::AddSet { table, name, set } => {
                self.batch.push(msg::NEWSET, NEW, family(table), whole(), |writer| {
                    set::add(writer, table, name, set);
                });
            }
            Change::DeleteSet { table, name, .. } => {
                self.batch.push(msg::DELSET, 0, family(table), whole(), |writer| {
                    set::refer(writer, table, name);
                });
            }
            Change::AddElements { table, set, elements } => {
                let shape = self.shape(place, change, table, set)?;
                element::add(&mut self.batch, place, (table, set, shape), elements)
                    .map_err(|element| range(table, set, element))?;
            }
            Change::DeleteElements { table, set, elements } => {
                let shape = self.shape(place, change, table, set)?;
                element::delete(&mut self.batch, place, (table, set, shape), elements)
                    .map_err(|element| range(table, set, element))?;
            }
            Change::WriteChain { table, chain, rules } => {
                let registry = &self.registry;
                rule::flush(&mut self.batch, place, (table, chain));
                for (number, rule) in rules.iter().enumerate() {
                    rule::append(&mut self.batch, (place, number), (table, chain), rule, registry)
                        .map_err(|what| {
                            let (table, chain) = (table.clone(), chain.clone());
                            let object =
                                Box::new(NftablesObject::Rule { table, chain, place: number });
                            NftablesError::Inexpressible { object, what }
                        })?;
                }
            }
            Change::DeleteRule { .. } | Change::InsertRule { .. } => {
                let object = Box::new(whole().object(change, None));
                return Err(NftablesError::Inexpressible { object, what: "shared chains" });
            }
        }
        Ok(())
    }

    fn add_table(&mut self, place: usize, table: &TableId) {
        let name = table.name.as_str();
        if let Some(sweep) = (self.sweep)(table) {
            // To delete what may not be there: make sure that it is.
            for (kind, flags) in [(msg::NEWTABLE, NLM_F_CREATE), (msg::DELTABLE, 0)] {
                self.batch.push(kind, flags, family(table), Origin::whole(place), |writer| {
                    writer.text(NFTA_TABLE_NAME, name);
                    if kind == msg::NEWTABLE && sweep == Sweep::Owned {
                        writer.be32(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
                    }
                });
            }
        }
        let flags = match self.owner {
            TableOwner::Socket => NFT_TABLE_F_OWNER,
            TableOwner::Nobody => 0,
        };
        self.batch.push(msg::NEWTABLE, NEW, family(table), Origin::whole(place), |writer| {
            writer.text(NFTA_TABLE_NAME, name);
            writer.be32(NFTA_TABLE_FLAGS, flags);
        });
    }

    fn shape(
        &self,
        place: usize,
        change: &Change,
        table: &TableId,
        set: &Name,
    ) -> Result<Shape, NftablesError> {
        self.registry.find(table, set).ok_or_else(|| NftablesError::Inexpressible {
            object: Box::new(Origin::whole(place).object(change, None)),
            what: "set of that name",
        })
    }
}

fn range(table: &TableId, set: &Name, element: &Element) -> NftablesError {
    let (table, set, element) = (table.clone(), set.clone(), element.clone());
    let object = Box::new(NftablesObject::Element { table, set, element });
    NftablesError::Inexpressible { object, what: "ranges in a set without intervals" }
}

const fn family(table: &TableId) -> u8 {
    match table.family {
        TableFamily::Ipv4 => nfproto::IPV4,
        TableFamily::Ipv6 => nfproto::IPV6,
        TableFamily::Inet => nfproto::INET,
    }
}
