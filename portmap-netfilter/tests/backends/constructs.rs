//! Every construct of the vocabulary, loaded and read back.

use std::{fmt, str::FromStr};

use portmap_core::Protocol;
use portmap_netfilter::{Nftables, TableOwner};
use portmap_rules::{
    Base, Chain, ChainKind, ChainPolicy, Change, Connection, Data, DataType, Element, Family,
    Field, Hook, Key, L4, Mark, Match, Name, NatPorts, Priority, Purpose, Rule, Set, TableFamily,
    TableId, Target, Transaction, Value, Verdict, What,
};

use crate::{
    suite::{Need, Suite, TestResult},
    tool,
};

pub(crate) fn add(suite: &mut Suite) {
    suite.test("every_construct_is_listed_as_it_was_meant", &[Need::Tool("nft")], loaded);
}

async fn loaded() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    nftables.apply(transaction()).await?;
    let listing = tool::nft_list()?;
    let golden = include_str!("constructs.nft");
    if std::env::var_os("PORTMAP_BLESS").is_some() {
        std::fs::write("tests/kernel/constructs.nft", &listing)?;
    } else {
        assert_eq!(listing, golden, "{listing}");
    }
    nftables.close().await;
    assert_eq!(tool::nft_list()?, "");
    Ok(())
}

fn parse<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("it is written as it should be")
}

fn table() -> TableId {
    TableId { family: TableFamily::Inet, name: "portmap".into() }
}

fn transaction() -> Transaction {
    let mut changes = vec![Change::AddTable(table())];
    for (name, set, elements) in sets() {
        let (table, name) = (table(), Name::from(name));
        changes.push(Change::AddSet { table: table.clone(), name: name.clone(), set });
        changes.push(Change::AddElements { table, set: name, elements });
    }
    let base = |kind, hook, priority, policy| Chain::base(Base { kind, hook, priority, policy });
    use ChainKind::{Filter, Nat};
    use ChainPolicy::{Accept, Drop};
    let chains: [(&str, Chain, Vec<Rule>); 5] = [
        ("divert", base(Filter, Hook::Prerouting, Priority::MANGLE, Accept), divert()),
        ("filter", base(Filter, Hook::Forward, Priority::FILTER, Drop), filter()),
        ("nat", base(Nat, Hook::Prerouting, Priority::DSTNAT, Accept), nat()),
        ("source", base(Nat, Hook::Postrouting, Priority::SRCNAT, Accept), source()),
        ("called", Chain::regular(), vec![rule([], Target::Return)]),
    ];
    for (name, chain, _) in &chains {
        let (table, name, chain) = (table(), (*name).into(), chain.clone());
        changes.push(Change::AddChain { table, name, chain });
    }
    for (name, _, rules) in chains {
        changes.push(Change::WriteChain { table: table(), chain: name.into(), rules });
    }
    changes.into()
}

fn rule(matches: impl IntoIterator<Item = Match>, target: Target) -> Rule {
    Rule { matches: matches.into_iter().collect(), target, purpose: Purpose::Translate }
}

fn filter() -> Vec<Rule> {
    let net = |text: &str| parse(text);
    let name = |text: &str| parse(text);
    let accept = |what| rule([Match::is(what)], Target::Accept);
    let unless = |what| rule([Match::not(what)], Target::Drop);
    vec![
        accept(What::Family(Family::Ipv6)),
        unless(What::Family(Family::Ipv4)),
        accept(What::InInterface(name("docker0"))),
        unless(What::OutInterface(name("fifteen-bytes-x"))),
        accept(What::Source(net("192.0.2.2/32"))),
        unless(What::Source(net("10.16.0.0/12"))),
        accept(What::Destination(net("192.0.2.0/24"))),
        unless(What::Destination(net("2001:db8::/33"))),
        accept(What::Destination(net("2001:db8::2/128"))),
        accept(What::Protocol(L4::Icmp)),
        accept(What::Protocol(L4::Icmpv6)),
        unless(What::Protocol(L4::Transport(Protocol::Sctp))),
        accept(What::DestinationPorts(Protocol::Tcp, parse("80"))),
        unless(What::DestinationPorts(Protocol::Udp, parse("53"))),
        accept(What::DestinationPorts(Protocol::Sctp, parse("8000-8010"))),
        unless(What::DestinationPorts(Protocol::Tcp, parse("8000-8010"))),
        accept(What::SourceIsLocal),
        unless(What::DestinationIsLocal),
        accept(What::Connection(Connection::Established)),
        unless(What::Connection(Connection::Established)),
        accept(What::Connection(Connection::DestinationRewritten)),
        unless(What::Connection(Connection::DestinationRewritten)),
        accept(What::Connection(Connection::Answer)),
        unless(What::Connection(Connection::Answer)),
        accept(What::OriginalDestination(net("192.0.2.1/32"))),
        unless(What::OriginalDestination(net("192.0.2.0/24"))),
        accept(What::OriginalDestination(net("2001:db8::/33"))),
        accept(What::Connection(Connection::Invalid)),
        unless(What::Connection(Connection::Invalid)),
        accept(What::InSet(vec![Field::OutInterface], "bridges".into())),
        unless(What::InSet(inside(), "inside".into())),
        accept(What::InSet(vec![Field::Source(Family::Ipv6)], "nets".into())),
        accept(What::InSet(vec![Field::DestinationPort], "ports".into())),
        rule([], Target::VerdictMap { key: within(), map: "within".into() }),
        rule(
            [
                Match::is(What::Source(net("192.0.2.2/32"))),
                Match::is(What::Destination(net("192.0.2.2/32"))),
                Match::is(What::DestinationPorts(Protocol::Tcp, parse("80"))),
            ],
            Target::Jump("called".into()),
        ),
    ]
}

