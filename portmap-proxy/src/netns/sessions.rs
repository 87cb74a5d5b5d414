//! The same for UDP.

use std::{
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::Protocol;
use tower::Service;

use super::NetnsDial;
use crate::Dial;

/// A dial service for UDP sessions that connects from inside a network namespace: see [`NetnsDial::sessions`].
///
/// Nothing is sent, so that it succeeds whether or not the container is there.
#[derive(Clone, Debug)]
pub struct NetnsUdpDial(NetnsDial);

impl NetnsUdpDial {
    pub(super) fn new(inside: NetnsDial) -> Self {
        Self(inside)
    }
}

impl Service<Dial> for NetnsUdpDial {
    type Response = UdpSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<UdpSocket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        let socket = self.0.socket(dial.addr(), Protocol::UDP);
        Box::pin(async move {
            let socket = socket.await?;
            // For a datagram socket that is to note the address.
            socket.connect(&dial.addr().into())?;
            Ok(socket.into())
        })
    }
}
