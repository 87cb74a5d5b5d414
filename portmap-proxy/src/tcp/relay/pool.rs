//! The pipes that connections share.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Resource, getrlimit};

use super::pipe::Pipe;
use crate::share::BUDGET;

/// The pipes of the process. The kernel counts them for each user, so one pool serves all mappers.
pub(crate) static PIPES: Pool = Pool::new(LIMIT);

/// How many pipes there are at most, and so how many stalled readers hold one: each may keep [`LARGE`] bytes in the kernel.
const LIMIT: usize = 128;

/// How many empty ones are kept for the next bulk.
const KEPT: usize = 16;

/// A pipe takes two descriptors. All of them together may have one in eight of the process's, and none of the last eighth:
/// connections come first.
const SHARE: u64 = 8;

/// Pipes that nobody uses at the moment, and the number of all.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Pipe>>,
    made: AtomicUsize,
    limit: usize,
}

/// A pipe's place among those of its pool.
#[derive(Debug)]
pub(super) struct Counted(&'static Pool);

impl Pool {
    pub(super) const fn new(limit: usize) -> Self {
        Self { idle: Mutex::new(Vec::new()), made: AtomicUsize::new(0), limit }
    }

    /// An empty pipe; `None` where there may be no more at the moment.
    pub(super) fn take(&'static self) -> Option<Pipe> {
        let idle = self.idle().pop();
        idle.or_else(|| self.make())
    }

    /// Takes a pipe back. One that still holds something would give it to another connection.
    pub(super) fn give_back(&self, pipe: Pipe) {
        let mut idle = self.idle();
        if pipe.is_empty() && idle.len() < KEPT {
            idle.push(pipe);
        }
    }

    /// Closes the pipes that nobody uses: their descriptors are needed elsewhere.
    pub(crate) fn close_idle(&self) {
        self.idle().clear();
    }

    fn make(&'static self) -> Option<Pipe> {
        if !BUDGET.is_ample() {
            return None;
        }
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = self.limit.min(usize::try_from(descriptors / SHARE / 2).unwrap_or(usize::MAX));
        Pipe::new(self.count(limit)?, descriptors - descriptors / SHARE)
    }

    fn count(&'static self, limit: usize) -> Option<Counted> {
        let one_more = |made| (made < limit).then_some(made + 1);
        let counted = self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.is_ok().then(|| Counted(self))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Pool {
    /// How many pipes there are, and how many of them nobody uses.
    pub(super) fn count_all(&self) -> (usize, usize) {
        (self.made.load(Ordering::Relaxed), self.idle().len())
    }

    /// Adds a pipe that is none: the kernel refuses to splice through it.
    pub(super) fn add_refused(&'static self) {
        let counted = self.count(usize::MAX).expect("no limit");
        self.give_back(Pipe::refused(counted));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.made.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_makes_no_more_than_its_limit_and_counts_what_is_dropped() {
        let pool = Box::leak(Box::new(Pool::new(2)));
        let (one, two) = (pool.take().expect("one"), pool.take().expect("two"));
        assert!(pool.take().is_none());
        assert_eq!(pool.count_all(), (2, 0));
        pool.give_back(one);
        drop(two);
        assert_eq!(pool.count_all(), (1, 1));
        pool.close_idle();
        assert_eq!(pool.count_all(), (0, 0));
    }

    #[test]
    fn a_pipe_that_holds_something_is_not_given_to_another() {
        let pool = Box::leak(Box::new(Pool::new(2)));
        pool.give_back(pool.take().expect("a pipe").holding(b"secret"));
        assert_eq!(pool.count_all(), (0, 0));
    }
}
