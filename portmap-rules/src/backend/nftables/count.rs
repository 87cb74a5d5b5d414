//! How many rules and elements a table has, for tables that others can change.
//!
//! What a rule says is not read: the kernel lists it in words of its own, which differ from version to version. Who flushes,
//! deletes or adds something changes a count; who replaces a rule by another one stays unnoticed.

use std::{collections::BTreeMap, io};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};

use super::kernel::{
    NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_TABLE,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME,
    NFTA_SET_TABLE, SUBSYSTEM, msg, nfproto,
};
use crate::{
    Difference, DifferenceKind, Name, Ruleset, TableFamily, TableId,
    backend::netlink::{Attrs, Message, Reply, Socket, Writer, replies},
};

/// How what is in force differs from `wanted`.
pub(super) fn compare(socket: &Socket, wanted: &Ruleset) -> io::Result<Vec<Difference>> {
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
    fn read(socket: &Socket, table: &TableId) -> io::Result<Self> {
        let mut found = Self::default();
        let name = table.name.as_str();
        let of_table = |attrs: Attrs<'_>, kind| text(attrs, kind).as_deref() == Some(name);
        let naming = |kind| move |writer: &mut Writer| writer.text(kind, name);
        dump(socket, table, msg::GETCHAIN, naming(NFTA_CHAIN_TABLE), |attrs| {
            if let (true, Some(chain)) =
                (of_table(attrs, NFTA_CHAIN_TABLE), text(attrs, NFTA_CHAIN_NAME))
            {
                found.chains.entry(chain).or_default();
            }
        })?;
        // To ask for the sets of a table that is gone is an error.
        if found.chains.is_empty() {
            return Ok(found);
        }
        dump(socket, table, msg::GETRULE, naming(NFTA_RULE_TABLE), |attrs| {
            if let (true, Some(chain)) =
                (of_table(attrs, NFTA_RULE_TABLE), text(attrs, NFTA_RULE_CHAIN))
            {
                *found.chains.entry(chain).or_default() += 1;
            }
        })?;
        dump(socket, table, msg::GETSET, naming(NFTA_SET_TABLE), |attrs| {
            if let (true, Some(set)) = (of_table(attrs, NFTA_SET_TABLE), text(attrs, NFTA_SET_NAME))
            {
                found.sets.entry(set).or_default();
            }
        })?;
        for (set, elements) in &mut found.sets {
            let of_set = |writer: &mut Writer| {
                writer.text(NFTA_SET_ELEM_LIST_TABLE, name);
                writer.text(NFTA_SET_ELEM_LIST_SET, set);
            };
            dump(socket, table, msg::GETSETELEM, of_set, |attrs| {
                let listed = attrs.nested(NFTA_SET_ELEM_LIST_ELEMENTS);
                *elements += listed.map_or(0, |listed| listed.iter().count());
            })?;
        }
        Ok(found)
    }
}

/// Asks for everything of a kind, as far as the kernel narrows that down by what is asked for.
fn dump(
    socket: &Socket,
    table: &TableId,
    kind: u8,
    asked: impl FnOnce(&mut Writer),
    mut tell: impl FnMut(Attrs<'_>),
) -> io::Result<()> {
    // What an earlier listing left unread would be taken for this one's.
    while socket.receive()?.is_some() {}
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
    socket.send(request.bytes())?;
    while let Some(datagram) = socket.receive()? {
        for reply in replies(&datagram) {
            match reply {
                Reply::Message { attrs, .. } => tell(attrs),
                Reply::Ack(ack) => ack.error.map_or(Ok(()), Err)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn text(attrs: Attrs<'_>, kind: u16) -> Option<String> {
    Some(String::from_utf8_lossy(attrs.find(kind)?).trim_end_matches('\0').to_owned())
}
