//! What others do with packets: a drop of theirs wins over whatever rules of ours say.

use std::process::Command;

use nix::unistd::Uid;
use serde::Deserialize;

use super::Finding;

/// What `nft -j list chains` says; iptables that speaks nftables is in it.
#[derive(Deserialize)]
struct Listed {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    chain: Option<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

pub(super) fn check() -> Vec<Finding> {
    if !Uid::effective().is_root() {
        return vec![Finding::unknown("firewall", "what others' rules drop only root can see")];
    }
    // iptables itself is not asked: it can make tables in order to list them.
    match list() {
        Some(chains) => judge(&chains),
        None => {
            let found = "what others' rules drop cannot be seen without the program nft";
            vec![Finding::unknown("firewall", found).mend("apt install nftables")]
        }
    }
}

fn list() -> Option<Vec<Chain>> {
    let listed = ["nft", "/usr/sbin/nft"].into_iter().find_map(|nft| {
        Command::new(nft)
            .args(["-j", "list", "chains"])
            .output()
            .ok()
            .filter(|listed| listed.status.success())
    })?;
    let listed: Listed = serde_json::from_slice(&listed.stdout).ok()?;
    Some(listed.nftables.into_iter().filter_map(|object| object.chain).collect())
}

fn judge(chains: &[Chain]) -> Vec<Finding> {
    let has = |name: &str| chains.iter().any(|chain| chain.name == name || chain.table == name);
    let mut findings: Vec<_> = chains
        .iter()
        .filter(|chain| chain.policy.as_deref() == Some("drop"))
        .filter_map(|chain| {
            let place = format!("{} {} {}", chain.family, chain.table, chain.name);
            match chain.hook.as_deref()? {
                "forward" => {
                    let found = format!("{place} drops what is forwarded unless a rule accepts it (rules are not looked at): NAT's connections end there, the proxy's don't");
                    Some(mended(Finding::wrong("firewall", found), chain, open_forward(chain, &has)))
                }
                "input" => {
                    let found = format!("{place} drops what comes in and nobody allows: the proxy's ports have to be opened there");
                    Some(mended(Finding::wrong("firewall", found), chain, open_input(chain, &has)))
                }
                _ => None,
            }
        })
        .collect();
    if has("firewalld") {
        let found = "firewalld is here, and rejects what its zones do not allow";
        findings.push(
            Finding::note("firewall", found)
                .mend("firewall-cmd --zone=trusted --add-interface=BRIDGE"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok("firewall", "no chain of others drops what it does not know"));
    }
    findings
}

/// A command is there to be pasted into a shell: others' names are in it only where a shell takes them for names.
fn mended(finding: Finding, Chain { table, name, .. }: &Chain, command: String) -> Finding {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    match table.chars().chain(name.chars()).all(is_plain) {
        true => finding.mend(command),
        false => finding,
    }
}

/// What lets NAT's packets through. A publish by rules looks at the policy alone, as others' rules can say anything: who has
/// made some has to tell it so.
fn open_forward(chain: &Chain, has: &impl Fn(&str) -> bool) -> String {
    let rules = format!("{}; publish --foreign-drop ignore", accept(chain, has));
    match chain.family != "inet"
        && (chain.table.as_str(), chain.name.as_str()) == ("filter", "FORWARD")
    {
        true => format!("publish --foreign-drop open, or publish --backend iptables, or {rules}"),
        false => rules,
    }
}

fn accept(chain: &Chain, has: &impl Fn(&str) -> bool) -> String {
    let Chain { family, table, name, .. } = chain;
    let tool = if family == "ip6" { "ip6tables" } else { "iptables" };
    let both = |allow: &dyn Fn(&str, &str) -> String| {
        [("out", "-o"), ("in", "-i")].map(|(way, option)| allow(way, option)).join("; ")
    };
    if has("DOCKER-USER") {
        both(&|_, option| format!("{tool} -I DOCKER-USER {option} BRIDGE -j ACCEPT"))
    } else if has("ufw-user-forward") || has("ufw-before-forward") {
        both(&|way, _| format!("ufw route allow {way} on BRIDGE"))
    } else if name == "FORWARD" {
        both(&|_, option| format!("{tool} -I FORWARD {option} BRIDGE -j ACCEPT"))
    } else {
        let insert = format!("nft insert rule {family} {table} {name}");
        format!("{insert} oifname BRIDGE accept; {insert} iifname BRIDGE accept")
    }
}

fn open_input(chain: &Chain, has: &impl Fn(&str) -> bool) -> String {
    let Chain { family, table, name, .. } = chain;
    if has("ufw-user-input") {
        "ufw allow PORT".to_owned()
    } else if name == "INPUT" {
        let tool = if family == "ip6" { "ip6tables" } else { "iptables" };
        format!("{tool} -I INPUT -p tcp --dport PORT -j ACCEPT")
    } else {
        format!("nft insert rule {family} {table} {name} tcp dport PORT accept")
    }
}
