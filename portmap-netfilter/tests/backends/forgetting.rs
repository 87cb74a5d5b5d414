//! Connection tracking forgets a binding's flows, and no others.

use std::{collections::BTreeSet, net::UdpSocket, time::Duration};

use portmap_core::{Binding, Protocol};
use portmap_netfilter::{Conntrack, Nftables, TableOwner};
use portmap_rules::{Network, Policy, Ruleset, compile};

use crate::{
    peer::Peer,
    published::{binding, nothing},
    suite::{Need, Suite, TestResult},
    tool,
};

pub(crate) fn add(suite: &mut Suite) {
    let needs = &[Need::Tool("conntrack"), Need::Tool("nsenter")];
    suite.test("a_bindings_udp_flows_are_forgotten_and_no_others", needs, forgotten);
    suite.test("a_cut_ends_what_leads_to_the_endpoint_and_nothing_else", needs, cut);
    suite.test("every_map_leads_to_its_address_and_port", needs, translated);
    suite.test("a_sender_that_never_stops_follows_the_rules", needs, followed);
}

const TO: &str = "192.0.2.2";

const LIST: &str = "for f in ipv4 ipv6; do conntrack -L -p udp -f $f 2>/dev/null; done";

/// Where the flows go: two addresses of the host and one behind it, two ports; and within the host.
const FLOWS: [&str; 6] = [
    "127.0.0.1:5353",
    "198.51.100.1:5353",
    "198.51.100.1:5354",
    "198.51.100.9:5353",
    "203.0.113.5:5353",
    "[2001:db8::1]:5353",
];

async fn forgotten() -> TestResult {
    let client = host()?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    let conntrack = Conntrack::open()?;
    let udp = |host, first, ports| binding(Protocol::Udp, host, first, TO, ports);
    let in_force = vec![udp("198.51.100.1", "5353", "53")?];
    publish(&nftables, &in_force).await?;

    let all: BTreeSet<&str> = FLOWS.into_iter().collect();
    let except = |gone: &[&str]| -> BTreeSet<String> {
        all.iter().filter(|flow| !gone.contains(flow)).map(|flow| (*flow).to_owned()).collect()
    };
    let cases = [
        // A filtered deletion.
        (udp("198.51.100.1", "5353", "53")?, except(&["198.51.100.1:5353"])),
        (udp("2001:db8::1", "5353", "53")?, except(&["[2001:db8::1]:5353"])),
        // A listing with an exact address, and one with none.
        (
            udp("198.51.100.1", "5350", "50-59")?,
            except(&["198.51.100.1:5353", "198.51.100.1:5354"]),
        ),
        (udp("*", "5353", "53")?, except(&[FLOWS[0], FLOWS[1], FLOWS[3], FLOWS[5]])),
        (udp("0.0.0.0", "5353", "53")?, except(&[FLOWS[0], FLOWS[1], FLOWS[3]])),
        (udp("::", "5353", "53")?, except(&[FLOWS[5]])),
        (udp("*", "5350", "50-59")?, except(&[FLOWS[0], FLOWS[1], FLOWS[2], FLOWS[3], FLOWS[5]])),
        (binding(Protocol::Tcp, "*", "5353", TO, "53")?, except(&[])),
        (udp("198.51.100.1", "9", "53")?, except(&[])),
    ];
    for (gone, left) in cases {
        let senders = [client.udp("[::]:0")?, client.udp("[::]:0")?];
        for sender in &senders {
            send(sender)?;
        }
        // A late packet would be remembered anew.
        until(|| Ok(flows()?.len() == senders.len() * FLOWS.len())).await?;
        conntrack.forget(std::slice::from_ref(&gone)).await?;
        let remembered: BTreeSet<String> = flows()?.into_iter().collect();
        assert_eq!(remembered, left, "after {gone}");
        tool::sh("conntrack -F 2>/dev/null")?;
    }
    Ok(())
}

