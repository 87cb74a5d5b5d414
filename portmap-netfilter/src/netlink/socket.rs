//! A blocking socket to netfilter.

use std::io;

use netlink_sys::{SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};

/// What one request may take, where we may choose: the kernel only sets a limit by it, and allocates nothing.
/// Room for 500,000 elements.
const SEND_BUFFER: usize = 32 * 1024 * 1024;

/// What the kernel subtracts from the send buffer for its own use.
const OVERHEAD: usize = 32;

/// The longest datagram that the kernel makes of several messages.
const DATAGRAM: usize = 64 * 1024;

/// A blocking socket to netfilter in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    limit: usize,
}

impl Socket {
    /// Opens a socket, and makes room for long requests as far as that is allowed.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_to(NETLINK_NETFILTER)
    }

    /// The same to another part of the kernel.
    pub(crate) fn open_to(protocol: isize) -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(protocol)?;
        let port = socket.bind_auto()?.port_number();
        // Which attribute is wrong, and no copy of the request in front of it.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // In a user namespace the kernel doesn't take the first one, and cuts the second one to net.core.wmem_max.
        if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER)?;
        }
        let buffer = nix::sys::socket::getsockopt(&socket, sockopt::SndBuf)?;
        Ok(Self { socket, port, limit: buffer.saturating_sub(OVERHEAD) })
    }

    /// The same with a limit to requests, as if the send buffer were no longer.
    #[cfg(all(test, feature = "netns"))]
    pub(crate) const fn limited_to(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The number by which the kernel knows this socket.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// How long a request may be, in bytes.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Sends a request: the kernel carries it out before this returns.
    pub(crate) fn send(&self, request: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(request, &SocketAddr::new(0, 0), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// The next datagram of an answer; `None` where there is no more of it.
    ///
    /// Never waits: what the kernel has to say about a request is there when [`send`](Self::send) returns.
    pub(crate) fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut datagram = Vec::with_capacity(DATAGRAM);
        match self.socket.recv(&mut datagram, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Some(datagram)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.receive(),
            Err(error) => Err(error),
        }
    }
}
