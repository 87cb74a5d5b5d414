//! The way through a chain of somebody else's, in iptables.

use std::collections::BTreeMap;

use super::write::{ESTABLISHED, REWRITTEN, comes_in, goes_out};
use crate::{
    Base, Chain, ChainKind, ChainPolicy, Family, Hook, Interface, Layout, Name, Ownership, Prefix,
    Priority, Purpose, Ruleset, Table, TableId, Target,
};

/// The chain of the filter table from which a passage is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entrance {
    /// `FORWARD` itself.
    Forward,
    /// `DOCKER-USER`, which Docker makes for others, calls before all its own rules, and never writes to.
    DockerUser,
}

impl Entrance {
    /// The chain's name.
    pub const fn chain(self) -> &'static str {
        match self {
            Self::Forward => Hook::Forward.builtin(),
            Self::DockerUser => "DOCKER-USER",
        }
    }
}

/// The rules of iptables that let what NAT has led to a container of these bridges through a `FORWARD` that drops, and the
/// answers to it: a chain of their own, `PREFIX-OPEN`, which one jump calls, first in the entrance of each family. No rules
/// where there are no bridges.
///
/// Not by bridge or address alone: whoever led a packet there by NAT has said what may pass. So what a killed process
/// leaves of it lets nothing through.
///
/// They are rules like all others, to be compared, listed and traced; `FORWARD` has the policy here for which they are
/// needed. The way is [`ForeignDrop::Open`](crate::ForeignDrop::Open)'s.
pub fn compile_passage(
    bridges: &[Interface],
    entrances: &BTreeMap<Family, Entrance>,
    prefix: &Prefix,
) -> Ruleset {
    let own: Name = format!("{prefix}-OPEN").into();
    let mut open = Chain::regular();
    for bridge in bridges {
        open.push(Purpose::PassageIn, [goes_out(*bridge), REWRITTEN], Target::Accept);
        open.push(Purpose::PassageAnswers, [comes_in(*bridge), ESTABLISHED], Target::Accept);
    }
    let table = |entrance: &Entrance| {
        let mut caller = Chain { ownership: Ownership::Shared, ..Chain::base(FORWARD) };
        caller.push(Purpose::Passage, [], Target::Jump(own.clone()));
        let chains = [(entrance.chain().into(), caller), (own.clone(), open.clone())];
        Table { chains: chains.into(), ..Table::default() }
    };
    let of_family = |(family, entrance): (&Family, &Entrance)| {
        (TableId { family: (*family).into(), name: "filter".into() }, table(entrance))
    };
    let entrances = entrances.iter().filter(|_| !bridges.is_empty());
    Ruleset { layout: Layout::Iptables, tables: entrances.map(of_family).collect() }
}

const FORWARD: Base = Base {
    kind: ChainKind::Filter,
    hook: Hook::Forward,
    priority: Priority::FILTER,
    policy: ChainPolicy::Drop,
};

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::{End, L4, Packet, World, trace};

    const ENTRANCES: [(Family, Entrance); 2] =
        [(Family::Ipv4, Entrance::DockerUser), (Family::Ipv6, Entrance::Forward)];

    fn passage(bridges: &[&str]) -> Ruleset {
        let bridges: Vec<_> = bridges.iter().map(|name| name.parse().unwrap()).collect();
        compile_passage(&bridges, &ENTRANCES.into(), &"P".parse().unwrap())
    }

    #[test]
    fn it_is_listed_as_iptables_lists_it() {
        let listed = "# ipv4 filter
-N P-OPEN
-A DOCKER-USER -j P-OPEN
-A P-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT
-A P-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
# ipv6 filter
-P FORWARD DROP
-N P-OPEN
-A FORWARD -j P-OPEN
-A P-OPEN -o br0 -m conntrack --ctstate DNAT -j ACCEPT
-A P-OPEN -i br0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
";
        assert_eq!(passage(&["br0"]).to_string(), listed);
        assert!(passage(&[]).is_empty());
    }

    #[test]
    fn a_change_of_bridges_rewrites_its_own_chain_alone() {
        let change = Ruleset::diff(&passage(&["br0"]), &passage(&["br0", "br1"]));
        let text = change.to_restore(Family::Ipv4.into(), false);
        assert!(text.starts_with("*filter\n:P-OPEN - [0:0]\n-A P-OPEN -o br0 "), "{text}");
        assert!(!text.contains("DOCKER-USER"), "{text}");
    }

    #[test]
    fn what_no_nat_has_led_there_ends_at_the_policy() {
        let world = World::new(["br0=192.0.2.0/24".parse().unwrap()])
            .with_address("eth0".parse().unwrap(), "198.51.100.1/24".parse().unwrap());
        let from: SocketAddr = "198.51.100.9:4000".parse().unwrap();
        let packet = Packet {
            arrives_by: Some("eth0".parse().unwrap()),
            protocol: L4::Transport(portmap_core::Protocol::Tcp),
            from,
            to: "192.0.2.2:80".parse().unwrap(),
        };
        let traced = trace(&passage(&["br0"]), &world, packet);
        assert_eq!(traced.end, End::Dropped(crate::Loss::Policy));
        assert_eq!(traced.request[0].purpose, Purpose::Passage);
    }
}
