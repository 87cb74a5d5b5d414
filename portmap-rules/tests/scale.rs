//! Many bindings take time in proportion.

mod common;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use portmap_core::{Binding, HostAddr, Protocol};
use portmap_rules::{Change, Layout, Network, Policy, Ruleset, compile};

/// Single ports, a hundred to a container.
fn bindings(count: u16) -> Vec<Binding> {
    let bind = |number: u16| {
        let [high, low] = (number / 100 + 2).to_be_bytes();
        let endpoint = Ipv4Addr::new(10, 1, high, low);
        let port = (10_000 + number).try_into().expect("not zero");
        let container = portmap_core::Port::try_from(1000 + number % 100).expect("not zero");
        Binding::new(Protocol::Tcp, HostAddr::Any, port, endpoint.into(), container.into())
            .expect("one port fits")
    };
    (0..count).map(bind).collect()
}

fn network() -> Network {
    "br0=10.1.0.0/16".parse().expect("a network")
}

#[test]
fn ten_thousand_bindings_are_compiled_and_compared_in_no_time() {
    let (networks, all) = ([network()], bindings(10_000));
    for layout in [Layout::Nftables, Layout::Iptables] {
        let policy = Policy { layout, ..Policy::default() };
        let start = Instant::now();
        let fewer = compile(&networks, &all[1..], &policy).expect("rules");
        let rules = compile(&networks, &all, &policy).expect("rules");
        let compiled = start.elapsed() / 2;
        let there = Ruleset::diff(&Ruleset::empty(layout), &rules);
        let onward = Ruleset::diff(&fewer, &rules);
        let elapsed = start.elapsed();
        println!("{layout:?}: a compile {compiled:?}, two and two diffs {elapsed:?}");
        assert!(!there.is_empty() && !onward.is_empty());
        // A build without optimization on a busy machine takes some 0.2 s; quadratic code would take minutes.
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    }
}

#[test]
fn one_more_port_is_one_more_element_in_each_set() {
    let (networks, all) = ([network()], bindings(1000));
    let policy = Policy::default();
    let fewer = compile(&networks, &all[1..], &policy).expect("rules");
    let rules = compile(&networks, &all, &policy).expect("rules");
    let transaction = Ruleset::diff(&fewer, &rules);
    // The host port with what it leads to, and alone; the container port.
    assert_eq!(transaction.changes().len(), 3);
    for change in transaction.changes() {
        assert!(matches!(change, Change::AddElements { elements, .. } if elements.len() == 1));
    }
}

#[test]
fn a_range_is_one_rule_or_element_whatever_its_length() {
    for layout in [Layout::Nftables, Layout::Iptables] {
        let policy = Policy { layout, ..Policy::default() };
        let size = |spec: &str| {
            let rules = common::compiled(&["br0=10.1.0.0/16"], &[spec], &policy);
            rules.to_string().lines().count()
        };
        let short = size("8000-8001:8000-8001@10.1.0.2");
        assert_eq!(size("10000-59999:10000-59999@10.1.0.2"), short);
    }
}
