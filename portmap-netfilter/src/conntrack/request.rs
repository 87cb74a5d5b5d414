//! Requests to ctnetlink. The names are those of `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use portmap_core::{Port, Protocol};
use portmap_rules::Family;

use super::{
    entry::Entry,
    sought::{Question, Who},
    wanted::Place,
};
use crate::netlink::{Message, Writer, number};

const SUBSYSTEM: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const IPCTNL_MSG_CT_GET_STATS: u16 = 5;

/// In what the last one is answered with.
pub(super) const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
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

/// Asks how many entries there are in this network namespace. The kernel has counted them.
pub(super) fn count() -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, 0), |_| ());
    writer
}

/// Deletes every entry that is sent to this address and port, and where `answers` is there, answered by it. Kernels
/// that know no filter here miss the source, and refuse.
pub(super) fn delete_sent_to(protocol: Protocol, Place { addr, port, answers }: Place) -> Writer {
    let mut writer = Writer::default();
    let family = number_of(Family::of(addr));
    writer.message(head(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family), |writer| {
        writer.nest(CTA_TUPLE_ORIG, |writer| {
            writer.nest(CTA_TUPLE_IP, |writer| match addr {
                IpAddr::V4(addr) => writer.attr(CTA_IP_V4_DST, &addr.octets()),
                IpAddr::V6(addr) => writer.attr(CTA_IP_V6_DST, &addr.octets()),
            });
            transport(writer, protocol, CTA_PROTO_DST_PORT, Some(port));
        });
        if let Some(addr) = answers {
            writer.nest(CTA_TUPLE_REPLY, |writer| {
                writer.nest(CTA_TUPLE_IP, |writer| writer.attr(CTA_IP_V4_SRC, &addr.octets()));
            });
        }
        writer.nest(CTA_FILTER, |writer| {
            let original = BY_DESTINATION | BY_PROTOCOL | BY_PORT;
            writer.attr(CTA_FILTER_ORIG_FLAGS, &original.to_ne_bytes());
            if answers.is_some() {
                writer.attr(CTA_FILTER_REPLY_FLAGS, &BY_SOURCE.to_ne_bytes());
            }
        });
    });
    writer
}

/// Lists a protocol's entries, to this port where there is one. Kernels that know no filter here list all entries.
pub(super) fn list(protocol: Protocol, family: Family, port: Option<Port>) -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_GET, NLM_F_DUMP, number_of(family)), |writer| {
        writer.nest(CTA_TUPLE_ORIG, |writer| {
            transport(writer, protocol, CTA_PROTO_DST_PORT, port);
        });
        filter(writer, CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL | port.map_or(0, |_| BY_PORT));
    });
    writer
}

/// Lists the entries of all protocols and families: the kernel has no filter for two families at once.
pub(super) fn list_all() -> Writer {
    let mut writer = Writer::default();
    writer.message(head(IPCTNL_MSG_CT_GET, NLM_F_DUMP, 0), |_| ());
    writer
}

/// Lists what somebody answers. Kernels that know no filter here list all entries.
pub(super) fn list_answered(Question { protocol, who, port }: Question) -> Writer {
    let mut writer = Writer::default();
    let family = number_of(who.family());
    writer.message(head(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family), |writer| {
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

/// Deletes exactly these entries. The last deletion is acknowledged; of what is gone already, the kernel says so.
pub(super) fn delete(entries: &[Entry]) -> Writer {
    let mut writer = Writer::default();
    for (place, entry) in entries.iter().enumerate() {
        let flags = if place + 1 == entries.len() { NLM_F_ACK } else { 0 };
        let head = head(IPCTNL_MSG_CT_DELETE, flags, number_of(Family::of(entry.destination)));
        writer.message(Message { sequence: place as u32, ..head }, |writer| {
            writer.nest(CTA_TUPLE_ORIG, |writer| writer.raw(&entry.tuple));
            entry.id.iter().for_each(|id| writer.attr(CTA_ID, id));
            entry.zone.iter().for_each(|zone| writer.attr(CTA_ZONE, zone));
        });
    }
    writer
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

/// `AF_INET`, `AF_INET6`; 0 would be all families.
const fn number_of(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

const fn head(kind: u16, flags: u16, family: u8) -> Message {
    let kind = SUBSYSTEM << 8 | kind;
    Message { kind, flags: NLM_F_REQUEST | flags, sequence: 0, family, resource: 0 }
}
