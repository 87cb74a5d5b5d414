//! One direction of an entry: from where to where.

use std::net::{IpAddr, SocketAddr};

use super::request::{
    CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT, CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_PROTO,
};
use crate::netlink::Attrs;

/// What the kernel lists of a direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuple<'a>(pub Attrs<'a>);

impl Tuple<'_> {
    /// The protocol's number.
    pub(super) fn protocol(self) -> Option<u8> {
        self.0.nested(CTA_TUPLE_PROTO)?.find(CTA_PROTO_NUM)?.first().copied()
    }

    pub(super) fn source(self) -> Option<SocketAddr> {
        Some((self.source_ip()?, self.port(CTA_PROTO_SRC_PORT)?).into())
    }

    pub(super) fn destination(self) -> Option<SocketAddr> {
        Some((self.addr(CTA_IP_V4_DST, CTA_IP_V6_DST)?, self.port(CTA_PROTO_DST_PORT)?).into())
    }

    pub(super) fn source_ip(self) -> Option<IpAddr> {
        self.addr(CTA_IP_V4_SRC, CTA_IP_V6_SRC)
    }

    fn port(self, kind: u16) -> Option<u16> {
        let port = self.0.nested(CTA_TUPLE_PROTO)?.find(kind)?;
        Some(u16::from_be_bytes(port.try_into().ok()?))
    }

    fn addr(self, v4: u16, v6: u16) -> Option<IpAddr> {
        let ip = self.0.nested(CTA_TUPLE_IP)?;
        let octets4 = || Some(IpAddr::from(<[u8; 4]>::try_from(ip.find(v4)?).ok()?));
        let octets6 = || Some(IpAddr::from(<[u8; 16]>::try_from(ip.find(v6)?).ok()?));
        octets4().or_else(octets6)
    }
}
