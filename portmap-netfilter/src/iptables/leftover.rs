//! What an owner has left that was killed.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Write as _,
    net::IpAddr,
};

use portmap_rules::{Family, Layout, Ownership, Rule, Ruleset, TableFamily};

use super::saved::Saved;

/// What `iptables-restore --noflush` reads to delete what an earlier owner of the prefix has left in one family and
/// `wanted` hasn't; empty where there is nothing. Chains that `wanted` has are left out: they are rewritten as a whole.
///
/// Built-in chains are everybody's, and don't say whose a rule is. The owner's own chains do: they name its bridges and
/// containers, and its rules in built-in chains are about these, in few forms. Of the guard of 127.0.0.0/8 nobody can
/// say whose it is, and it stays.
pub(super) fn deletions(family: Family, saved: &Saved<'_>, wanted: &Ruleset) -> String {
    let left = Left::new(saved, wanted);
    let mut text = String::new();
    // What guards goes after what leads there.
    for table in ["nat", "filter", "raw"] {
        let wanted = Wanted::new(TableFamily::from(family), table, wanted);
        let (mut rules, mut flushes, mut chains) = (String::new(), String::new(), String::new());
        for (chain, found) in saved.chains(table) {
            if left.own.contains(chain) {
                if !wanted.chains.contains(chain) {
                    // Writing to a string does not fail.
                    let _ = writeln!(flushes, "-F {chain}");
                    let _ = writeln!(chains, "-X {chain}");
                }
                continue;
            }
            let stale = |rule: &&&str| !wanted.has(chain, rule) && left.has(table, chain, rule);
            for rule in found.iter().filter(stale) {
                let _ = writeln!(rules, "-D {chain} {rule}");
            }
        }
        if !(rules.is_empty() && chains.is_empty()) {
            let _ = writeln!(text, "*{table}\n{rules}{flushes}{chains}COMMIT");
        }
    }
    text
}

/// What `wanted` has in one table.
struct Wanted<'a> {
    chains: HashSet<&'a str>,
    /// Its rules in shared chains, by chain.
    rules: HashSet<(&'a str, String)>,
}

impl<'a> Wanted<'a> {
    fn new(family: TableFamily, table: &str, wanted: &'a Ruleset) -> Self {
        let tables = wanted.tables().iter();
        let tables = tables.filter(|(id, _)| id.family == family && id.name.as_str() == table);
        let chains: Vec<_> = tables.flat_map(|(_, table)| &table.chains).collect();
        let shared = chains.iter().filter(|(_, chain)| chain.ownership == Ownership::Shared);
        let rules = shared.flat_map(|(name, chain)| {
            let text = |rule: &Rule| (name.as_str(), rule.text(Layout::Iptables).to_string());
            chain.rules.iter().map(text)
        });
        Self {
            rules: rules.collect(),
            chains: chains.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }
}

impl Wanted<'_> {
    fn has(&self, chain: &str, rule: &str) -> bool {
        self.rules.contains(&(chain, rule.to_owned()))
    }
}

/// What the chains of an owner tell of it.
struct Left<'a> {
    /// Its chains.
    own: BTreeSet<&'a str>,
    /// Chains that it jumps to: its own, and the administrator's.
    targets: BTreeSet<&'a str>,
    bridges: BTreeSet<&'a str>,
    /// Its containers, and host addresses that lead there.
    addrs: BTreeSet<IpAddr>,
}

