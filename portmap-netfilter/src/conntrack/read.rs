//! Reading flows out of what the kernel lists. The names are those of `linux/netfilter/nfnetlink_conntrack.h`.

use portmap_core::Protocol;

use super::{
    Counted, Flow, FlowState,
    request::{CTA_ID, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY},
    tuple::Tuple,
};
use crate::netlink::{Attrs, number};

const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;
/// In the status: an answer was seen.
const IPS_SEEN_REPLY: u32 = 1 << 1;

impl Flow {
    /// `None` where it isn't a flow of this protocol.
    pub(super) fn read(protocol: Protocol, attrs: Attrs<'_>) -> Option<Self> {
        let original = Tuple(attrs.nested(CTA_TUPLE_ORIG)?);
        if original.protocol()? != number(protocol) {
            return None;
        }
        let reply = Tuple(attrs.nested(CTA_TUPLE_REPLY)?);
        Some(Self {
            id: attrs.be32(CTA_ID)?,
            protocol,
            client: original.source()?,
            host: original.destination()?,
            endpoint: reply.source()?,
            observed: reply.destination()?,
            state: state(attrs),
            to_endpoint: counted(attrs, CTA_COUNTERS_ORIG),
            to_client: counted(attrs, CTA_COUNTERS_REPLY),
        })
    }
}

fn state(attrs: Attrs<'_>) -> FlowState {
    let tcp = attrs.nested(CTA_PROTOINFO).and_then(|info| info.nested(CTA_PROTOINFO_TCP));
    let tcp = tcp.and_then(|tcp| tcp.find(CTA_PROTOINFO_TCP_STATE)?.first().copied());
    match tcp {
        // FIN_WAIT, CLOSE_WAIT, LAST_ACK
        Some(4..=6) => FlowState::Closing,
        // TIME_WAIT, CLOSE
        Some(7 | 8) => FlowState::Closed,
        // ESTABLISHED, or no TCP: there an answer is all there is to see.
        Some(3) => FlowState::Established,
        None if attrs.be32(CTA_STATUS).is_some_and(|status| status & IPS_SEEN_REPLY != 0) => {
            FlowState::Established
        }
        _ => FlowState::Opening,
    }
}

fn counted(attrs: Attrs<'_>, way: u16) -> Option<Counted> {
    let counters = attrs.nested(way)?;
    let packets = counters.be64(CTA_COUNTERS_PACKETS)?;
    Some(Counted { packets, bytes: counters.be64(CTA_COUNTERS_BYTES)? })
}
