//! Rules in nftables' words.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::nft_set::address;
use crate::{Connection, Family, Field, L4, Mark, Match, NatPorts, Rule, Target, What};

/// A rule as `nft list` prints it.
pub(super) struct RuleText<'a>(pub(super) &'a Rule);

/// The types of a set's key: `ipv4_addr . inet_service`.
pub(super) struct KeyTypes<'a>(pub(super) &'a [Field]);

/// The expressions of a set's key: `ip daddr . th dport`.
struct KeyText<'a>(&'a [Field]);

impl fmt::Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for it in &self.0.matches {
            write_match(f, it)?;
        }
        match &self.0.target {
            Target::Accept => f.write_str("accept"),
            Target::Drop => f.write_str("drop"),
            Target::Return => f.write_str("return"),
            Target::Masquerade => f.write_str("masquerade"),
            Target::Mark(Mark { value, mask }) => {
                // nft leaves the bits alone that are set behind it.
                match !mask | value {
                    u32::MAX => write!(f, "meta mark set meta mark | 0x{value:08x}"),
                    kept => write!(f, "meta mark set meta mark & 0x{kept:08x} | 0x{value:08x}"),
                }
            }
            Target::Jump(chain) => write!(f, "jump {chain}"),
            Target::Dnat { to, ports } => {
                write!(f, "dnat {} to ", protocol(Family::of(*to)))?;
                match (to, ports) {
                    (to, NatPorts::Keep) => to.fmt(f),
                    (IpAddr::V4(to), NatPorts::To(port)) => write!(f, "{to}:{port}"),
                    (IpAddr::V6(to), NatPorts::To(port)) => write!(f, "[{to}]:{port}"),
                    (IpAddr::V4(to), NatPorts::Shift { to: ports, .. }) => {
                        write!(f, "{to}:{ports}")
                    }
                    (IpAddr::V6(to), NatPorts::Shift { to: ports, .. }) => {
                        write!(f, "[{to}]:{ports}")
                    }
                }
            }
            Target::DnatMap { family, key, map } => {
                write!(f, "dnat {} to {} map @{map}", protocol(*family), KeyText(key))
            }
            Target::VerdictMap { key, map } => write!(f, "{} vmap @{map}", KeyText(key)),
        }
    }
}

fn write_match(f: &mut fmt::Formatter<'_>, it: &Match) -> fmt::Result {
    let not = if it.not { "!= " } else { "" };
    match &it.what {
        What::Family(Family::Ipv4) => write!(f, "meta nfproto {not}ipv4 "),
        What::Family(Family::Ipv6) => write!(f, "meta nfproto {not}ipv6 "),
        What::InInterface(interface) => write!(f, "iifname {not}\"{interface}\" "),
        What::OutInterface(interface) => write!(f, "oifname {not}\"{interface}\" "),
        What::Source(net) => {
            write!(f, "{} saddr {not}{} ", protocol(Family::of(net.addr())), Net(net))
        }
        What::Destination(net) => {
            write!(f, "{} daddr {not}{} ", protocol(Family::of(net.addr())), Net(net))
        }
        What::Protocol(L4::Transport(protocol)) => write!(f, "meta l4proto {not}{protocol} "),
        What::Protocol(L4::Icmp) => write!(f, "meta l4proto {not}icmp "),
        What::Protocol(L4::Icmpv6) => write!(f, "meta l4proto {not}ipv6-icmp "),
        What::DestinationPorts(protocol, ports) => write!(f, "{protocol} dport {not}{ports} "),
        What::SourceIsLocal => write!(f, "fib saddr type {not}local "),
        What::DestinationIsLocal => write!(f, "fib daddr type {not}local "),
        What::Connection(Connection::Established) => {
            write!(f, "ct state {not}established,related ")
        }
        What::Connection(Connection::DestinationRewritten) => write!(f, "ct status {not}dnat "),
        What::Connection(Connection::Answer) => write!(f, "ct direction {not}reply "),
        What::OriginalDestination(net) => {
            write!(f, "ct original {} daddr {not}{} ", protocol(Family::of(net.addr())), Net(net))
        }
        What::Connection(Connection::Invalid) => write!(f, "ct state {not}invalid "),
        What::SocketIsTransparent => write!(f, "socket transparent {} ", u8::from(!it.not)),
        What::SocketIsWildcard => write!(f, "socket wildcard {} ", u8::from(!it.not)),
        What::InSet(key, set) => write!(f, "{} {not}@{set} ", KeyText(key)),
    }
}

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, field) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { " . " } else { "" })?;
            match field {
                Field::InInterface => f.write_str("iifname")?,
                Field::OutInterface => f.write_str("oifname")?,
                Field::Source(family) => write!(f, "{} saddr", protocol(*family))?,
                Field::Destination(family) => write!(f, "{} daddr", protocol(*family))?,
                Field::Protocol => f.write_str("meta l4proto")?,
                Field::DestinationPort => f.write_str("th dport")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for KeyTypes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, field) in self.0.iter().enumerate() {
            f.write_str(if place > 0 { " . " } else { "" })?;
            f.write_str(match field {
                Field::InInterface | Field::OutInterface => "ifname",
                Field::Source(family) | Field::Destination(family) => address(*family),
                Field::Protocol => "inet_proto",
                Field::DestinationPort => "inet_service",
            })?;
        }
        Ok(())
    }
}

/// An address alone, or a prefix.
struct Net<'a>(&'a IpNet);

impl fmt::Display for Net<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(net) = self;
        if net.prefix_len() == net.max_prefix_len() { net.addr().fmt(f) } else { net.fmt(f) }
    }
}

const fn protocol(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}
