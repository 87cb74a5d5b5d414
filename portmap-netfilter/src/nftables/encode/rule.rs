//! Rules.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use portmap_rules::{DataType, Family, Mark, Name, NatPorts, Rule, TableId, Target};

use super::{
    expression::{self, Code, Meta},
    family,
    matches::Known,
    set,
    value::{self, Bytes},
};
use crate::{
    netlink::Writer,
    nftables::{
        batch::Batch,
        kernel::{NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE, msg},
        origin::{Origin, Part},
        register::{self, FIRST, SECOND},
        registry::Registry,
    },
};

type Place<'a> = (&'a TableId, &'a Name);

/// Deletes all rules of a chain, if there are any.
pub(super) fn flush(batch: &mut Batch, change: usize, (table, chain): Place<'_>) {
    batch.push(msg::DELRULE, 0, family(table), Origin::whole(change), |writer| {
        writer.text(NFTA_RULE_TABLE, table.name.as_str());
        writer.text(NFTA_RULE_CHAIN, chain.as_str());
    });
}

/// Puts a rule behind the others of its chain. The error says what nftables hasn't.
pub(super) fn append(
    batch: &mut Batch,
    (change, number): (usize, usize),
    (table, chain): Place<'_>,
    rule: &Rule,
    registry: &Registry,
) -> Result<(), &'static str> {
    let origin = Origin { change, part: Part::Rule(number) };
    let flags = NLM_F_CREATE | NLM_F_APPEND;
    batch.push(msg::NEWRULE, flags, family(table), origin, |writer| {
        writer.text(NFTA_RULE_TABLE, table.name.as_str());
        writer.text(NFTA_RULE_CHAIN, chain.as_str());
        writer.nest(NFTA_RULE_EXPRESSIONS, |writer| {
            let mut known = Known::of(table.family);
            rule.matches.iter().for_each(|each| known.add(writer, each));
            target(writer, &mut known, table, &rule.target, registry)
        })
    })
}

fn target(
    writer: &mut Writer,
    known: &mut Known,
    table: &TableId,
    target: &Target,
    registry: &Registry,
) -> Result<(), &'static str> {
    match target {
        Target::Accept => expression::verdict(writer, Code::Accept),
        Target::Drop => expression::verdict(writer, Code::Drop),
        Target::Return => expression::verdict(writer, Code::Return),
        Target::Jump(chain) => expression::verdict(writer, Code::Jump(chain)),
        Target::Masquerade => expression::masquerade(writer),
        Target::Mark(Mark { value, mask }) => {
            expression::meta(writer, Meta::Mark, FIRST);
            expression::bits(writer, &(!mask).to_ne_bytes(), &value.to_ne_bytes());
            expression::set_meta(writer, Meta::Mark);
        }
        Target::Dnat { to, ports } => {
            let port = match ports {
                NatPorts::Keep => None,
                NatPorts::To(port) => Some(*port),
                NatPorts::Shift { .. } => return Err("NAT that shifts a range of ports"),
            };
            expression::immediate(writer, FIRST, Bytes::from(*to).as_slice());
            let port = port.map(|port| {
                expression::immediate(writer, SECOND, value::port(port).as_slice());
                SECOND
            });
            expression::dnat(writer, Family::of(*to), port);
        }
        Target::DnatMap { family, key, map } => {
            let port = match registry.find(table, map).and_then(|shape| shape.data) {
                Some(DataType::Addr(_)) => None,
                Some(DataType::AddrPort(family)) => Some(register::at(set::port_slot(family))),
                Some(DataType::Verdict) | None => return Err("map of addresses of that name"),
            };
            known.load(writer, key);
            expression::map(writer, map, FIRST);
            expression::dnat(writer, *family, port);
        }
        Target::VerdictMap { key, map } => {
            known.load(writer, key);
            expression::map(writer, map, register::VERDICT);
        }
    }
    Ok(())
}
