//! Who can be answered, and from where: by the addresses of a datagram alone.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use super::table::Flow;

/// The loopback interface has this number in every network namespace (`LOOPBACK_IFINDEX`).
pub(super) const LOOPBACK: u32 = 1;

/// Where a datagram came from and went to, as a socket tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) source: SocketAddr,
    /// An address of this host, or a broadcast or multicast address. Unspecified if the socket did
    /// not tell.
    pub(super) destination: IpAddr,
    /// The interface that it came in by, 0 if the socket did not tell. What this host has sent to
    /// itself has the interface of the destination's address, not always the loopback one.
    pub(super) interface: u32,
}

/// How answers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The address that they come from; `None`: the kernel takes one of the interface that they
    /// leave by.
    pub(super) from: Option<IpAddr>,
    /// The interface that they have to leave by; 0: routing decides.
    pub(super) by: u32,
}

/// Why a datagram is not passed on: no answer may, or can, go where it says that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswerable {
    /// The source is unspecified, broadcast or multicast. Linux would take an unspecified one for
    /// this host's loopback address.
    NobodysAddress,
    /// Source port 0, to which nothing can be sent.
    NobodysPort,
    /// An IPv6 packet from a v4-mapped address: a dual-stack socket would send the answer over
    /// IPv4.
    Mapped,
    /// A loopback address, which means another host to each host, came in by a link
    /// (`route_localnet`).
    Loopback,
    /// The source is a port that this process serves, or the container itself: answers would be
    /// asked again, without end.
    Circle,
}

impl Ends {
    /// The session that the datagram belongs to.
    ///
    /// A socket that does not tell destination or interface passes for one that has nothing to
    /// object to.
    pub(super) fn flow(&self) -> Result<Flow, Unanswerable> {
        let Self { source, destination, interface } = *self;
        let (from, to) = (source.ip().to_canonical(), destination.to_canonical());
        if source.port() == 0 {
            return Err(Unanswerable::NobodysPort);
        }
        if from.is_unspecified() || is_of_many(from) {
            return Err(Unanswerable::NobodysAddress);
        }
        if from.is_ipv4() != to.is_ipv4() && !to.is_unspecified() {
            return Err(Unanswerable::Mapped);
        }
        // What has a loopback address for its destination came by the loopback interface, or from
        // outside. So did what has one for its source and was sent to many. Only between a loopback
        // address and another one of this host the interface is that of the other one.
        let of_this_host = to.is_loopback() || (from.is_loopback() && is_of_many(to));
        if of_this_host && !matches!(interface, 0 | LOOPBACK) {
            return Err(Unanswerable::Loopback);
        }
        let zone = match source {
            SocketAddr::V6(source) => source.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        // Such an address means something on its link alone. A client with a zone says which one.
        let on_one_link = is_of_many(to) || (is_link_local(to) && zone == 0);
        let interface = if on_one_link { interface } else { 0 };
        Ok(Flow { client: source, local: destination, interface })
    }
}

impl Way {
    /// Answers come from the address that the client wrote to, where that is one host's.
    pub(super) fn of(flow: &Flow) -> Self {
        let to = flow.local.to_canonical();
        let one = !(to.is_unspecified() || is_of_many(to));
        Self { from: one.then_some(flow.local), by: flow.interface }
    }

    /// For an address that turns out to be none of this host's, a subnet's broadcast address that
    /// is: answers come from the address of the interface that the datagrams came in by.
    pub(super) fn back(interface: u32) -> Self {
        Self { from: None, by: interface }
    }
}

/// Where a session's client wrote to: a link-local address with its zone.
pub(super) fn written_to(flow: &Flow, port: u16) -> SocketAddr {
    let mut to = SocketAddr::new(flow.local, port);
    if let (SocketAddr::V6(to), SocketAddr::V6(client)) = (&mut to, flow.client)
        && to.ip().is_unicast_link_local()
    {
        to.set_scope_id(flow.interface.max(client.scope_id()));
    }
    to
}

/// The limited broadcast or a multicast address. What is a subnet's broadcast address the address
/// does not tell.
fn is_of_many(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == Ipv4Addr::BROADCAST
}

/// Without IPv4's 169.254.0.0/16: an IPv4 address has no zone, and routing tables know the link of
/// each.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NobodysAddress => "the source is nobody's address",
            Self::NobodysPort => "the source port is 0",
            Self::Mapped => "the source is an IPv4 address in an IPv6 packet",
            Self::Loopback => "a loopback address came in by a link",
            Self::Circle => "the answer would come back as a question",
        })
    }
}

#[cfg(test)]
mod tests;
