//! The kernel's way: bytes that no buffer of ours ever sees.

use std::io;

use rustix::io::Errno;
use tokio::io::Interest;

use super::{
    Side,
    direction::{BUFFER, Direction, Moved, Rest},
    pace::Pace,
    pipe::Pipe,
};

impl Direction<'_> {
    /// Has the kernel move what there is, as far as a pipe takes it; `None` where that is the buffer's task.
    pub(super) fn splice(&mut self) -> Result<Option<Moved>, Side> {
        let Some(mut pipe) = self.pipes.take() else {
            self.pace.goes_without();
            return Ok(None);
        };
        let from = self.from.0.as_ref();
        let filled = match from.try_io(Interest::READABLE, || pipe.fill(from)) {
            // At an urgent mark this says that nothing is there, and behind one that the socket has ended: a read knows.
            Ok(0) => {
                self.pace.looks();
                self.behind = true;
                None
            }
            Ok(filled) => {
                self.pace.spliced(filled < BUFFER, filled < pipe.size());
                Some(filled)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.pace.looks();
                self.behind = self.has_unread();
                None
            }
            Err(error) if is_refusal(&error) => {
                self.pace = Pace::Refused;
                None
            }
            Err(_) => return Err(self.from.1),
        };
        let rest = self.drain_now(pipe)?;
        Ok(filled.map(|_| rest.map_or(Moved::All, Moved::Part)))
    }

    /// Writes what the pipe holds, and gives it back; what the writer does not take at once is returned.
    pub(super) fn drain_now(&mut self, mut pipe: Pipe) -> Result<Option<Rest>, Side> {
        while !pipe.is_empty() {
            let to = self.to.0.as_ref();
            match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
                Ok(drained) => self.took(drained),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Some(Rest::Piped(pipe)));
                }
                Err(error) if is_refusal(&error) => {
                    self.pace = Pace::Refused;
                    let bytes = pipe.into_bytes().map_err(|_| self.to.1)?;
                    return Ok(Some(Rest::Bytes(bytes)));
                }
                Err(_) => return Err(self.to.1),
            }
        }
        self.pipes.give_back(pipe);
        Ok(None)
    }
}

/// Whether the kernel does not splice, or not these sockets: no error of the connection.
fn is_refusal(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM))
}
