//! A socket to the container.

use std::{
    future::{Ready, ready},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    task::{Context, Poll},
};

use tower::Service;

use crate::{Dial, source::connected_from};

/// The default dial service for sessions: a socket of this network namespace, connected to [`Dial::addr`].
///
/// The kernel picks the source address, unless [`Dial::source`] names one, of which the port does not count: on the host
/// that is the bridge's, the container's gateway. Nothing is sent, so that it succeeds whether or not the container is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpDial;

impl Service<Dial> for UdpDial {
    type Response = UdpSocket;
    type Error = io::Error;
    type Future = Ready<io::Result<UdpSocket>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        ready(match dial.source() {
            None => connect(dial.addr()),
            Some(source) => connected_from(source, dial.addr()),
        })
    }
}

fn connect(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(addr)?;
    Ok(socket)
}
