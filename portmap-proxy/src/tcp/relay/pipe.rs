//! A pipe, through which the kernel moves bulk from socket to socket.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::{
    io::retry_on_intr,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};

use super::pool::Counted;

/// How much a pipe takes, in bytes: the most that anybody may have (`fs.pipe-max-size`). With a half of it each of eight
/// streams took a tenth more CPU for a byte, with 64 KiB a third more.
pub(super) const LARGE: usize = 1 << 20;

/// What it takes where the user has too many pages in pipes (`fs.pipe-user-pages-soft`). With less, the buffer is as quick.
const SMALL: usize = 64 << 10;

/// A pipe, and how much it holds. Dropping it closes it, and loses that.
#[derive(Debug)]
pub(super) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    size: usize,
    held: usize,
    _counted: Counted,
}

impl Pipe {
    /// A new pipe, of descriptors below a number; `None` where it cannot be had, or would be of no use.
    pub(super) fn new(counted: Counted, below: u64) -> Option<Self> {
        if !outlives_sigpipe() {
            return None;
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // The kernel gives the lowest number that is free: below it all are taken.
        let number = u64::try_from(out.as_raw_fd().max(into.as_raw_fd())).unwrap_or(u64::MAX);
        if number >= below {
            return None;
        }
        let size = fcntl_setpipe_size(&into, LARGE)
            .or_else(|_| fcntl_setpipe_size(&into, SMALL))
            .or_else(|_| fcntl_getpipe_size(&into))
            .ok()?;
        (size >= SMALL).then_some(Self { out, into, size, held: 0, _counted: counted })
    }

    /// How much it takes at once.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Fills the empty pipe from a socket: with how much, and 0 says that the socket has ended.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let filled = moved(from, &self.into, self.size)?;
        self.held += filled;
        Ok(filled)
    }

    /// Writes to a socket what the pipe holds; the socket may take less. Says how much.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let drained = moved(&self.out, to, self.held)?;
        self.held -= drained;
        Ok(drained)
    }

    /// What it holds, for a socket that is not spliced to.
    pub(super) fn into_bytes(self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.held];
        let mut filled = 0;
        while filled < bytes.len() {
            match retry_on_intr(|| rustix::io::read(&self.out, &mut bytes[filled..]))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(bytes)
    }
}

fn moved(from: impl AsFd, to: impl AsFd, len: usize) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(retry_on_intr(|| splice(from.as_fd(), None, to.as_fd(), None, len, flags))?)
}

/// Whether `SIGPIPE` leaves the process alone. Every Rust program ignores it unless it asks for it; but to one that does, a
/// splice to a peer that has gone would be deadly: unlike a send it cannot be told not to raise it.
fn outlives_sigpipe() -> bool {
    const SIGPIPE: u64 = 1 << (13 - 1);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let sets = status.lines().filter_map(|line| {
        let (name, set) = line.split_once(':')?;
        matches!(name, "SigIgn" | "SigCgt").then(|| u64::from_str_radix(set.trim(), 16))
    });
    sets.flatten().any(|set| set & SIGPIPE != 0)
}

#[cfg(test)]
impl Pipe {
    /// One that is none: the kernel refuses to splice through it.
    pub(super) fn refused(counted: Counted) -> Self {
        let (out, into) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        Self { out: out.into(), into: into.into(), size: LARGE, held: 0, _counted: counted }
    }

    /// One that holds these bytes, which must fit.
    pub(super) fn holding(mut self, bytes: &[u8]) -> Self {
        assert_eq!(rustix::io::write(&self.into, bytes).expect("written"), bytes.len());
        self.held = bytes.len();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pool::Pool, *};

    #[test]
    fn what_a_pipe_holds_can_be_taken_out() {
        let pool = Box::leak(Box::new(Pool::new(1)));
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let pipe = pool.take().expect("a pipe").holding(&bytes);
        assert!(pipe.into_bytes().expect("read") == bytes);
    }

    #[test]
    fn this_process_outlives_sigpipe() {
        assert!(outlives_sigpipe());
    }
}
