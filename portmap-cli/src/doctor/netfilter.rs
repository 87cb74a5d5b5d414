//! Whether this kernel takes our rules, and which iptables there is.

use std::fs;

use portmap::{
    Binding, BoxError, HostAddr, Protocol,
    rules::{
        IptablesTools, IptablesVariant, Layout, Nftables, Policy, Ruleset, TableOwner, compile,
    },
};
use portmap_testkit::Node;

use super::{Finding, privileges};
use crate::output::chain;

pub(super) async fn check() -> Vec<Finding> {
    vec![nftables().await, iptables()]
}

async fn nftables() -> Finding {
    if !(privileges::may_enter() && privileges::may_filter()) {
        let found = "cannot be tried without CAP_SYS_ADMIN and CAP_NET_ADMIN";
        return Finding::unknown("nftables", found);
    }
    match try_rules().await {
        Ok(()) => Finding::ok(
            "nftables",
            "the kernel takes the rules (tried in a namespace that is gone again)",
        ),
        Err(error) => {
            let found = format!("the kernel does not take the rules: {}", chain(error.as_ref()));
            Finding::wrong("nftables", found)
                .mend("modprobe -a nf_tables nft_chain_nat nft_fib_inet nft_masq nft_ct")
        }
    }
}

/// Puts rules in force where they concern nobody.
async fn try_rules() -> Result<(), BoxError> {
    let policy = Policy { layout: Layout::Nftables, ..Policy::default() };
    let networks = ["docker0=192.0.2.0/24,2001:db8::/64".parse()?];
    let (port, to) = ("80".parse()?, [192, 0, 2, 2].into());
    let binding = Binding::new(Protocol::Tcp, HostAddr::Any, port, to, port.into());
    let rules = compile(&networks, &Vec::from_iter(binding), &policy)?;
    let transaction = Ruleset::diff(&Ruleset::empty(Layout::Nftables), &rules);
    let namespace = Node::new("doctor").await?;
    namespace
        .run(async move {
            let nftables = Nftables::open(TableOwner::Socket)?;
            let applied = nftables.apply(transaction).await;
            nftables.close().await;
            Ok(applied?)
        })
        .await
}

fn iptables() -> Finding {
    let legacy = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    let tools = match IptablesTools::find() {
        Ok(tools) => tools,
        Err(error) => {
            let found = format!("--backend iptables does not work: {}", chain(&error));
            return Finding::note("iptables", found).mend("apt install iptables");
        }
    };
    match (tools.variant(), legacy.trim()) {
        (IptablesVariant::Nft, "") => {
            Finding::ok("iptables", "speaks nftables, and nobody uses the legacy one")
        }
        (IptablesVariant::Legacy, "") => Finding::ok("iptables", "the legacy one"),
        (IptablesVariant::Legacy, _) => Finding::ok("iptables", "the legacy one, in use"),
        (IptablesVariant::Nft, tables) => {
            let tables = tables.split_whitespace().collect::<Vec<_>>().join(", ");
            let found = format!(
                "speaks nftables, but legacy tables are there, too ({tables}): packets pass both, and neither shows the other's"
            );
            Finding::note("iptables", found).mend("iptables-legacy-save")
        }
    }
}
