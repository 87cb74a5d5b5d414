//! The tables of a well-known engine, line for line.

mod common;

use portmap_rules::{Hairpin, InvalidPackets, Layout, Loopback, Policy};

const FILTER: &str = "\
-P INPUT ACCEPT
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-BRIDGE
-N DOCKER-CT
-N DOCKER-FORWARD
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 192.0.2.2/32 ! -i bridge1 -o bridge1 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER ! -i bridge1 -o bridge1 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-BRIDGE -o bridge1 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o bridge1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-FORWARD -i bridge1 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -i bridge1 ! -o bridge1 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o bridge1 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-USER -j RETURN
";

const NAT_WITHOUT_PROXY: &str = "\
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -o bridge1 -m addrtype --src-type LOCAL -j MASQUERADE
-A POSTROUTING -s 192.0.2.0/24 ! -o bridge1 -j MASQUERADE
-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 192.0.2.2/32 -d 192.0.2.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80
";

const NAT_WITH_PROXY: &str = "\
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-N DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 192.0.2.0/24 ! -o bridge1 -j MASQUERADE
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i bridge1 -j RETURN
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i bridge1 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 192.0.2.2:80
";

#[expect(clippy::unwrap_used, reason = "a fixture")]
fn listing(loopback: Loopback, invalid: InvalidPackets) -> String {
    let policy = Policy {
        layout: Layout::Iptables,
        loopback,
        hairpin: Hairpin::Bridge,
        prefix: "DOCKER".parse().unwrap(),
        invalid,
        ..Policy::default()
    };
    let networks = ["docker0=172.17.0.0/16", "bridge1=192.0.2.0/24"];
    common::compiled(&networks, &["8080:80@192.0.2.2"], &policy).to_string()
}

#[test]
fn without_a_proxy_the_tables_are_the_engines_line_for_line() {
    let wanted = format!("# ipv4 filter\n{FILTER}# ipv4 nat\n{NAT_WITHOUT_PROXY}# ipv4 raw\n");
    assert_eq!(listing(Loopback::Nat, InvalidPackets::default())[..wanted.len()], wanted);
}

#[test]
fn with_a_proxy_five_things_in_the_nat_table_differ() {
    let wanted = format!("# ipv4 filter\n{FILTER}# ipv4 nat\n{NAT_WITH_PROXY}# ipv4 raw\n");
    assert_eq!(listing(Loopback::Proxy, InvalidPackets::default())[..wanted.len()], wanted);
}

#[test]
fn what_the_engine_does_not_drop_is_dropped_where_that_is_asked_for() {
    let (plain, asked) = [InvalidPackets::Auto, InvalidPackets::Drop]
        .map(|invalid| listing(Loopback::Nat, invalid))
        .into();
    let fresh: Vec<_> = asked.lines().filter(|line| !plain.contains(line)).collect();
    let wanted = [
        "-N DOCKER-INVALID-IN",
        "-N DOCKER-INVALID-OUT",
        "-A INPUT -m conntrack --ctstate INVALID -j DOCKER-INVALID-IN",
        "-A DOCKER-FORWARD -m conntrack --ctstate INVALID -j DOCKER-INVALID-OUT",
        "-A DOCKER-INVALID-IN -p tcp -m tcp --dport 8080 -j DROP",
        "-A DOCKER-INVALID-OUT -s 192.0.2.0/24 ! -o bridge1 -j DROP",
        "-A DOCKER-INVALID-OUT -s 172.17.0.0/16 ! -o docker0 -j DROP",
    ];
    assert_eq!(fresh, wanted);
}
