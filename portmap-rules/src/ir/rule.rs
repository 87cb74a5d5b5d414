//! Rules: matches and what follows from them.

use std::net::IpAddr;

use ipnet::IpNet;
use portmap_core::{Port, PortRange, Protocol};

use super::{Key, Name, Purpose};
use crate::{Family, Interface};

/// Where all of `matches` hold, `target` follows; where one doesn't, the next rule is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What must hold, in nftables' order of evaluation. iptables has an order of its own.
    pub matches: Vec<Match>,
    /// What follows.
    pub target: Target,
    /// Why the rule exists. The kernel doesn't know.
    pub purpose: Purpose,
}

/// Something that holds for a packet, or doesn't.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// Whether `what` must *not* hold.
    pub not: bool,
    /// What is asked.
    pub what: What,
}

impl Match {
    /// It must hold.
    pub const fn is(what: What) -> Self {
        Self { not: false, what }
    }

    /// It must not hold.
    pub const fn not(what: What) -> Self {
        Self { not: true, what }
    }
}

/// A question about a packet.
///
/// Where a packet lacks what is asked about (an IPv4 address in an IPv6 packet, a port of another protocol), neither the
/// question nor its opposite holds: a backend for an `inet` table asks for the family or the protocol first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// It is of this family: `meta nfproto`. iptables has tables for it instead.
    Family(Family),
    /// It came in by this interface; nothing did that the host itself sends.
    InInterface(Interface),
    /// It will leave by this interface.
    OutInterface(Interface),
    /// Its source lies in here. An address is a net of one.
    Source(IpNet),
    /// Its destination lies in here.
    Destination(IpNet),
    /// Its transport protocol.
    Protocol(L4),
    /// Its transport protocol, and its destination port is one of these.
    DestinationPorts(Protocol, PortRange),
    /// Its source is one of the host's addresses.
    SourceIsLocal,
    /// Its destination is one of the host's addresses.
    DestinationIsLocal,
    /// Who called, called an address in here: its destination, or that of what it answers, before NAT.
    OriginalDestination(IpNet),
    /// What is known of its connection.
    Connection(Connection),
    /// The socket of this host that it is for speaks from an address which need not be the host's (`IP_TRANSPARENT`).
    /// nftables alone.
    SocketIsTransparent,
    /// That socket is bound to no address. nftables alone, since Linux 5.11.
    SocketIsWildcard,
    /// What these fields of it say, put together, is an element of the set. nftables alone.
    InSet(Key, Name),
}

/// A transport protocol, or the control messages beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum L4 {
    /// A protocol with ports.
    Transport(Protocol),
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmpv6,
}

/// What connection tracking knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// Packets were seen both ways, or it belongs to such a connection.
    Established,
    /// Its destination was rewritten.
    DestinationRewritten,
    /// It goes to who called.
    Answer,
    /// It makes nothing of the packet, and so NAT passes it by: a segment beyond the window, say.
    Invalid,
}

/// What follows from a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// This base chain and what it called have no objection.
    Accept,
    /// The packet is dropped.
    Drop,
    /// Back to the calling chain; at the end of a base chain its policy decides.
    Return,
    /// The rules of that chain first, then the next one here.
    Jump(Name),
    /// The destination becomes this address; nothing more is asked.
    Dnat {
        /// The new destination.
        to: IpAddr,
        /// The new port.
        ports: NatPorts,
    },
    /// The destination becomes what the map says for these fields. Where it says nothing, the next rule is asked.
    /// nftables alone.
    DnatMap {
        /// The family of the addresses in the map.
        family: Family,
        /// What is looked up.
        key: Key,
        /// The map: its data is an address with or without a port.
        map: Name,
    },
    /// What the map says for these fields follows. Where it says nothing, the next rule is asked. nftables alone.
    VerdictMap {
        /// What is looked up.
        key: Key,
        /// The map: its data is a verdict.
        map: Name,
    },
    /// The source becomes the address of the outgoing interface; nothing more is asked.
    Masquerade,
    /// The packet is marked, and the next rule is asked. nftables alone.
    Mark(Mark),
}

/// A mark on a packet, which only this host sees: some of its 32 bits become these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The bits that are set, all of them in the mask.
    pub value: u32,
    /// The bits that are ours; all others stay as they are.
    pub mask: u32,
}

/// The destination port after NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatPorts {
    /// It stays as it is.
    Keep,
    /// It becomes this one.
    To(Port),
    /// Port `base` becomes the first one of `to`, the next one the second, and so on. iptables alone.
    Shift {
        /// The first host port.
        base: Port,
        /// The container's ports.
        to: PortRange,
    },
}
