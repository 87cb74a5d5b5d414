//! The rule that finds the proxy's packets, as data.

use std::collections::{BTreeMap, BTreeSet};

use portmap_rules::{
    Base, Chain, ChainKind, ChainPolicy, Connection, Field, Hook, Interface, Layout, Match, Name,
    Priority, Purpose, Rule, Ruleset, Set, Table, TableFamily, TableId, Target, Value, What,
};

use super::MARK;

const BRIDGES: &str = "bridges";

/// One table, one set, and one rule that does something: `iifname @bridges socket transparent 1 socket wildcard 0` is marked.
///
/// Only what is for a socket that speaks from an address: that leaves out what a container sends into the world, whatever
/// others on this host intercept with sockets that are bound to no address.
pub(super) fn ruleset(bridges: &BTreeSet<Interface>) -> Ruleset {
    let key = vec![Field::InInterface];
    let elements = bridges.iter().map(|bridge| (vec![Value::Interface(*bridge)], None)).collect();
    let set = Set { elements, ..Set::new(key.clone()) };
    // Before routing, which is what the mark is for; after connection tracking, which tells whose a translated answer is.
    let mut chain = Chain::base(Base {
        kind: ChainKind::Filter,
        hook: Hook::Prerouting,
        priority: Priority::MANGLE,
        policy: ChainPolicy::Accept,
    });
    let from_container = Match::is(What::InSet(key, BRIDGES.into()));
    let matches = vec![
        from_container.clone(),
        Match::is(What::SocketIsTransparent),
        Match::not(What::SocketIsWildcard),
    ];
    let target = Target::Mark(MARK);
    chain.rules.push(Rule { matches, target, purpose: Purpose::Divert });
    let matches = vec![from_container, Match::is(What::Connection(Connection::Established))];
    chain.rules.push(Rule { matches, target: Target::Return, purpose: Purpose::Defragment });
    let table = Table {
        chains: BTreeMap::from([(Name::from("divert"), chain)]),
        sets: BTreeMap::from([(Name::from(BRIDGES), set)]),
    };
    let id = TableId { family: TableFamily::Inet, name: "portmap-transparent".into() };
    Ruleset::new(Layout::Nftables, BTreeMap::from([(id, table)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_as_nft_lists_it() {
        let bridges = ["br0", "docker0"].map(|name| name.parse().unwrap());
        assert_eq!(
            ruleset(&bridges.into()).to_string(),
            "table inet portmap-transparent {\n\
             \tset bridges {\n\
             \t\ttype ifname\n\
             \t\telements = { \"br0\",\n\
             \t\t\t     \"docker0\" }\n\
             \t}\n\n\
             \tchain divert {\n\
             \t\ttype filter hook prerouting priority mangle; policy accept;\n\
             \t\tiifname @bridges socket transparent 1 socket wildcard 0 \
             meta mark set meta mark & 0xffffffaf | 0x000000a0\n\
             \t\tiifname @bridges ct state established,related return\n\
             \t}\n\
             }\n"
        );
    }
}
