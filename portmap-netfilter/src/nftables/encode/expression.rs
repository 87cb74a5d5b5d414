//! Expressions: what a rule is made of for the kernel. Each function writes one.

use portmap_rules::{Family, Name, Verdict};

use super::value::Bytes;
use crate::{
    netlink::Writer,
    nftables::{
        kernel::{
            NF_ACCEPT, NF_DROP, NFT_JUMP, NFT_RETURN, NFTA_BITWISE_DREG, NFTA_BITWISE_LEN,
            NFTA_BITWISE_MASK, NFTA_BITWISE_SREG, NFTA_BITWISE_XOR, NFTA_CMP_DATA, NFTA_CMP_OP,
            NFTA_CMP_SREG, NFTA_CT_DIRECTION, NFTA_CT_DREG, NFTA_CT_KEY, NFTA_DATA_VALUE,
            NFTA_DATA_VERDICT, NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_FIB_DREG, NFTA_FIB_FLAGS,
            NFTA_FIB_RESULT, NFTA_IMMEDIATE_DATA, NFTA_IMMEDIATE_DREG, NFTA_LIST_ELEM,
            NFTA_LOOKUP_DREG, NFTA_LOOKUP_FLAGS, NFTA_LOOKUP_SET, NFTA_LOOKUP_SREG, NFTA_META_DREG,
            NFTA_META_KEY, NFTA_META_SREG, NFTA_NAT_FAMILY, NFTA_NAT_REG_ADDR_MIN,
            NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_TYPE, NFTA_PAYLOAD_BASE, NFTA_PAYLOAD_DREG,
            NFTA_PAYLOAD_LEN, NFTA_PAYLOAD_OFFSET, NFTA_RANGE_FROM_DATA, NFTA_RANGE_OP,
            NFTA_RANGE_SREG, NFTA_RANGE_TO_DATA, NFTA_SOCKET_DREG, NFTA_SOCKET_KEY,
            NFTA_VERDICT_CHAIN, NFTA_VERDICT_CODE, nfproto,
        },
        register::{self, FIRST},
    },
};

/// `enum nft_meta_keys`
#[derive(Clone, Copy, Debug)]
pub(super) enum Meta {
    InInterface = 6,
    OutInterface = 7,
    Mark = 3,
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
    Direction = 1,
    Status = 2,
    DestinationV4 = 20,
    DestinationV6 = 22,
}

/// `enum nft_socket_keys`
#[derive(Clone, Copy, Debug)]
pub(super) enum Socket {
    Transparent = 0,
    Wildcard = 2,
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
        writer.be32(NFTA_META_KEY, key as u32);
        writer.be32(NFTA_META_DREG, register);
    });
}

/// The first register into `meta mark`, say.
pub(super) fn set_meta(writer: &mut Writer, key: Meta) {
    expression(writer, "meta", |writer| {
        writer.be32(NFTA_META_KEY, key as u32);
        writer.be32(NFTA_META_SREG, FIRST);
    });
}

/// `socket transparent`, `socket wildcard`: one byte. Ends the rule where the packet is for no socket.
pub(super) fn socket(writer: &mut Writer, key: Socket) {
    expression(writer, "socket", |writer| {
        writer.be32(NFTA_SOCKET_KEY, key as u32);
        writer.be32(NFTA_SOCKET_DREG, FIRST);
    });
}

/// Bytes of a header.
pub(super) fn payload(writer: &mut Writer, base: Base, offset: u32, len: u32, register: u32) {
    expression(writer, "payload", |writer| {
        writer.be32(NFTA_PAYLOAD_DREG, register);
        writer.be32(NFTA_PAYLOAD_BASE, base as u32);
        writer.be32(NFTA_PAYLOAD_OFFSET, offset);
        writer.be32(NFTA_PAYLOAD_LEN, len);
    });
}

/// `fib daddr type`
pub(super) fn fib_type(writer: &mut Writer, addr: Fib) {
    const ADDRTYPE: u32 = 3;
    expression(writer, "fib", |writer| {
        writer.be32(NFTA_FIB_FLAGS, addr as u32);
        writer.be32(NFTA_FIB_RESULT, ADDRTYPE);
        writer.be32(NFTA_FIB_DREG, FIRST);
    });
}

/// `ct state`, `ct status`
pub(super) fn ct(writer: &mut Writer, key: Ct) {
    expression(writer, "ct", |writer| {
        writer.be32(NFTA_CT_KEY, key as u32);
        writer.be32(NFTA_CT_DREG, FIRST);
    });
}

