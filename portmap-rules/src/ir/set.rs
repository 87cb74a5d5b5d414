//! Sets and maps of nftables.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use portmap_core::{Port, PortRange, Protocol};

use crate::{Family, Interface};

/// A set, or a map where it has data.
///
/// Every element has one [`Value`] for each [`Field`] of the key. Elements of one set never overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What an element is made of.
    pub key: Key,
    /// What a map says for an element; `None` for a set, whose elements have no data.
    pub data: Option<DataType>,
    /// Whether elements may be prefixes and ranges: `flags interval`. Without it a look-up is one hash.
    pub interval: bool,
    /// The elements.
    pub elements: BTreeMap<Vec<Value>, Option<Data>>,
}

/// Fields of a packet, one after the other: a concatenation.
pub type Key = Vec<Field>;

/// A field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `iifname`
    InInterface,
    /// `oifname`
    OutInterface,
    /// `ip saddr` or `ip6 saddr`
    Source(Family),
    /// `ip daddr` or `ip6 daddr`
    Destination(Family),
    /// `meta l4proto`
    Protocol,
    /// `th dport`
    DestinationPort,
}

/// One part of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An interface.
    Interface(Interface),
    /// An address, or a prefix where the set has intervals.
    Net(IpNet),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port, or a range where the set has intervals.
    Ports(PortRange),
}

/// What kind of data a map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `ipv4_addr` or `ipv6_addr`
    Addr(Family),
    /// `ipv4_addr . inet_service` or `ipv6_addr . inet_service`
    AddrPort(Family),
    /// `verdict`
    Verdict,
}

/// What a map says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// The new destination; the port stays as it is.
    Addr(IpAddr),
    /// The new destination and its port.
    AddrPort(IpAddr, Port),
    /// What follows.
    Verdict(Verdict),
}

/// What may follow from a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// As [`Target::Accept`](super::Target::Accept).
    Accept,
    /// As [`Target::Drop`](super::Target::Drop).
    Drop,
}

impl Set {
    /// A set of single elements without any.
    pub const fn new(key: Key) -> Self {
        Self { key, data: None, interval: false, elements: BTreeMap::new() }
    }

    /// The same as a map.
    #[must_use]
    pub const fn with_data(mut self, data: DataType) -> Self {
        self.data = Some(data);
        self
    }

    /// The same for prefixes and ranges.
    #[must_use]
    pub const fn with_intervals(mut self) -> Self {
        self.interval = true;
        self
    }
}
