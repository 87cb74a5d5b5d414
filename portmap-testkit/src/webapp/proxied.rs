//! What a proxy in front of the service tells of its client: the PROXY protocol, as bytes. No socket in here.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};

/// How a connection of version 1 begins, and one of version 2.
const GREETINGS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// No header is longer here; version 2 would allow 64 KiB of additions.
pub(super) const LIMIT: usize = 1024;

/// What the bytes that have come so far are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    /// Not yet a whole header.
    Partial,
    /// A whole header, `length` bytes of the buffer. It may name nobody: then it is the proxy itself that calls.
    Whole { client: Option<SocketAddr>, length: usize },
    /// No header.
    Refused,
}

/// What begins a connection: version 1 or 2.
pub(super) fn of_stream(bytes: &[u8]) -> Introduction {
    let begins = |greeting: &[u8]| {
        let common = greeting.len().min(bytes.len());
        bytes[..common] == greeting[..common]
    };
    if !GREETINGS.into_iter().any(begins) {
        return Introduction::Refused;
    }
    match parse(bytes, Protocol::Stream) {
        Introduction::Partial if bytes.len() >= LIMIT => Introduction::Refused,
        other => other,
    }
}

/// What begins a datagram: version 2, and all of it.
pub(super) fn of_datagram(bytes: &[u8]) -> Introduction {
    match parse(bytes, Protocol::Datagram) {
        Introduction::Partial => Introduction::Refused,
        other => other,
    }
}

fn parse(bytes: &[u8], protocol: Protocol) -> Introduction {
    let config = ParseConfig { allow_v1: protocol == Protocol::Stream, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((header, length)) => match header.proxied_address() {
            Some(address) if address.protocol != protocol => Introduction::Refused,
            address => {
                let client = address.map(|address| address.source);
                Introduction::Whole { client, length }
            }
        },
        Err(Error::BufferTooShort) => Introduction::Partial,
        Err(_) => Introduction::Refused,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 80\r\nGET /";

    /// Version 2 of UDP: from 192.0.2.7:256 to 192.0.2.1:257.
    fn binary(command: u8, family: u8) -> Vec<u8> {
        let head = [command, family, 0, 12, 192, 0, 2, 7, 192, 0, 2, 1, 1, 0, 1, 1];
        [GREETINGS[1], &head, b"who calls?"].concat()
    }

    #[test]
    fn a_header_names_the_client_and_ends_where_the_client_begins() {
        let client = Some("[2001:db8::7]:4000".parse().unwrap());
        assert_eq!(of_stream(LINE), Introduction::Whole { client, length: LINE.len() - 5 });
        let client = Some("192.0.2.7:256".parse().unwrap());
        let whole = Introduction::Whole { client, length: 28 };
        assert_eq!(of_datagram(&binary(0x21, 0x12)), whole);
        assert_eq!(of_stream(&binary(0x21, 0x11)), whole);
    }

    #[test]
    fn every_part_of_a_header_is_partial_and_in_a_datagram_none() {
        let binary = binary(0x21, 0x11);
        for (header, length) in [(LINE, LINE.len() - 5), (&binary, 28)] {
            for end in 0..length {
                assert_eq!(of_stream(&header[..end]), Introduction::Partial, "{end}");
                assert_eq!(of_datagram(&header[..end]), Introduction::Refused, "{end}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_its_first_byte() {
        for bytes in [&b"G"[..], b"GET /", b"\0", b"PROXX", b"PROXY TCP5 192.", b"\r\n\r\n\r"] {
            assert_eq!(of_stream(bytes), Introduction::Refused, "{bytes:?}");
        }
        assert_eq!(
            of_stream(&[b"PROXY TCP4 ", &[b'1'; LIMIT][..]].concat()),
            Introduction::Refused
        );
        // Datagrams have no version 1, and the protocols are not mixed.
        assert_eq!(of_datagram(LINE), Introduction::Refused);
        assert_eq!(of_datagram(&binary(0x21, 0x11)), Introduction::Refused);
        assert_eq!(of_stream(&binary(0x21, 0x12)), Introduction::Refused);
        assert_eq!(of_stream(&binary(0x31, 0x11)), Introduction::Refused);
    }

    #[test]
    fn a_proxy_may_call_by_itself() {
        let whole = Introduction::Whole { client: None, length: 15 };
        assert_eq!(of_stream(b"PROXY UNKNOWN\r\nGET /"), whole);
        let local = Introduction::Whole { client: None, length: 28 };
        assert_eq!(of_stream(&binary(0x20, 0x11)), local);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            greeting in 0..3_usize,
            bytes in any::<Vec<u8>>(),
            family in any::<u8>(),
        ) {
            let greeting = GREETINGS.get(greeting).copied().unwrap_or_default();
            let bytes = [greeting, &[0x21, family], &bytes].concat();
            for length in 0..=bytes.len() {
                for told in [of_stream(&bytes[..length]), of_datagram(&bytes[..length])] {
                    if let Introduction::Whole { length: read, .. } = told {
                        prop_assert!(read <= length);
                    }
                }
            }
        }

        #[test]
        fn no_line_is_too_strange(line in "PROXY (TCP4|TCP6|UNKNOWN)? ?[0-9a-f:. ]{0,120}\r?\n?") {
            let _ = of_stream(line.as_bytes());
        }
    }
}
