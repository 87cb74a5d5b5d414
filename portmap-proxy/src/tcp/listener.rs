//! Listening sockets that say when a client waits, and leave it waiting.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use portmap_core::HostSocket;
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    net::{SocketFlags, acceptfrom_with},
};
use tokio::{net::TcpStream, task};

use crate::watched::{Readable, Watched};

const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many sockets are closed before other tasks get a turn: about half a millisecond's worth.
const SOCKETS_A_TURN: usize = 64;

/// The listening sockets of a binding, one for each port.
///
/// tokio's own listener can only accept. Here a waiting client can be learned of first, so that a client is taken
/// from the kernel's backlog only once there is somebody to serve it, and nothing is set aside for a listener
/// where nobody calls.
///
/// The ports of a range are watched together, by an epoll instance of their own that the runtime watches: with a task and a
/// registration each, 10,000 took 1.6 KiB of memory a port in place of 0.04, and a quarter longer to release.
///
/// Dropping it closes the doors, also where somebody else keeps the ports.
#[derive(Debug)]
pub(crate) struct Listener {
    watched: Watched,
    sockets: Vec<HostSocket>,
}

/// A client that waits, most likely, at one of the ports.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    place: usize,
    socket: &'a HostSocket,
    /// Where a port is alone, and its own readiness is watched.
    readable: Option<Readable<'a>>,
}

/// A client that was accepted: its stream, its address, and at which of the ports it came.
pub(crate) type Accepted = (TcpStream, SocketAddr, usize);

impl Listener {
    pub(crate) fn new(sockets: Vec<HostSocket>) -> io::Result<Self> {
        let watched = match sockets.as_slice() {
            [alone] => Watched::new(alone.clone())?,
            many => Watched::new(together(many)?)?,
        };
        Ok(Self { watched, sockets })
    }

    /// # Cancel safety
    /// Dropping the future loses no client.
    pub(crate) async fn pending(&self) -> io::Result<Pending<'_>> {
        loop {
            let mut readable = self.watched.readable().await?;
            if let [socket] = self.sockets.as_slice() {
                return Ok(Pending { place: 0, socket, readable: Some(readable) });
            }
            // The next one in turn: the kernel puts a port that it has named behind the others.
            if let Ok(place) = readable.try_io(|watched| next(watched.get_ref()))
                && let place = place?
                && let Some(socket) = self.sockets.get(place)
            {
                return Ok(Pending { place, socket, readable: None });
            }
        }
    }

    /// Closes the doors, and gives other tasks their turns meanwhile.
    pub(crate) async fn close(mut self) {
        while let Some(socket) = self.sockets.pop() {
            socket.refuse();
            if self.sockets.len().is_multiple_of(SOCKETS_A_TURN) {
                task::yield_now().await;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.sockets.iter().for_each(HostSocket::refuse);
    }
}

impl Pending<'_> {
    /// Whether a client waits indeed. After each that was accepted it may be that there is no other one, until that is tried.
    pub(crate) fn is_there(&mut self) -> bool {
        let mut port = [PollFd::new(self.socket, PollFlags::IN)];
        let is_there = poll(&mut port, Some(&NO_WAIT)) != Ok(0);
        if let Some(readable) = self.readable.as_mut().filter(|_| !is_there) {
            readable.clear_ready();
        }
        is_there
    }

    /// Accepts the client that waits; `None` where it has gone.
    pub(crate) fn accept(self) -> io::Result<Option<Accepted>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accept = || Ok(acceptfrom_with(self.socket, flags)?);
        let accepted = match self.readable {
            Some(mut readable) => match readable.try_io(|_| accept()) {
                Ok(accepted) => accepted,
                Err(_) => return Ok(None),
            },
            None => accept(),
        };
        let (stream, client) = match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            accepted => accepted?,
        };
        let client = client.and_then(|client| SocketAddr::try_from(client).ok());
        let stream = TcpStream::from_std(stream.into())?;
        Ok(client.map(|client| (stream, client, self.place)))
    }
}

/// Watches all of them: an event says at which place one stands.
fn together(sockets: &[HostSocket]) -> io::Result<OwnedFd> {
    let instance = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (place, socket) in sockets.iter().enumerate() {
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&instance, socket, data, epoll::EventFlags::IN)?;
    }
    Ok(instance)
}

/// The place of a port at which a client waits.
fn next(instance: &impl AsFd) -> io::Result<usize> {
    let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 1];
    let (events, _) = epoll::wait(instance, events.as_mut_slice(), Some(&NO_WAIT))?;
    match events {
        [event] => usize::try_from(event.data.u64()).map_err(io::Error::other),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}
