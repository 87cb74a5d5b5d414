//! Requests, and what becomes of them.

use std::io;

use nix::errno::Errno;

use super::{Ack, Attrs, Reply, Transport, replies};

/// What the kernel answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What it refused, in order.
    pub errors: Vec<Ack>,
    /// Why this may not be all of it: a part was lost, or the last request's acknowledgement is missing.
    pub lost: Option<io::Error>,
}

/// Sends requests, and reads the whole answer: acknowledgements, of which that of request number `last` is the last one,
/// and what else the kernel has to say, for `each`.
///
/// # Errors
/// The kernel did not get the requests: nothing was done. That an answer was lost is no error, but part of the answer.
pub(crate) fn ask(
    transport: &(impl Transport + ?Sized),
    requests: &[u8],
    last: u32,
    mut each: impl FnMut(Attrs<'_>),
) -> io::Result<Answer> {
    clear(transport)?;
    transport.send(requests)?;
    let (mut errors, mut done) = (Vec::new(), false);
    let lost = loop {
        match transport.receive() {
            Ok(Some(datagram)) => {
                for reply in replies(&datagram) {
                    match reply {
                        Reply::Ack(ack) => {
                            done |= ack.sequence == last;
                            errors.extend(ack.error.is_some().then_some(ack));
                        }
                        Reply::Message { attrs, .. } => each(attrs),
                        Reply::Done { .. } => {}
                    }
                }
            }
            Ok(None) => break (!done).then(|| io::ErrorKind::UnexpectedEof.into()),
            Err(error) => break Some(error),
        }
    };
    Ok(Answer { errors, lost })
}

/// Drops what was left unread when an earlier request failed half-way: it would be taken for the next one's answer.
pub(super) fn clear(transport: &(impl Transport + ?Sized)) -> io::Result<()> {
    loop {
        match transport.receive() {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            // The kernel had more to say than fits; the loss is told once, and nobody waits for it any more.
            Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fake::{Answer as Given, Fake, ack, message},
        *,
    };

    #[test]
    fn an_answer_without_the_last_acknowledgement_is_not_whole() {
        let fake = Fake::new(vec![
            Given::these([message(0, 9), ack(1, 0)]),
            Given::these([ack(0, -(Errno::ENOENT as i32)), ack(1, 0)]),
            Given::these([ack(0, 0)]),
            Given::these([]).then_fails(Errno::ENOBUFS),
        ]);
        let mut heard = Vec::new();
        let mut ask =
            || ask(&fake, b"do", 1, |attrs| heard.extend(attrs.find(1).map(<[u8]>::to_vec)));
        let answer = ask().unwrap();
        assert!(answer.errors.is_empty() && answer.lost.is_none(), "{answer:?}");
        let answer = ask().unwrap();
        assert!(answer.errors.len() == 1 && answer.lost.is_none(), "{answer:?}");
        let lost = ask().unwrap().lost.unwrap();
        assert_eq!(lost.kind(), io::ErrorKind::UnexpectedEof);
        let lost = ask().unwrap().lost.unwrap();
        assert_eq!(lost.raw_os_error(), Some(Errno::ENOBUFS as i32));
        assert_eq!(heard, [[9]]);
    }

    #[test]
    fn what_an_earlier_request_left_unread_is_nobodys_answer() {
        let fake = Fake::new(vec![Given::these([ack(1, 0)])]);
        fake.leave(Given::these([ack(1, -1)]).then_fails(Errno::ENOBUFS));
        let answer = ask(&fake, b"do", 1, |_| ()).unwrap();
        assert!(answer.errors.is_empty() && answer.lost.is_none(), "{answer:?}");
    }
}
