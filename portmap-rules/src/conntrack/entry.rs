//! Entries as the kernel lists them.

use std::net::IpAddr;

use portmap_core::{Port, Protocol};

use super::request::{
    CTA_ID, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, CTA_ZONE,
};
use crate::backend::netlink::{Attrs, number};

/// A flow.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its sender sends to.
    pub destination: IpAddr,
    /// The port there.
    pub port: Port,
    /// Who answers: somebody else where the destination was rewritten.
    pub answers: IpAddr,
    /// Addresses and ports as the kernel wrote them: by which it finds the entry again.
    pub tuple: Vec<u8>,
    /// Which of the entries that ever had this tuple it is.
    pub id: Option<Vec<u8>>,
    /// The zone, where it isn't the first one.
    pub zone: Option<Vec<u8>>,
}

impl Entry {
    /// `None` where it isn't a flow of this protocol.
    pub(super) fn parse(protocol: Protocol, attrs: Attrs<'_>) -> Option<Self> {
        let (original, reply) = (attrs.nested(CTA_TUPLE_ORIG)?, attrs.nested(CTA_TUPLE_REPLY)?);
        let transport = original.nested(CTA_TUPLE_PROTO)?;
        if transport.find(CTA_PROTO_NUM)? != [number(protocol)] {
            return None;
        }
        let port = transport.find(CTA_PROTO_DST_PORT)?.try_into().ok()?;
        let own = |kind| attrs.find(kind).map(<[u8]>::to_vec);
        Some(Self {
            destination: addr(original, CTA_IP_V4_DST, CTA_IP_V6_DST)?,
            port: u16::from_be_bytes(port).try_into().ok()?,
            answers: addr(reply, CTA_IP_V4_SRC, CTA_IP_V6_SRC)?,
            tuple: own(CTA_TUPLE_ORIG)?,
            id: own(CTA_ID),
            zone: own(CTA_ZONE),
        })
    }
}

fn addr(tuple: Attrs<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    let ip = tuple.nested(CTA_TUPLE_IP)?;
    let octets4 = || Some(IpAddr::from(<[u8; 4]>::try_from(ip.find(v4)?).ok()?));
    let octets6 = || Some(IpAddr::from(<[u8; 16]>::try_from(ip.find(v6)?).ok()?));
    octets4().or_else(octets6)
}
