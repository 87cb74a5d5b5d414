//! Bookkeeping: whichever way a change is found, the rules are those of a fresh start.

mod common;

use std::time::Instant;

use common::random::{Scene, scene};
use portmap_core::Binding;
use portmap_rules::{Change, Edit, Entry, Layout, Ledger, Network, Policy, compile};
use proptest::{collection::vec, prelude::*, test_runner::Config};

/// Applies an edit and compares with rules that are compiled afresh. Tells whether it took the short way.
fn apply(ledger: &mut Ledger, edit: Edit) -> bool {
    let before = ledger.rules().clone();
    let prepared = ledger.prepare(edit).expect("the scene has no conflicts");
    let after = before.apply(prepared.transaction());
    let short = prepared.is_by_elements();
    ledger.commit(prepared);
    let bindings: Vec<_> = ledger.bindings().cloned().collect();
    let fresh = compile(ledger.networks(), &bindings, ledger.policy()).expect("no conflicts");
    assert_eq!(ledger.rules(), &fresh, "short: {short}");
    assert_eq!(after, fresh, "short: {short}");
    short
}

/// Which of a scene's bindings are published, and for how long: a bit each time says whether it is then in force.
fn histories() -> impl Strategy<Value = (Scene, Vec<u16>)> {
    (scene(), vec(any::<u16>(), 1..8))
}

proptest! {
    #![proptest_config(Config::with_cases(400))]

    #[test]
    fn every_history_ends_in_the_rules_of_a_fresh_start((scene, steps) in histories()) {
        for layout in [Layout::Nftables, Layout::Iptables] {
            let mut ledger = Ledger::new(Policy { layout, ..scene.policy.clone() });
            apply(&mut ledger, Edit { attach: scene.networks.clone(), ..Edit::default() });
            let mut published = vec![None; scene.bindings.len()];
            let mut next = 0;
            for step in &steps {
                let mut edit = Edit::default();
                for (place, binding) in scene.bindings.iter().enumerate() {
                    // Bits of the step: gone, there, and there but new.
                    match (step >> place & 1 == 1, step >> (place + 1) & 1 == 1) {
                        (true, fresh) if fresh || published[place].is_none() => {
                            edit.release.extend(published[place].take());
                            next += 1;
                            published[place] = Some(Entry(next));
                            edit.publish.push((Entry(next), vec![binding.clone()]));
                        }
                        (true, _) => {}
                        (false, _) => edit.release.extend(published[place].take()),
                    }
                }
                apply(&mut ledger, edit);
            }
        }
    }

    #[test]
    fn releasing_everything_leaves_the_networks_rules(scene in scene()) {
        let mut ledger = Ledger::new(scene.policy.clone());
        apply(&mut ledger, Edit { attach: scene.networks.clone(), ..Edit::default() });
        let empty = ledger.rules().clone();
        for (number, binding) in scene.bindings.iter().enumerate() {
            let publish = vec![(Entry(number as u64), vec![binding.clone()])];
            apply(&mut ledger, Edit { publish, ..Edit::default() });
        }
        for number in 0..scene.bindings.len() {
            apply(&mut ledger, Edit { release: vec![Entry(number as u64)], ..Edit::default() });
        }
        prop_assert_eq!(ledger.rules(), &empty);
        let detach = scene.networks.iter().map(Network::bridge).collect();
        apply(&mut ledger, Edit { detach, ..Edit::default() });
        prop_assert!(ledger.rules().is_empty());
    }
}

fn single(number: u64, host: u16, container: u16) -> (Entry, Vec<Binding>) {
    use portmap_core::{HostAddr, Protocol};
    let (host, container) =
        (host.try_into().expect("a port"), container.try_into().expect("a port"));
    let container: portmap_core::Port = container;
    let endpoint = [10, 1, 0, 2].into();
    let binding = Binding::new(Protocol::Tcp, HostAddr::Any, host, endpoint, container.into());
    (Entry(number), vec![binding.expect("one port fits")])
}

fn with_ports(count: u16) -> Ledger {
    let mut ledger = Ledger::new(Policy::default());
    let network: Network = "br0=10.1.0.0/16".parse().expect("a network");
    let publish = (1..=count).map(|n| single(n.into(), 1000 + n, 1000 + n)).collect();
    let prepared = ledger.prepare(Edit { attach: vec![network], publish, ..Edit::default() });
    ledger.commit(prepared.expect("rules"));
    ledger
}

