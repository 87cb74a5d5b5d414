//! Requests to ctnetlink. The names are those of `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use portmap_core::{Port, Protocol};

use super::{
    entry::Entry,
    sought::{Question, Who},
};
use crate::{
    Family,
    backend::netlink::{Message, Writer, number},
};

const SUBSYSTEM: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;

pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
pub(super) const CTA_ID: u16 = 12;
pub(super) const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
pub(super) const CTA_TUPLE_IP: u16 = 1;
pub(super) const CTA_TUPLE_PROTO: u16 = 2;
pub(super) const CTA_IP_V4_SRC: u16 = 1;
pub(super) const CTA_IP_V4_DST: u16 = 2;
pub(super) const CTA_IP_V6_SRC: u16 = 3;
pub(super) const CTA_IP_V6_DST: u16 = 4;
pub(super) const CTA_PROTO_NUM: u16 = 1;
pub(super) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(super) const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Which parts of the tuple count: `CTA_FILTER_F_CTA_IP_SRC`, `.._IP_DST`, `.._PROTO_NUM`, `.._PROTO_SRC_PORT` and
/// `.._PROTO_DST_PORT`.
const BY_SOURCE: u32 = 1;
const BY_DESTINATION: u32 = 1 << 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_SOURCE_PORT: u32 = 1 << 4;
const BY_PORT: u32 = 1 << 5;

/// Deletes every entry that is sent to this address and port. Kernels that know no filter here miss the source, and
/// refuse.
pub(super) fn delete_sent_to(protocol: Protocol, addr: IpAddr, port: Port) -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, Family::of(addr)), |writer| {
        writer.nest(CTA_TUPLE_ORIG, |writer| {
            writer.nest(CTA_TUPLE_IP, |writer| match addr {
                IpAddr::V4(addr) => writer.attr(CTA_IP_V4_DST, &addr.octets()),
                IpAddr::V6(addr) => writer.attr(CTA_IP_V6_DST, &addr.octets()),
            });
            transport(writer, protocol, CTA_PROTO_DST_PORT, Some(port));
        });
        filter(writer, CTA_FILTER_ORIG_FLAGS, BY_DESTINATION | BY_PROTOCOL | BY_PORT);
    });
    writer
}

/// Lists a protocol's entries, to this port where there is one. Kernels that know no filter here list all entries.
pub(super) fn list(protocol: Protocol, family: Family, port: Option<Port>) -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family), |writer| {
        writer.nest(CTA_TUPLE_ORIG, |writer| {
            transport(writer, protocol, CTA_PROTO_DST_PORT, port);
        });
        filter(writer, CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL | port.map_or(0, |_| BY_PORT));
    });
    writer
}

/// Lists what somebody answers. Kernels that know no filter here list all entries.
pub(super) fn list_answered(Question { protocol, who, port }: Question) -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_GET, NLM_F_DUMP, who.family()), |writer| {
        let mut parts = BY_PROTOCOL | port.map_or(0, |_| BY_SOURCE_PORT);
        writer.nest(CTA_TUPLE_REPLY, |writer| {
            if let Who::This(addr) = who {
                parts |= BY_SOURCE;
                writer.nest(CTA_TUPLE_IP, |writer| writer.attr(CTA_IP_V4_SRC, &addr.octets()));
            }
            transport(writer, protocol, CTA_PROTO_SRC_PORT, port);
        });
        filter(writer, CTA_FILTER_REPLY_FLAGS, parts);
    });
    writer
}

/// Deletes exactly this entry. It isn't acknowledged; if it is gone already, the kernel says so.
pub(super) fn delete(writer: &mut Writer, entry: &Entry) {
    writer.message(head(IPCTNL_MSG_CT_DELETE, 0, Family::of(entry.destination)), |writer| {
        writer.nest(CTA_TUPLE_ORIG, |writer| writer.raw(&entry.tuple));
        entry.id.iter().for_each(|id| writer.attr(CTA_ID, id));
        entry.zone.iter().for_each(|zone| writer.attr(CTA_ZONE, zone));
    });
}

fn transport(writer: &mut Writer, protocol: Protocol, which: u16, port: Option<Port>) {
    writer.nest(CTA_TUPLE_PROTO, |writer| {
        writer.attr(CTA_PROTO_NUM, &[number(protocol)]);
        let port = port.map(|port| port.number().to_be_bytes());
        port.iter().for_each(|port| writer.attr(which, port));
    });
}

fn filter(writer: &mut Writer, direction: u16, flags: u32) {
    writer.nest(CTA_FILTER, |writer| {
        writer.attr(direction, &flags.to_ne_bytes());
    });
}

const fn head(kind: u16, flags: u16, family: Family) -> Message {
    // AF_INET, AF_INET6
    let family = match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    };
    let kind = SUBSYSTEM << 8 | kind;
    Message { kind, flags: NLM_F_REQUEST | flags, sequence: 0, family, resource: 0 }
}
