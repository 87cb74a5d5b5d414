//! Descriptors that the parent process handed down by their numbers.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use rustix::{
    io::Errno,
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// A pipe for the word on how the start went.
const STATUS: RawFd = 3;
/// The host's socket, bound, and listening where it is one for TCP.
const LISTENER: RawFd = 4;

/// Takes a descriptor over. The number itself is closed: what is taken is all there is of it.
///
/// It is done by way of a pidfd of this very process, which needs Linux 5.6: Rust has no safe way to claim a number, and
/// a socket cannot be opened by its name under `/proc`.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let this = pidfd_open(getpid(), PidfdFlags::empty())?;
    if this.as_raw_fd() == number {
        // It was free: nobody has handed it down.
        return Err(Errno::BADF.into());
    }
    let taken = pidfd_getfd(this, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(taken)
}

/// Takes the host's socket.
pub(crate) fn listener() -> io::Result<OwnedFd> {
    take(LISTENER)
}

/// dockerd's end of the start. Where nobody waits for it, there is nothing to tell.
#[derive(Debug)]
pub(crate) struct Status(Option<File>);

impl Status {
    pub(crate) fn take() -> Self {
        Self(take(STATUS).ok().map(File::from))
    }

    /// The port is served.
    pub(crate) fn ready(self) {
        self.tell("0\n");
    }

    /// It is not, and why.
    pub(crate) fn failed(self, reason: &str) {
        self.tell(&format!("1\n{reason}"));
    }

    fn tell(self, word: &str) {
        if let Some(mut pipe) = self.0 {
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}
