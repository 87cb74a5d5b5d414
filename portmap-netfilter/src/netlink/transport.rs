//! What carries requests to the kernel.

use std::{fmt, io};

use super::Socket;

/// What carries requests to the kernel and answers back: a [`Socket`], or in tests what fails in its place.
pub(crate) trait Transport: fmt::Debug + Send {
    /// Sends a request: the kernel carries it out before this returns. An error says that it did not get it.
    fn send(&self, request: &[u8]) -> io::Result<()>;

    /// The next datagram of an answer; `None` where there is no more of it.
    ///
    /// Never waits: what the kernel has to say about a request is there when [`send`](Self::send) returns, and a dump
    /// goes on as it is read.
    fn receive(&self) -> io::Result<Option<Vec<u8>>>;

    /// How long a request may be, in bytes.
    fn limit(&self) -> usize;
}

impl Transport for Socket {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        Self::send(self, request)
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        Self::receive(self)
    }

    fn limit(&self) -> usize {
        Self::limit(self)
    }
}

/// A transport of any kind: what it costs to find its functions is nothing beside a request.
impl Transport for Box<dyn Transport> {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        (**self).send(request)
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        (**self).receive()
    }

    fn limit(&self) -> usize {
        (**self).limit()
    }
}
