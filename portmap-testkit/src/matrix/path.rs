//! The rows: ways to reach a port.

use std::fmt;

/// A way to reach a port that is published on every address of the host, or one that must not lead anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Path {
    /// A client on the host's LAN, to the host's address there.
    OutsideClient,
    /// The same by link-local addresses, which no router forwards.
    LinkLocal,
    /// The host itself, to 127.0.0.1 or ::1.
    Loopback,
    /// The host itself, to 127.0.1.2, where another port is published on that address alone.
    LoopbackBinding,
    /// The host itself, to its address on the LAN.
    OwnAddress,
    /// A container of another network, to the host's address on the LAN.
    OtherNetwork,
    /// Another container of the same network, to the host's address on the LAN.
    SameNetwork,
    /// The container itself, to the host's address on the LAN.
    Itself,
    /// A client outside with a route to the container's own address, at the port that is published.
    DirectPublished,
    /// The same at a port that is not published, where somebody listens.
    DirectUnpublished,
    /// Somebody outside with a route to 127.0.0.1 by way of the host.
    RoutedLoopback,
    /// The same to 127.0.1.2, where another port is published on that address alone.
    RoutedLoopbackBinding,
    /// A client whose route to another host leads over this one, to the port number that is published here.
    Transit,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::OutsideClient,
        Self::LinkLocal,
        Self::Loopback,
        Self::LoopbackBinding,
        Self::OwnAddress,
        Self::OtherNetwork,
        Self::SameNetwork,
        Self::Itself,
        Self::DirectPublished,
        Self::DirectUnpublished,
        Self::RoutedLoopback,
        Self::RoutedLoopbackBinding,
        Self::Transit,
    ];

    /// Whether the address that is called is one of the host's: a socket there may have to answer.
    pub fn leads_to_host(self) -> bool {
        !matches!(self, Self::DirectPublished | Self::DirectUnpublished | Self::Transit)
    }

    /// Whether there is such a way in a family: 127.0.0.0/8 is of IPv4, link-local addresses matter in IPv6.
    pub fn exists_in(self, family: Family) -> bool {
        match self {
            Self::LoopbackBinding | Self::RoutedLoopback | Self::RoutedLoopbackBinding => {
                family == Family::Ipv4
            }
            Self::LinkLocal => family == Family::Ipv6,
            _ => true,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OutsideClient => "outside client -> host",
            Self::LinkLocal => "outside client, link-local -> host",
            Self::Loopback => "host -> loopback",
            Self::LoopbackBinding => "host -> a 127.x binding",
            Self::OwnAddress => "host -> its own LAN address",
            Self::OtherNetwork => "container, other network -> host",
            Self::SameNetwork => "container, same network -> host",
            Self::Itself => "the container itself -> host",
            Self::DirectPublished => "outsider -> container, published port",
            Self::DirectUnpublished => "outsider -> container, other port",
            Self::RoutedLoopback => "outsider -> 127.0.0.1 of the host",
            Self::RoutedLoopbackBinding => "outsider -> a 127.x binding",
            Self::Transit => "transit to another host",
        })
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}
