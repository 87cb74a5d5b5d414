//! Every kind of address that a datagram can carry.

use super::{Unanswerable::*, *};

const ETH0: u32 = 7;

/// What becomes of a datagram: the interface in its session's name, and the way of its answers.
type Outcome = Result<(u32, Way), Unanswerable>;

fn outcome(source: &str, destination: &str, interface: u32) -> Outcome {
    let source = match source.rsplit_once('%') {
        // The standard library reads a zone inside of the brackets, and a number alone.
        Some(_) => SocketAddr::V6(source.parse().unwrap()),
        None => source.parse().unwrap(),
    };
    let ends = Ends { source, destination: destination.parse().unwrap(), interface };
    let flow = ends.flow()?;
    assert_eq!((flow.client, flow.local), (source, ends.destination));
    Ok((flow.interface, Way::of(&flow)))
}

/// The answer comes from the address that was written to, by whichever way routing knows.
fn from(address: &str) -> Outcome {
    Ok((0, Way { from: Some(address.parse().unwrap()), by: 0 }))
}

/// The same by the interface that the question came in by.
fn from_on_link(address: &str) -> Outcome {
    Ok((ETH0, Way { from: Some(address.parse().unwrap()), by: ETH0 }))
}

/// The answer comes from an address of the interface that the question came in by.
fn by_link() -> Outcome {
    Ok((ETH0, Way { from: None, by: ETH0 }))
}

#[test]
fn a_client_is_answered_from_where_it_wrote_to() {
    let cases = [
        // One host to another, and to itself: the interface is that of the address that was written
        // to.
        ("192.0.2.7:5000", "192.0.2.1", ETH0, from("192.0.2.1")),
        ("[2001:db8::7]:5000", "2001:db8::1", ETH0, from("2001:db8::1")),
        ("[::ffff:192.0.2.7]:5000", "::ffff:192.0.2.1", ETH0, from("::ffff:192.0.2.1")),
        ("127.0.0.1:5000", "127.0.0.1", LOOPBACK, from("127.0.0.1")),
        ("127.0.0.1:5000", "127.0.0.2", LOOPBACK, from("127.0.0.2")),
        ("[::1]:5000", "::1", LOOPBACK, from("::1")),
        ("127.0.0.1:5000", "192.0.2.1", ETH0, from("192.0.2.1")),
        ("[::1]:5000", "2001:db8::1", ETH0, from("2001:db8::1")),
        ("192.0.2.1:5000", "127.0.0.1", LOOPBACK, from("127.0.0.1")),
        // A subnet's broadcast address looks like any other; the kernel says so when it is to be a
        // source.
        ("192.0.2.7:5000", "192.0.2.255", ETH0, from("192.0.2.255")),
        // The zone is the client's, and with it the interface of the answer.
        ("[fe80::7%7]:5000", "fe80::1", ETH0, from("fe80::1")),
        ("[fe80::7%7]:5000", "2001:db8::1", ETH0, from("2001:db8::1")),
        // A client without one does not say which fe80::1 it means.
        ("[2001:db8::7]:5000", "fe80::1", ETH0, from_on_link("fe80::1")),
        ("169.254.0.7:5000", "169.254.0.1", ETH0, from("169.254.0.1")),
        // Nobody told.
        ("192.0.2.7:5000", "192.0.2.1", 0, from("192.0.2.1")),
        ("127.0.0.1:5000", "127.0.0.1", 0, from("127.0.0.1")),
    ];
    for (source, destination, interface, expected) in cases {
        let found = outcome(source, destination, interface);
        assert_eq!(found, expected, "{source} to {destination} by {interface}");
    }
}

