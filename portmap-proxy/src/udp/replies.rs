//! Which sessions' containers have sent something.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::AsFd,
    task::{Context, Poll},
};

use rustix::event::{Timespec, epoll};

use super::table::Id;
use crate::watched::Watched;

/// How many sessions are learned of at once.
const AT_ONCE: usize = 64;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The sockets of a listener's sessions, watched together.
///
/// An epoll instance of their own tells which of them are readable; the runtime watches that instance. Were each socket
/// registered with the runtime, one task could only find out by asking all of them.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Made for the first session: a port that nobody writes to costs no descriptor for it.
    watched: Option<Watched>,
    found: Vec<Id>,
}

impl Replies {
    /// Watches a socket until it is closed.
    pub(super) fn add(&mut self, id: Id, socket: &impl AsFd) -> io::Result<()> {
        let watched = match self.watched.take() {
            Some(watched) => watched,
            None => Watched::new(epoll::create(epoll::CreateFlags::CLOEXEC)?)?,
        };
        let data = epoll::EventData::new_u64(id.into());
        let added = epoll::add(watched.as_fd(), socket, data, epoll::EventFlags::IN);
        self.watched = Some(watched);
        Ok(added?)
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.watched {
            Some(watched) => watched.poll_readable(cx).map_ok(drop),
            // Made in the same task, before it comes here again.
            None => Poll::Pending,
        }
    }

    /// Finds sessions that have something to be received; none where there are none for the moment.
    pub(super) fn find(&mut self) -> io::Result<usize> {
        let Self { watched, found } = self;
        let Some(watched) = watched else {
            return Ok(0);
        };
        found.clear();
        let waited = watched.try_io(|instance| {
            let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; AT_ONCE];
            let (events, _) = epoll::wait(instance, events.as_mut_slice(), Some(&NO_WAIT))?;
            found.extend(events.iter().map(|event| Id::from(event.data.u64())));
            match found.len() {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            }
        });
        match waited {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            waited => waited,
        }
    }

    /// One of those that were found last.
    pub(super) fn found(&self, index: usize) -> Option<Id> {
        self.found.get(index).copied()
    }
}
