//! Which settings.

use std::{fmt, fs};

use portmap_rules::{Family, Interface};

/// A setting of a network namespace: 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sysctl {
    /// Whether the host passes on what isn't for itself. To write it is to write every interface's own `forwarding`. For
    /// IPv6 also: while it is on, the host takes no default route from router advertisements, unless `accept_ra` is 2.
    Forward(Family),
    /// Whether packets from and to 127.0.0.0/8 may pass an interface: NAT of 127.0.0.1 needs it on the bridge.
    ///
    /// Only ever with a rule that drops such packets from outside ([`Purpose::LoopbackGuard`](portmap_rules::Purpose)).
    RouteLocalnet(Interface),
    /// Whether iptables and nftables see packets between two ports of one bridge. Missing where the module
    /// `br_netfilter` isn't loaded.
    BridgeNetfilter(Family),
}

impl Sysctl {
    /// The setting's file.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Forward(Family::Ipv4) => "/proc/sys/net/ipv4/ip_forward".to_owned(),
            Self::Forward(Family::Ipv6) => "/proc/sys/net/ipv6/conf/all/forwarding".to_owned(),
            Self::RouteLocalnet(interface) => {
                format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet")
            }
            Self::BridgeNetfilter(Family::Ipv4) => {
                "/proc/sys/net/bridge/bridge-nf-call-iptables".to_owned()
            }
            Self::BridgeNetfilter(Family::Ipv6) => {
                "/proc/sys/net/bridge/bridge-nf-call-ip6tables".to_owned()
            }
        }
    }

    /// Whether it is on in the network namespace of the calling thread. One that is missing is not.
    pub(crate) fn is_on(self) -> bool {
        fs::read(self.path()).is_ok_and(|value| value.starts_with(b"1"))
    }
}

impl fmt::Display for Sysctl {
    /// As `sysctl` shows it: `net.ipv4.ip_forward`. A dot in an interface's name becomes a slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        let name = path.trim_start_matches("/proc/sys/");
        let swapped = name.chars().map(|char| match char {
            '/' => '.',
            '.' => '/',
            other => other,
        });
        f.pad(&swapped.collect::<String>())
    }
}
