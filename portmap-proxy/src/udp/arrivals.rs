//! Which sockets of a port have something to be received.

use std::{
    io::{self, ErrorKind::WouldBlock},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll},
};

use portmap_core::HostSocket;
use rustix::event::{Timespec, epoll};

use super::{batch::Batch, table::Id};
use crate::watched::Watched;

/// How many sockets are learned of at once.
const AT_ONCE: usize = 64;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The port's own socket among those of its sessions; no session has that number before four billion others had its place.
const CLIENTS: u64 = u64::MAX;

/// A port's own socket and those of its sessions, watched together.
#[derive(Debug)]
pub(super) struct Arrivals {
    socket: HostSocket,
    watching: Watching,
    found: Vec<Id>,
}

#[derive(Debug)]
enum Watching {
    /// Until the first session: a port that nobody writes to costs no descriptors for the others.
    Alone(Watched),
    Together(Together),
}

/// An epoll instance tells which sockets are readable. Were each registered with the runtime, one task could only find out
/// by asking all of them.
///
/// The runtime watches it through a gate, another instance that has nothing but the first one in it. While datagrams come
/// without a pause the gate is shut and the task looks for itself: each of them would else wake a worker of
/// the runtime that can do nothing about it, since the task runs already.
#[derive(Debug)]
struct Together {
    gate: Watched,
    sockets: OwnedFd,
    /// Something was found since the runtime was last waited for.
    busy: bool,
    shut: bool,
}

impl Arrivals {
    pub(super) fn new(socket: HostSocket) -> io::Result<Self> {
        let watching = Watching::Alone(Watched::new(socket.clone())?);
        Ok(Self { socket, watching, found: Vec::new() })
    }

    /// Watches the socket of a session until it is [removed](Self::remove).
    pub(super) fn add(&mut self, id: Id, socket: &impl AsFd) -> io::Result<()> {
        if let Watching::Alone(_) = self.watching {
            self.watching = Watching::Together(Together::new(&self.socket)?);
        }
        match &self.watching {
            Watching::Together(together) => together.add(id.into(), socket),
            Watching::Alone(_) => Ok(()),
        }
    }

    /// Watches the socket of a session no more. Closing it would do only where nobody has a
    /// duplicate, by `dup` or `fork`: else it would be found for ever, by a number that is
    /// nobody's.
    pub(super) fn remove(&self, socket: &impl AsFd) {
        if let Watching::Together(together) = &self.watching {
            // Fails where it was not watched: a session that had no descriptor for that.
            let _ = epoll::delete(&together.sockets, socket);
        }
    }

    /// Ready when a client or a container has sent something, most likely.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.watching {
            Watching::Alone(clients) => clients.poll_readable(cx).map_ok(drop),
            Watching::Together(together) if together.shut => Poll::Ready(Ok(())),
            Watching::Together(together) => together.gate.poll_readable(cx).map_ok(drop),
        }
    }

    /// Finds out who has sent something: whether clients may have, and [which sessions](Self::found)' containers.
    pub(super) fn find(&mut self) -> io::Result<bool> {
        self.found.clear();
        let Watching::Together(together) = &mut self.watching else {
            return Ok(true);
        };
        let (mut clients, found) = (false, &mut self.found);
        let count = together.look(|who| match who {
            CLIENTS => clients = true,
            session => found.push(Id::from(session)),
        })?;
        // Behind so many sessions clients would have to wait for their turn.
        Ok(clients || count == AT_ONCE)
    }

    /// One of those that were found last.
    pub(super) fn found(&self, index: usize) -> Option<Id> {
        self.found.get(index).copied()
    }

    /// Receives from clients, up to a batch; says how many buffers it filled.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        let mut received = 0;
        let tried = match &self.watching {
            Watching::Alone(clients) => clients.try_io(|socket| {
                let more;
                (received, more) = batch.receive(socket)?;
                match more {
                    true => Ok(()),
                    // That was all: no system call is needed to learn that there is no more.
                    false => Err(WouldBlock.into()),
                }
            }),
            Watching::Together(_) => batch.receive(&self.socket).map(|(count, _)| received = count),
        };
        match tried {
            Err(error) if error.kind() != WouldBlock => Err(error),
            _ => Ok(received),
        }
    }
}

