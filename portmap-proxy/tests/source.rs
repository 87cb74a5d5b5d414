//! Who the container is told is calling: headers on loopback, and what is refused. Sockets that speak from clients'
//! addresses need a network of their own: `tests/netns`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{net::SocketAddr, thread, time::Duration};

use portmap_core::{ErrorKind as Kind, PortMapper};
use portmap_proxy::{Ending, ProxyMapper, SourceAddress, Transferred};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use support::{addr, connect, container, free_port, publish, publish_udp, request, udp_container};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::timeout,
};
use tower::{service_fn, util::MapResponseLayer};

const LONG: Duration = Duration::from_secs(5);
const BOTH: [SourceAddress; 2] = [SourceAddress::ProxyProtocolV1, SourceAddress::ProxyProtocolV2];
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn mapper(source: SourceAddress) -> ProxyMapper {
    ProxyMapper::new().source_address(source)
}

/// What the header has to be, written down anew.
fn header(source: SourceAddress, udp: bool, client: SocketAddr, used: SocketAddr) -> Vec<u8> {
    let (from, to) = (client.port(), used.port());
    if source == SourceAddress::ProxyProtocolV1 {
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        return format!("PROXY {family} {} {} {from} {to}\r\n", client.ip(), used.ip()).into();
    }
    let mut header = SIGNATURE.to_vec();
    let transport = if udp { 2 } else { 1 };
    match (client, used) {
        (SocketAddr::V4(client), SocketAddr::V4(used)) => {
            header.extend([0x21, 0x10 + transport, 0, 12]);
            header.extend([client.ip().octets(), used.ip().octets()].concat());
        }
        (SocketAddr::V6(client), SocketAddr::V6(used)) => {
            header.extend([0x21, 0x20 + transport, 0, 36]);
            header.extend([client.ip().octets(), used.ip().octets()].concat());
        }
        _ => panic!("{client} and {used} are of different families"),
    }
    header.extend([from.to_be_bytes(), to.to_be_bytes()].concat());
    header
}

async fn read_some(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let read = timeout(LONG, stream.read(&mut bytes)).await.expect("5 s passed").unwrap();
    bytes.truncate(read);
    bytes
}

