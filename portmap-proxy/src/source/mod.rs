//! Who the container is told is calling.

mod header;
mod transparent;

use std::{io, net::SocketAddr};

use portmap_core::{Error, ErrorKind, Protocol};
use tokio::io::AsyncWriteExt;

use crate::{
    Dial,
    tcp::connection::{Abortive, canonical},
};

use header::Header;
pub(crate) use transparent::{connect_from, connected_from};

/// Who the container is told is calling: [`ProxyMapper::source_address`](crate::ProxyMapper::source_address).
///
/// `docs/who-is-calling.md` has what each choice needs and costs, and what receivers have to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceAddress {
    /// The address that the kernel picks: on the host that is the bridge's, the container's gateway, whoever calls.
    /// The container has to know of nothing.
    #[default]
    Gateway,
    /// The gateway's address, and a line of text in front of what the client says, which has the client's address and
    /// the one that it used: `PROXY TCP4 192.0.2.7 192.0.2.1 53211 8080`.
    ///
    /// It is sent at once, whether or not the client says anything. TCP alone: a publish with a UDP port is
    /// [`Unsupported`](ErrorKind::Unsupported).
    ProxyProtocolV1,
    /// The same in binary, for TCP and UDP: 28 bytes for IPv4, 52 for IPv6.
    ///
    /// For UDP it stands in front of **every** datagram, as dnsdist sends it and PowerDNS, BIND, Knot, Unbound, CoreDNS
    /// and go-mmproxy read it: a datagram may be lost or overtaken, so that a header on the first one alone could leave all others
    /// without. A datagram that does not fit any more is lost: with its header it has 65,507 bytes at most to an IPv4
    /// container, 65,527 to an IPv6 one.
    ProxyProtocolV2,
    /// The client's own address (`IP_TRANSPARENT`), with no header: over TCP its port too where that is free.
    ///
    /// It takes `CAP_NET_ADMIN` or `CAP_NET_RAW`, and routing on this host that brings the container's answers to the proxy:
    /// `TransparentRouting` of `portmap-netfilter`. A publish without the privilege is [`Denied`](ErrorKind::Denied); without
    /// the routing, clients wait until the dial limit is over.
    ///
    /// Who cannot be shown is seen as the gateway: a client on loopback or with a link-local IPv6 address, one of
    /// another family than the container's address, and one whose answers would not come by this host, since it is in the
    /// container's own network (or is the container itself).
    Transparent,
}

impl SourceAddress {
    /// Refuses what could not be served, before anything is taken.
    pub(crate) fn check(self, protocols: impl IntoIterator<Item = Protocol>) -> Result<(), Error> {
        if self == Self::ProxyProtocolV1 && protocols.into_iter().any(|one| one == Protocol::Udp) {
            let message = "version 1 of the PROXY protocol has no UDP; version 2 has";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }

    /// Finds out whether this process may do it on this host.
    pub(crate) fn check_host(self) -> Result<(), Error> {
        match self {
            Self::Transparent => transparent::check(),
            Self::Gateway | Self::ProxyProtocolV1 | Self::ProxyProtocolV2 => Ok(()),
        }
    }

    /// The dial with the address to connect from, where there is one.
    pub(crate) fn prepare(self, dial: Dial) -> Dial {
        match self {
            Self::Transparent if transparent::can_show(dial.client(), dial.addr()) => {
                dial.showing_client()
            }
            _ => dial,
        }
    }

    /// Tells the container who is calling, before anything that the client says.
    pub(crate) async fn introduce(
        self,
        endpoint: &mut Abortive,
        client: SocketAddr,
        accepted: &Abortive,
    ) -> io::Result<()> {
        let used = || accepted.get().local_addr().map(canonical);
        let header = match self {
            Self::ProxyProtocolV1 => Header::v1(client, used()?),
            Self::ProxyProtocolV2 => Header::v2(Protocol::Tcp, client, used()?),
            Self::Gateway | Self::Transparent => return Ok(()),
        };
        // The first bytes of a connection, and TCP_NODELAY is set: one segment.
        endpoint.get_mut().write_all(header.as_bytes()).await
    }

    /// What stands in front of every datagram of a session; mostly nothing.
    pub(crate) fn of_datagrams(self, client: SocketAddr, used: SocketAddr) -> Box<[u8]> {
        match self {
            Self::ProxyProtocolV2 => Header::v2(Protocol::Udp, client, used).as_bytes().into(),
            _ => Box::default(),
        }
    }
}
