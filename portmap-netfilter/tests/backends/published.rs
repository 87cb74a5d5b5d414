//! What is compiled for real networks and bindings.

use std::net::IpAddr;

use portmap_core::{Binding, Endpoint, HostAddr, PortRange, Protocol};
use portmap_netfilter::{Nftables, TableOwner};
use portmap_rules::{Network, Policy, Ruleset, compile};

use crate::{
    suite::{Need, Suite, TestResult},
    tool,
};

pub(crate) fn add(suite: &mut Suite) {
    let nft = &[Need::Tool("nft")];
    suite.test("what_is_rendered_is_what_nft_lists", nft, rendered_is_listed);
    suite.test("publishing_and_releasing_leaves_what_was_there", nft, there_and_back);
}

async fn rendered_is_listed() -> TestResult {
    for (networks, bindings, policy) in cases()? {
        let nftables = Nftables::open(TableOwner::Socket)?;
        let rules = compile(&networks, &bindings, &policy)?;
        nftables.apply(Ruleset::diff(&nothing(), &rules)).await?;
        let listed = tool::nft_list()?;
        let rendered = tool::comparable(&rules.to_string());
        assert_eq!(listed, rendered, "listed:\n{listed}\nrendered:\n{rendered}");
        nftables.close().await;
    }
    Ok(())
}

async fn there_and_back() -> TestResult {
    for (networks, bindings, policy) in cases()? {
        let nftables = Nftables::open(TableOwner::Socket)?;
        let base = compile(&networks, &[], &policy)?;
        let full = compile(&networks, &bindings, &policy)?;
        nftables.apply(Ruleset::diff(&nothing(), &base)).await?;
        let before = tool::nft_list()?;
        for (place, binding) in bindings.iter().enumerate() {
            let some = compile(&networks, &bindings[..place], &policy)?;
            let more = compile(&networks, &bindings[..=place], &policy)?;
            nftables
                .apply(Ruleset::diff(&some, &more))
                .await
                .map_err(|error| format!("{binding}: {error:?}"))?;
        }
        assert_eq!(tool::nft_list()?, tool::comparable(&full.to_string()));
        nftables.apply(Ruleset::diff(&full, &base)).await?;
        assert_eq!(tool::nft_list()?, before);
        nftables.apply(Ruleset::diff(&base, &nothing())).await?;
        assert_eq!(tool::nft_list()?, "");
        nftables.close().await;
    }
    Ok(())
}

pub(crate) fn nothing() -> Ruleset {
    Ruleset::empty(portmap_rules::Layout::Nftables)
}

pub(crate) fn binding(
    protocol: Protocol,
    host: &str,
    first: &str,
    to: &str,
    ports: &str,
) -> Result<Binding, Box<dyn std::error::Error>> {
    let host = host.parse::<IpAddr>().map_or(HostAddr::Any, HostAddr::from);
    let to: Endpoint = to.parse()?;
    let ports: PortRange = ports.parse()?;
    Binding::new(protocol, host, first.parse()?, to, ports).ok_or_else(|| "past 65535".into())
}

type Case = (Vec<Network>, Vec<Binding>, Policy);

fn cases() -> Result<Vec<Case>, Box<dyn std::error::Error>> {
    use portmap_core::Protocol::{Sctp, Tcp, Udp};
    use portmap_rules::{Hairpin, Loopback};
    let both = "192.0.2.2,2001:db8::2";
    let bindings = vec![
        binding(Tcp, "*", "8080", both, "80")?,
        binding(Udp, "*", "5353", "192.0.2.3", "53")?,
        binding(Sctp, "*", "9999", both, "9999")?,
        binding(Tcp, "127.0.0.1", "8081", "192.0.2.2", "81")?,
        binding(Tcp, "198.51.100.1", "8082", "192.0.2.2", "82")?,
        binding(Tcp, "*", "30000", both, "30000-39999")?,
        binding(Udp, "198.51.100.1", "40000", "192.0.2.2", "50000-50009")?,
        binding(Tcp, "::1", "8083", "2001:db8::2", "83")?,
    ];
    let networks = |list: &[&str]| -> Result<Vec<Network>, Box<dyn std::error::Error>> {
        list.iter().map(|text| Ok(text.parse()?)).collect()
    };
    let two = ["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24,2001:db8::/64"];
    let every = [
        "plain=172.17.0.0/16",
        "bridge1=192.0.2.0/24,2001:db8::/64,trusted=eth1",
        "inner=10.1.0.0/16,internal",
        "routed=10.2.0.0/16,mode=routed",
        "open=10.3.0.0/16,mode=nat-unprotected,icc=off",
    ];
    let with = |loopback, hairpin| Policy { loopback, hairpin, ..Policy::default() };
    Ok(vec![
        (networks(&two)?, bindings.clone(), Policy::default()),
        (networks(&two)?, bindings.clone(), with(Loopback::Proxy, Hairpin::Masquerade)),
        (networks(&every)?, bindings.clone(), with(Loopback::Nat, Hairpin::Bridge)),
        (networks(&every)?, bindings, with(Loopback::Proxy, Hairpin::Bridge)),
    ])
}
