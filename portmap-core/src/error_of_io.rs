//! What the kernel answers, as an error of publishing.

use std::{fmt, io};

use nix::errno::Errno;

use crate::{Error, ErrorKind};

impl Error {
    /// What the kernel answered about a descriptor, as an error of the kind that its number says: [`Exhausted`](ErrorKind::Exhausted), with the limit
    /// in the message, [`AddrInUse`](ErrorKind::AddrInUse), or [`Backend`](ErrorKind::Backend).
    ///
    /// A privilege has a name that the number does not tell: whoever knows it says [`Denied`](ErrorKind::Denied) instead.
    pub fn of_io(message: impl fmt::Display, error: io::Error) -> Self {
        let errno = error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
        let limit = match errno {
            Errno::EMFILE => "RLIMIT_NOFILE allows no further descriptor",
            Errno::ENFILE => "the host's fs.file-max is reached",
            Errno::ENOBUFS | Errno::ENOMEM => "the kernel has no memory for it",
            Errno::ENOSPC => "fs.epoll.max_user_watches is reached",
            Errno::EADDRINUSE => {
                return Self::new(ErrorKind::AddrInUse, message.to_string()).with_source(error);
            }
            _ => return Self::new(ErrorKind::Backend, message.to_string()).with_source(error),
        };
        Self::new(ErrorKind::Exhausted, format!("{message}: {limit}")).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_the_kernel_is_told_from_its_other_answers() {
        let of = |errno: Errno| Error::of_io("no", io::Error::from(errno));
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM, Errno::ENOSPC] {
            assert_eq!(of(errno).kind(), ErrorKind::Exhausted, "{errno}");
        }
        assert_eq!(of(Errno::EMFILE).to_string(), "no: RLIMIT_NOFILE allows no further descriptor");
        assert_eq!(of(Errno::EADDRINUSE).kind(), ErrorKind::AddrInUse);
        assert_eq!(of(Errno::EINVAL).kind(), ErrorKind::Backend);
    }
}
