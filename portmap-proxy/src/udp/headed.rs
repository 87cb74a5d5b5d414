//! Datagrams with a header in front of each.

use std::{cell::RefCell, net::UdpSocket};

use super::{
    Carried,
    batch::{Datagrams, MOST_BYTES, MOST_SEGMENTS},
    cutting::Cutting,
    socket::send,
};

thread_local! {
    /// Where headers and datagrams are put together. One for all sessions of a thread: what is in it is sent at once.
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sends to a session's container, each datagram behind the header; as many in one call as the kernel cuts apart.
///
/// What has become too long for a datagram is lost. Counted is what the client sent, without headers.
pub(super) fn send_behind(
    header: &[u8],
    socket: &UdpSocket,
    datagrams: Datagrams<'_>,
    cutting: &mut Cutting,
) -> Carried {
    TOGETHER.with_borrow_mut(|bytes| {
        let size = header.len() + datagrams.size;
        let at_once = (MOST_BYTES / size.max(1)).clamp(1, MOST_SEGMENTS);
        let mut rest = datagrams.iter().peekable();
        let mut carried = Carried::default();
        while rest.peek().is_some() {
            bytes.clear();
            for datagram in rest.by_ref().take(at_once) {
                bytes.extend_from_slice(header);
                bytes.extend_from_slice(datagram);
            }
            let mut sent = send(socket, Datagrams { bytes, size }, cutting);
            sent.bytes -= sent.datagrams * header.len() as u64;
            carried += sent;
        }
        carried
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEADER: [u8; 28] = [7; 28];

    /// What arrives of datagrams that are sent behind a header.
    fn heard(bytes: &[u8], size: usize) -> (Carried, Vec<Vec<u8>>) {
        let container = UdpSocket::bind("127.0.0.1:0").unwrap();
        container.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let session = UdpSocket::bind("127.0.0.1:0").unwrap();
        session.connect(container.local_addr().unwrap()).unwrap();
        let sent =
            send_behind(&HEADER, &session, Datagrams { bytes, size }, &mut Cutting::default());
        let mut buffer = vec![0; 65_536];
        let mut heard = Vec::new();
        while let Ok(length) = container.recv(&mut buffer) {
            heard.push(buffer[..length].to_vec());
        }
        (sent, heard)
    }

    #[test]
    fn every_datagram_has_a_header_of_its_own() {
        // As many as leave in one call, one more, and a shorter last one; empty ones; ones that fill a call alone.
        for (bytes, size) in [(64 * 100, 100), (6450, 100), (0, 0), (5, 5), (65_000, 32_500)] {
            let bytes: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            let datagrams = Datagrams { bytes: &bytes, size };
            let (sent, heard) = heard(&bytes, size);
            assert_eq!(sent, Carried::new(datagrams.count(), bytes.len()));
            let expected: Vec<_> = datagrams.iter().map(|one| [&HEADER, one].concat()).collect();
            assert!(heard == expected, "{} of {size} bytes became {}", expected.len(), heard.len());
        }
    }

    #[test]
    fn what_does_not_fit_any_more_is_lost_and_not_counted() {
        let most = MOST_BYTES - HEADER.len();
        assert_eq!(heard(&vec![1; most], most).0, Carried::new(1, most));
        let (sent, heard) = heard(&vec![1; most + 1], most + 1);
        assert_eq!((sent, heard.len()), (Carried::default(), 0));
    }
}
