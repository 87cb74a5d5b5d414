//! How many descriptors the process may have, and how many it has.

use std::{fs, os::fd::AsRawFd};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
    process::{Resource, getrlimit},
};

/// Where the estimate of others' descriptors is only bounded from below, it falls by one in so many with each look: by a half
/// in 44 of them.
const FORGET: usize = 64;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) limit: usize,
    pub(super) open: Open,
}

/// How many descriptors are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Exactly(usize),
    AtLeast(usize),
}

impl Look {
    /// Asks the kernel: 2 to 4 system calls, some microseconds.
    pub(super) fn now() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, open: counted().unwrap_or_else(|| bounded(limit)) }
    }

    /// How many descriptors are others' than those which clients have `taken`: listening sockets, the runtime's, the
    /// embedder's. `before` is what they were thought to be.
    pub(super) fn others(self, taken: usize, before: usize) -> usize {
        match self.open {
            Open::Exactly(open) => open.saturating_sub(taken),
            Open::AtLeast(open) => open.saturating_sub(taken).max(before - before.div_ceil(FORGET)),
        }
    }
}

/// The size of the directory is their number, since Linux 6.2; before it is 0. To read it through would take 70 ms for 18,000.
fn counted() -> Option<Open> {
    let open = fs::metadata("/proc/self/fd").ok()?.len();
    usize::try_from(open).ok().filter(|open| *open > 0).map(Open::Exactly)
}

/// The kernel gives the lowest number that is free: all below it are taken, and some above it, if others were closed meanwhile.
fn bounded(limit: usize) -> Open {
    match eventfd(0, EventfdFlags::CLOEXEC) {
        Ok(fresh) => Open::AtLeast(usize::try_from(fresh.as_raw_fd()).unwrap_or(0)),
        Err(Errno::MFILE) => Open::Exactly(limit),
        Err(_) => Open::AtLeast(0),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn others_are_what_clients_have_not_taken() {
        let exactly = Look { limit: 1024, open: Open::Exactly(300) };
        assert_eq!(exactly.others(200, 900), 100);
        assert_eq!(exactly.others(400, 900), 0);
    }

    #[test]
    fn a_bound_raises_what_is_known_at_once_and_lowers_it_slowly() {
        let mut others = 10;
        let mut look = |open| {
            others = Look { limit: 1024, open: Open::AtLeast(open) }.others(100, others);
            others
        };
        assert_eq!(look(740), 640);
        // Holes: a low number is free, and says nothing.
        assert_eq!(look(3), 630);
        assert!((0..43).map(|_| look(3)).all(|others| others > 300));
        assert!((0..500).map(|_| look(3)).last() < Some(2));
    }

    #[test]
    fn both_ways_to_look_see_descriptors_that_are_opened() {
        let held: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let Look { limit, open } = Look::now();
        let (Open::Exactly(open) | Open::AtLeast(open)) = open;
        assert!((held.len()..=limit).contains(&open), "{open} of {limit}");
        let Open::AtLeast(bound) = bounded(limit) else { panic!("there are some left") };
        assert!(bound >= held.len(), "{bound}");
    }
}
