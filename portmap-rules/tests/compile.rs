//! What can be compiled, and what cannot.

mod common;

use portmap_rules::{CompileError, Hairpin, Layout, Loopback, Policy, Ruleset, compile};

const LAYOUTS: [Layout; 2] = [Layout::Nftables, Layout::Iptables];
const NETWORKS: [&str; 2] = ["a=10.0.0.0/24", "b=10.0.1.0/24,fd00:1::/64"];

fn error(publishes: &[&str], policy: &Policy) -> Option<CompileError> {
    let (networks, bindings) = (common::networks(&NETWORKS), common::bindings(publishes));
    compile(&networks, &bindings, policy).err()
}

#[test]
fn a_container_lies_in_a_network() {
    let outside = error(&["80:80@10.0.2.2"], &Policy::default());
    assert_eq!(outside, Some(CompileError::NoNetwork([10, 0, 2, 2].into())));
    let half = error(&["80:80@10.0.1.2,fd00:2::2"], &Policy::default());
    assert!(matches!(half, Some(CompileError::NoNetwork(_))));
}

#[test]
fn a_container_in_two_networks_is_published_in_both() {
    for layout in LAYOUTS {
        let policy = Policy { layout, ..Policy::default() };
        let both = ["80:80@10.0.0.2", "81:80@10.0.1.2"];
        let text = common::compiled(&NETWORKS, &both, &policy).to_string();
        assert!(text.contains("10.0.0.2") && text.contains("10.0.1.2"), "{text}");
    }
}

#[test]
fn a_host_address_of_the_other_family_is_the_proxys_or_an_error() {
    let publishes = ["[2001:db8::1]:80:80@10.0.0.2"];
    let nat = error(&publishes, &Policy::default());
    assert!(matches!(nat, Some(CompileError::OtherFamily(_))));
    let with_proxy = Policy { loopback: Loopback::Proxy, ..Policy::default() };
    assert_eq!(error(&publishes, &with_proxy), None);
    let rules = common::compiled(&NETWORKS, &publishes, &with_proxy);
    assert_eq!(rules, common::compiled(&NETWORKS, &[], &with_proxy));
}

#[test]
fn a_link_local_host_address_is_the_proxys_or_an_error() {
    let publishes = ["[fe80::1%eth0]:80:80@fd00:1::2"];
    let nat = error(&publishes, &Policy::default()).map(portmap_core::Error::from);
    assert_eq!(nat.map(|error| error.kind()), Some(portmap_core::ErrorKind::Unsupported));
    let with_proxy = Policy { loopback: Loopback::Proxy, ..Policy::default() };
    let rules = common::compiled(&NETWORKS, &publishes, &with_proxy);
    assert_eq!(rules, common::compiled(&NETWORKS, &[], &with_proxy));
}

#[test]
fn a_host_port_belongs_to_one_binding() {
    let twice = [
        ["80:80@10.0.0.2", "80:81@10.0.0.3"],
        ["80:80@10.0.0.2", "198.51.100.1:80:80@10.0.1.2"],
        ["70-90:70-90@10.0.0.2", "75-76:75-76@10.0.0.2"],
    ];
    for publishes in twice {
        let error = error(&publishes, &Policy::default());
        assert!(matches!(error, Some(CompileError::Conflict(_))), "{publishes:?}");
    }
    assert_eq!(error(&["80:80@10.0.0.2", "80:80/udp@10.0.0.2"], &Policy::default()), None);
    let addresses = ["127.0.0.1:80:80@10.0.0.2", "127.0.0.2:80:80@10.0.0.2"];
    assert_eq!(error(&addresses, &Policy::default()), None);
}

#[test]
fn releasing_one_of_two_host_ports_to_a_container_port_keeps_the_other() {
    for layout in LAYOUTS {
        let policy = Policy { layout, hairpin: Hairpin::Bridge, ..Policy::default() };
        let both = common::compiled(&NETWORKS, &["80:80@10.0.0.2", "81:80@10.0.0.2"], &policy);
        let one = common::compiled(&NETWORKS, &["81:80@10.0.0.2"], &policy);
        assert_eq!(both.clone().apply(&Ruleset::diff(&both, &one)), one);
        let other = common::compiled(&NETWORKS, &["80:80@10.0.0.2"], &policy);
        assert_eq!(other.to_string().lines().count(), one.to_string().lines().count());
    }
}

#[test]
fn container_ranges_that_overlap_are_one_interval() {
    let publishes = ["8000-8009:80-89@10.0.0.2", "9000-9009:85-94@10.0.0.2"];
    let text = common::compiled(&NETWORKS, &publishes, &Policy::default()).to_string();
    assert!(text.contains("10.0.0.2 . tcp . 80-94 }"), "{text}");
}

#[test]
fn without_networks_there_is_nothing() {
    for layout in LAYOUTS {
        let policy = Policy { layout, ..Policy::default() };
        assert!(common::compiled(&[], &[], &policy).is_empty());
    }
}
