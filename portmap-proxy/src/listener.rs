//! A listening socket that says when a client waits, and leaves it waiting.

use std::{io, net::SocketAddr};

use portmap_core::HostSocket;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::net::TcpStream;

use crate::watched::{Readable, Watched};

/// A listening socket of a published port.
///
/// tokio's own listener can only accept. Here a waiting client can be learned of first, so that a client is taken
/// from the kernel's backlog only once there is somebody to serve it, and nothing is set aside for a listener
/// where nobody calls.
///
/// Dropping it closes the door, also where somebody else keeps the port.
#[derive(Debug)]
pub(crate) struct Listener {
    watched: Watched,
    socket: HostSocket,
}

/// A client that waits, most likely.
#[derive(Debug)]
pub(crate) struct Pending<'a>(Readable<'a>);

impl Listener {
    pub(crate) fn new(socket: HostSocket) -> io::Result<Self> {
        Ok(Self { watched: Watched::new(socket.clone())?, socket })
    }

    pub(crate) async fn pending(&self) -> io::Result<Pending<'_>> {
        self.watched.readable().await.map(Pending)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.socket.refuse();
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