/// What the kernel has for packets that are not routed yet.
fn divert() -> Vec<Rule> {
    vec![
        rule([Match::is(What::SocketIsTransparent)], Target::Accept),
        rule([Match::not(What::SocketIsTransparent)], Target::Drop),
        rule([Match::not(What::SocketIsWildcard)], Target::Return),
        rule([], Target::Mark(Mark { value: 0xa0, mask: 0xf0 })),
        rule([], Target::Mark(Mark { value: 0x100, mask: 0x100 })),
    ]
}

fn nat() -> Vec<Rule> {
    let tcp = || Match::is(What::DestinationPorts(Protocol::Tcp, parse("80")));
    let dnat = |to: &str, ports| Target::Dnat { to: parse(to), ports };
    let map = |family, key, map: &'static str| {
        rule(
            [Match::is(What::DestinationIsLocal)],
            Target::DnatMap { family, key, map: map.into() },
        )
    };
    let port = parse("8080");
    vec![
        rule([Match::is(What::Family(Family::Ipv4)), tcp()], dnat("192.0.2.2", NatPorts::To(port))),
        rule([Match::is(What::Family(Family::Ipv4))], dnat("192.0.2.2", NatPorts::Keep)),
        rule(
            [Match::is(What::Family(Family::Ipv6)), tcp()],
            dnat("2001:db8::2", NatPorts::To(port)),
        ),
        rule([Match::is(What::Family(Family::Ipv6))], dnat("2001:db8::2", NatPorts::Keep)),
        map(Family::Ipv4, on_addr(Family::Ipv4), "on-addr4"),
        map(Family::Ipv6, on_addr(Family::Ipv6), "on-addr6"),
        map(Family::Ipv4, on_addr(Family::Ipv4), "on-addr-ranges4"),
        map(Family::Ipv6, on_any(), "on-any-ranges6"),
    ]
}

fn source() -> Vec<Rule> {
    vec![rule([Match::is(What::SourceIsLocal)], Target::Masquerade)]
}

fn on_addr(family: Family) -> Key {
    vec![Field::Protocol, Field::Destination(family), Field::DestinationPort]
}

fn on_any() -> Key {
    vec![Field::Protocol, Field::DestinationPort]
}

fn inside() -> Key {
    vec![Field::InInterface, Field::Destination(Family::Ipv4)]
}

fn within() -> Key {
    vec![Field::InInterface, Field::OutInterface]
}

fn sets() -> Vec<(&'static str, Set, Vec<Element>)> {
    let name = |text: &str| Value::Interface(parse(text));
    let net = |text: &str| Value::Net(parse(text));
    let ports = |text: &str| Value::Ports(parse(text));
    let tcp = || Value::Protocol(Protocol::Tcp);
    let udp = || Value::Protocol(Protocol::Udp);
    let to = |addr: &str| Some(Data::Addr(parse(addr)));
    let at = |addr: &str, port: &str| Some(Data::AddrPort(parse(addr), parse(port)));
    let says = |verdict| Some(Data::Verdict(verdict));
    vec![
        (
            "bridges",
            Set::new(vec![Field::OutInterface]),
            vec![(vec![name("docker0")], None), (vec![name("bridge1")], None)],
        ),
        (
            "within",
            Set::new(within()).with_data(DataType::Verdict),
            vec![
                (vec![name("docker0"), name("docker0")], says(Verdict::Accept)),
                (vec![name("bridge1"), name("bridge1")], says(Verdict::Drop)),
            ],
        ),
        (
            "inside",
            Set::new(inside()).with_intervals(),
            vec![(vec![name("docker0"), net("172.17.0.0/16")], None)],
        ),
        (
            "nets",
            Set::new(vec![Field::Source(Family::Ipv6)]).with_intervals(),
            vec![(vec![net("2001:db8::/32")], None), (vec![net("ff00::/8")], None)],
        ),
        (
            "ports",
            Set::new(vec![Field::DestinationPort]).with_intervals(),
            vec![(vec![ports("1-1023")], None), (vec![ports("65535")], None)],
        ),
        (
            "on-addr4",
            Set::new(on_addr(Family::Ipv4)).with_data(DataType::AddrPort(Family::Ipv4)),
            vec![
                (vec![tcp(), net("192.0.2.9/32"), ports("8080")], at("172.17.0.2", "80")),
                (vec![udp(), net("192.0.2.9/32"), ports("8080")], at("172.17.0.3", "53")),
            ],
        ),
        (
            "on-addr6",
            Set::new(on_addr(Family::Ipv6)).with_data(DataType::AddrPort(Family::Ipv6)),
            vec![(vec![tcp(), net("2001:db8::9/128"), ports("8080")], at("fd00::2", "80"))],
        ),
        (
            "on-addr-ranges4",
            Set::new(on_addr(Family::Ipv4))
                .with_data(DataType::Addr(Family::Ipv4))
                .with_intervals(),
            vec![(vec![tcp(), net("192.0.2.0/24"), ports("9000-9999")], to("172.17.0.2"))],
        ),
        (
            "on-any-ranges6",
            Set::new(on_any()).with_data(DataType::Addr(Family::Ipv6)).with_intervals(),
            vec![(vec![udp(), ports("1-65535")], to("fd00::2"))],
        ),
    ]
}