impl<'a> Left<'a> {
    fn new(saved: &Saved<'a>, wanted: &'a Ruleset) -> Self {
        let (mut own, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for (name, chain) in wanted.tables().values().flat_map(|table| &table.chains) {
            if chain.ownership == Ownership::Own {
                own.insert(name.as_str());
            }
            if chain.ownership != Ownership::Shared {
                targets.insert(name.as_str());
            }
        }
        // Which of these there are depends on the policy, and the last owner's may have been another.
        let optional = |name: &&str| {
            let prefix =
                ["-INVALID-IN", "-INVALID-OUT"].iter().find_map(|it| name.strip_suffix(it));
            prefix.is_some_and(|prefix| own.contains(prefix))
        };
        let optional: Vec<_> =
            saved.chains("filter").map(|(name, _)| name).filter(optional).collect();
        own.extend(optional.iter().copied());
        targets.extend(optional);
        let rules = |table| {
            let chains = saved.chains(table).filter(|(name, _)| own.contains(name));
            chains.flat_map(|(_, rules)| rules.iter().copied()).collect::<Vec<_>>()
        };
        // What has no NAT is a passage: it names bridges, and has no rules about them in built-in chains.
        let is_passage = !wanted.tables().keys().any(|id| id.name.as_str() == "nat");
        let (filter, nat) = match is_passage {
            true => (Vec::new(), Vec::new()),
            false => (rules("filter"), rules("nat")),
        };
        let bridges = filter.iter().flat_map(|rule| [after(rule, "-i"), after(rule, "-o")]);
        let to = nat.iter().filter_map(|rule| after(rule, "--to-destination"));
        let at = filter.iter().chain(&nat).filter_map(|rule| after(rule, "-d"));
        Self {
            bridges: bridges.flatten().collect(),
            addrs: to.filter_map(destination).chain(at.filter_map(host)).collect(),
            own,
            targets,
        }
    }

    /// Whether a rule of a built-in chain is the owner's.
    fn has(&self, table: &str, chain: &str, rule: &str) -> bool {
        let words = |flag| after(rule, flag);
        let known = |flag| words(flag).and_then(host).filter(|addr| self.addrs.contains(addr));
        let bridge = |flag| words(flag).filter(|name| self.bridges.contains(name));
        match (table, chain, words("-j")) {
            (_, _, Some(target)) if self.targets.contains(target) => true,
            ("raw", "PREROUTING", Some("DROP" | "ACCEPT")) if words("--dport").is_some() => {
                let guarded = bridge("-i").is_some() || words("-i") == Some("lo");
                known("-d").is_some() && (guarded == rule.ends_with("DROP"))
            }
            ("nat", "POSTROUTING", Some("MASQUERADE")) => {
                let own_port = known("-s").is_some() && known("-s") == known("-d");
                own_port || bridge("-o").is_some_and(|bridge| is_source(rule, bridge))
            }
            _ => false,
        }
    }
}

/// Whether it is one of the rules about what leaves a network, or comes to it.
fn is_source(rule: &str, bridge: &str) -> bool {
    let net = after(rule, "-s").unwrap_or_default();
    [
        format!("-o {bridge} -m addrtype --src-type LOCAL -j MASQUERADE"),
        format!("-s {net} ! -o {bridge} -j MASQUERADE"),
        format!("-s {net} -o {bridge} -m conntrack --ctstate DNAT -j MASQUERADE"),
    ]
    .contains(&rule.to_owned())
}

/// The word that stands behind a flag.
fn after<'a>(rule: &'a str, flag: &str) -> Option<&'a str> {
    let mut words = rule.split(' ');
    words.find(|word| *word == flag)?;
    words.next()
}

/// `192.0.2.2/32`
fn host(net: &str) -> Option<IpAddr> {
    let (addr, len) = net.split_once('/')?;
    let addr: IpAddr = addr.parse().ok()?;
    (len == if addr.is_ipv4() { "32" } else { "128" }).then_some(addr)
}

