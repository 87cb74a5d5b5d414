//! Sets and maps.

use portmap_rules::{DataType, Family, Field, Name, Set, TableId};

use super::packet;
use crate::{
    netlink::Writer,
    nftables::kernel::{
        NFT_DATA_VERDICT, NFT_SET_CONCAT, NFT_SET_INTERVAL, NFT_SET_MAP, NFTA_LIST_ELEM,
        NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_DESC, NFTA_SET_DESC_CONCAT,
        NFTA_SET_FIELD_LEN, NFTA_SET_FLAGS, NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE,
        NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_USERDATA,
    },
};

/// How wide a type is in the number of a concatenated one, as `nft` counts them.
const TYPE_BITS: u32 = 6;

/// For `nft` alone, which would list names of interfaces as empty otherwise: `NFTNL_UDATA_SET_KEYBYTEORDER`, 4 bytes
/// long, `BYTEORDER_HOST_ENDIAN`.
const NAMES_ARE_TEXT: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

pub(super) fn refer(writer: &mut Writer, table: &TableId, name: &Name) {
    writer.text(NFTA_SET_TABLE, table.name.as_str());
    writer.text(NFTA_SET_NAME, name.as_str());
}

/// The types are the kernel's to keep and `nft`'s to read: without them it could not list the elements.
pub(super) fn add(writer: &mut Writer, table: &TableId, name: &Name, set: &Set) {
    refer(writer, table, name);
    let fields = || set.key.iter().copied().map(packet::kind);
    let concatenated = set.key.len() > 1;
    let flag = |condition, flag| if condition { flag } else { 0 };
    let flags = flag(set.data.is_some(), NFT_SET_MAP)
        | flag(set.interval, NFT_SET_INTERVAL)
        | flag(set.interval && concatenated, NFT_SET_CONCAT);
    writer.be32(NFTA_SET_FLAGS, flags);
    writer
        .be32(NFTA_SET_KEY_TYPE, fields().fold(0, |kind, field| kind << TYPE_BITS | field.number));
    let len = match set.key.as_slice() {
        [field] => packet::kind(*field).len,
        _ => fields().map(|field| field.len.next_multiple_of(4)).sum(),
    };
    writer.be32(NFTA_SET_KEY_LEN, len);
    if let Some(data) = set.data {
        let (kind, len) = data_kind(data);
        writer.be32(NFTA_SET_DATA_TYPE, kind);
        len.iter().for_each(|len| writer.be32(NFTA_SET_DATA_LEN, *len));
    }
    // Only messages of the same batch may refer to it, and ours go by the name; but the kernel insists on one.
    writer.be32(NFTA_SET_ID, 1);
    if set.interval && concatenated {
        writer.nest(NFTA_SET_DESC, |writer| {
            writer.nest(NFTA_SET_DESC_CONCAT, |writer| {
                for field in fields() {
                    let len = |writer: &mut Writer| writer.be32(NFTA_SET_FIELD_LEN, field.len);
                    writer.nest(NFTA_LIST_ELEM, len);
                }
            });
        });
    }
    if let [Field::InInterface | Field::OutInterface] = set.key.as_slice() {
        writer.attr(NFTA_SET_USERDATA, &NAMES_ARE_TEXT);
    }
}

/// Type and length of a map's data.
const fn data_kind(data: DataType) -> (u32, Option<u32>) {
    let port = packet::PORT;
    match data {
        DataType::Addr(family) => {
            let addr = packet::addr(family);
            (addr.number, Some(addr.len))
        }
        DataType::AddrPort(family) => {
            let addr = packet::addr(family);
            (addr.number << TYPE_BITS | port.number, Some(addr.len + 4))
        }
        DataType::Verdict => (NFT_DATA_VERDICT, None),
    }
}

/// The slot behind an address, counted in 4 bytes: where a map's data has the port.
pub(super) const fn port_slot(family: Family) -> u32 {
    packet::addr(family).len / 4
}
