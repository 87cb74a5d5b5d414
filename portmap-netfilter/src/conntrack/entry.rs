//! Entries as the kernel lists them, as far as deleting them takes.

use std::net::IpAddr;

use portmap_core::{Port, Protocol};

use super::{
    request::{CTA_ID, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE},
    tuple::Tuple,
};
use crate::netlink::{Attrs, number};

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
        let original = Tuple(attrs.nested(CTA_TUPLE_ORIG)?);
        if original.protocol()? != number(protocol) {
            return None;
        }
        let destination = original.destination()?;
        let own = |kind| attrs.find(kind).map(<[u8]>::to_vec);
        Some(Self {
            destination: destination.ip(),
            port: destination.port().try_into().ok()?,
            answers: Tuple(attrs.nested(CTA_TUPLE_REPLY)?).source_ip()?,
            tuple: own(CTA_TUPLE_ORIG)?,
            id: own(CTA_ID),
            zone: own(CTA_ZONE),
        })
    }
}
