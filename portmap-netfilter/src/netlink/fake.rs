//! A kernel that answers what a test wants.

use std::{cell::RefCell, collections::VecDeque, io};

use nix::errno::Errno;

use super::Transport;

/// What a request is answered with: datagrams, and an error behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(VecDeque<Result<Vec<u8>, Errno>>);

impl Answer {
    pub(crate) fn these(datagrams: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(datagrams.into_iter().map(Ok).collect())
    }

    pub(crate) fn then_fails(mut self, errno: Errno) -> Self {
        self.0.push_back(Err(errno));
        self
    }
}

/// Answers one request after the other.
#[derive(Debug)]
pub(crate) struct Fake {
    answers: RefCell<VecDeque<Answer>>,
    pending: RefCell<Answer>,
}

impl Fake {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        Self { answers: RefCell::new(answers.into()), pending: RefCell::default() }
    }

    /// Has something waiting to be read, of a request before.
    pub(crate) fn leave(&self, answer: Answer) {
        self.pending.replace(answer);
    }
}

impl Transport for Fake {
    fn send(&self, _: &[u8]) -> io::Result<()> {
        let answer = self.answers.borrow_mut().pop_front().expect("an answer for each request");
        self.pending.borrow_mut().0.extend(answer.0);
        Ok(())
    }

    fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.pending.borrow_mut().0.pop_front().transpose()?)
    }

    fn limit(&self) -> usize {
        usize::MAX
    }
}

/// A message with one attribute of kind 1.
pub(crate) fn message(flags: u16, attribute: u8) -> Vec<u8> {
    let body = [[0; 4], [5, 0, 1, 0], [attribute, 0, 0, 0]].concat();
    datagram(0x0100, flags, 0, &body)
}

/// The end of a dump, with a code.
pub(crate) fn done(flags: u16, code: i32) -> Vec<u8> {
    datagram(3, flags, 0, &code.to_ne_bytes())
}

/// An acknowledgement of a request.
pub(crate) fn ack(sequence: u32, code: i32) -> Vec<u8> {
    datagram(2, 0, sequence, &[&code.to_ne_bytes()[..], &[0; 16]].concat())
}

pub(crate) fn datagram(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let len = (16 + body.len()) as u32;
    let (kind, flags) = (kind.to_ne_bytes(), flags.to_ne_bytes());
    [&len.to_ne_bytes()[..], &kind, &flags, &sequence.to_ne_bytes(), &[0; 4], body].concat()
}
