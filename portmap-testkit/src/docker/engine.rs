//! The thread that speaks to the daemon.

use std::future::{Future, pending};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};

use crate::error::{LabError, Step};

/// How long a drop waits for the daemon. Removing a container takes 0.1 to 0.3 s.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Engine {
    runtime: Handle,
    thread: ThreadId,
}

/// Runs a future on a thread of the process's own: a test's runtime ends with the test, and a connection or a removal
/// with it; and the caller may be anywhere, also outside of a runtime.
///
/// # Cancel safety
/// The future goes on to its end, and its output is dropped.
pub(super) async fn run<F>(future: F) -> Result<F::Output, LabError>
where
    F: Future<Output: Send> + Send + 'static,
{
    let task = engine()?.runtime.spawn(future);
    task.await.map_err(std::io::Error::other).step(|| "speak to Docker".to_owned())
}

/// Has a future run to its end, and blocks the calling thread until then, but for the engine's own.
pub(super) fn finish(future: impl Future<Output = ()> + Send + 'static) {
    let Ok(engine) = engine() else { return };
    let (done, is_done) = mpsc::channel::<()>();
    engine.runtime.spawn(async move {
        let _done = done;
        future.await;
    });
    if thread::current().id() != engine.thread {
        // Nothing is ever sent: it ends when the other side is dropped.
        let _ = is_done.recv_timeout(PATIENCE);
    }
}

fn engine() -> Result<Engine, LabError> {
    static ENGINE: Mutex<Option<Engine>> = Mutex::new(None);
    let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = &*engine {
        return Ok(engine.clone());
    }
    let step = || "start the thread that speaks to Docker".to_owned();
    let runtime = Builder::new_current_thread().enable_all().build().step(step)?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("portmap-docker".to_owned());
    let thread = thread.spawn(move || runtime.block_on(pending::<()>())).step(step)?;
    let started = Engine { runtime: handle, thread: thread.thread().id() };
    Ok(engine.insert(started).clone())
}
