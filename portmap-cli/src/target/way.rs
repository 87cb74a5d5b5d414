//! Dial services that can be led elsewhere.

use std::{
    future::Future,
    io,
    net::{Ipv6Addr, UdpSocket},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
};

use portmap::{
    Endpoint,
    proxy::{Dial, NetnsDial, TcpDial, UdpDial},
};
use tokio::net::TcpStream;
use tower::Service;

use super::reach::LOOPBACK;

/// From this namespace, or from a container's: what was chosen last. Clones are led together.
#[derive(Clone, Debug)]
pub(crate) struct Way(Arc<RwLock<Option<NetnsDial>>>);

/// The same for UDP.
#[derive(Clone, Debug)]
pub(crate) struct SessionWay(Way);

impl Way {
    pub(crate) fn new(inside: Option<NetnsDial>) -> Self {
        Self(Arc::new(RwLock::new(inside)))
    }

    /// Dials that begin from now on go this way.
    pub(crate) fn lead(&self, inside: Option<NetnsDial>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = inside;
    }

    pub(crate) fn sessions(&self) -> SessionWay {
        SessionWay(self.clone())
    }

    fn inside(&self) -> Option<NetnsDial> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Service<Dial> for Way {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        match self.inside() {
            Some(mut inside) => inside.call(on_both_loopbacks(dial)),
            None => TcpDial.call(dial),
        }
    }
}

/// What is bound to `::1` alone is reached as what is bound to 127.0.0.1 is. For UDP there is no telling, for a dial sends nothing.
fn on_both_loopbacks(dial: Dial) -> Dial {
    match Endpoint::dual(LOOPBACK, Ipv6Addr::LOCALHOST) {
        Ok(both) if dial.endpoint() == LOOPBACK.into() => {
            Dial::new(both, dial.port(), dial.client())
        }
        _ => dial,
    }
}

impl Service<Dial> for SessionWay {
    type Response = UdpSocket;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<UdpSocket>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        match self.0.inside() {
            Some(inside) => inside.sessions().call(dial),
            None => Box::pin(UdpDial.call(dial)),
        }
    }
}
