//! A thread that owns something blocking.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

/// Enough for an encoder and a socket; the default of 2 MiB would only be address space, but there may be many.
const STACK: usize = 256 * 1024;

/// A thread that owns an `S` and does what it is asked to, one job after the other.
///
/// Neither `AsyncFd` nor `spawn_blocking` would do. A netlink request is carried out within `send`: 10,000 elements
/// keep a thread for 10 ms and more, so the executor's threads must not send; and closing such a socket
/// takes up to 20 ms. A thread also stays in the network namespace in which it was born, wherever its owner goes.
///
/// Dropping a worker lets the thread finish what it was asked to, drop its `S` and end, without waiting for it.
pub(crate) struct Worker<S> {
    jobs: mpsc::Sender<Job<S>>,
    ended: oneshot::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

impl<S: Send + 'static> Worker<S> {
    /// Starts the thread in the network namespace of the calling one.
    pub(crate) fn spawn(name: &str, mut state: S) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job<S>>();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
        let thread = thread.spawn(move || {
            for job in inbox {
                // Its caller is told by the end of the channel; the others' jobs are done all the same. What it left half
                // done is what a job that failed may leave, and is compared with the books as that is.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut state)));
            }
            drop(state);
            drop(end);
        })?;
        Ok(Self { jobs, ended, thread })
    }

    /// Has the thread do a job, and waits for the outcome; `None` where the job panicked, or the thread has ended.
    ///
    /// Cancel safety: a job that was handed over is done, whether or not anybody waits.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, outcome) = oneshot::channel();
        let job = Box::new(move |state: &mut S| {
            // Nobody may be waiting any more.
            let _ = tell.send(job(state));
        });
        self.jobs.send(job).ok()?;
        outcome.await.ok()
    }

    /// Has the thread do a last job, and blocks the calling one until that is done.
    pub(crate) fn join_after(self, job: impl FnOnce(&mut S) + Send + 'static) {
        let Self { jobs, thread, .. } = self;
        // Where the thread has ended, nothing is left to do.
        let _ = jobs.send(Box::new(job));
        drop(jobs);
        // A thread that panicked has ended as well.
        let _ = thread.join();
    }

    /// Ends the thread, and waits until its state is dropped.
    pub(crate) async fn finish(self) {
        let Self { jobs, ended, .. } = self;
        drop(jobs);
        // The thread never says anything: it drops its end.
        let _ = ended.await;
    }
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_not_the_last_one() {
        let worker = Worker::spawn("test", 1).unwrap();
        assert_eq!(worker.run(|_| -> i32 { panic!("on purpose") }).await, None);
        assert_eq!(worker.run(|state| *state).await, Some(1));
        worker.finish().await;
    }
}
