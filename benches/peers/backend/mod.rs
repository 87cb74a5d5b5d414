//! What the container serves, on a thread of its namespace.

mod answer;
mod bulk;
mod datagrams;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use portmap::BoxError;
use portmap_testkit::Node;

pub(crate) use datagrams::PROBE;

/// How often a thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(20);

/// What a backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends as fast as it is read, on each connection.
    Source,
    /// Reads as fast as is sent, and counts it.
    Sink,
    /// Sends back what comes, on each connection.
    Echo,
    /// Sends back what comes first, and closes.
    Answer,
    /// Sends each datagram back.
    UdpEcho,
    /// Counts datagrams.
    UdpSink,
}

/// A backend; dropping it ends its threads.
pub(crate) struct Backend {
    shared: Arc<Shared>,
}

/// What its threads share with it.
#[derive(Default)]
pub(crate) struct Shared {
    stop: AtomicBool,
    count: AtomicU64,
}

/// How much came to the container, in bytes (TCP) or datagrams (UDP).
#[derive(Clone)]
pub(crate) struct Arrived(Arc<Shared>);

impl Arrived {
    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn has_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }
}

impl Backend {
    /// Starts it on the container's port; when it returns, that port is open.
    pub(crate) async fn start(container: &Node, role: Role) -> Result<Self, BoxError> {
        let shared = Arc::new(Shared::default());
        let inside = Arc::clone(&shared);
        let begun = container.run(async move {
            let serve: Box<dyn FnOnce() -> io::Result<()> + Send> = match role {
                Role::Source => bulk::source(inside)?,
                Role::Sink => bulk::sink(inside)?,
                Role::Echo => answer::serve(inside, false)?,
                Role::Answer => answer::serve(inside, true)?,
                Role::UdpEcho => datagrams::serve(inside, true)?,
                Role::UdpSink => datagrams::serve(inside, false)?,
            };
            thread::Builder::new().name("backend".to_owned()).spawn(move || {
                if let Err(error) = serve() {
                    eprintln!("the backend ended: {error}");
                }
            })
        });
        begun.await?;
        Ok(Self { shared })
    }

    pub(crate) fn arrived(&self) -> Arrived {
        Arrived(Arc::clone(&self.shared))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
