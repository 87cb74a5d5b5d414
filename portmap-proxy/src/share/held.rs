//! What the sessions of one UDP port have: a descriptor each.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use super::{GiveWay, Share};

/// The descriptors of a UDP port's sessions, out of its binding's share.
#[derive(Debug)]
pub(crate) struct Held {
    share: Arc<Share>,
    sessions: AtomicUsize,
    /// Those among them that never got an answer.
    unanswered: AtomicUsize,
    /// Known for the first session on: most ports of a large range never have one.
    port: OnceLock<Box<dyn GiveWay>>,
    /// It was asked to give way, and has not done so yet.
    asked: AtomicBool,
}

/// The descriptor that one session has. It goes with the session, from before its container is dialled to the end of its socket,
/// and gives it back when it is dropped.
#[derive(Debug)]
pub(crate) struct SessionClaim(Arc<Held>);

impl Held {
    pub(crate) fn new(share: Arc<Share>) -> Arc<Self> {
        Arc::new(Self {
            share,
            sessions: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            port: OnceLock::new(),
            asked: AtomicBool::new(false),
        })
    }

    /// How many descriptors the port's sessions have: those that are being opened, and that are being ended, too.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// How many of the sessions never got an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.load(Relaxed)
    }

    /// Takes one more where the port may have it.
    pub(crate) fn take(self: &Arc<Self>, now: Instant) -> Option<SessionClaim> {
        let taken = self.share.try_take(1, self.sessions(), now);
        taken.then(|| self.count())
    }

    /// Takes one more in any case: where one of the port's own was given back for it.
    pub(crate) fn take_over(self: &Arc<Self>) -> SessionClaim {
        self.share.take_over(1);
        self.count()
    }

    fn count(self: &Arc<Self>) -> SessionClaim {
        self.sessions.fetch_add(1, Relaxed);
        SessionClaim(Arc::clone(self))
    }

    /// Says how many sessions never got an answer; who can end some is `port`.
    pub(crate) fn note(
        self: &Arc<Self>,
        unanswered: usize,
        port: impl FnOnce() -> Box<dyn GiveWay>,
    ) {
        self.unanswered.store(unanswered, Relaxed);
        if self.port.get().is_none() {
            let _ = self.port.set(port());
            self.share.join(self);
        }
    }

    /// Asks for the end of that many sessions.
    pub(super) fn ask(&self, sessions: usize) {
        if let Some(port) = self.port.get().filter(|_| !self.asked.swap(true, Relaxed)) {
            port.give_way(sessions);
        }
    }

    /// Says that the port has done what it was [asked](GiveWay) for.
    pub(crate) fn has_given_way(&self) {
        self.asked.store(false, Relaxed);
    }
}

impl Drop for SessionClaim {
    fn drop(&mut self) {
        let Self(held) = self;
        held.sessions.fetch_sub(1, Relaxed);
        held.share.give_back(1);
    }
}
