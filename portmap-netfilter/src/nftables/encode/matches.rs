//! Matches, as expressions.

use ipnet::IpNet;
use portmap_rules::{Connection, Family, Field, Key, L4, Match, TableFamily, What};

use super::{
    expression::{self, Ct, Fib, Meta, Socket},
    packet,
    value::{self, Bytes},
};
use crate::{
    netlink::Writer,
    nftables::register::{self, FIRST},
};

/// `RTN_LOCAL`, in the host's order.
const LOCAL: u32 = 2;
/// `IP_CT_ESTABLISHED` and `IP_CT_RELATED` as bits of `ct state`.
const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
/// `IP_CT_DIR_REPLY`
const REPLY: u8 = 1;
/// `NF_CT_STATE_INVALID_BIT`
const INVALID: u32 = 1;
/// `IPS_DST_NAT`
const DESTINATION_REWRITTEN: u32 = 1 << 5;

/// What is known of a packet that came this far in a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    family: Option<Family>,
    protocol: Option<L4>,
}

impl Known {
    /// At the beginning of a rule of such a table.
    pub(super) const fn of(table: TableFamily) -> Self {
        let family = match table {
            TableFamily::Ipv4 => Some(Family::Ipv4),
            TableFamily::Ipv6 => Some(Family::Ipv6),
            TableFamily::Inet => None,
        };
        Self { family, protocol: None }
    }

    pub(super) fn add(&mut self, writer: &mut Writer, Match { not, what }: &Match) {
        let not = *not;
        match what {
            What::Family(family) => self.family(writer, not, *family),
            What::Protocol(protocol) => self.protocol(writer, not, *protocol),
            What::InInterface(interface) => {
                field(writer, not, Field::InInterface, Bytes::from(*interface));
            }
            What::OutInterface(interface) => {
                field(writer, not, Field::OutInterface, Bytes::from(*interface));
            }
            What::Source(net) => self.net(writer, not, Field::Source, *net),
            What::Destination(net) => self.net(writer, not, Field::Destination, *net),
            What::DestinationPorts(protocol, ports) => {
                let protocol = L4::Transport(*protocol);
                if self.protocol != Some(protocol) {
                    self.protocol(writer, false, protocol);
                }
                packet::load(writer, Field::DestinationPort, FIRST);
                let (first, last) = (value::port(ports.first()), value::port(ports.last()));
                if first == last {
                    expression::compare(writer, not, first.as_slice());
                } else {
                    expression::range(writer, not, (first, last));
                }
            }
            What::SourceIsLocal => local(writer, not, Fib::Source),
            What::DestinationIsLocal => local(writer, not, Fib::Destination),
            What::Connection(Connection::Established) => {
                any_bit(writer, not, Ct::State, ESTABLISHED_OR_RELATED);
            }
            What::Connection(Connection::DestinationRewritten) => {
                any_bit(writer, not, Ct::Status, DESTINATION_REWRITTEN);
            }
            What::Connection(Connection::Answer) => {
                expression::ct(writer, Ct::Direction);
                expression::compare(writer, not, &[REPLY]);
            }
            What::OriginalDestination(net) => {
                let key = match Family::of(net.addr()) {
                    Family::Ipv4 => Ct::DestinationV4,
                    Family::Ipv6 => Ct::DestinationV6,
                };
                expression::ct_original(writer, key);
                within(writer, not, *net);
            }
            What::Connection(Connection::Invalid) => any_bit(writer, not, Ct::State, INVALID),
            What::SocketIsTransparent => socket(writer, not, Socket::Transparent),
            What::SocketIsWildcard => socket(writer, not, Socket::Wildcard),
            What::InSet(key, set) => {
                self.load(writer, key);
                expression::look_up(writer, not, set);
            }
        }
    }

    /// Loads what is to be looked up.
    pub(super) fn load(&mut self, writer: &mut Writer, key: &Key) {
        key.iter().filter_map(|field| packet::family(*field)).for_each(|family| {
            self.need(writer, family);
        });
        let mut slot = 0;
        for field in key {
            packet::load(writer, *field, register::at(slot));
            slot += packet::kind(*field).len.div_ceil(4);
        }
    }

    /// Addresses stand in different places of the two families' headers: ask before reading them.
    fn need(&mut self, writer: &mut Writer, family: Family) {
        if self.family != Some(family) {
            self.family(writer, false, family);
        }
    }

    fn family(&mut self, writer: &mut Writer, not: bool, family: Family) {
        expression::meta(writer, Meta::Family, FIRST);
        expression::compare(writer, not, &[expression::number(family)]);
        if !not {
            self.family = Some(family);
        }
    }

    fn protocol(&mut self, writer: &mut Writer, not: bool, protocol: L4) {
        expression::meta(writer, Meta::Protocol, FIRST);
        expression::compare(writer, not, &[value::protocol(protocol)]);
        if !not {
            self.protocol = Some(protocol);
        }
    }

    fn net(&mut self, writer: &mut Writer, not: bool, side: fn(Family) -> Field, net: IpNet) {
        let family = Family::of(net.addr());
        self.need(writer, family);
        packet::load(writer, side(family), FIRST);
        within(writer, not, net);
    }
}

/// The address in the first register.
fn within(writer: &mut Writer, not: bool, net: IpNet) {
    let addr = Bytes::from(net.network());
    if net.prefix_len() < net.max_prefix_len() {
        let mask = Bytes::mask(net.prefix_len(), addr.as_slice().len());
        expression::and(writer, mask.as_slice());
    }
    expression::compare(writer, not, addr.as_slice());
}

fn field(writer: &mut Writer, not: bool, field: Field, value: Bytes) {
    packet::load(writer, field, FIRST);
    expression::compare(writer, not, value.as_slice());
}

fn local(writer: &mut Writer, not: bool, addr: Fib) {
    expression::fib_type(writer, addr);
    expression::compare(writer, not, &LOCAL.to_ne_bytes());
}

/// A packet that is for no socket matches neither the question nor its opposite.
fn socket(writer: &mut Writer, not: bool, key: Socket) {
    expression::socket(writer, key);
    expression::compare(writer, false, &[u8::from(!not)]);
}

fn any_bit(writer: &mut Writer, not: bool, key: Ct, bits: u32) {
    expression::ct(writer, key);
    expression::and(writer, &bits.to_ne_bytes());
    // None of them: equal to zero.
    expression::compare(writer, !not, &[0; 4]);
}