/// `ct original ip daddr`, `ct original ip6 daddr` (Linux 4.17): ends the rule where the connection is of the other family.
pub(super) fn ct_original(writer: &mut Writer, key: Ct) {
    const ORIGINAL: u8 = 0;
    expression(writer, "ct", |writer| {
        writer.be32(NFTA_CT_KEY, key as u32);
        writer.be32(NFTA_CT_DREG, FIRST);
        writer.attr(NFTA_CT_DIRECTION, &[ORIGINAL]);
    });
}

/// The first register and a mask.
pub(super) fn and(writer: &mut Writer, mask: &[u8]) {
    bits(writer, mask, &[0; 16][..mask.len()]);
}

/// The first register and a mask, and then other bits flipped: set, where the mask leaves none of them.
pub(super) fn bits(writer: &mut Writer, mask: &[u8], flipped: &[u8]) {
    expression(writer, "bitwise", |writer| {
        writer.be32(NFTA_BITWISE_SREG, FIRST);
        writer.be32(NFTA_BITWISE_DREG, FIRST);
        writer.be32(NFTA_BITWISE_LEN, mask.len() as u32);
        data(writer, NFTA_BITWISE_MASK, mask);
        data(writer, NFTA_BITWISE_XOR, flipped);
    });
}

/// Ends the rule unless the first register holds this; or, with `not`, if it does.
pub(super) fn compare(writer: &mut Writer, not: bool, value: &[u8]) {
    expression(writer, "cmp", |writer| {
        writer.be32(NFTA_CMP_SREG, FIRST);
        writer.be32(NFTA_CMP_OP, not.into());
        data(writer, NFTA_CMP_DATA, value);
    });
}

/// Ends the rule unless the first register lies within.
pub(super) fn range(writer: &mut Writer, not: bool, (low, high): (Bytes, Bytes)) {
    expression(writer, "range", |writer| {
        writer.be32(NFTA_RANGE_SREG, FIRST);
        writer.be32(NFTA_RANGE_OP, not.into());
        data(writer, NFTA_RANGE_FROM_DATA, low.as_slice());
        data(writer, NFTA_RANGE_TO_DATA, high.as_slice());
    });
}

/// Ends the rule unless the set has what is in the registers.
pub(super) fn look_up(writer: &mut Writer, not: bool, set: &Name) {
    const INVERTED: u32 = 1;
    expression(writer, "lookup", |writer| {
        writer.text(NFTA_LOOKUP_SET, set.as_str());
        writer.be32(NFTA_LOOKUP_SREG, FIRST);
        if not {
            writer.be32(NFTA_LOOKUP_FLAGS, INVERTED);
        }
    });
}

/// Ends the rule unless the map has what is in the registers; what it says for it goes `to` a register.
pub(super) fn map(writer: &mut Writer, map: &Name, to: u32) {
    expression(writer, "lookup", |writer| {
        writer.text(NFTA_LOOKUP_SET, map.as_str());
        writer.be32(NFTA_LOOKUP_SREG, FIRST);
        writer.be32(NFTA_LOOKUP_DREG, to);
    });
}

/// A value into a register.
pub(super) fn immediate(writer: &mut Writer, register: u32, value: &[u8]) {
    expression(writer, "immediate", |writer| {
        writer.be32(NFTA_IMMEDIATE_DREG, register);
        data(writer, NFTA_IMMEDIATE_DATA, value);
    });
}

/// What becomes of the packet.
pub(super) fn verdict(writer: &mut Writer, verdict: Code<'_>) {
    expression(writer, "immediate", |writer| {
        writer.be32(NFTA_IMMEDIATE_DREG, register::VERDICT);
        writer.nest(NFTA_IMMEDIATE_DATA, |writer| code(writer, verdict));
    });
}

/// The destination becomes the address in the first register, and the port the one in `port`.
pub(super) fn dnat(writer: &mut Writer, to: Family, port: Option<u32>) {
    const DNAT: u32 = 1;
    expression(writer, "nat", |writer| {
        writer.be32(NFTA_NAT_TYPE, DNAT);
        writer.be32(NFTA_NAT_FAMILY, u32::from(number(to)));
        writer.be32(NFTA_NAT_REG_ADDR_MIN, FIRST);
        port.iter().for_each(|register| writer.be32(NFTA_NAT_REG_PROTO_MIN, *register));
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

fn expression(writer: &mut Writer, name: &str, body: impl FnOnce(&mut Writer)) {
    writer.nest(NFTA_LIST_ELEM, |writer| {
        writer.text(NFTA_EXPR_NAME, name);
        writer.nest(NFTA_EXPR_DATA, body);
    });
}
