//! A reserved host port's socket, which several may hold.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

use super::{
    claim::Claim,
    door::{self, Door},
};

/// The socket of one host port: bound, non-blocking, close-on-exec. Clones share it.
///
/// **The port is taken until the last clone is gone.** So who serves it may come and go before who reserved it: rules in
/// the kernel that lead elsewhere never outlive the port that they are for.
///
/// A socket that came out of [`Reserved::serve`](super::Reserved::serve) also is the right to serve it: when the last of the
/// sockets that came with it has gone, clients are refused again where somebody else keeps the port.
#[derive(Clone, Debug)]
pub struct HostSocket {
    fd: Arc<OwnedFd>,
    claim: Arc<Claim>,
    /// Where it is to be served.
    door: Option<Arc<Door>>,
}

impl HostSocket {
    pub(super) fn of(socket: impl Into<OwnedFd>, claim: &Arc<Claim>) -> Self {
        Self { fd: Arc::new(socket.into()), claim: Arc::clone(claim), door: None }
    }

    /// Sees to it that clients are refused again. The port stays taken while a clone lives.
    ///
    /// Clients that wait in the backlog are reset. A UDP socket has no door to close, and of a socket that did not come out
    /// of [`Reserved::serve`](super::Reserved::serve) it is somebody else's: nothing happens.
    pub fn refuse(&self) {
        if self.door.is_some() {
            door::close(&self.fd);
        }
    }

    /// The descriptor itself where nobody else holds the socket, else a duplicate.
    ///
    /// # Errors
    /// As `dup(2)`.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let Self { fd, door, .. } = self;
        Arc::try_unwrap(fd).or_else(|shared| {
            let duplicate = shared.try_clone()?;
            if let Some(door) = door {
                door.give_away();
            }
            Ok(duplicate)
        })
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fd, &other.fd)
    }

    pub(super) fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    pub(super) fn claim(&self) -> &Arc<Claim> {
        &self.claim
    }

    pub(super) fn behind(mut self, door: &Arc<Door>) -> Self {
        self.door = Some(Arc::clone(door));
        self
    }
}

impl From<HostSocket> for Arc<OwnedFd> {
    fn from(socket: HostSocket) -> Self {
        socket.fd
    }
}

impl AsFd for HostSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for HostSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
