//! Rules in iptables' words, in the form that `-S` prints.

use std::{
    fmt::{self, Display as _},
    net::IpAddr,
};

use ipnet::IpNet;
use portmap_core::PortRange;

use crate::{Connection, L4, Match, NatPorts, Rule, Target, What};

/// A rule's arguments: `-d 192.0.2.2/32 ! -i bridge1 -p tcp -m tcp --dport 80 -j ACCEPT`, without a chain.
pub(super) struct Arguments<'a>(pub(super) &'a Rule);

impl fmt::Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tools print addresses, then interfaces, then the protocol, and extensions last.
        let mut matches: Vec<&Match> = self.0.matches.iter().collect();
        matches.sort_by_key(|it| place(&it.what));
        for it in matches {
            write_match(f, it)?;
        }
        f.write_str("-j ")?;
        write_target(f, &self.0.target)
    }
}

const fn place(what: &What) -> u8 {
    match what {
        What::Source(_) => 0,
        What::Destination(_) => 1,
        What::InInterface(_) => 2,
        What::OutInterface(_) => 3,
        What::Protocol(_) | What::DestinationPorts(..) => 4,
        _ => 5,
    }
}

fn write_match(f: &mut fmt::Formatter<'_>, it: &Match) -> fmt::Result {
    let not = if it.not { "! " } else { "" };
    match &it.what {
        What::Source(net) => write!(f, "{not}-s {} ", Net(net)),
        What::Destination(net) => write!(f, "{not}-d {} ", Net(net)),
        What::InInterface(interface) => write!(f, "{not}-i {interface} "),
        What::OutInterface(interface) => write!(f, "{not}-o {interface} "),
        What::Protocol(L4::Transport(protocol)) => write!(f, "{not}-p {protocol} "),
        What::Protocol(L4::Icmp) => write!(f, "{not}-p icmp "),
        What::Protocol(L4::Icmpv6) => write!(f, "{not}-p ipv6-icmp "),
        What::DestinationPorts(protocol, ports) => {
            write!(f, "-p {protocol} -m {protocol} {not}--dport {} ", Ports(*ports, ':'))
        }
        What::SourceIsLocal => write!(f, "-m addrtype {not}--src-type LOCAL "),
        What::DestinationIsLocal => write!(f, "-m addrtype {not}--dst-type LOCAL "),
        What::Connection(Connection::Established) => {
            write!(f, "-m conntrack {not}--ctstate RELATED,ESTABLISHED ")
        }
        What::Connection(Connection::DestinationRewritten) => {
            write!(f, "-m conntrack {not}--ctstate DNAT ")
        }
        What::Connection(Connection::Answer) => {
            // Two directions, and no word for the opposite.
            let direction = if it.not { "ORIGINAL" } else { "REPLY" };
            write!(f, "-m conntrack --ctdir {direction} ")
        }
        What::OriginalDestination(net) => {
            write!(f, "-m conntrack {not}--ctorigdst {} ", Net(net))
        }
        What::Connection(Connection::Invalid) => write!(f, "-m conntrack {not}--ctstate INVALID "),
        // A table has one family; sets and sockets are asked for in nftables alone.
        What::Family(_) | What::InSet(..) | What::SocketIsTransparent | What::SocketIsWildcard => {
            Ok(())
        }
    }
}

fn write_target(f: &mut fmt::Formatter<'_>, target: &Target) -> fmt::Result {
    match target {
        Target::Accept => f.write_str("ACCEPT"),
        Target::Drop => f.write_str("DROP"),
        Target::Return => f.write_str("RETURN"),
        Target::Masquerade => f.write_str("MASQUERADE"),
        Target::Jump(chain) => chain.fmt(f),
        Target::Dnat { to, ports } => {
            f.write_str("DNAT --to-destination ")?;
            match (to, ports) {
                (to, NatPorts::Keep) => return to.fmt(f),
                (IpAddr::V4(to), _) => write!(f, "{to}:")?,
                (IpAddr::V6(to), _) => write!(f, "[{to}]:")?,
            }
            match ports {
                NatPorts::Keep => Ok(()),
                NatPorts::To(port) => port.fmt(f),
                NatPorts::Shift { base, to } => write!(f, "{}/{base}", Ports(*to, '-')),
            }
        }
        // Maps and marks are written for nftables alone.
        Target::DnatMap { .. } | Target::VerdictMap { .. } | Target::Mark(_) => {
            f.write_str("RETURN")
        }
    }
}

/// Always with its prefix length.
struct Net<'a>(&'a IpNet);

impl fmt::Display for Net<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.addr(), self.0.prefix_len())
    }
}

/// A port, or a range with this between its ends.
struct Ports(PortRange, char);

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ports, between) = self;
        match ports.len() {
            1 => ports.first().fmt(f),
            _ => write!(f, "{}{between}{}", ports.first(), ports.last()),
        }
    }
}
