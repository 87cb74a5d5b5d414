//! Expressions: what a rule is made of for the kernel. Each function writes one.

use super::value::Bytes;
use crate::{
    Family, Name, Verdict,
    backend::{
        netlink::Writer,
        nftables::{
            kernel::{
                NF_ACCEPT, NF_DROP, NFT_JUMP, NFT_RETURN, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
                NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_LIST_ELEM, NFTA_VERDICT_CHAIN,
                NFTA_VERDICT_CODE, nfproto,
            },
            register::{self, FIRST},
        },
    },
};

/// `enum nft_meta_keys`
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    InInterface = 6,
    OutInterface = 7,
    Family = 15,
    Protocol = 16,
}

/// `enum nft_payload_bases`
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

/// `enum nft_fib_flags`: which address is looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fib {
    Source = 1,
    Destination = 2,
}

/// `enum nft_ct_keys`
#[derive(Clone, Copy, Debug)]
pub(super) enum Ct {
    State = 0,
    Status = 2,
}

/// What ends a rule, or an element of a verdict map.
#[derive(Clone, Copy, Debug)]
pub(super) enum Code<'a> {
    Accept,
    Drop,
    Return,
    Jump(&'a Name),
}

impl From<Verdict> for Code<'_> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Drop => Self::Drop,
        }
    }
}

/// `iifname`, `meta l4proto`..
pub(super) fn meta(writer: &mut Writer, key: Meta, register: u32) {
    expression(writer, "meta", |writer| {
        writer.be32(2, key as u32);
        writer.be32(1, register);
    });
}

/// Bytes of a header.
pub(super) fn payload(writer: &mut Writer, base: Base, offset: u32, len: u32, register: u32) {
    expression(writer, "payload", |writer| {
        writer.be32(1, register);
        writer.be32(2, base as u32);
        writer.be32(3, offset);
        writer.be32(4, len);
    });
}

/// `fib daddr type`
pub(super) fn fib_type(writer: &mut Writer, addr: Fib) {
    const ADDRTYPE: u32 = 3;
    expression(writer, "fib", |writer| {
        writer.be32(3, addr as u32);
        writer.be32(2, ADDRTYPE);
        writer.be32(1, FIRST);
    });
}

/// `ct state`, `ct status`
pub(super) fn ct(writer: &mut Writer, key: Ct) {
    expression(writer, "ct", |writer| {
        writer.be32(2, key as u32);
        writer.be32(1, FIRST);
    });
}

/// The first register and a mask.
pub(super) fn and(writer: &mut Writer, mask: &[u8]) {
    expression(writer, "bitwise", |writer| {
        writer.be32(1, FIRST);
        writer.be32(2, FIRST);
        writer.be32(3, mask.len() as u32);
        data(writer, 4, mask);
        data(writer, 5, &[0; 16][..mask.len()]);
    });
}

/// Ends the rule unless the first register holds this; or, with `not`, if it does.
pub(super) fn compare(writer: &mut Writer, not: bool, value: &[u8]) {
    expression(writer, "cmp", |writer| {
        writer.be32(1, FIRST);
        writer.be32(2, not.into());
        data(writer, 3, value);
    });
}

/// Ends the rule unless the first register lies within.
pub(super) fn range(writer: &mut Writer, not: bool, (low, high): (Bytes, Bytes)) {
    expression(writer, "range", |writer| {
        writer.be32(1, FIRST);
        writer.be32(2, not.into());
        data(writer, 3, low.as_slice());
        data(writer, 4, high.as_slice());
    });
}

/// Ends the rule unless the set has what is in the registers.
pub(super) fn look_up(writer: &mut Writer, not: bool, set: &Name) {
    const INVERTED: u32 = 1;
    expression(writer, "lookup", |writer| {
        writer.text(1, set.as_str());
        writer.be32(2, FIRST);
        if not {
            writer.be32(5, INVERTED);
        }
    });
}

/// Ends the rule unless the map has what is in the registers; what it says for it goes `to` a register.
pub(super) fn map(writer: &mut Writer, map: &Name, to: u32) {
    expression(writer, "lookup", |writer| {
        writer.text(1, map.as_str());
        writer.be32(2, FIRST);
        writer.be32(3, to);
    });
}

/// A value into a register.
pub(super) fn immediate(writer: &mut Writer, register: u32, value: &[u8]) {
    expression(writer, "immediate", |writer| {
        writer.be32(1, register);
        data(writer, 2, value);
    });
}

/// What becomes of the packet.
pub(super) fn verdict(writer: &mut Writer, verdict: Code<'_>) {
    expression(writer, "immediate", |writer| {
        writer.be32(1, register::VERDICT);
        writer.nest(2, |writer| code(writer, verdict));
    });
}

/// The destination becomes the address in the first register, and the port the one in `port`.
pub(super) fn dnat(writer: &mut Writer, to: Family, port: Option<u32>) {
    const DNAT: u32 = 1;
    expression(writer, "nat", |writer| {
        writer.be32(1, DNAT);
        writer.be32(2, u32::from(number(to)));
        writer.be32(3, FIRST);
        port.iter().for_each(|register| writer.be32(5, *register));
    });
}

/// The source becomes the outgoing interface's address.
pub(super) fn masquerade(writer: &mut Writer) {
    expression(writer, "masq", |_| ());
}

/// A verdict as data.
pub(super) fn code(writer: &mut Writer, verdict: Code<'_>) {
    let number = match verdict {
        Code::Accept => NF_ACCEPT,
        Code::Drop => NF_DROP,
        Code::Return => NFT_RETURN,
        Code::Jump(_) => NFT_JUMP,
    };
    writer.nest(NFTA_DATA_VERDICT, |writer| {
        writer.attr(NFTA_VERDICT_CODE, &number.to_be_bytes());
        if let Code::Jump(chain) = verdict {
            writer.text(NFTA_VERDICT_CHAIN, chain.as_str());
        }
    });
}

/// What `meta nfproto` says.
pub(super) const fn number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => nfproto::IPV4,
        Family::Ipv6 => nfproto::IPV6,
    }
}

fn data(writer: &mut Writer, kind: u16, value: &[u8]) {
    writer.nest(kind, |writer| writer.attr(NFTA_DATA_VALUE, value));
}

/// Attributes within an expression have numbers of its own: `NFTA_META_DREG` is 1, `NFTA_META_KEY` 2, and so on.
fn expression(writer: &mut Writer, name: &str, body: impl FnOnce(&mut Writer)) {
    writer.nest(NFTA_LIST_ELEM, |writer| {
        writer.text(NFTA_EXPR_NAME, name);
        writer.nest(NFTA_EXPR_DATA, body);
    });
}