#[tokio::test]
async fn a_client_that_says_nothing_is_introduced_in_one_piece() {
    for source in BOTH {
        let container = container().await;
        let lease = publish(&mapper(source), &container).await;
        let (mut client, mut endpoint) = connect(&lease, &container).await;
        let expected = header(source, false, client.local_addr().unwrap(), addr(&lease));
        assert_eq!(read_some(&mut endpoint).await, expected);
        // A server that speaks first has what it needs for that.
        endpoint.write_all(b"220 ready\r\n").await.unwrap();
        assert_eq!(read_some(&mut client).await, b"220 ready\r\n");
        client.write_all(b"HELO\r\n").await.unwrap();
        assert_eq!(read_some(&mut endpoint).await, b"HELO\r\n");
        drop((client, endpoint));
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn headers_have_the_address_that_was_used_in_the_clients_family() {
    let container = container().await;
    let port = container.local_addr().unwrap().port();
    for source in BOTH {
        // A container with one address, and a dual-stack socket, on which clients of IPv4 are mapped ones.
        let lease = mapper(source).publish(request("127.0.0.1", &format!("{port}"))).await.unwrap();
        let published = lease.bindings()[0].host_ports().first().number();
        for ip in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            let used = SocketAddr::new(ip.parse().unwrap(), published);
            let client = TcpStream::connect(used).await.unwrap();
            let (mut endpoint, _) = container.accept().await.unwrap();
            let canonical =
                |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
            let client = canonical(client.local_addr().unwrap());
            let expected = header(source, false, client, canonical(used));
            assert_eq!(read_some(&mut endpoint).await, expected, "{ip}");
        }
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_client_says_at_once_comes_behind_the_header_and_counts_alone() {
    for source in BOTH {
        let (tell, mut ended) = mpsc::unbounded_channel::<Transferred>();
        let layer = MapResponseLayer::new(move |done| tell.send(done).unwrap());
        let container = container().await;
        let lease = publish(&mapper(source).layer(layer), &container).await;
        let mut client = TcpStream::connect(addr(&lease)).await.unwrap();
        // It is done before it was accepted: a half-closed connection from the start.
        let said = vec![7; 100_000];
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut endpoint, _) = container.accept().await.unwrap();
        let mut heard = Vec::new();
        timeout(LONG, endpoint.read_to_end(&mut heard)).await.expect("5 s passed").unwrap();
        let expected = header(source, false, client.local_addr().unwrap(), addr(&lease));
        assert!(heard == [expected, said].concat(), "{} bytes came", heard.len());
        endpoint.write_all(b"done").await.unwrap();
        drop(endpoint);
        assert_eq!(read_some(&mut client).await, b"done");
        let done = timeout(LONG, ended.recv()).await.unwrap().unwrap();
        assert_eq!((done.to_endpoint, done.to_client), (100_000, 4));
        assert_eq!(done.ending, Ending::Closed);
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_dial_service_of_ones_own_needs_to_know_nothing_of_headers() {
    let container = container().await;
    let to = container.local_addr().unwrap();
    let dial = service_fn(move |_| TcpStream::connect(to));
    let mapper = mapper(SourceAddress::ProxyProtocolV2).dial(dial);
    let lease = mapper.publish(request("192.0.2.1", "127.0.0.1::80")).await.unwrap();
    let (client, mut endpoint) = connect(&lease, &container).await;
    let client = client.local_addr().unwrap();
    let expected = header(SourceAddress::ProxyProtocolV2, false, client, addr(&lease));
    assert_eq!(read_some(&mut endpoint).await, expected);
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let received = timeout(LONG, socket.recv_from(&mut buffer)).await.expect("5 s passed");
    let (length, from) = received.unwrap();
    buffer.truncate(length);
    (buffer, from)
}

#[tokio::test]
async fn every_datagram_has_its_header_and_answers_have_none() {
    for loopback in ["127.0.0.1", "::1"] {
        let container = UdpSocket::bind((loopback, 0)).await.unwrap();
        let port = container.local_addr().unwrap().port();
        let spec = format!("[{loopback}]::{port}/udp").replace("[127.0.0.1]", "127.0.0.1");
        let mapper = mapper(SourceAddress::ProxyProtocolV2);
        let lease = mapper.publish(request(loopback, &spec)).await.unwrap();
        let client = UdpSocket::bind((loopback, 0)).await.unwrap();
        client.connect(addr(&lease)).await.unwrap();
        let head = client.local_addr().unwrap();
        let head = header(SourceAddress::ProxyProtocolV2, true, head, addr(&lease));
        // The first ones come before the container is dialled, the others together.
        let first: Vec<_> = [3, 0, 0, 1, 1472].into_iter().map(|size| vec![1; size]).collect();
        let large: Vec<_> = [9000, 65_475 - 28, 0].into_iter().map(|size| vec![2; size]).collect();
        let burst: Vec<_> = (0..200).map(|number| vec![number; 64]).collect();
        let mut proxy = None;
        for sent in [first, large, burst] {
            for datagram in &sent {
                client.send(datagram).await.unwrap();
            }
            for datagram in &sent {
                let (heard, from) = receive(&container).await;
                assert!(heard == [&head, datagram.as_slice()].concat(), "{} bytes", heard.len());
                proxy = Some(from);
            }
        }
        container.send_to(b"answer", proxy.unwrap()).await.unwrap();
        assert_eq!(receive(&client).await.0, b"answer");
        lease.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_datagram_that_does_not_fit_behind_its_header_is_lost_alone() {
    let container = udp_container().await;
    let lease = publish_udp(&mapper(SourceAddress::ProxyProtocolV2), &container).await;
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(addr(&lease)).await.unwrap();
    for (size, fits) in [(65_479, true), (65_480, false), (65_507, false), (65_479, true)] {
        client.send(&vec![2; size]).await.unwrap();
        client.send(b"next").await.unwrap();
        if fits {
            assert_eq!(receive(&container).await.0.len(), 28 + size);
        }
        assert!(receive(&container).await.0.ends_with(b"next"));
    }
}

#[tokio::test]
async fn version_1_has_no_udp_and_nothing_is_taken_for_it() {
    let port = free_port().await;
    let both = request("127.0.0.1", &format!("127.0.0.1:{port}:80"))
        .with(format!("127.0.0.1:{port}:80/udp").parse::<portmap_core::PortSpec>().unwrap());
    // Somebody else has the TCP port: had it been tried for, the error would be another one.
    let _holder = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let error = mapper(SourceAddress::ProxyProtocolV1).publish(both).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[tokio::test]
async fn without_the_privilege_a_transparent_publish_is_denied_before_a_port_is_taken() {
    let port = free_port().await;
    let _holder = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let wanted = request("127.0.0.1", &format!("127.0.0.1:{port}:80"));
    // The privileges of one thread are its own.
    let denied = thread::spawn(move || {
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(mapper(SourceAddress::Transparent).publish(wanted)).unwrap_err()
    });
    let error = denied.join().unwrap();
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}
