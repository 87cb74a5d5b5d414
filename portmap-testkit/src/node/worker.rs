//! The thread of a node: it enters the namespace first and builds its runtime afterwards.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::mpsc as blocking;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::{LabError, Step};

/// How long dropping a node waits for its thread.
const JOIN_LIMIT: Duration = Duration::from_secs(2);

/// How long a thread that ends waits for one [`Worker::finish`] job, and for its blocking tasks.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// Which namespace a thread lives in.
pub(super) enum Origin {
    Fresh,
    Existing(OwnedFd),
    Present,
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a thread hands out when it is ready.
struct Ready {
    namespace: OwnedFd,
    runtime: Handle,
    netlink: rtnetlink::Handle,
}

pub(super) struct Worker {
    ready: Ready,
    /// Dropping it ends the thread, after the jobs that are in it.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Mutex<Option<(JoinHandle<()>, blocking::Receiver<()>)>>,
}

impl Worker {
    pub(super) async fn start(name: &str, origin: Origin) -> Result<Self, LabError> {
        let (ready, is_ready) = oneshot::channel();
        let (jobs, queue) = mpsc::unbounded_channel();
        let (ending, ended) = blocking::channel();
        let thread = thread::Builder::new()
            .name(name.replace('\0', " "))
            .spawn(move || {
                // Dropped last, whatever happens: the sign that everything in here is gone.
                let _ending = ending;
                live(origin, ready, queue);
            })
            .step(|| format!("start the thread of node {name}"))?;
        let ready =
            is_ready.await.unwrap_or_else(|_| Err(LabError::new("the thread ended early")))?;
        Ok(Self { ready, jobs: Some(jobs), thread: Mutex::new(Some((thread, ended))) })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.ready.runtime
    }

    pub(super) fn netlink(&self) -> &rtnetlink::Handle {
        &self.ready.netlink
    }

    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.ready.namespace.as_fd()
    }

    pub(super) fn finish(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only when the thread has ended, and the namespace's things with it.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let thread = self.thread.get_mut().map(Option::take).unwrap_or_default();
        let Some((thread, ended)) = thread else {
            return;
        };
        if thread.thread().id() == thread::current().id() {
            return;
        }
        if let Err(blocking::RecvTimeoutError::Timeout) = ended.recv_timeout(JOIN_LIMIT) {
            tracing::warn!(
                node = thread.thread().name(),
                "the node's thread is busy: left to end by itself"
            );
            return;
        }
        // A panic of the thread itself was printed by the panic hook.
        let _ = thread.join();
    }
}

fn live(
    origin: Origin,
    ready: oneshot::Sender<Result<Ready, LabError>>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
) {
    let (runtime, news) = match settle(origin) {
        Ok((runtime, news)) => (runtime, Ok(news)),
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    // When the caller has gone meanwhile, `jobs` is closed and the thread ends at once.
    let _ = ready.send(news);
    runtime.block_on(async {
        while let Some(job) = jobs.recv().await {
            // As a task: a panic in it must not end the thread.
            let job = tokio::spawn(job);
            if timeout(FINISH_LIMIT, job).await.is_err() {
                tracing::warn!("a node's last job did not end in {FINISH_LIMIT:?}");
            }
        }
    });
    runtime.shutdown_timeout(FINISH_LIMIT);
}

fn settle(origin: Origin) -> Result<(Runtime, Ready), LabError> {
    match origin {
        Origin::Fresh => {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(io::Error::from)
                .step(|| "make a network namespace (is the sandbox entered?)".to_owned())?;
            forget_inherited_settings()?;
        }
        Origin::Existing(namespace) => setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(io::Error::from)
            .step(|| "enter a network namespace".to_owned())?,
        Origin::Present => {}
    }
    let namespace =
        File::open("/proc/thread-self/ns/net").step(|| "open the namespace".to_owned())?;
    let runtime =
        Builder::new_current_thread().enable_all().build().step(|| "start a runtime".to_owned())?;
    let netlink = {
        let _inside = runtime.enter();
        let (connection, netlink, _) =
            rtnetlink::new_connection().step(|| "open a netlink socket".to_owned())?;
        runtime.spawn(connection);
        netlink
    };
    let ready = Ready { namespace: namespace.into(), runtime: runtime.handle().clone(), netlink };
    Ok((runtime, ready))
}

/// A new namespace copies the IPv4 settings of the machine's first one (net.core.
/// devconf_inherit_init_net = 0): a test would depend on whether the machine forwards.
fn forget_inherited_settings() -> Result<(), LabError> {
    let defaults = [
        ("forwarding", "0"),
        ("rp_filter", "0"),
        ("route_localnet", "0"),
        ("accept_local", "0"),
        ("arp_ignore", "0"),
        ("arp_announce", "0"),
        ("arp_filter", "0"),
        ("proxy_arp", "0"),
        ("accept_redirects", "1"),
        ("send_redirects", "1"),
    ];
    for scope in ["all", "default", "lo"] {
        for (setting, default) in defaults {
            let path = format!("/proc/sys/net/ipv4/conf/{scope}/{setting}");
            let value = fs::read_to_string(&path).step(|| format!("read {path}"))?;
            if value.trim() != default {
                fs::write(&path, default).step(|| format!("write {path}"))?;
            }
        }
    }
    Ok(())
}
