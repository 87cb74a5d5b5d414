//! What the tests of the data path share: a publish on loopback, and the two ends of a connection through it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr};

use portmap_core::{Binding, HostAddr, Lease, PortMapper, PortSpec, Publish};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A container's listener; its address and port are what is published.
pub(crate) async fn container() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Publishes the listener's port on an ephemeral port of 127.0.0.1.
pub(crate) async fn publish(mapper: &impl PortMapper, container: &TcpListener) -> Lease {
    let port = container.local_addr().unwrap().port();
    mapper.publish(request("127.0.0.1", &format!("127.0.0.1::{port}"))).await.unwrap()
}

/// A container's UDP socket.
pub(crate) async fn udp_container() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Publishes the socket's port on an ephemeral UDP port of 127.0.0.1.
pub(crate) async fn publish_udp(mapper: &impl PortMapper, container: &UdpSocket) -> Lease {
    let port = container.local_addr().unwrap().port();
    mapper.publish(request("127.0.0.1", &format!("127.0.0.1::{port}/udp"))).await.unwrap()
}

/// As many containers with neighbouring ports.
pub(crate) async fn neighbours(count: u16) -> Vec<UdpSocket> {
    for first in (20_000..30_000).step_by(10) {
        let mut bound = Vec::new();
        for port in first..first + count {
            bound.extend(UdpSocket::bind(("127.0.0.1", port)).await.ok());
        }
        if bound.len() == usize::from(count) {
            return bound;
        }
    }
    panic!("no {count} neighbouring ports are free")
}

/// A port that was free a moment ago, for TCP and UDP.
pub(crate) async fn free_port() -> u16 {
    loop {
        let port = container().await.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).await.is_ok() {
            return port;
        }
    }
}

pub(crate) fn request(endpoint: &str, spec: &str) -> Publish {
    let endpoint: IpAddr = endpoint.parse().unwrap();
    Publish::new(endpoint).with(spec.parse::<PortSpec>().unwrap())
}

/// The first published address of a lease.
pub(crate) fn addr(lease: &Lease) -> SocketAddr {
    addr_of(&lease.bindings()[0])
}

pub(crate) fn addr_of(binding: &Binding) -> SocketAddr {
    let ip = match binding.host_addr() {
        HostAddr::Ip(ip) => ip.addr(),
        HostAddr::Any => "127.0.0.1".parse().unwrap(),
    };
    SocketAddr::new(ip, binding.host_ports().first().number())
}

/// The two ends of a connection through the proxy: the client's and the container's.
pub(crate) async fn connect(lease: &Lease, container: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(addr(lease)).await.unwrap();
    let (endpoint, _) = container.accept().await.unwrap();
    (client, endpoint)
}
