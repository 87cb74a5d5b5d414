//! Connecting to the container.

use std::{
    future::Future,
    io,
    iter::once,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use portmap_core::{Endpoint, Port};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tower::Service;

use crate::{
    source::connect_from,
    tcp::connect::{connect, connect_any},
};

/// What a dial service is asked for: a connection to a container, on behalf of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    endpoint: Endpoint,
    port: Port,
    client: SocketAddr,
    shows_client: bool,
}

impl Dial {
    /// A connection to this port of a container for this client: what a dial service of one's own is tested with.
    pub fn new(endpoint: impl Into<Endpoint>, port: Port, client: SocketAddr) -> Self {
        let endpoint = endpoint.into();
        Self { endpoint, port, client, shows_client: false }
    }

    pub(crate) fn showing_client(self) -> Self {
        Self { shows_client: true, ..self }
    }

    /// The container.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The container's port.
    pub fn port(&self) -> Port {
        self.port
    }

    /// The client on whose behalf it is.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The address to connect from, which need not be this host's (`IP_TRANSPARENT`); `None`, mostly, leaves it to the kernel.
    ///
    /// It is the client's, and comes with [`SourceAddress::Transparent`](crate::SourceAddress::Transparent). A dial
    /// service of one's own that does not bind its sockets to it lets the container see the gateway.
    pub fn source(&self) -> Option<SocketAddr> {
        self.shows_client.then_some(self.client)
    }

    /// Where to connect: the endpoint's address of the client's family, else its other one.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.endpoint.toward(self.client.ip()), self.port.number())
    }

    /// Where to connect, one after the other: [`addr`](Self::addr), then the endpoint's other address, where it has one and the
    /// program in the container may listen there alone.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let (first, port) = (self.addr(), self.port.number());
        let others = self.endpoint.v4().map(IpAddr::V4).into_iter();
        let others = others.chain(self.endpoint.v6().map(IpAddr::V6));
        let others = others.map(move |ip| SocketAddr::new(ip, port));
        once(first).chain(others.filter(move |addr| *addr != first))
    }
}

/// The default dial service: connects from this network namespace to the first of [`Dial::addrs`] that does not refuse, each
/// asked once.
///
/// The kernel picks the source address, unless [`Dial::source`] names one of the same family: on the host that is the
/// bridge's, the container's gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpDial;

impl Service<Dial> for TcpDial {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        Box::pin(async move {
            connect_any(dial, move |addr| async move {
                match dial.source().filter(|source| source.is_ipv4() == addr.is_ipv4()) {
                    None => connect(socket(addr)?, addr).await,
                    Some(source) => connect_from(source, addr).await,
                }
            })
            .await
        })
    }
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))
}
