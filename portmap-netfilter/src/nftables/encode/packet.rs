//! Fields of packets: where they are, how long, and of which type.

use portmap_rules::{Family, Field};

use super::expression::{self, Base, Meta};
use crate::netlink::Writer;

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The number of `nft`'s data type: `enum datatypes` in its `datatype.h`.
    pub number: u32,
    /// Its length in bytes.
    pub len: u32,
}

const INTERFACE: Kind = Kind { number: 41, len: 16 };
const PROTOCOL: Kind = Kind { number: 12, len: 1 };
/// `inet_service`
pub(super) const PORT: Kind = Kind { number: 13, len: 2 };

/// `ipv4_addr`, `ipv6_addr`
pub(super) const fn addr(family: Family) -> Kind {
    match family {
        Family::Ipv4 => Kind { number: 7, len: 4 },
        Family::Ipv6 => Kind { number: 8, len: 16 },
    }
}

pub(super) const fn kind(field: Field) -> Kind {
    match field {
        Field::InInterface | Field::OutInterface => INTERFACE,
        Field::Source(family) | Field::Destination(family) => addr(family),
        Field::Protocol => PROTOCOL,
        Field::DestinationPort => PORT,
    }
}

/// The family whose packets alone have the field where we look for it.
pub(super) const fn family(field: Field) -> Option<Family> {
    match field {
        Field::Source(family) | Field::Destination(family) => Some(family),
        _ => None,
    }
}

/// Loads a field into a register.
pub(super) fn load(writer: &mut Writer, field: Field, register: u32) {
    let len = kind(field).len;
    let mut payload = |base, offset| expression::payload(writer, base, offset, len, register);
    match field {
        Field::Source(Family::Ipv4) => payload(Base::Network, 12),
        Field::Destination(Family::Ipv4) => payload(Base::Network, 16),
        Field::Source(Family::Ipv6) => payload(Base::Network, 8),
        Field::Destination(Family::Ipv6) => payload(Base::Network, 24),
        Field::DestinationPort => payload(Base::Transport, 2),
        Field::InInterface => expression::meta(writer, Meta::InInterface, register),
        Field::OutInterface => expression::meta(writer, Meta::OutInterface, register),
        Field::Protocol => expression::meta(writer, Meta::Protocol, register),
    }
}
