//! A reserved host port's socket, which several may hold.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

use socket2::SockRef;

/// The socket of one host port: bound, non-blocking, close-on-exec. Clones share it.
///
/// **The port is taken until the last clone is gone.** So who serves it may come and go before who reserved it: rules in
/// the kernel that lead elsewhere never outlive the port that they are for.
#[derive(Clone, Debug)]
pub struct HostSocket(Arc<OwnedFd>);

impl HostSocket {
    pub(super) fn of(socket: impl Into<OwnedFd>) -> Self {
        Self(Arc::new(socket.into()))
    }

    /// Sees to it that clients are refused again, where the socket listens. The port stays taken while a clone lives.
    ///
    /// Clients that wait in the backlog are reset. A UDP socket has no door to close: nothing happens.
    pub fn refuse(&self) {
        let socket = SockRef::from(&self.0);
        if socket.is_listener().unwrap_or(false) {
            // While it listens, nobody else can have the port either way; from then on the option would let them.
            let _ = socket.set_reuse_address(false);
            // For a listening socket this undoes listen(2), and leaves bind(2) as it is.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    /// The descriptor itself where nobody else holds the socket, else a duplicate.
    ///
    /// # Errors
    /// As `dup(2)`.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        Arc::try_unwrap(self.0).or_else(|shared| shared.try_clone())
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<HostSocket> for Arc<OwnedFd> {
    fn from(socket: HostSocket) -> Self {
        socket.0
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for HostSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
