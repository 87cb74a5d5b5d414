//! nftables' chains, as the kernel lists them. The names are those of `linux/netfilter/nf_tables.h`.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use portmap_rules::TableFamily;

use super::DroppingChain;
use crate::netlink::{Attrs, Message, Transport, Writer, dump};

const SUBSYSTEM: u16 = 10;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;

/// Families as the kernel numbers them, `NFPROTO_*`.
const FAMILIES: [(u8, TableFamily); 3] =
    [(1, TableFamily::Inet), (2, TableFamily::Ipv4), (10, TableFamily::Ipv6)];

/// The chains of all tables that hook forwarded packets and drop by policy.
pub(super) fn list(socket: &impl Transport) -> io::Result<Vec<DroppingChain>> {
    let mut chains = Vec::new();
    for (number, family) in FAMILIES {
        let mut request = Writer::default();
        let head = Message {
            kind: SUBSYSTEM << 8 | NFT_MSG_GETCHAIN,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            sequence: 0,
            family: number,
            resource: 0,
        };
        request.message(head, |_| ());
        chains.extend(dump(socket, request.bytes(), |attrs| parse(family, attrs))?);
    }
    Ok(chains)
}

fn parse(family: TableFamily, attrs: Attrs<'_>) -> Option<DroppingChain> {
    let hook = attrs.nested(NFTA_CHAIN_HOOK)?.be32(NFTA_HOOK_HOOKNUM)?;
    if hook != NF_INET_FORWARD || attrs.be32(NFTA_CHAIN_POLICY)? != NF_DROP {
        return None;
    }
    let text = |kind| Some(std::str::from_utf8(attrs.find(kind)?).ok()?.trim_end_matches('\0'));
    let (table, chain) = (text(NFTA_CHAIN_TABLE)?, text(NFTA_CHAIN_NAME)?);
    Some(DroppingChain::of_nftables(family, table, chain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IptablesVariant;

    fn chain(hook: u32, policy: Option<u32>, table: &str) -> Option<DroppingChain> {
        let mut writer = Writer::default();
        writer.text(NFTA_CHAIN_TABLE, table);
        writer.text(NFTA_CHAIN_NAME, "FORWARD");
        writer.nest(NFTA_CHAIN_HOOK, |writer| writer.be32(NFTA_HOOK_HOOKNUM, hook));
        policy.into_iter().for_each(|policy| writer.be32(NFTA_CHAIN_POLICY, policy));
        parse(TableFamily::Ipv4, Attrs(writer.bytes()))
    }

    #[test]
    fn a_chain_that_drops_what_is_forwarded_is_found() {
        let found = chain(NF_INET_FORWARD, Some(NF_DROP), "filter").unwrap();
        assert_eq!(found.to_string(), "chain FORWARD in table ipv4 filter of iptables (nf_tables)");
        assert_eq!(found.variant, Some(IptablesVariant::Nft));
        assert_eq!(chain(NF_INET_FORWARD, Some(NF_DROP), "ufw").unwrap().variant, None);
    }

    /// Others choose any names.
    #[test]
    fn the_names_of_others_are_shown_as_text() {
        let found = chain(NF_INET_FORWARD, Some(NF_DROP), "a\u{1b}[2J\nb").unwrap();
        assert_eq!(found.to_string(), r"chain FORWARD in table ipv4 a\u{1b}[2J\nb");
        assert_eq!(found.table.name.as_str(), "a\u{1b}[2J\nb");
    }

    #[test]
    fn others_are_not() {
        assert_eq!(chain(NF_INET_FORWARD, Some(1), "filter"), None);
        assert_eq!(chain(NF_INET_FORWARD, None, "filter"), None);
        assert_eq!(chain(1, Some(NF_DROP), "filter"), None);
        assert_eq!(parse(TableFamily::Inet, Attrs(&[1, 2, 3])), None);
    }
}
