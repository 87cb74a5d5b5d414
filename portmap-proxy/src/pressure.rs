//! Descriptors running out.

use std::{
    error::Error,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::io::Errno;
use tokio::time;

const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(200);

/// How many accepted clients of a mapper wait for a descriptor to dial with.
///
/// A proxied connection takes two descriptors. Where they run out between the first and the second, accepting
/// more would take away what the accepted ones wait for; so nobody accepts until they are served.
#[derive(Debug, Default)]
pub(crate) struct Pressure(AtomicUsize);

/// One waiting client.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Pressure);

impl Pressure {
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Returns when no accepted client waits for a descriptor.
    pub(crate) async fn relieved(&self) {
        while self.0.load(Ordering::Relaxed) > 0 {
            time::sleep(SHORTEST).await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits that grow: 5 ms, 10 ms and so on to 200 ms. Short, for a descriptor comes free with any connection's end.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(SHORTEST)
    }

    pub(crate) async fn wait(&mut self) {
        time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST);
    }
}

/// Whether the process or the host has no descriptor left, or no memory for a socket: it may have, in a moment.
pub(crate) fn is_exhaustion(error: &(dyn Error + 'static)) -> bool {
    let errno = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
