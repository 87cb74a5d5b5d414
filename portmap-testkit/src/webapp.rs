//! The service in a container: it tells who is calling.

mod http;
mod proxied;
mod serve;

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use crate::error::{LabError, Step};
use crate::node::Node;

/// An HTTP and UDP service that answers with a [`Page`](crate::Page); it stops when dropped, with every
/// connection it has.
///
/// Over TCP it speaks HTTP/1.1 (GET and HEAD, connections kept alive), and answers a bare `GET /` typed
/// into telnet with the body alone. Over UDP every datagram is answered, empty ones too.
///
/// A [`proxied`](Self::start_proxied) one takes its callers' addresses from headers of the PROXY protocol: of version 1 or
/// 2 in front of a connection, of version 2 in front of every datagram. What comes without one is not answered: a
/// connection is closed, a datagram ignored.
#[derive(Debug)]
pub struct Webapp {
    task: JoinHandle<()>,
    seen: Seen,
}

impl Webapp {
    /// Starts the service in a node, under the node's name: on every address of both families (IPv4
    /// alone where IPv6 is off), with the same port number for TCP and UDP.
    ///
    /// # Errors
    /// When the port is in use or, below 1024, not allowed.
    pub async fn start(node: &Node, port: u16) -> Result<Self, LabError> {
        Self::start_as(node, port, false).await
    }

    /// The same for a service that only a proxy calls: it takes who is calling from the PROXY protocol.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_proxied(node: &Node, port: u16) -> Result<Self, LabError> {
        Self::start_as(node, port, true).await
    }

    async fn start_as(node: &Node, port: u16, proxied: bool) -> Result<Self, LabError> {
        let sockets = node.run(async move { io::Result::Ok((listener(port)?, datagrams(port)?)) });
        let step = || format!("start a webapp on port {port} of {}", node.name());
        let (tcp, udp) = sockets.await.step(step)?;
        let seen = Seen::default();
        let service = serve::Service { hostname: node.name().into(), seen: seen.clone(), proxied };
        let task = node.spawn(async move {
            tokio::join!(serve::tcp(tcp, service.clone()), serve::udp(udp, service));
        });
        Ok(Self { task, seen })
    }

    /// Answers the connections of a listener, under a name, for as long as the future is polled:
    /// dropping it closes the listener and every connection.
    pub async fn serve(listener: TcpListener, hostname: &str) {
        serve::tcp(listener, service(hostname, false)).await;
        pending().await
    }

    /// The same, where only a proxy calls: see [`start_proxied`](Self::start_proxied).
    pub async fn serve_proxied(listener: TcpListener, hostname: &str) {
        serve::tcp(listener, service(hostname, true)).await;
        pending().await
    }

    /// Answers the datagrams of a socket, under a name, for as long as the future is polled.
    pub async fn serve_udp(socket: UdpSocket, hostname: &str) {
        serve::udp(socket, service(hostname, false)).await;
    }

    /// The same, where only a proxy calls: see [`start_proxied`](Self::start_proxied).
    pub async fn serve_udp_proxied(socket: UdpSocket, hostname: &str) {
        serve::udp(socket, service(hostname, true)).await;
    }

    /// Who called so far: the peer of every request and every datagram, or whom a proxy named, in order, never v4-mapped.
    pub fn seen(&self) -> Vec<SocketAddr> {
        self.seen.list()
    }
}

impl Drop for Webapp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn service(hostname: &str, proxied: bool) -> serve::Service {
    serve::Service { hostname: hostname.into(), seen: Seen::default(), proxied }
}

/// A log of peers that the service and its owner share.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<SocketAddr>>>);

impl Seen {
    fn add(&self, peer: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }

    fn list(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn listener(port: u16) -> io::Result<TcpListener> {
    let socket = bound(port, Type::STREAM, Protocol::TCP)?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

fn datagrams(port: u16) -> io::Result<UdpSocket> {
    UdpSocket::from_std(bound(port, Type::DGRAM, Protocol::UDP)?.into())
}

fn bound(port: u16, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    match bound_to((Ipv6Addr::UNSPECIFIED, port).into(), Domain::IPV6, kind, protocol) {
        Err(error) if no_ipv6(&error) => {
            bound_to((Ipv4Addr::UNSPECIFIED, port).into(), Domain::IPV4, kind, protocol)
        }
        other => other,
    }
}

/// The kernel has no IPv6, or it is switched off in the namespace.
fn no_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [nix::Error::EAFNOSUPPORT, nix::Error::EADDRNOTAVAIL]
        .iter()
        .any(|errno| code == Some(*errno as i32))
}

fn bound_to(
    address: SocketAddr,
    domain: Domain,
    kind: Type,
    protocol: Protocol,
) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
