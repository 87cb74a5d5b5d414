//! Rules in few words.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::plan::{Claim, Plan};
use crate::{Chain, Connection, Family, Interface, L4, Match, Purpose, Rule, Target, What};

impl Chain {
    /// One more rule at the end.
    pub(super) fn push(
        &mut self,
        purpose: Purpose,
        matches: impl IntoIterator<Item = Match>,
        target: Target,
    ) {
        self.rules.push(Rule { matches: matches.into_iter().collect(), target, purpose });
    }
}

pub(super) const fn comes_in(interface: Interface) -> Match {
    Match::is(What::InInterface(interface))
}

pub(super) const fn comes_in_elsewhere(interface: Interface) -> Match {
    Match::not(What::InInterface(interface))
}

pub(super) const fn goes_out(interface: Interface) -> Match {
    Match::is(What::OutInterface(interface))
}

pub(super) const fn goes_out_elsewhere(interface: Interface) -> Match {
    Match::not(What::OutInterface(interface))
}

pub(super) const fn from(net: IpNet) -> Match {
    Match::is(What::Source(net))
}

pub(super) const fn from_elsewhere(net: IpNet) -> Match {
    Match::not(What::Source(net))
}

pub(super) const fn to(net: IpNet) -> Match {
    Match::is(What::Destination(net))
}

pub(super) const fn to_elsewhere(net: IpNet) -> Match {
    Match::not(What::Destination(net))
}

pub(super) fn to_host(addr: IpAddr) -> Match {
    to(addr.into())
}

pub(super) const fn family(family: Family) -> Match {
    Match::is(What::Family(family))
}

pub(super) const ESTABLISHED: Match = Match::is(What::Connection(Connection::Established));
pub(super) const REWRITTEN: Match = Match::is(What::Connection(Connection::DestinationRewritten));
pub(super) const INVALID: Match = Match::is(What::Connection(Connection::Invalid));
pub(super) const TO_LOCAL: Match = Match::is(What::DestinationIsLocal);
pub(super) const FROM_LOCAL: Match = Match::is(What::SourceIsLocal);

impl Plan<'_> {
    /// Addresses of IPv6 that stand for those of IPv4: no packet on a link should have one.
    pub(super) fn mapped(&self) -> Option<IpNet> {
        let net = IpNet::new(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(), 96);
        net.ok().filter(|_| self.family == Family::Ipv6)
    }

    /// `ip6 saddr fe80::/10`; IPv4 has no such sources that matter.
    pub(super) fn link_local(&self) -> Option<IpNet> {
        let net = IpNet::new([0xfe80, 0, 0, 0, 0, 0, 0, 0].into(), 10).ok()?;
        (self.family == Family::Ipv6).then_some(net)
    }

    /// 127.0.0.0/8 or ::1/128.
    pub(super) fn loopback(&self) -> IpNet {
        match self.family {
            Family::Ipv4 => IpNet::V4(LOOPBACK_V4),
            Family::Ipv6 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]).into(),
        }
    }

    pub(super) const fn icmp(&self) -> Match {
        Match::is(What::Protocol(match self.family {
            Family::Ipv4 => L4::Icmp,
            Family::Ipv6 => L4::Icmpv6,
        }))
    }
}

const LOOPBACK_V4: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

impl Claim<'_> {
    pub(super) const fn at_host_ports(&self) -> Match {
        Match::is(What::DestinationPorts(self.protocol, self.host_ports))
    }

    pub(super) const fn at_container_ports(&self) -> Match {
        Match::is(What::DestinationPorts(self.protocol, self.container_ports))
    }
}
