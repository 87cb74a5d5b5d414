use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::Port;

fn parse(text: &str) -> PortSpec {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(first.try_into().unwrap(), last.try_into().unwrap()).unwrap()
}

fn exact(first: u16, last: u16) -> HostPort {
    HostPort::Exact(range(first, last))
}

#[test]
fn every_form_of_the_grammar_is_read() {
    use Protocol::{Sctp, Tcp, Udp};
    let v4 = || Some("127.0.0.1".parse::<HostIp>().unwrap());
    let v6 = |text: &str| Some(text.parse::<HostIp>().unwrap());
    let cases = [
        ("80", Tcp, None, HostPort::Ephemeral, range(80, 80)),
        (":80", Tcp, None, HostPort::Ephemeral, range(80, 80)),
        ("8080:80", Tcp, None, exact(8080, 8080), range(80, 80)),
        ("08080:0080", Tcp, None, exact(8080, 8080), range(80, 80)),
        ("8080:80/udp", Udp, None, exact(8080, 8080), range(80, 80)),
        ("8080:80/TCP", Tcp, None, exact(8080, 8080), range(80, 80)),
        ("8080:80/Sctp", Sctp, None, exact(8080, 8080), range(80, 80)),
        ("127.0.0.1:8080:80", Tcp, v4(), exact(8080, 8080), range(80, 80)),
        ("127.0.0.1::80", Tcp, v4(), HostPort::Ephemeral, range(80, 80)),
        ("[::1]:8080:80", Tcp, v6("::1"), exact(8080, 8080), range(80, 80)),
        ("[2001:db8::1]::80/tcp", Tcp, v6("2001:db8::1"), HostPort::Ephemeral, range(80, 80)),
        ("[::ffff:127.0.0.1]::80", Tcp, v4(), HostPort::Ephemeral, range(80, 80)),
        ("[fe80::1%eth0]:8080:80", Tcp, v6("fe80::1%eth0"), exact(8080, 8080), range(80, 80)),
        ("[fe80::1%2]::80/udp", Udp, v6("fe80::1%2"), HostPort::Ephemeral, range(80, 80)),
        ("8000-8010:80", Tcp, None, HostPort::AnyOf(range(8000, 8010)), range(80, 80)),
        ("8000-8000:80", Tcp, None, exact(8000, 8000), range(80, 80)),
        ("8000-8010:9000-9010", Tcp, None, exact(8000, 8010), range(9000, 9010)),
        ("1000-1005/udp", Udp, None, HostPort::Ephemeral, range(1000, 1005)),
        ("1-65535:1-65535", Tcp, None, exact(1, 65535), range(1, 65535)),
    ];
    for (text, protocol, host_addr, host_port, container_ports) in cases {
        let expected = PortSpec { protocol, host_addr, host_port, container_ports };
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn an_error_says_what_was_wrong_with_which_part() {
    let cases = [
        ("", "a port specification is empty"),
        ("/tcp", "container port is missing"),
        ("8080:", "container port is missing"),
        ("70000:80", "host port 70000 is not between 1 and 65535"),
        ("99999999999999999999:80", "host port 99999999999999999999 is not between 1 and 65535"),
        ("0:80", "host port 0 is not between 1 and 65535; leave it out for a free one"),
        (
            "::80",
            "host address is empty; leave its colon out for every address, or write [::] for those of IPv6",
        ),
        ("8080:0", "container port 0 is not between 1 and 65535"),
        ("65535-65536:1-2", "host port 65536 is not between 1 and 65535"),
        ("abcd", "container port \"abcd\" is not a number"),
        ("+80", "container port \"+80\" is not a number"),
        ("80 ", "container port \"80 \" is not a number"),
        ("８０", "container port \"８０\" is not a number"),
        ("80-", "container port is missing"),
        ("8010-8000:80", "host port range 8010-8000 ends below its start"),
        ("8000-8010:90-95", "the ranges 8000-8010 and 90-95 differ in length"),
        ("8080:80-81", "the ranges 8080 and 80-81 differ in length"),
        ("80/http", "protocol \"http\" is not tcp, udp or sctp"),
        ("80/", "protocol \"\" is not tcp, udp or sctp"),
        ("80/tcp/udp", "protocol \"tcp/udp\" is not tcp, udp or sctp"),
        (
            "127.0.0.1:80",
            "host port \"127.0.0.1\" is an address; a free port of it is 127.0.0.1::PORT",
        ),
        ("localhost:80:80", "host address \"localhost\" is not an IP address"),
        ("256.0.0.1:80:80", "host address \"256.0.0.1\" is not an IP address"),
        ("[127.0.0.1]:80:80", "host address \"127.0.0.1\" is not an IP address"),
        ("[fe80::%1]:80:80%lo", "container port \"80%lo\" is not a number"),
        ("[fe80::1%]::80", "zone \"\" cannot be the name of an interface"),
        ("[fe80::1%a:b]::80", "zone \"a:b\" cannot be the name of an interface"),
        (
            "[2001:db8::1%eth0]::80",
            "host address 2001:db8::1 takes no zone: only link-local ones of IPv6 do",
        ),
        (
            "127.0.0.1%lo::80",
            "host address 127.0.0.1 takes no zone: only link-local ones of IPv6 do",
        ),
        ("[nowhere%eth0]::80", "host address \"nowhere%eth0\" is not an IP address"),
        ("[::1", "\"[::1\" has a bracket that is not closed"),
        ("[::1]", "\"[::1]\" has no :HOST:PORT or ::PORT after the address"),
        ("[::1]:80", "\"[::1]:80\" has no :HOST:PORT or ::PORT after the address"),
        ("::1:8080:80", "\"::1:8080:80\" has too many colons; an IPv6 address stands in brackets"),
    ];
    for (text, message) in cases {
        let error = text.parse::<PortSpec>().expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

fn ports() -> impl Strategy<Value = PortRange> {
    (1..=u16::MAX, 0..3000_u16).prop_map(|(first, more)| range(first, first.saturating_add(more)))
}

fn specs() -> impl Strategy<Value = PortSpec> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let link_local = (any::<u64>(), "[a-z0-9._-]{3,15}").prop_map(|(host, zone)| {
        let addr = Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(host));
        HostIp::on_link(addr, zone.parse().unwrap()).unwrap()
    });
    let host_addr = prop_oneof![3 => any::<IpAddr>().prop_map(HostIp::from), 1 => link_local];
    let host_addr = proptest::option::of(host_addr);
    (protocol, host_addr, ports(), 0..3, 1..=u16::MAX).prop_map(
        |(protocol, host_addr, ports, form, single)| {
            let single = Port::try_from(single).unwrap();
            let start = single.number().min(u16::MAX - 2999);
            let host = PortRange::starting_at(start.try_into().unwrap(), ports.len());
            let (host_port, container_ports) = match form {
                0 => (HostPort::Ephemeral, ports),
                1 => (HostPort::Exact(host.unwrap()), ports),
                _ => (pair(ports, single.into()), single.into()),
            };
            PortSpec { protocol, host_addr, host_port, container_ports }
        },
    )
}

proptest! {
    #[test]
    fn what_display_prints_parses_to_the_same(spec in specs()) {
        prop_assert_eq!(parse(&spec.to_string()), spec);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = text.parse::<PortSpec>();
    }

    #[test]
    fn whatever_almost_parses_survives_a_round_trip(text in "[0-9a-f%\\[\\]:./-]{0,24}(/(tcp|UDP|x))?") {
        if let Ok(spec) = text.parse::<PortSpec>() {
            prop_assert_eq!(parse(&spec.to_string()), spec);
        }
    }
}
