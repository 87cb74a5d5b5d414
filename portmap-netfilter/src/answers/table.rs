//! The rules that mark answers, as data.

use std::{cmp::Reverse, collections::BTreeMap};

use portmap_rules::{
    Base, Chain, ChainKind, ChainPolicy, Connection, Field, Hook, Layout, Match, Name, Network,
    Priority, Purpose, Rule, Ruleset, Set, Table, Target, Value, What,
};

use super::{Called, table_id};

const BRIDGES: &str = "bridges";

/// One table, one set, and a rule for each address that was called. Nothing where there is no such address, or no network.
pub(super) fn ruleset(networks: &[Network], called: &[Called]) -> Ruleset {
    let rules = Ruleset::empty(Layout::Nftables);
    if networks.is_empty() || called.is_empty() {
        return rules;
    }
    let key = vec![Field::InInterface];
    let bridges = networks.iter().map(Network::bridge);
    let elements = bridges.map(|bridge| (vec![Value::Interface(bridge)], None)).collect();
    let set = Set { elements, ..Set::new(key.clone()) };
    let answer = [
        Match::is(What::InSet(key, BRIDGES.into())),
        Match::is(What::Connection(Connection::Answer)),
        Match::is(What::Connection(Connection::DestinationRewritten)),
    ];
    let rule = |what, target, purpose| {
        let matches = answer.iter().cloned().chain([Match::is(what)]).collect();
        Rule { matches, target, purpose }
    };
    // Before routing, which is what the mark is for; after connection tracking, before it undoes NAT.
    let mut chain = Chain::base(Base {
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: Priority::MANGLE,
        policy: ChainPolicy::Accept,
    });
    for net in networks.iter().flat_map(Network::subnets).map(|subnet| subnet.net()) {
        chain.rules.push(rule(What::Destination(net), Target::Return, Purpose::AnswerInside));
    }
    // A net before what lies in it: the last mark stays.
    let mut called: Vec<_> = called.iter().collect();
    called.sort_by_key(|one| (Reverse(one.net.max_prefix_len() - one.net.prefix_len()), one.net));
    for one in called {
        let was_called = What::OriginalDestination(one.net);
        chain.rules.push(rule(was_called, Target::Mark(one.mark), Purpose::AnswerAsCalled));
    }
    let table = Table {
        chains: BTreeMap::from([(Name::from("answers"), chain)]),
        sets: BTreeMap::from([(Name::from(BRIDGES), set)]),
    };
    Ruleset::new(Layout::Nftables, BTreeMap::from([(table_id(), table)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portmap_rules::Mark;

    #[test]
    fn it_prints_as_nft_lists_it() {
        let networks = ["br0=10.0.0.0/24,fd00::/64".parse().unwrap()];
        let called = |net: &str, value| Called {
            net: net.parse().unwrap(),
            mark: Mark { value, mask: super::super::MASK },
        };
        let called = [
            called("192.0.2.1/32", 0x200),
            called("192.0.2.0/24", 0x400),
            called("2001:db8::1/128", 0x600),
        ];
        // nft leaves the bits alone that are set behind it.
        let mark = |bits: u32| {
            format!("meta mark set meta mark & 0x{:08x} | 0x{bits:08x}", 0xffff_e1ff | bits)
        };
        let answer = "iifname @bridges ct direction reply ct status dnat";
        assert_eq!(
            ruleset(&networks, &called).to_string(),
            format!(
                "table inet portmap-answers {{\n\
                 \tset bridges {{\n\
                 \t\ttype ifname\n\
                 \t\telements = {{ \"br0\" }}\n\
                 \t}}\n\n\
                 \tchain answers {{\n\
                 \t\ttype filter hook prerouting priority mangle; policy accept;\n\
                 \t\t{answer} ip daddr 10.0.0.0/24 return\n\
                 \t\t{answer} ip6 daddr fd00::/64 return\n\
                 \t\t{answer} ct original ip daddr 192.0.2.0/24 {}\n\
                 \t\t{answer} ct original ip daddr 192.0.2.1 {}\n\
                 \t\t{answer} ct original ip6 daddr 2001:db8::1 {}\n\
                 \t}}\n\
                 }}\n",
                mark(0x400),
                mark(0x200),
                mark(0x600)
            )
        );
        assert!(ruleset(&networks, &[]).is_empty() && ruleset(&[], &called).is_empty());
    }
}
