//! Refused transactions: nothing changes, and the error says what it was.

use std::io::Write as _;

use portmap_netfilter::{Nftables, NftablesError, NftablesObject, TableOwner};

use portmap_rules::{
    Chain, Change, Data, DataType, Element, Family, Field, Name, NatPorts, Purpose, Rule, Set,
    TableFamily, TableId, Target, Transaction, Value,
};

use crate::{
    suite::{Need, Suite, TestResult},
    tool,
};

pub(crate) fn add(suite: &mut Suite) {
    let nft = &[Need::Tool("nft")];
    suite.test("a_refused_object_is_named_and_nothing_changes", nft, named);
    suite.test("what_nftables_cannot_express_is_refused_before_it_is_sent", &[], inexpressible);
    suite.test("a_missing_privilege_is_named", &[Need::Tool("setpriv")], denied);
    suite.test("a_long_transaction_is_taken_back_as_a_whole", nft, taken_back);
}

fn table() -> TableId {
    TableId { family: TableFamily::Inet, name: "portmap".into() }
}

fn ports() -> Set {
    Set::new(vec![Field::DestinationPort]).with_data(DataType::AddrPort(Family::Ipv4))
}

fn port(number: u16) -> Element {
    let port: portmap_core::Port = number.try_into().expect("it is not 0");
    let to = Data::AddrPort([192, 0, 2, 2].into(), port);
    (vec![Value::Ports(port.into())], Some(to))
}

fn add_elements(elements: Vec<Element>) -> Change {
    Change::AddElements { table: table(), set: "ports".into(), elements }
}

fn delete_elements(elements: Vec<Element>) -> Change {
    Change::DeleteElements { table: table(), set: "ports".into(), elements }
}

fn call(chain: &'static str) -> Change {
    let target = Target::Jump(chain.into());
    let fine = Rule { matches: vec![], target: Target::Accept, purpose: Purpose::Next };
    let rules = vec![fine, Rule { matches: vec![], target, purpose: Purpose::Next }];
    Change::WriteChain { table: table(), chain: "chain".into(), rules }
}

fn base() -> Transaction {
    let name = Name::from("chain");
    vec![
        Change::AddTable(table()),
        Change::AddSet { table: table(), name: "ports".into(), set: ports() },
        Change::AddChain { table: table(), name, chain: Chain::regular() },
        add_elements(vec![port(1), port(2)]),
    ]
    .into()
}

async fn named() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    nftables.apply(base()).await?;
    let before = tool::nft_list()?;
    let element = |number| NftablesObject::Element {
        table: table(),
        set: "ports".into(),
        element: port(number),
    };
    let many: Vec<Element> = (3..=10_000).chain([2]).chain(10_001..11_000).map(port).collect();
    let cases: Vec<(Vec<Change>, NftablesObject, &str)> = vec![
        (vec![add_elements(many)], element(2), "add element 2 of set ports in table inet portmap"),
        (
            vec![add_elements(vec![port(5)]), delete_elements(vec![port(1), port(7), port(2)])],
            element(7),
            "delete element 7 of set ports in table inet portmap",
        ),
        (
            vec![add_elements(vec![port(5)]), call("nowhere")],
            NftablesObject::Rule { table: table(), chain: "chain".into(), place: 1 },
            "add rule 2 of chain chain in table inet portmap",
        ),
        (
            vec![Change::AddChain {
                table: table(),
                name: "chain".into(),
                chain: Chain::regular(),
            }],
            NftablesObject::Chain { table: table(), name: "chain".into() },
            "add chain chain in table inet portmap",
        ),
        (
            vec![Change::DeleteSet { table: table(), name: "none".into(), set: ports() }],
            NftablesObject::Set { table: table(), name: "none".into() },
            "delete set none in table inet portmap",
        ),
    ];
    for (changes, expected, text) in cases {
        let error = nftables.apply(changes.into()).await.expect_err(text);
        assert_eq!(error.to_string(), format!("the kernel would not {text}"), "{error:?}");
        let NftablesError::Refused { object, .. } = error else { panic!("{error:?}") };
        assert_eq!(*object, expected);
        assert_eq!(tool::nft_list()?, before, "after {text}");
    }
    nftables.apply(vec![delete_elements(vec![port(1), port(2)])].into()).await?;
    Ok(())
}

/// More than a send buffer of `net.core.wmem_max` holds: in a user namespace that is several requests, of which the
/// last one fails.
async fn taken_back() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    nftables.apply(base()).await?;
    let before = tool::nft_list()?;
    let many = (3..=60_000).map(port).collect();
    let changes = || vec![delete_elements(vec![port(1)]), add_elements(Vec::clone(&many))];
    let mut failing = changes();
    failing.push(call("nowhere"));
    let error = nftables.apply(failing.into()).await.expect_err("it is refused");
    let NftablesError::Refused { object, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*object, NftablesObject::Rule { .. }), "{object}");
    assert_eq!(tool::nft_list()?, before);
    nftables.apply(changes().into()).await?;
    Ok(())
}

async fn inexpressible() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    nftables.apply(base()).await?;
    let (values, to) = port(80);
    let range = (vec![Value::Ports("80-90".parse()?)], to);
    let dnat = |ports| Target::Dnat { to: [192, 0, 2, 2].into(), ports };
    let shift = dnat(NatPorts::Shift { base: "80".parse()?, to: "90-99".parse()? });
    let write = |target| {
        let rules = vec![Rule { matches: vec![], target, purpose: Purpose::Next }];
        Change::WriteChain { table: table(), chain: "chain".into(), rules }
    };
    let key = vec![Field::DestinationPort];
    let none = Target::DnatMap { family: Family::Ipv4, key, map: "none".into() };
    let elements = vec![(values, to)];
    let cases = [
        (
            add_elements(vec![port(5), range]),
            "element 80-90 of set ports in table inet portmap: nftables has no ranges in a set \
             without intervals",
        ),
        (
            write(shift),
            "rule 1 of chain chain in table inet portmap: nftables has no NAT that shifts a range \
             of ports",
        ),
        (
            write(none),
            "rule 1 of chain chain in table inet portmap: nftables has no map of addresses of \
             that name",
        ),
        (
            Change::AddElements { table: table(), set: "none".into(), elements },
            "elements of set none in table inet portmap: nftables has no set of that name",
        ),
    ];
    let before = tool::nft_list()?;
    for (change, text) in cases {
        let error = nftables.apply(vec![change].into()).await.expect_err(text);
        assert_eq!(error.kind(), portmap_core::ErrorKind::Unsupported);
        assert_eq!(error.to_string(), text);
        assert_eq!(tool::nft_list()?, before);
    }
    Ok(())
}

/// Set where this binary is to say what happens to it without privilege.
pub(crate) const UNPRIVILEGED: &str = "PORTMAP_TEST_UNPRIVILEGED";

async fn denied() -> TestResult {
    let exe = std::env::current_exe()?;
    let line = format!("{UNPRIVILEGED}=1 setpriv --bounding-set -net_admin {}", exe.display());
    assert_eq!(tool::sh(&line)?, "Denied: the kernel would not take the transaction\n");
    Ok(())
}

/// The process that lacks the privilege.
pub(crate) fn unprivileged() -> TestResult {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    let error = runtime.block_on(nftables.apply(base())).expect_err("it is not allowed");
    writeln!(std::io::stdout(), "{:?}: {error}", error.kind())?;
    Ok(())
}
