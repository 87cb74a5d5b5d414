//! How many rules and elements a table has, for tables that others can change.
//!
//! What a rule says is not read: the kernel lists it in words of its own, which differ from version to version. Who flushes,
//! deletes or adds something changes a count; who replaces a rule by another one stays unnoticed.

use std::{collections::BTreeMap, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use portmap_rules::{Name, Ruleset, TableFamily, TableId};

use super::kernel::{
    NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_TABLE,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME,
    NFTA_SET_TABLE, SUBSYSTEM, msg, nfproto,
};
use crate::{
    Difference, DifferenceKind,
    netlink::{Attrs, Message, Transport, Writer, dump},
};

/// How what is in force differs from `wanted`.
pub(super) fn compare(socket: &dyn Transport, wanted: &Ruleset) -> io::Result<Vec<Difference>> {
    let mut differences = Vec::new();
    for (id, table) in wanted.tables() {
        let found = Found::read(socket, id)?;
        let mut note = |name: &Name, kind| {
            let (table, chain) = (id.clone(), name.clone());
            differences.push(Difference { table, chain, kind });
        };
        for (name, chain) in &table.chains {
            match found.chains.get(name.as_str()) {
                None => note(name, DifferenceKind::Missing),
                Some(rules) if *rules != chain.rules.len() => note(name, DifferenceKind::Changed),
                Some(_) => {}
            }
        }
        for (name, set) in &table.sets {
            if found.sets.get(name.as_str()) != Some(&set.elements.len()) {
                note(name, DifferenceKind::Elements);
            }
        }
        let is_ours = |name: &Name| table.chains.contains_key(name);
        let theirs = found.chains.into_keys().map(Name::from).filter(|name| !is_ours(name));
        theirs.for_each(|name| note(&name, DifferenceKind::Stale));
    }
    Ok(differences)
}

/// Chains and their rules, sets and their elements.
#[derive(Debug, Default)]
struct Found {
    chains: BTreeMap<String, usize>,
    sets: BTreeMap<String, usize>,
}

impl Found {
    fn read(socket: &dyn Transport, table: &TableId) -> io::Result<Self> {
        let mut found = Self::default();
        let name = table.name.as_str();
        let of_table = |attrs: Attrs<'_>, kind| text(attrs, kind).as_deref() == Some(name);
        let naming = |kind| move |writer: &mut Writer| writer.text(kind, name);
        let chains = list(socket, table, msg::GETCHAIN, naming(NFTA_CHAIN_TABLE), |attrs| {
            of_table(attrs, NFTA_CHAIN_TABLE).then(|| text(attrs, NFTA_CHAIN_NAME))?
        })?;
        found.chains.extend(chains.into_iter().map(|chain| (chain, 0)));
        // To ask for the sets of a table that is gone is an error.
        if found.chains.is_empty() {
            return Ok(found);
        }
        let rules = list(socket, table, msg::GETRULE, naming(NFTA_RULE_TABLE), |attrs| {
            of_table(attrs, NFTA_RULE_TABLE).then(|| text(attrs, NFTA_RULE_CHAIN))?
        })?;
        for chain in rules {
            *found.chains.entry(chain).or_default() += 1;
        }
        let sets = list(socket, table, msg::GETSET, naming(NFTA_SET_TABLE), |attrs| {
            of_table(attrs, NFTA_SET_TABLE).then(|| text(attrs, NFTA_SET_NAME))?
        })?;
        found.sets.extend(sets.into_iter().map(|set| (set, 0)));
        for (set, elements) in &mut found.sets {
            let of_set = |writer: &mut Writer| {
                writer.text(NFTA_SET_ELEM_LIST_TABLE, name);
                writer.text(NFTA_SET_ELEM_LIST_SET, set);
            };
            let counts = list(socket, table, msg::GETSETELEM, of_set, |attrs| {
                Some(attrs.nested(NFTA_SET_ELEM_LIST_ELEMENTS)?.iter().count())
            })?;
            *elements = counts.into_iter().sum();
        }
        Ok(found)
    }
}

/// Lists what is wanted of everything of a kind, as far as the kernel narrows that down by what is asked for.
fn list<T>(
    socket: &dyn Transport,
    table: &TableId,
    kind: u8,
    asked: impl FnOnce(&mut Writer),
    read: impl FnMut(Attrs<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut request = Writer::default();
    let head = Message {
        kind: u16::from(SUBSYSTEM) << 8 | u16::from(kind),
        flags: NLM_F_REQUEST | NLM_F_DUMP,
        sequence: 0,
        family: match table.family {
            TableFamily::Inet => nfproto::INET,
            TableFamily::Ipv4 => nfproto::IPV4,
            TableFamily::Ipv6 => nfproto::IPV6,
        },
        resource: 0,
    };
    request.message(head, asked);
    dump(socket, request.bytes(), read)
}

fn text(attrs: Attrs<'_>, kind: u16) -> Option<String> {
    Some(String::from_utf8_lossy(attrs.find(kind)?).trim_end_matches('\0').to_owned())
}
