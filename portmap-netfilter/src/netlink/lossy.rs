//! The real kernel, over a socket that loses requests and answers.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
};

use super::{Socket, Transport};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is carried out, and answered.
    Answered,
    /// It is carried out, and the answer is lost.
    Unheard,
    /// It gets lost, and is not answered.
    Vanished,
    /// It cannot be sent.
    Unsent,
}

/// The fates of the next requests. All others are answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fates(Arc<Mutex<VecDeque<Fate>>>);

impl Fates {
    pub(crate) fn are(&self, fates: impl IntoIterator<Item = Fate>) {
        *self.0.lock().expect("no test panicked with it") = fates.into_iter().collect();
    }

    pub(crate) fn are_over(&self) -> bool {
        self.0.lock().expect("no test panicked with it").is_empty()
    }

    fn next(&self) -> Fate {
        self.0.lock().expect("no test panicked with it").pop_front().unwrap_or(Fate::Answered)
    }
}

#[derive(Debug)]
pub(crate) struct Lossy {
    socket: Socket,
    fates: Fates,
    lost: Mutex<bool>,
}

impl Lossy {
    pub(crate) fn new(socket: Socket, fates: &Fates) -> Self {
        Self { socket, fates: fates.clone(), lost: Mutex::new(false) }
    }
}

impl Transport for Lossy {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        match self.fates.next() {
            Fate::Answered => self.socket.send(request),
            Fate::Unheard => {
                self.socket.send(request)?;
                while self.socket.receive()?.is_some() {}
                *self.lost.lock().expect("no test panicked with it") = true;
                Ok(())
            }
            Fate::Vanished => Ok(()),
            Fate::Unsent => Err(Errno::EMSGSIZE.into()),
        }
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        match std::mem::take(&mut *self.lost.lock().expect("no test panicked with it")) {
            true => Err(Errno::ENOBUFS.into()),
            false => self.socket.receive(),
        }
    }

    fn limit(&self) -> usize {
        self.socket.limit()
    }
}

/// Runs a test on a thread with a network namespace of its own.
pub(crate) fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let body = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => body(),
        Err(error) => {
            eprintln!("skipped: no network namespace: {error}");
            let required = std::env::var("PORTMAP_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|word| word == "netns"), "it is required");
        }
    };
    thread::spawn(body).join().expect("the test passes");
}
