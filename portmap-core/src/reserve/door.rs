//! Sockets that clients are let in by.

use std::{
    io,
    net::Shutdown,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use socket2::SockRef;

use super::claim::Claim;
use crate::Protocol;

/// As many connections waiting as `net.core.somaxconn` allows: the kernel lowers the number to that.
const BACKLOG: i32 = i32::MAX;

/// The right to serve the sockets of one binding: only one has it at a time. Dropping it closes what is still open, where
/// somebody else keeps the ports.
#[derive(Debug)]
pub(super) struct Door {
    claim: Arc<Claim>,
    sockets: Vec<Weak<OwnedFd>>,
    /// A duplicate is in hands that do not say when they are done with it.
    given_away: AtomicBool,
}

impl Door {
    /// `None` where somebody serves the binding already.
    pub(super) fn new<'a>(
        claim: &Arc<Claim>,
        sockets: impl Iterator<Item = &'a Arc<OwnedFd>>,
    ) -> Option<Arc<Self>> {
        claim.begin_serving().then(|| {
            let sockets = sockets.map(Arc::downgrade).collect();
            let given_away = AtomicBool::new(false);
            Arc::new(Self { claim: Arc::clone(claim), sockets, given_away })
        })
    }

    pub(super) fn give_away(&self) {
        self.given_away.store(true, Ordering::Relaxed);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut sockets = self.sockets.iter().filter_map(Weak::upgrade);
        match *self.given_away.get_mut() {
            // Of UDP sockets nobody can tell.
            true if self.claim.protocol() != Protocol::Tcp
                || sockets.any(|socket| listens(&socket)) => {}
            true => self.claim.end_serving(),
            false => {
                sockets.for_each(|socket| close(&socket));
                self.claim.end_serving();
            }
        }
    }
}

/// Lets clients in.
pub(super) fn open(protocol: Protocol, socket: impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    if protocol == Protocol::Tcp {
        // Accepted connections inherit it: without it, those in TIME_WAIT would keep the port from being taken again.
        socket.set_reuse_address(true)?;
        socket.listen(BACKLOG)?;
    }
    Ok(())
}

/// Refuses clients again. The port stays taken.
pub(super) fn close(socket: impl AsFd) {
    if listens(&socket) {
        let socket = SockRef::from(&socket);
        // While it listens, nobody else can have the port either way; from then on the option would let them.
        let _ = socket.set_reuse_address(false);
        // For a listening socket this undoes listen(2), and leaves bind(2) as it is.
        let _ = socket.shutdown(Shutdown::Read);
    }
}

fn listens(socket: &impl AsFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}
