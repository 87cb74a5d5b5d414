//! Why there can be no rules.

use std::{error, fmt, net::IpAddr};

use ipnet::IpNet;
use portmap_core::Binding;

use crate::Interface;

/// Why networks and bindings cannot become rules.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompileError {
    /// Two networks have one bridge.
    BridgeTwice(Interface),
    /// Two networks have addresses in common.
    Overlap(IpNet, IpNet),
    /// A container's address lies in no network.
    NoNetwork(IpAddr),
    /// A container's address is the bridge's own.
    Gateway(IpAddr, Interface),
    /// A container's address is the first or the last one of its subnet, which no host has.
    NotAHost(IpAddr, IpNet),
    /// A host address of one family, a container with none of it, and nobody but NAT to serve it.
    OtherFamily(Box<Binding>),
    /// A link-local host address, which is one of its link alone, and nobody but NAT to serve it.
    OnLink(Box<Binding>),
    /// Two bindings want one host port of one address.
    Conflict(Box<(Binding, Binding)>),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BridgeTwice(bridge) => write!(f, "two networks have the bridge {bridge}"),
            Self::Overlap(one, two) => write!(f, "subnets {one} and {two} overlap"),
            Self::NoNetwork(addr) => write!(f, "container address {addr} lies in no network"),
            Self::Gateway(addr, bridge) => {
                write!(f, "container address {addr} is the gateway of {bridge}")
            }
            Self::NotAHost(addr, net) => {
                write!(f, "container address {addr} is the network or broadcast address of {net}")
            }
            Self::OtherFamily(binding) => {
                write!(f, "NAT cannot translate between IPv4 and IPv6: {binding}")
            }
            Self::OnLink(binding) => {
                write!(f, "NAT does not serve a link-local host address: {binding}")
            }
            Self::Conflict(both) => {
                write!(f, "{} and {} want the same host port", both.0, both.1)
            }
        }
    }
}

impl error::Error for CompileError {}
