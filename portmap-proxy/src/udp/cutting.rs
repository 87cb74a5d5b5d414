//! Datagrams that leave in one send, cut apart by the kernel (`UDP_SEGMENT`).

use std::io::{self, ErrorKind};

use rustix::io::Errno;

use super::{Carried, batch::Datagrams};

/// What is known of having the kernel cut datagrams apart on a way out: it refuses where they are
/// larger than the link's MTU, and where the device lets it.
///
/// Routes and devices change, and one failure may be a passing one. So what was refused is tried
/// again, more and more seldom: after 16 sends that could have been one, then 32, and so on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutting {
    /// The smallest size that was refused.
    refused: usize,
    /// How many sends are to come before such a size is tried again.
    rest: u16,
    /// How many were to come the last time.
    pause: u16,
}

impl Cutting {
    const SHORTEST_PAUSE: u16 = 16;
    /// A refusal costs a system call, up to 64 datagrams another one each: so much is lost to
    /// trying.
    const LONGEST_PAUSE: u16 = 4096;

    /// Whether datagrams of this size are to leave as one.
    fn is_worth_trying(&mut self, size: usize) -> bool {
        if size < self.refused {
            return true;
        }
        self.rest = self.rest.saturating_sub(1);
        self.rest == 0
    }

    fn taken(&mut self, size: usize) {
        if size >= self.refused {
            *self = Self::default();
        }
    }

    fn refused(&mut self, size: usize) {
        self.refused = self.refused.min(size);
        self.pause = (self.pause * 2).clamp(Self::SHORTEST_PAUSE, Self::LONGEST_PAUSE);
        self.rest = self.pause;
    }
}

impl Default for Cutting {
    fn default() -> Self {
        Self { refused: usize::MAX, rest: 0, pause: 0 }
    }
}

/// Sends all in one call where that can be, else one by one.
pub(super) fn dispatch(
    datagrams: Datagrams<'_>,
    cutting: &mut Cutting,
    send: impl Fn(&[u8], Option<usize>) -> io::Result<()>,
) -> Carried {
    let (count, size) = (datagrams.count(), datagrams.size);
    if count > 1 && cutting.is_worth_trying(size) {
        match send(datagrams.bytes, Some(size)) {
            Ok(()) => {
                cutting.taken(size);
                return Carried::new(count, datagrams.bytes.len());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Carried::default(),
            Err(error) if is_not_cut(&error) => cutting.refused(size),
            // It says nothing of cutting: a firewall, say, or the container's own refusal of an
            // earlier datagram.
            Err(_) => {}
        }
    }
    let mut carried = Carried::default();
    for datagram in datagrams.iter() {
        if send(datagram, None).is_ok() {
            carried += Carried::new(1, datagram.len());
        }
    }
    carried
}

/// Whether it is the cutting that the kernel refuses: datagrams larger than the MTU, too many of
/// them, a device without checksums.
fn is_not_cut(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::INVAL | Errno::IO | Errno::MSGSIZE | Errno::OPNOTSUPP))
        || error.kind() == ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Sends three datagrams with a kernel that says this to all that is to be cut; how often it
    /// was asked.
    fn asked(cutting: &mut Cutting, cut: impl Fn() -> io::Result<()>) -> usize {
        let (bytes, asked) = ([7; 300], Cell::new(0));
        let datagrams = Datagrams { bytes: &bytes, size: 100 };
        let carried = dispatch(datagrams, cutting, |_, size| match size {
            Some(_) => {
                asked.set(asked.get() + 1);
                cut()
            }
            None => Ok(()),
        });
        assert_eq!(carried, Carried::new(3, 300), "datagrams of a send that failed are lost");
        asked.get()
    }

    fn failing(errno: Errno) -> impl Fn() -> io::Result<()> {
        move || Err(errno.into())
    }

    #[test]
    fn a_refusal_to_cut_is_asked_about_again_and_less_and_less_often() {
        let mut cutting = Cutting::default();
        let tried: usize = (0..1000).map(|_| asked(&mut cutting, failing(Errno::INVAL))).sum();
        // The first, and after 16, 32, 64 .. 512.
        assert_eq!(tried, 6);
        while asked(&mut cutting, || Ok(())) == 0 {}
        assert_eq!(asked(&mut cutting, || Ok(())), 1, "it works, and is not used");
        asked(&mut cutting, failing(Errno::IO));
        let until = (1..).find(|_| asked(&mut cutting, || Ok(())) == 1);
        assert_eq!(until, Some(16), "a failure that has passed counts for the next one");
    }

    #[test]
    fn an_error_that_is_not_about_cutting_stops_no_cutting() {
        let mut cutting = Cutting::default();
        for errno in [Errno::CONNREFUSED, Errno::PERM, Errno::NETUNREACH, Errno::NOBUFS] {
            assert_eq!(asked(&mut cutting, failing(errno)), 1);
            assert_eq!(asked(&mut cutting, || Ok(())), 1, "{errno:?}");
        }
    }
}
