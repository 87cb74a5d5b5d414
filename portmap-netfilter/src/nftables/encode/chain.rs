//! Chains.

use portmap_rules::{Base, Chain, ChainKind, ChainPolicy, Hook, Name, TableId};

use crate::{
    netlink::Writer,
    nftables::kernel::{
        NF_ACCEPT, NF_DROP, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE,
        NFTA_CHAIN_TYPE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY,
    },
};

pub(super) fn refer(writer: &mut Writer, table: &TableId, name: &Name) {
    writer.text(NFTA_CHAIN_TABLE, table.name.as_str());
    writer.text(NFTA_CHAIN_NAME, name.as_str());
}

pub(super) fn add(writer: &mut Writer, table: &TableId, name: &Name, chain: &Chain) {
    refer(writer, table, name);
    let Some(Base { kind, hook, priority, policy }) = chain.base else { return };
    writer.text(
        NFTA_CHAIN_TYPE,
        match kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        },
    );
    let policy = match policy {
        ChainPolicy::Accept => NF_ACCEPT,
        ChainPolicy::Drop => NF_DROP,
    };
    writer.attr(NFTA_CHAIN_POLICY, &policy.to_be_bytes());
    writer.nest(NFTA_CHAIN_HOOK, |writer| {
        writer.be32(NFTA_HOOK_HOOKNUM, number(hook));
        writer.attr(NFTA_HOOK_PRIORITY, &priority.0.to_be_bytes());
    });
}

/// `enum nf_inet_hooks`
const fn number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}