#[test]
fn one_port_more_or_less_is_a_matter_of_elements() {
    let mut ledger = with_ports(3);
    assert!(apply(&mut ledger, Edit { publish: vec![single(9, 9000, 80)], ..Edit::default() }));
    // Two host ports to one container port: releasing one keeps the other.
    assert!(apply(&mut ledger, Edit { publish: vec![single(10, 9001, 80)], ..Edit::default() }));
    assert!(apply(&mut ledger, Edit { release: vec![Entry(9)], ..Edit::default() }));
    // The same host port for another container port, at once.
    let moved =
        Edit { release: vec![Entry(10)], publish: vec![single(11, 9001, 81)], ..Edit::default() };
    assert!(apply(&mut ledger, moved));
    // It stays a host port: of its three elements, one is no change.
    let moved =
        Edit { release: vec![Entry(11)], publish: vec![single(12, 9001, 82)], ..Edit::default() };
    let prepared = ledger.prepare(moved.clone()).expect("no conflicts");
    assert_eq!(prepared.transaction().changes().len(), 4, "{:?}", prepared.transaction());
    assert!(apply(&mut ledger, moved));
    // A set that ceases to exist takes a rule along.
    let all = ledger.clone();
    let release = [1, 2, 3, 12].map(Entry).to_vec();
    assert!(!apply(&mut ledger, Edit { release, ..Edit::default() }));
    assert!(all.rules() != ledger.rules());
}

/// To the same container, and to another one, from every kind of host address.
#[test]
fn what_stays_the_same_while_bindings_are_replaced_is_no_change() {
    use portmap_core::{HostAddr, Protocol};
    let addrs: [[u8; 4]; 4] = [[0; 4], [127, 0, 0, 1], [127, 0, 1, 2], [198, 51, 100, 1]];
    let hosts: Vec<_> =
        addrs.into_iter().map(|addr| HostAddr::from(std::net::IpAddr::from(addr))).collect();
    for host in [HostAddr::Any].into_iter().chain(hosts) {
        let to = |endpoint: [u8; 4]| {
            let (port, to) = ("9000".parse().expect("a port"), endpoint.into());
            let ports = "80".parse().expect("a port");
            let binding = Binding::new(Protocol::Tcp, host, port, to, ports);
            (Entry(9), vec![binding.expect("one port fits")])
        };
        let mut ledger = with_ports(3);
        apply(&mut ledger, Edit { publish: vec![to([10, 1, 0, 9])], ..Edit::default() });
        for (endpoint, changes) in [([10, 1, 0, 9], false), ([10, 1, 0, 8], true)] {
            let edit =
                Edit { release: vec![Entry(9)], publish: vec![to(endpoint)], ..Edit::default() };
            let prepared = ledger.prepare(edit.clone()).expect("rules");
            assert_eq!(!prepared.transaction().is_empty(), changes, "{host:?}");
            let elements = |change: &Change| match change {
                Change::AddElements { set, elements, .. } => {
                    Some((true, set.clone(), elements.clone()))
                }
                Change::DeleteElements { set, elements, .. } => {
                    Some((false, set.clone(), elements.clone()))
                }
                _ => None,
            };
            let changed: Vec<_> =
                prepared.transaction().changes().iter().filter_map(elements).collect();
            for (_, set, elements) in changed.iter().filter(|(comes, ..)| *comes) {
                let both = changed.iter().any(|(comes, other, gone)| {
                    !comes && other == set && gone.iter().any(|one| elements.contains(one))
                });
                assert!(!both, "{host:?}: {changed:?}");
            }
            apply(&mut ledger, edit);
        }
    }
}

#[test]
fn a_conflict_is_an_error_and_changes_nothing() {
    let ledger = with_ports(3);
    let edit = Edit { publish: vec![single(9, 1001, 80)], ..Edit::default() };
    let error = ledger.prepare(edit).expect_err("the port is taken");
    assert!(matches!(error, portmap_rules::CompileError::Conflict(_)));
}

#[test]
fn one_port_among_ten_thousand_is_found_quickly() {
    let ledger = with_ports(10_000);
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let edit = Edit { publish: vec![single(20_000, 20_000, 80)], ..Edit::default() };
            let start = Instant::now();
            let prepared = ledger.prepare(edit).expect("rules");
            assert!(prepared.is_by_elements());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("one port among 10,000: {:?} to prepare, the median of nine", times[4]);
}