/// The connections of one port: to the container that it leads to no longer, to the one that it leads to, to the host
/// itself, and to a container by its own address.
async fn cut() -> TestResult {
    let insert = |number: u16, to: &str, answers: &str, port: u16| {
        let client = if to.contains(':') { "2001:db8::2" } else { "198.51.100.2" };
        tool::sh(&format!(
            "conntrack -I -p tcp -s {client} -d {to} --sport {number} --dport 8080 \
             -r {answers} -q {client} --reply-port-src {port} --reply-port-dst {number} \
             --state ESTABLISHED -t 100 2>/dev/null"
        ))
    };
    let connections = || -> Result<BTreeSet<u16>, Box<dyn std::error::Error>> {
        let list = "for f in ipv4 ipv6; do conntrack -L -p tcp -f $f 2>/dev/null; done";
        let number = |line: &str| line.split_once("sport=")?.1.split(' ').next()?.parse().ok();
        Ok(tool::sh(list)?.lines().filter_map(number).collect())
    };
    let conntrack = Conntrack::open()?;
    let left = "192.0.2.2,fd00::2";
    for (host, port, ports, gone) in [
        ("*", "8080", "80", &[1, 11][..]),
        ("0.0.0.0", "8080", "80", &[1]),
        ("::", "8080", "80", &[11]),
        // A filtered deletion, and a listing.
        ("198.51.100.1", "8080", "80", &[1]),
        ("198.51.100.1", "8075", "75-84", &[1]),
        ("2001:db8::1", "8080", "80", &[11]),
        ("198.51.100.9", "8080", "80", &[]),
    ] {
        for (number, (to, container, other)) in [
            (1, ("198.51.100.1", "192.0.2.2", "192.0.2.3")),
            (11, ("2001:db8::1", "fd00::2", "fd00::3")),
        ] {
            insert(number, to, container, 80)?;
            insert(number + 1, to, other, 80)?;
            insert(number + 2, to, to, 8080)?;
            insert(number + 3, container, container, 8080)?;
        }
        let mut all = connections()?;
        assert_eq!(all.len(), 8, "{all:?}");
        let binding = binding(Protocol::Tcp, host, port, left, ports)?;
        conntrack.cut(std::slice::from_ref(&binding)).await?;
        all.retain(|number| !gone.contains(number));
        assert_eq!(connections()?, all, "after {binding}");
        tool::sh("conntrack -F 2>/dev/null")?;
    }
    Ok(())
}

/// Each shape of a map: with and without an address, for one port and for a range, in both families.
async fn translated() -> TestResult {
    let client = host()?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    let both = "192.0.2.2,fd00::2";
    let udp = |host, first, to, ports| binding(Protocol::Udp, host, first, to, ports);
    let in_force = vec![
        udp("*", "5353", both, "53")?,
        udp("*", "7000", both, "7000-7999")?,
        udp("198.51.100.1", "6000", TO, "60")?,
        udp("2001:db8::1", "6000", "fd00::2", "60")?,
        udp("198.51.100.9", "8000", TO, "8000-8099")?,
        udp("198.51.100.9", "9000", TO, "9100-9199")?,
        udp("2001:db8::1", "8000", "fd00::2", "8000-8099")?,
    ];
    publish(&nftables, &in_force).await?;
    let sender = client.udp("[::]:0")?;
    for (to, leads) in [
        ("[::ffff:198.51.100.9]:5353", "src=192.0.2.2 dst=198.51.100.2 sport=53 "),
        ("[2001:db8::1]:5353", "src=fd00::2 dst=2001:db8::2 sport=53 "),
        ("[::ffff:198.51.100.1]:7500", "src=192.0.2.2 dst=198.51.100.2 sport=7500 "),
        ("[2001:db8::1]:7999", "src=fd00::2 dst=2001:db8::2 sport=7999 "),
        ("[::ffff:198.51.100.1]:6000", "src=192.0.2.2 dst=198.51.100.2 sport=60 "),
        ("[2001:db8::1]:6000", "src=fd00::2 dst=2001:db8::2 sport=60 "),
        ("[::ffff:198.51.100.9]:8099", "src=192.0.2.2 dst=198.51.100.2 sport=8099 "),
        ("[::ffff:198.51.100.9]:9042", "src=192.0.2.2 dst=198.51.100.2 sport=9142 "),
        ("[2001:db8::1]:8000", "src=fd00::2 dst=2001:db8::2 sport=8000 "),
        // Neither the address nor the port is published.
        ("[::ffff:198.51.100.9]:6000", "src=198.51.100.9 dst=198.51.100.2 sport=6000 "),
        ("[::ffff:198.51.100.9]:8100", "src=198.51.100.9 dst=198.51.100.2 sport=8100 "),
    ] {
        tool::sh("conntrack -F 2>/dev/null")?;
        sender.send_to(b"x", to)?;
        until(|| Ok(!tool::sh(LIST)?.is_empty())).await?;
        let entries = tool::sh(LIST)?;
        assert!(entries.contains(leads), "{to} leads to {entries}");
    }
    Ok(())
}