impl Together {
    fn new(clients: &impl AsFd) -> io::Result<Self> {
        let sockets = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let gate = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&gate, &sockets, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        let together = Self { gate: Watched::new(gate)?, sockets, busy: false, shut: false };
        together.add(CLIENTS, clients)?;
        Ok(together)
    }

    fn add(&self, who: u64, socket: &impl AsFd) -> io::Result<()> {
        let who = epoll::EventData::new_u64(who);
        Ok(epoll::add(&self.sockets, socket, who, epoll::EventFlags::IN)?)
    }

    /// Tells of those that are readable, and how many there are. Where there are none, the runtime is to say when there are.
    fn look(&mut self, mut tell: impl FnMut(u64)) -> io::Result<usize> {
        let Self { gate, sockets, .. } = self;
        let mut looked = match self.shut {
            true => look(sockets, &mut tell),
            false => gate.try_io(|_| look(sockets, &mut tell)),
        };
        if self.shut && is_none(&looked) {
            self.open()?;
            // The kernel lists the gate as readable until somebody asks, and opening one that is listed tells nobody: what
            // came before it was open would lie there until the next one came.
            looked = look(&self.sockets, &mut tell);
        }
        if is_none(&looked) {
            self.busy = false;
            return Ok(0);
        }
        let count = looked?;
        if std::mem::replace(&mut self.busy, true) {
            self.shut()?;
        }
        Ok(count)
    }

    fn shut(&mut self) -> io::Result<()> {
        if !self.shut {
            self.let_through(epoll::EventFlags::empty())?;
            self.shut = true;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if self.shut {
            // What the runtime has heard so far is old. First that, then the gate, which says so if there is something new.
            let _ = self.gate.try_io(|_| Err::<(), _>(WouldBlock.into()));
            self.let_through(epoll::EventFlags::IN)?;
            self.shut = false;
        }
        Ok(())
    }

    fn let_through(&self, events: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.gate, &self.sockets, epoll::EventData::new_u64(0), events)?)
    }
}

fn is_none(looked: &io::Result<usize>) -> bool {
    looked.as_ref().is_err_and(|error| error.kind() == WouldBlock)
}

fn look(sockets: &OwnedFd, tell: impl FnMut(u64)) -> io::Result<usize> {
    let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; AT_ONCE];
    let (events, _) = epoll::wait(sockets, events.as_mut_slice(), Some(&NO_WAIT))?;
    events.iter().map(|event| event.data.u64()).for_each(tell);
    match events.len() {
        0 => Err(WouldBlock.into()),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Instant};

    use portmap_core::{Binding, Endpoint, HostAddr, Protocol, Reserved};

    use super::*;
    use crate::udp::table::{Flow, Table};

    /// The socket of a port.
    fn port() -> HostSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port().to_string().parse().unwrap();
        let host = HostAddr::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let endpoint = Endpoint::from([192, 0, 2, 2]);
        let ports = "80".parse().unwrap();
        let binding = Binding::new(Protocol::Udp, host, port, endpoint, ports).unwrap();
        Reserved::adopt(binding, vec![socket.into()]).unwrap().sockets()[0].clone()
    }

    #[tokio::test]
    async fn a_session_that_has_ended_is_not_found_though_somebody_has_its_socket() {
        let mut arrivals = Arrivals::new(port()).unwrap();
        let client = ([192, 0, 2, 7], 5000).into();
        let flow = Flow { client, local: [192, 0, 2, 1].into(), interface: 0 };
        let (id, _) = Table::new(1, std::time::Duration::MAX).insert(flow, (), Instant::now());
        let (session, container) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        arrivals.add(id, &session).unwrap();
        let duplicate = session.try_clone().unwrap();
        container.send_to(b"x", duplicate.local_addr().unwrap()).unwrap();
        std::future::poll_fn(|cx| arrivals.poll_ready(cx)).await.unwrap();
        arrivals.find().unwrap();
        assert_eq!(arrivals.found(0), Some(id));
        arrivals.remove(&session);
        drop(session);
        arrivals.find().unwrap();
        assert_eq!(arrivals.found(0), None);
    }
}
