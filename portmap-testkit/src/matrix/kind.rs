//! What is to be expected of a kind of mapper: the one place where it is written down.

use portmap_core::Protocol;

use super::{Family, Outcome, Path, SeenAs};

/// A kind of mapper: which paths it serves, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A userland proxy: every path that leads to the host's sockets is served, and the container sees the gateway.
    Proxy,
    /// A userland proxy that tells the container who is calling, by headers of the PROXY protocol: see
    /// [`Column::reads_headers`](super::Column::reads_headers).
    ProxyWithHeaders,
    /// A userland proxy that speaks from its clients' own addresses, where the container's answers come back to it.
    TransparentProxy,
    /// NAT alone, for the host's own connections too.
    Nat,
    /// NAT that leaves to a proxy what that serves better, and no proxy.
    NatBesideProxy,
    /// NAT beside a proxy.
    Hybrid,
}

impl Kind {
    /// What is to become of a call.
    ///
    /// No mapper may open a way round the published port: to a container's own address, or from
    /// outside to 127.0.0.0/8. What is not served is refused at once, with two exceptions. NAT keeps
    /// networks apart, so packets from another one are dropped. And the socket by which rules hold a UDP port
    /// is bound to the container's bridge, so that it refuses for all others but cannot for those.
    pub fn expected(self, path: Path, family: Family, protocol: Protocol) -> Outcome<SeenAs> {
        use Outcome::{Delivered, Dropped, Refused};
        use SeenAs::{Client, Gateway};
        match (path, self) {
            (
                Path::DirectPublished
                | Path::DirectUnpublished
                | Path::RoutedLoopback
                | Path::RoutedLoopbackBinding,
                _,
            ) => Dropped,
            (Path::Transit, _) => Delivered(Client),

            (_, Self::Proxy) => Delivered(Gateway),
            (_, Self::ProxyWithHeaders) => Delivered(Client),
            // Answers to loopback and link-local addresses stay in the container, those to its neighbours on their bridge.
            (
                Path::OutsideClient | Path::OwnAddress | Path::OtherNetwork,
                Self::TransparentProxy,
            ) => Delivered(Client),
            (_, Self::TransparentProxy) => Delivered(Gateway),

            (Path::OutsideClient, Self::Nat | Self::NatBesideProxy | Self::Hybrid) => {
                Delivered(Client)
            }
            // Answers to itself would not come back to a host that calls its own address by loopback NAT.
            (Path::OwnAddress, Self::Nat) => Delivered(Gateway),
            (Path::OwnAddress, Self::NatBesideProxy | Self::Hybrid) => Delivered(Client),

            (_, Self::Hybrid) => Delivered(Gateway),

            (Path::SameNetwork | Path::Itself, Self::NatBesideProxy)
                if protocol == Protocol::Udp =>
            {
                Dropped
            }
            (_, Self::NatBesideProxy) => Refused,

            // There is no route_localnet in IPv6, and no router forwards link-local addresses.
            (Path::Loopback, Self::Nat) if family == Family::Ipv6 => Refused,
            (Path::LinkLocal, Self::Nat) => Refused,
            (Path::OtherNetwork, Self::Nat) => Dropped,
            (_, Self::Nat) => Delivered(Gateway),
        }
    }
}