/// What a sender sends reaches what is published, though it began before, and no longer, though it goes on.
async fn followed() -> TestResult {
    let client = host()?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    let conntrack = Conntrack::open()?;
    let published = vec![binding(Protocol::Udp, "*", "5353", TO, "53")?];
    publish(&nftables, &[]).await?;
    let sender = client.udp("[::]:0")?;
    let reached = async || -> Result<bool, Box<dyn std::error::Error>> {
        sender.send_to(b"x", "[::ffff:198.51.100.1]:5353")?;
        until(|| Ok(!tool::sh(LIST)?.is_empty())).await?;
        Ok(tool::sh(LIST)?.contains("src=192.0.2.2"))
    };
    assert!(!reached().await?);

    let networks = networks()?;
    let before = compile(&networks, &[], &Policy::default())?;
    let after = compile(&networks, &published, &Policy::default())?;
    nftables.apply(Ruleset::diff(&before, &after)).await?;
    assert!(!reached().await?, "conntrack remembers");
    conntrack.forget(&published).await?;
    assert!(reached().await?);

    nftables.apply(Ruleset::diff(&after, &before)).await?;
    assert!(reached().await?, "conntrack remembers");
    conntrack.forget(&published).await?;
    assert!(!reached().await?);
    Ok(())
}

async fn publish(nftables: &Nftables, bindings: &[Binding]) -> TestResult {
    let rules = compile(&networks()?, bindings, &Policy::default())?;
    Ok(nftables.apply(Ruleset::diff(&nothing(), &rules)).await?)
}

fn networks() -> Result<Vec<Network>, Box<dyn std::error::Error>> {
    Ok(vec!["bridge1=192.0.2.0/24,fd00::/64".parse()?])
}

/// Makes this namespace a host with a bridge, and gives a client that is connected to it.
fn host() -> Result<Peer, Box<dyn std::error::Error>> {
    let client = Peer::new()?;
    tool::sh(&format!(
        "ip link add eth0 type veth peer name eth0 netns {}
        ip addr add 198.51.100.1/24 dev eth0; ip addr add 198.51.100.9/24 dev eth0
        ip addr add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up
        ip link add bridge1 type bridge; ip addr add 192.0.2.1/24 dev bridge1
        ip link set bridge1 up; ip route add 203.0.113.0/24 via 198.51.100.2
        ip addr add fd00::1/64 dev bridge1 nodad
        ip link add port type veth peer name other; ip link set port master bridge1
        ip link set port up; ip link set other up
        echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        client.pid()
    ))?;
    client.sh("ip addr add 198.51.100.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 nodad
        ip link set eth0 up; ip route add 203.0.113.0/24 via 198.51.100.1")?;
    Ok(client)
}

fn send(client: &UdpSocket) -> TestResult {
    let host = UdpSocket::bind("127.0.0.1:0")?;
    for flow in FLOWS {
        let to: std::net::SocketAddr = flow.parse()?;
        match to.ip() {
            std::net::IpAddr::V4(ip) if ip.is_loopback() => host.send_to(b"x", to)?,
            std::net::IpAddr::V4(ip) => client.send_to(b"x", (ip.to_ipv6_mapped(), to.port()))?,
            std::net::IpAddr::V6(_) => client.send_to(b"x", to)?,
        };
    }
    Ok(())
}

/// Waits until it holds: a packet takes its time through a veth.
async fn until(holds: impl Fn() -> Result<bool, Box<dyn std::error::Error>>) -> TestResult {
    for _ in 0..200 {
        if holds()? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err("it never held".into())
}

/// Where the flows go that are remembered.
fn flows() -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let listing = tool::sh(LIST)?;
    let field = |line: &str, name: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(name)).map(str::to_owned)
    };
    let flow = |line: &str| {
        let (addr, port) = (field(line, "dst=")?, field(line, "dport=")?);
        Some(if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") })
    };
    Ok(listing.lines().filter_map(flow).collect())
}
