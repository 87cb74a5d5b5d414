//! Descriptors running out.

use std::{
    error::Error,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::io::Errno;
use tokio::time;

use crate::{causes::errno, spare::make_room};

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(200);

/// Sees to it that an accepted client gets its second descriptor.
///
/// A proxied connection takes two: one is accepted, one is dialled. Were all of them taken by accepting, nobody could be
/// served, and nothing would ever come free. So whoever accepts has a [`Spare`](crate::spare::Spare) one first, and gives it
/// up where dialling finds none. Where somebody else is quicker to take that, the client waits, and nobody accepts until it has been served.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    waiting: AtomicUsize,
}

/// One waiting client.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Pressure);

impl Pressure {
    /// An accepted client finds no descriptor.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        make_room();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Whether no accepted client waits for a descriptor.
    pub(crate) fn is_relieved(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Returns when no accepted client waits for a descriptor.
    pub(crate) async fn relieved(&self) {
        while !self.is_relieved() {
            time::sleep(SHORTEST).await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits that grow: 5 ms, 10 ms and so on to 200 ms. Short, for a descriptor comes free with any connection's end.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(SHORTEST)
    }

    /// Whether nothing was waited for yet: the time to log why.
    pub(crate) fn is_fresh(&self) -> bool {
        self.0 == SHORTEST
    }

    pub(crate) async fn wait(&mut self) {
        time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}

/// Whether the process or the host has no descriptor left, or no memory for a socket: it may have, in a moment. A dial service
/// or a layer may have wrapped the error that says so.
pub(crate) fn is_exhaustion(error: &(dyn Error + 'static)) -> bool {
    let errno = errno(error).map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
