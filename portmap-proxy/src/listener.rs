//! A listening socket that says when a client waits, and leaves it waiting.

use std::{io, net::SocketAddr};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::Socket;
use tokio::{
    io::{
        Interest,
        unix::{AsyncFd, AsyncFdReadyGuard},
    },
    net::TcpStream,
};

/// A listening socket of a published port.
///
/// tokio's own listener can only accept. Here a waiting client can be learned of first, so that a client is taken
/// from the kernel's backlog only once there is somebody to serve it, and nothing is set aside for a listener
/// where nobody calls.
#[derive(Debug)]
pub(crate) struct Listener(AsyncFd<Socket>);

/// A client that waits, most likely.
#[derive(Debug)]
pub(crate) struct Pending<'a>(AsyncFdReadyGuard<'a, Socket>);

impl Listener {
    #[expect(
        unsafe_code,
        reason = "tokio has no safe way to watch a descriptor for being readable alone"
    )]
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        // SAFETY: a `Socket` owns its descriptor, gives the same one at every call and keeps it open until it is
        // dropped; the `AsyncFd` owns the `Socket` and hands out shared references only.
        let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self(watched?))
    }

    pub(crate) async fn pending(&self) -> io::Result<Pending<'_>> {
        self.0.readable().await.map(Pending)
    }
}

impl Pending<'_> {
    /// Accepts the client that waits; `None` where it has gone.
    pub(crate) fn accept(mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = self.0.try_io(|socket| Ok(acceptfrom_with(socket.get_ref(), flags)?));
        let Ok(accepted) = accepted else {
            return Ok(None);
        };
        let (stream, client) = accepted?;
        let client = client.and_then(|client| SocketAddr::try_from(client).ok());
        let stream = TcpStream::from_std(stream.into())?;
        Ok(client.map(|client| (stream, client)))
    }
}