#[test]
fn what_went_to_many_is_answered_from_the_interfaces_own_address() {
    let cases = [
        ("192.0.2.7:5000", "255.255.255.255"),
        ("192.0.2.7:5000", "224.0.0.1"),
        ("192.0.2.7:5000", "239.255.255.250"),
        ("[::ffff:192.0.2.7]:5000", "::ffff:255.255.255.255"),
        ("[::ffff:192.0.2.7]:5000", "::ffff:224.0.0.251"),
        ("[fe80::7%7]:5000", "ff02::1"),
        ("[2001:db8::7]:5000", "ff02::1"),
        ("[2001:db8::7]:5000", "ff0e::101"),
    ];
    for (source, destination) in cases {
        assert_eq!(outcome(source, destination, ETH0), by_link(), "{source} to {destination}");
    }
    let untold = Ok((0, Way { from: None, by: 0 }));
    assert_eq!(outcome("[::ffff:192.0.2.7]:5000", "::", 0), untold);
    assert_eq!(outcome("192.0.2.7:5000", "0.0.0.0", 0), untold);
}

#[test]
fn who_cannot_be_answered_has_no_session() {
    let cases = [
        ("0.0.0.0:5000", "255.255.255.255", ETH0, NobodysAddress),
        ("0.0.0.0:5000", "224.0.0.1", ETH0, NobodysAddress),
        ("0.0.0.0:5000", "0.0.0.0", ETH0, NobodysAddress),
        ("[::ffff:0.0.0.0]:5000", "::ffff:255.255.255.255", ETH0, NobodysAddress),
        ("[::]:5000", "ff02::1", ETH0, NobodysAddress),
        ("[::]:5000", "2001:db8::1", ETH0, NobodysAddress),
        ("255.255.255.255:5000", "192.0.2.1", ETH0, NobodysAddress),
        ("[::ffff:255.255.255.255]:5000", "::ffff:192.0.2.1", ETH0, NobodysAddress),
        ("224.0.0.1:5000", "192.0.2.1", ETH0, NobodysAddress),
        ("[ff02::1%7]:5000", "2001:db8::1", ETH0, NobodysAddress),
        ("192.0.2.7:0", "192.0.2.1", ETH0, NobodysPort),
        ("[2001:db8::7]:0", "2001:db8::1", ETH0, NobodysPort),
        ("[::ffff:192.0.2.7]:0", "::ffff:192.0.2.1", ETH0, NobodysPort),
        ("[::ffff:127.0.0.1]:5000", "2001:db8::1", ETH0, Mapped),
        ("[::ffff:192.0.2.7]:5000", "2001:db8::1", ETH0, Mapped),
        ("[::ffff:192.0.2.7]:5000", "ff02::1", ETH0, Mapped),
        ("192.0.2.7:5000", "127.0.0.1", ETH0, Loopback),
        ("[::ffff:192.0.2.7]:5000", "::ffff:127.0.0.1", ETH0, Loopback),
        ("127.0.0.2:5000", "127.0.0.1", ETH0, Loopback),
        ("127.0.0.2:5000", "255.255.255.255", ETH0, Loopback),
        ("127.0.0.2:5000", "224.0.0.1", ETH0, Loopback),
        ("[2001:db8::7]:5000", "::1", ETH0, Loopback),
        ("[::1]:5000", "ff02::1", ETH0, Loopback),
    ];
    for (source, destination, interface, why) in cases {
        let found = outcome(source, destination, interface);
        assert_eq!(found, Err(why), "{source} to {destination} by {interface}");
    }
}

#[test]
fn an_address_of_one_link_makes_a_session_for_each_link() {
    let by = |interface| {
        let source = "[2001:db8::7]:5000".parse().unwrap();
        let destination = "fe80::1".parse().unwrap();
        Ends { source, destination, interface }.flow().unwrap()
    };
    assert_ne!(by(2), by(3));
    let zoned = |zone: u32| {
        let source = format!("[fe80::7%{zone}]:5000").parse().unwrap();
        let destination = "fe80::1".parse().unwrap();
        Ends { source, destination, interface: zone }.flow().unwrap()
    };
    assert_ne!(zoned(2), zoned(3));
    for flow in [by(3), zoned(3)] {
        assert_eq!(written_to(&flow, 80), "[fe80::1%3]:80".parse().unwrap());
    }
}
