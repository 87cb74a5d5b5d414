//! Connecting from inside a container's network namespace.

mod error;
mod sessions;

use std::{
    fs::File,
    future::Future,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll},
    thread,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpStream, sync::oneshot};
use tower::Service;

pub use self::{error::NetnsError, sessions::NetnsUdpDial};
use crate::{
    Dial,
    tcp::connect::{connect, connect_any},
};

/// A dial service that connects from inside a network namespace: what a container serves on its own 127.0.0.1 can be
/// published, and a container without any network.
///
/// The endpoint of a publish is an address *in there* then, most often 127.0.0.1, or `127.0.0.1,::1` for what may listen on
/// either; and so is the peer that the container
/// sees; [`SourceAddress::Transparent`](crate::SourceAddress::Transparent) makes no difference to it, since answers to a
/// client's address would lead nowhere in there. Headers of the PROXY protocol do name the client. A socket stays in the namespace in which it was made, so a thread of the service's own lives there and makes them.
/// Clones share the thread; it ends with the last of them, and keeps the namespace until then.
///
/// It is for TCP; [`sessions`](Self::sessions) is the same for UDP.
///
/// ```no_run
/// use portmap_proxy::{NetnsDial, ProxyMapper};
///
/// let inside = NetnsDial::of_process(4711)?;
/// let mapper = ProxyMapper::new().session_dial(inside.sessions()).dial(inside);
/// # Ok::<(), portmap_proxy::NetnsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NetnsDial {
    orders: mpsc::Sender<Order>,
}

/// What socket is wanted, and who waits for it.
#[derive(Debug)]
struct Order {
    addr: SocketAddr,
    protocol: Protocol,
    reply: oneshot::Sender<io::Result<Socket>>,
}

/// The thread makes sockets; the default of 2 MiB would only be address space, but there may be many containers.
const STACK: usize = 128 * 1024;

impl NetnsDial {
    /// Into the namespace at a path: `/run/netns/NAME`, or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`NetnsError`]; entering takes `CAP_SYS_ADMIN` over the namespace.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, NetnsError> {
        Self::entering(File::open(path).map_err(NetnsError::Open)?.into())
    }

    /// Into the namespace of a process, a container's first one, say.
    ///
    /// # Errors
    /// [`NetnsError`]; entering takes `CAP_SYS_ADMIN` over the namespace.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        let none = NetnsError::NoProcess(pid);
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Err(none) };
        // Unlike a path with the number in it, this never names a later process.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Self::entering(process),
            Err(Errno::SRCH) => Err(none),
            Err(error) => Err(NetnsError::Open(error.into())),
        }
    }

    /// Into a namespace that is open: a descriptor of `/proc/PID/ns/net`, or a pidfd.
    ///
    /// # Errors
    /// [`NetnsError`]; entering takes `CAP_SYS_ADMIN` over the namespace.
    pub fn entering(namespace: OwnedFd) -> Result<Self, NetnsError> {
        let (entered, outcome) = mpsc::sync_channel(1);
        let enter = move || {
            let done =
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let inside = done.is_ok();
            // The one who starts the thread waits for this.
            let _ = entered.send(done);
            inside
        };
        let dial = Self::start(enter, |addr, protocol| {
            let kind = if protocol == Protocol::UDP { Type::DGRAM } else { Type::STREAM };
            Socket::new(Domain::for_address(addr), kind.nonblocking(), Some(protocol))
        })?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(dial),
            Ok(Err(Errno::INVAL)) => Err(NetnsError::NotANamespace),
            Ok(Err(error)) => Err(NetnsError::Enter(error.into())),
            Err(_) => Err(NetnsError::Thread(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// By sockets that somebody else makes: a helper process, say, in a namespace that this process may not enter.
    ///
    /// `make` gets the address that is to be connected to, for its family, and the protocol, TCP or UDP. It answers with a
    /// fresh socket of these, runs on the service's own thread, and may block.
    ///
    /// # Errors
    /// [`NetnsError::Thread`].
    pub fn by(
        mut make: impl FnMut(SocketAddr, portmap_core::Protocol) -> io::Result<OwnedFd> + Send + 'static,
    ) -> Result<Self, NetnsError> {
        Self::start(
            || true,
            move |addr, protocol| {
                let named = if protocol == Protocol::UDP {
                    portmap_core::Protocol::Udp
                } else {
                    portmap_core::Protocol::Tcp
                };
                let socket = Socket::from(make(addr, named)?);
                socket.set_nonblocking(true)?;
                Ok(socket)
            },
        )
    }

    /// Starts the thread; it makes sockets where `enter` says so, until nobody can ask for one any more.
    fn start(
        enter: impl FnOnce() -> bool + Send + 'static,
        mut make: impl FnMut(SocketAddr, Protocol) -> io::Result<Socket> + Send + 'static,
    ) -> Result<Self, NetnsError> {
        let (orders, inbox) = mpsc::channel();
        let live = move || {
            if enter() {
                while let Ok(Order { addr, protocol, reply }) = inbox.recv() {
                    // One that panics is one socket less; others are asked for still.
                    let made = catch_unwind(AssertUnwindSafe(|| make(addr, protocol)));
                    let made = made.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                    // Whoever asked may have given up.
                    let _ = reply.send(made);
                }
            }
        };
        let thread = thread::Builder::new().name("portmap-netns".to_owned()).stack_size(STACK);
        thread.spawn(live).map_err(NetnsError::Thread)?;
        Ok(Self { orders })
    }

    /// The dial service for UDP sessions, by the same thread.
    pub fn sessions(&self) -> NetnsUdpDial {
        NetnsUdpDial::new(self.clone())
    }

    /// A socket in the namespace.
    fn socket(
        &self,
        addr: SocketAddr,
        protocol: Protocol,
    ) -> impl Future<Output = io::Result<Socket>> + Send + use<> {
        let (reply, made) = oneshot::channel();
        let ordered = self.orders.send(Order { addr, protocol, reply });
        async move {
            let gone = || io::Error::other("the thread in the network namespace has ended");
            ordered.map_err(|_| gone())?;
            made.await.map_err(|_| gone())?
        }
    }
}

impl Service<Dial> for NetnsDial {
    type Response = TcpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dial: Dial) -> Self::Future {
        let inside = self.clone();
        Box::pin(async move {
            connect_any(dial, move |addr| {
                let socket = inside.socket(addr, Protocol::TCP);
                async move { connect(socket.await?, addr).await }
            })
            .await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_could_not_be_made_is_not_the_last_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let mut calls = 0;
        let dial = NetnsDial::by(move |addr, _| {
            calls += 1;
            assert!(calls > 1, "on purpose");
            Ok(Socket::new(Domain::for_address(addr), Type::STREAM, None)?.into())
        });
        let dial = dial.unwrap();
        assert!(dial.socket(addr, Protocol::TCP).await.is_err());
        dial.socket(addr, Protocol::TCP).await.unwrap();
    }
}