/// `192.0.2.2`, `192.0.2.2:80`, `[2001:db8::2]:80` and the like.
fn destination(to: &str) -> Option<IpAddr> {
    let bracketed = to.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let addr = bracketed.map_or(to, |(addr, _)| addr);
    addr.parse().ok().or_else(|| addr.split_once(':')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use portmap_core::{Binding, HostAddr, Protocol};

    use super::*;
    use portmap_rules::{Hairpin, Policy, compile};

    fn rules(network: &str, hosts: &[HostAddr], endpoint: &str, hairpin: Hairpin) -> Ruleset {
        let policy = Policy { layout: Layout::Iptables, hairpin, ..Policy::default() };
        let (port, ports) = ("8080".parse().unwrap(), "80".parse().unwrap());
        let to = endpoint.parse().unwrap();
        let bindings =
            hosts.iter().filter_map(|host| Binding::new(Protocol::Tcp, *host, port, to, ports));
        compile(&[network.parse().unwrap()], &Vec::from_iter(bindings), &policy).unwrap()
    }

    /// As `iptables-save` prints a family's rules.
    fn save(rules: &Ruleset, family: &str) -> String {
        let text = rules.to_string();
        let mut saved = String::new();
        let mut ours = false;
        for line in text.lines() {
            if let Some(table) = line.strip_prefix("# ") {
                ours = table.starts_with(family);
                let name = table.rsplit(' ').next().unwrap();
                saved.push_str(&if ours { format!("*{name}\n") } else { String::new() });
            } else if ours {
                let chain = line.strip_prefix("-N ").or(line.strip_prefix("-P "));
                saved.push_str(&chain.map_or(format!("{line}\n"), |chain| format!(":{chain}\n")));
            }
        }
        saved
    }

    #[test]
    fn all_that_was_left_goes_but_for_chains_that_are_rewritten() {
        let network = "br0=10.0.0.0/24,fd00::/64,trusted=eth1";
        let any = [HostAddr::Any];
        for hairpin in [Hairpin::Masquerade, Hairpin::Bridge] {
            let dead = rules(network, &any, "10.0.0.2,fd00::2", hairpin);
            let new = rules("br1=10.0.1.0/24", &[], "10.0.1.2", hairpin);
            let v4 = save(&dead, "ipv4");
            let kept = ["-j PORTMAP", "127.0.0.0/8"];
            let builtin = v4
                .lines()
                .filter(|line| line.starts_with("-A ") && !line.starts_with("-A PORTMAP"));
            let stale: Vec<_> =
                builtin.filter(|line| !kept.iter().any(|kept| line.contains(kept))).collect();
            assert!(stale.len() >= 4, "{stale:?}");
            let deleted = deletions(Family::Ipv4, &Saved::parse(&v4), &new);
            let lines: Vec<_> = deleted.lines().filter(|line| line.starts_with('-')).collect();
            assert_eq!(lines.len(), stale.len(), "{deleted}{v4}");
            for rule in stale {
                assert!(
                    lines.contains(&rule.replacen("-A", "-D", 1).as_str()),
                    "{rule}: {deleted}"
                );
            }

            let v6 = save(&dead, "ipv6");
            let deleted = deletions(Family::Ipv6, &Saved::parse(&v6), &new);
            let builtin = v6
                .lines()
                .filter(|line| line.starts_with("-A ") && !line.starts_with("-A PORTMAP"));
            assert_eq!(deleted.matches("-D ").count(), builtin.count(), "{deleted}");
            assert_eq!(deleted.matches("-X ").count(), 9, "{deleted}");
            assert!(!deleted.contains("-X PORTMAP-USER"), "{deleted}");
        }
    }

    #[test]
    fn a_guard_of_one_loopback_port_goes() {
        let host = [HostAddr::Ip(std::net::Ipv4Addr::LOCALHOST.into())];
        let dead = rules("br0=10.0.0.0/24", &host, "10.0.0.2", Hairpin::Bridge);
        let new = rules("br0=10.0.0.0/24", &[], "10.0.0.2", Hairpin::Bridge);
        let deleted = deletions(Family::Ipv4, &Saved::parse(&save(&dead, "ipv4")), &new);
        assert!(deleted.contains("-D PREROUTING -d 127.0.0.1/32 ! -i lo -p tcp"), "{deleted}");
    }

    #[test]
    fn what_is_wanted_or_somebody_elses_stays() {
        let now = rules("br0=10.0.0.0/24", &[HostAddr::Any], "10.0.0.2", Hairpin::Bridge);
        let mut saved = save(&now, "ipv4");
        assert_eq!(deletions(Family::Ipv4, &Saved::parse(&saved), &now), "");
        for rule in [
            "*nat",
            "-A POSTROUTING -s 10.9.0.0/24 ! -o br9 -j MASQUERADE",
            "-A POSTROUTING -o br0 -j MASQUERADE",
            "-A POSTROUTING -s 10.0.0.2/32 -d 192.0.2.9/32 -j MASQUERADE",
            "*raw",
            "-A PREROUTING -d 10.0.0.9/32 ! -i br0 -p tcp -m tcp --dport 80 -j DROP",
            "-A PREROUTING -d 10.0.0.2/32 -i eth0 -j DROP",
            "*filter",
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -i br0 -j ACCEPT",
        ] {
            saved.push_str(rule);
            saved.push('\n');
        }
        assert_eq!(deletions(Family::Ipv4, &Saved::parse(&saved), &now), "");
    }
}
