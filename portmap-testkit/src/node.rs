//! A network namespace and the thread that lives in it.

mod network;
mod worker;

use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;

use crate::error::LabError;
use crate::link;
use worker::{Origin, Worker};

/// A network namespace with a thread of its own; dropping the last handle ends the thread and drops
/// every task, socket and child process in it.
///
/// Handles are cheap to clone. Whatever a future does that is given to [`run`](Self::run) or
/// [`spawn`](Self::spawn) happens in the namespace: sockets, child processes, blocking tasks,
/// `/proc/thread-self/net` and `/proc/sys/net`. What it makes stays in the namespace when it is handed
/// out: a listener may be returned from `run` and used elsewhere, as long as the node lives.
///
/// Dropping the last handle waits for the thread to end, 2 seconds at most; commonly it takes well
/// under a millisecond. A task that keeps a handle of its own node keeps it alive: end such a task.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    main4: OnceLock<Ipv4Addr>,
    main6: OnceLock<Ipv6Addr>,
    outlived: bool,
    worker: Worker,
}

impl Node {
    /// Makes a namespace with nothing in it but a loopback interface that is up.
    ///
    /// The IPv4 settings that a new namespace copies from the machine's first one (forwarding,
    /// reverse path filter, route_localnet..) are put back to the kernel's defaults.
    ///
    /// # Errors
    /// Where the process may not make namespaces: see [`enter`](crate::enter).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing.
    pub async fn new(name: impl Into<String>) -> Result<Self, LabError> {
        let node = Self::start(name.into(), Origin::Fresh).await?;
        link::up(node.netlink(), link::LOOPBACK).await?;
        Ok(node)
    }

    /// A node in a namespace that exists: a real container's, say, which stays when the node goes.
    ///
    /// `namespace` is an open `/proc/PID/ns/net`, or a pidfd.
    ///
    /// # Errors
    /// Where the process may not enter that namespace.
    pub async fn join(name: impl Into<String>, namespace: OwnedFd) -> Result<Self, LabError> {
        Self::start(name.into(), Origin::Existing(namespace)).await
    }

    /// A node in the namespace that the calling thread is in: the real host, unless
    /// [`enter`](crate::enter) was called. Its main addresses are the first global ones it has.
    ///
    /// # Errors
    /// When no thread or runtime can be started.
    pub async fn current() -> Result<Self, LabError> {
        let node = Self::start("current".to_owned(), Origin::Present).await?;
        node.adopt_present_addresses().await?;
        Ok(node)
    }

    async fn start(name: String, origin: Origin) -> Result<Self, LabError> {
        let outlived = !matches!(origin, Origin::Fresh);
        let worker = Worker::start(&name, origin).await?;
        let (main4, main6) = Default::default();
        let inner = Inner { name, main4, main6, outlived, worker };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs a future in the namespace, to its end.
    ///
    /// # Panics
    /// When the future panics: the panic goes on here.
    ///
    /// # Cancel safety
    /// Dropping this future aborts the one in the namespace at its next await.
    pub async fn run<F>(&self, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let mut task = AbortOnDrop(self.spawn(future));
        match (&mut task.0).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => panic!("the thread of node {} has ended", self.name()),
            },
        }
    }

    /// Runs a future in the namespace, in the background: until it ends, is aborted, or the node goes.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.inner.worker.runtime().spawn(future)
    }

    /// Runs a future in the namespace even if the node is dropped meanwhile: its thread ends after it.
    pub(crate) fn finish(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.inner.worker.finish(Box::pin(future));
    }

    /// Whether its namespace is somebody else's, and stays when the node goes.
    pub(crate) fn is_outlived(&self) -> bool {
        self.inner.outlived
    }

    pub(crate) fn netlink(&self) -> &rtnetlink::Handle {
        self.inner.worker.netlink()
    }
}

impl AsFd for Node {
    /// The namespace, as for `setns`.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.worker.namespace()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.inner.name)
            .field("main4", &self.inner.main4.get())
            .field("main6", &self.inner.main6.get())
            .finish_non_exhaustive()
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
