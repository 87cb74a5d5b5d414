//! Connecting from inside a container's network namespace.

use std::{
    error, fmt,
    fs::File,
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    pin::Pin,
    sync::mpsc,
    task::{Context, Poll},
    thread,
};

use rustix::{
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpStream, sync::oneshot};
use tower::Service;

use crate::{Dial, connect::connect};

/// A dial service that connects from inside a network namespace: what a container serves on its own 127.0.0.1 can be
/// published, and a container without any network.
///
/// The endpoint of a publish is an address *in there* then, most often 127.0.0.1; and so is the peer that the container
/// sees; [`SourceAddress::Transparent`](crate::SourceAddress::Transparent) makes no difference to it, since answers to a
/// client's address would lead nowhere in there. Headers of the PROXY protocol do name the client. A socket stays in the namespace in which it was made, so a thread of the service's own lives there and makes them.
/// Clones share the thread; it ends with the last of them, and keeps the namespace until then.
///
/// ```no_run
/// use portmap_proxy::{NetnsDial, ProxyMapper};
///
/// let mapper = ProxyMapper::new().dial(NetnsDial::of_process(4711)?);
/// # Ok::<(), portmap_proxy::NetnsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct NetnsDial {
    orders: mpsc::Sender<Order>,
}

/// A family, and who waits for a socket of it.
type Order = (Domain, oneshot::Sender<io::Result<Socket>>);

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
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| NetnsError::Open(io::ErrorKind::NotFound.into()))?;
        // Unlike a path with the number in it, this never names a later process.
        let process = pidfd_open(pid, PidfdFlags::empty());
        Self::entering(process.map_err(|error| NetnsError::Open(error.into()))?)
    }

    /// Into a namespace that is open: a descriptor of `/proc/PID/ns/net`, or a pidfd.
    ///
    /// # Errors
    /// [`NetnsError`]; entering takes `CAP_SYS_ADMIN` over the namespace.
    pub fn entering(namespace: OwnedFd) -> Result<Self, NetnsError> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (entered, outcome) = mpsc::sync_channel(1);
        let live = move || {
            let done =
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let inside = done.is_ok();
            // The one who starts the thread waits for this.
            let _ = entered.send(done);
            if inside {
                serve(&inbox);
            }
        };
        let thread = thread::Builder::new().name("portmap-netns".to_owned()).stack_size(STACK);
        thread.spawn(live).map_err(NetnsError::Thread)?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Self { orders }),
            Ok(Err(error)) => Err(NetnsError::Enter(error.into())),
            Err(_) => Err(NetnsError::Thread(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// Makes sockets until nobody can ask for one any more.
fn serve(inbox: &mpsc::Receiver<Order>) {
    while let Ok((domain, reply)) = inbox.recv() {
        // Whoever asked may have given up.
        let _ = reply.send(Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP)));
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
        let (reply, made) = oneshot::channel();
        let ordered = self.orders.send((Domain::for_address(dial.addr()), reply));
        Box::pin(async move {
            let gone = || io::Error::other("the thread in the network namespace has ended");
            ordered.map_err(|_| gone())?;
            let socket = made.await.map_err(|_| gone())??;
            connect(socket, &dial).await
        })
    }
}

/// Why a network namespace cannot be connected from.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetnsError {
    /// There is no such namespace or process.
    Open(io::Error),
    /// It may not be entered.
    Enter(io::Error),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for NetnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "there is no such network namespace",
            Self::Enter(_) => "the network namespace may not be entered",
            Self::Thread(_) => "no thread can be started",
        })
    }
}

impl error::Error for NetnsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Open(source) | Self::Enter(source) | Self::Thread(source) => Some(source),
        }
    }
}
