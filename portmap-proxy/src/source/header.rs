//! The header of the PROXY protocol: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
//!
//! Only written here, and only for two kinds of address: that is less code than a crate's types would be wrapped in. What
//! is written the tests read with `proxy-header`, a crate by somebody else.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
};

use portmap_core::Protocol;

/// The longest: version 1 with two IPv6 addresses (section 2.1, where the buffer's last byte is for a NUL).
const MOST: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;

/// What tells a receiver who is calling.
#[derive(Debug)]
pub(super) struct Header {
    bytes: [u8; MOST],
    length: usize,
}

impl Header {
    /// A line of text.
    pub(super) fn v1(client: SocketAddr, used: SocketAddr) -> Self {
        let mut header = Self::empty();
        let (from, to) = (client.port(), used.port());
        match (client.ip(), used.ip()) {
            (IpAddr::V4(client), IpAddr::V4(used)) => {
                header.put(format!("PROXY TCP4 {client} {used} {from} {to}\r\n").as_bytes());
            }
            (IpAddr::V6(client), IpAddr::V6(used)) => {
                header.put(format!("PROXY TCP6 {client} {used} {from} {to}\r\n").as_bytes());
            }
            // Both ends of a connection are of one family; if not, a receiver takes the address that it sees.
            _ => header.put(b"PROXY UNKNOWN\r\n"),
        }
        header
    }

    /// In binary.
    pub(super) fn v2(protocol: Protocol, client: SocketAddr, used: SocketAddr) -> Self {
        let mut header = Self::empty();
        header.put(SIGNATURE);
        let transport = if protocol == Protocol::Udp { 2 } else { 1 };
        match (client.ip(), used.ip()) {
            (IpAddr::V4(client), IpAddr::V4(used)) => {
                header.put(&[VERSION_AND_COMMAND, 0x10 | transport, 0, 12]);
                header.put(&client.octets());
                header.put(&used.octets());
            }
            (IpAddr::V6(client), IpAddr::V6(used)) => {
                header.put(&[VERSION_AND_COMMAND, 0x20 | transport, 0, 36]);
                header.put(&client.octets());
                header.put(&used.octets());
            }
            // As above: no addresses follow.
            _ => {
                header.put(&[VERSION_AND_COMMAND, 0, 0, 0]);
                return header;
            }
        }
        header.put(&client.port().to_be_bytes());
        header.put(&used.port().to_be_bytes());
        header
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    const fn empty() -> Self {
        Self { bytes: [0; MOST], length: 0 }
    }

    fn put(&mut self, part: &[u8]) {
        let mut room = &mut self.bytes[self.length..];
        // The longest header fits.
        self.length += room.write(part).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader};

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn version_1_is_the_line_of_the_specification() {
        let four = Header::v1(addr("192.0.2.7:53211"), addr("192.0.2.1:8080"));
        assert_eq!(four.as_bytes(), b"PROXY TCP4 192.0.2.7 192.0.2.1 53211 8080\r\n");
        let six = Header::v1(addr("[2001:db8::7]:1"), addr("[2001:db8::1]:65535"));
        assert_eq!(six.as_bytes(), b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n");
        // An interface is this host's business.
        let local = Header::v1(addr("[fe80::7%3]:1"), addr("[fe80::1%3]:2"));
        assert_eq!(local.as_bytes(), b"PROXY TCP6 fe80::7 fe80::1 1 2\r\n");
    }

    #[test]
    fn version_2_has_the_bytes_of_the_specification() {
        let four = Header::v2(Protocol::Tcp, addr("192.0.2.7:258"), addr("192.0.2.1:8080"));
        let head = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 12];
        assert_eq!(four.as_bytes()[..16], head);
        assert_eq!(four.as_bytes()[16..], [192, 0, 2, 7, 192, 0, 2, 1, 1, 2, 0x1f, 0x90]);
        let six = Header::v2(Protocol::Udp, addr("[2001:db8::7]:258"), addr("[2001:db8::1]:53"));
        assert_eq!(six.as_bytes()[12..16], [0x21, 0x22, 0, 36]);
        assert_eq!(six.as_bytes().len(), 52);
    }

    #[test]
    fn the_longest_line_fits() {
        let longest = addr("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
        let line = Header::v1(longest, longest);
        assert_eq!(line.as_bytes().len(), 104);
        assert!(line.as_bytes().ends_with(b" 65535 65535\r\n"));
    }

    #[test]
    fn families_are_never_mixed() {
        let (four, six) = (addr("192.0.2.7:1"), addr("[2001:db8::7]:2"));
        assert_eq!(Header::v1(four, six).as_bytes(), b"PROXY UNKNOWN\r\n");
        assert_eq!(Header::v2(Protocol::Tcp, six, four).as_bytes()[12..], [0x21, 0, 0, 0]);
    }

    fn of_one_family() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let four = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        let six = any::<([u16; 8], u16)>().prop_map(SocketAddr::from);
        prop_oneof![(four.clone(), four), (six.clone(), six)]
    }

    proptest! {
        #[test]
        fn what_is_written_another_implementation_reads(
            (client, used) in of_one_family(),
            behind in any::<Vec<u8>>(),
        ) {
            let stream = ProxiedAddress::stream(client, used);
            let datagram = ProxiedAddress::datagram(client, used);
            let written = [
                (Header::v1(client, used), &stream),
                (Header::v2(Protocol::Tcp, client, used), &stream),
                (Header::v2(Protocol::Udp, client, used), &datagram),
            ];
            for (header, meant) in written {
                let mut bytes = header.as_bytes().to_vec();
                bytes.extend_from_slice(&behind);
                let (read, length) = ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();
                prop_assert_eq!(read.proxied_address(), Some(meant));
                prop_assert_eq!(&bytes[length..], &behind);
            }
        }
    }
}
