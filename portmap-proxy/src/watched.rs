//! A descriptor that is watched for being readable.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{
    Interest,
    unix::{AsyncFd, AsyncFdReadyGuard},
};

/// A descriptor that the runtime watches for being readable, and leaves alone otherwise.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<Arc<OwnedFd>>);

/// A descriptor that is readable, most likely.
pub(crate) type Readable<'a> = AsyncFdReadyGuard<'a, Arc<OwnedFd>>;

impl Watched {
    #[expect(
        unsafe_code,
        reason = "tokio has no safe way to watch a descriptor for being readable alone"
    )]
    pub(crate) fn new(descriptor: impl Into<Arc<OwnedFd>>) -> io::Result<Self> {
        // SAFETY: an `OwnedFd`, shared or not, gives the same descriptor at every call and keeps it open until it is dropped; the
        // `AsyncFd` owns it and hands out shared references only.
        let watched =
            unsafe { AsyncFd::register_with_interest(descriptor.into(), Interest::READABLE) };
        Ok(Self(watched?))
    }

    pub(crate) async fn readable(&self) -> io::Result<Readable<'_>> {
        self.0.readable().await
    }

    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        self.0.poll_read_ready(cx)
    }

    /// Works with the descriptor if it is readable. An error of kind `WouldBlock` says that it is not any more.
    pub(crate) fn try_io<R>(&self, work: impl FnOnce(&OwnedFd) -> io::Result<R>) -> io::Result<R> {
        self.0.try_io(Interest::READABLE, |descriptor| work(descriptor))
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
