//! Having the kernel list something, as a whole.

use std::{error, fmt, io};

use super::{Attrs, Reply, Transport, ask::clear, replies};

/// How often a listing is begun that somebody changes meanwhile. A datagram of it takes microseconds, so it takes
/// somebody who commits thousands of times a second to spoil as many in a row.
const TRIES: usize = 8;

/// Has the kernel list something, and reads all of it. `read` picks what is wanted out of each message.
///
/// # Errors
/// As [`fold`].
pub(crate) fn dump<T>(
    transport: &(impl Transport + ?Sized),
    request: &[u8],
    mut read: impl FnMut(Attrs<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    fold(transport, request, Vec::new, |listed, attrs| listed.extend(read(attrs)))
}

/// Has the kernel list something, and passes each message to a function that makes something of them all. Each attempt
/// begins with a fresh `start`.
///
/// # Errors
/// What the kernel refused, in the request or in the middle of the listing, and [`DumpError`]: what was listed by then
/// is no listing.
pub(crate) fn fold<A>(
    transport: &(impl Transport + ?Sized),
    request: &[u8],
    start: impl Fn() -> A,
    mut each: impl FnMut(&mut A, Attrs<'_>),
) -> io::Result<A> {
    fold_with_heads(transport, request, start, |made, _, attrs| each(made, attrs))
}

/// The same, for messages that tell something before their attributes.
///
/// # Errors
/// As [`fold`].
pub(crate) fn fold_with_heads<A>(
    transport: &(impl Transport + ?Sized),
    request: &[u8],
    start: impl Fn() -> A,
    mut each: impl FnMut(&mut A, [u8; 4], Attrs<'_>),
) -> io::Result<A> {
    for _ in 0..TRIES {
        if let Some(made) = attempt(transport, request, start(), &mut each)? {
            return Ok(made);
        }
    }
    Err(DumpError::Interrupted.into())
}

/// `None`: what is listed was changed meanwhile.
fn attempt<A>(
    transport: &(impl Transport + ?Sized),
    request: &[u8],
    mut made: A,
    each: &mut impl FnMut(&mut A, [u8; 4], Attrs<'_>),
) -> io::Result<Option<A>> {
    clear(transport)?;
    transport.send(request)?;
    let mut consistent = true;
    while let Some(datagram) = transport.receive()? {
        for reply in replies(&datagram) {
            match reply {
                Reply::Message { interrupted, head, attrs, .. } => {
                    consistent &= !interrupted;
                    each(&mut made, head, attrs);
                }
                Reply::Done { error: Some(error), .. } => return Err(error),
                Reply::Done { interrupted, .. } => {
                    return Ok((consistent && !interrupted).then_some(made));
                }
                Reply::Ack(ack) => ack.error.map_or(Ok(()), Err)?,
            }
        }
    }
    Err(DumpError::Cut.into())
}

/// Why what was listed is no listing. An [`io::Error`] carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DumpError {
    /// Somebody changed what was listed, each time.
    Interrupted,
    /// The end was missing.
    Cut,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => {
                write!(f, "it was changed while the kernel listed it, {TRIES} times in a row")
            }
            Self::Cut => f.write_str("the kernel's listing has no end"),
        }
    }
}

impl error::Error for DumpError {}

impl From<DumpError> for io::Error {
    fn from(error: DumpError) -> Self {
        let kind = match error {
            DumpError::Interrupted => io::ErrorKind::ResourceBusy,
            DumpError::Cut => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::{
        super::fake::{Answer, Fake, datagram, done, message},
        *,
    };

    const INTERRUPTED: u16 = 0x10;

    fn list(answers: Vec<Answer>) -> io::Result<Vec<u8>> {
        let fake = Fake::new(answers);
        dump(&fake, b"list", |attrs| attrs.find(1)?.first().copied())
    }

    fn why(error: &io::Error) -> Option<DumpError> {
        error.get_ref()?.downcast_ref().copied()
    }

    fn whole(numbers: &[u8]) -> Answer {
        let messages = numbers.iter().map(|number| message(0, *number));
        Answer::these(messages.chain([done(0, 0)]))
    }

    #[test]
    fn a_whole_listing_is_read_however_it_is_cut_into_datagrams() {
        let apart = Answer::these([message(0, 1), [message(0, 2), done(0, 0)].concat()]);
        assert_eq!(list(vec![apart]).unwrap(), [1, 2]);
        assert_eq!(list(vec![whole(&[])]).unwrap(), []);
    }

    #[test]
    fn a_listing_that_was_changed_meanwhile_is_begun_anew() {
        let spoilt = Answer::these([message(INTERRUPTED, 9), done(INTERRUPTED, 0)]);
        let spoilt_end = Answer::these([message(0, 8), done(INTERRUPTED, 0)]);
        assert_eq!(list(vec![spoilt.clone(), spoilt_end, whole(&[1])]).unwrap(), [1]);
        // What was left unread of one is not taken for the next one's.
        let early = Answer::these([message(INTERRUPTED, 9), done(0, 0), message(0, 7)]);
        assert_eq!(list(vec![early, whole(&[1])]).unwrap(), [1]);

        let error = list(vec![spoilt; TRIES + 1]).unwrap_err();
        assert_eq!(why(&error), Some(DumpError::Interrupted), "{error}");
    }

    #[test]
    fn a_listing_that_failed_half_way_is_an_error() {
        let errno = |errno: Errno| -(errno as i32);
        let failed = Answer::these([message(0, 1), done(0, errno(Errno::ENOMEM))]);
        let error = list(vec![failed]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOMEM as i32));

        let overrun = Answer::these([message(0, 1)]).then_fails(Errno::ENOBUFS);
        let error = list(vec![overrun]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOBUFS as i32));

        for cut in [vec![message(0, 1)], vec![], vec![datagram(3, 0, 0, &[])[..8].to_vec()]] {
            let error = list(vec![Answer::these(cut)]).unwrap_err();
            assert_eq!(why(&error), Some(DumpError::Cut), "{error}");
        }
    }
}
