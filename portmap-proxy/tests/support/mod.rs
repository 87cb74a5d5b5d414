//! What the tests of the data path share: a publish on loopback, and the two ends of a connection through it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr};

use portmap_core::{Binding, HostAddr, Lease, PortMapper, PortSpec, Publish};
use tokio::net::{TcpListener, TcpStream};

/// A container's listener; its address and port are what is published.
pub(crate) async fn container() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Publishes the listener's port on an ephemeral port of 127.0.0.1.
pub(crate) async fn publish(mapper: &impl PortMapper, container: &TcpListener) -> Lease {
    let port = container.local_addr().unwrap().port();
    mapper.publish(request("127.0.0.1", &format!("127.0.0.1::{port}"))).await.unwrap()
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
        HostAddr::Ip(ip) => ip,
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
