//! A socket to the container.

use std::{
    future::{Ready, ready},
    io,
    net::{SocketAddr, UdpSocket},
    task::{Context, Poll},
};

use socket2::{Domain, Protocol, Socket, Type};
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

/// The port is chosen by connecting. Where the host has none left, that is `EAGAIN` and nothing
/// else.
fn connect(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}
