//! The messages of a transaction.

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};

use super::{
    kernel::{NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, SUBSYSTEM, nfproto},
    origin::Origin,
};
use crate::netlink::{HEADER, Message, Writer};

/// The messages of a transaction, in order, and what each of them is about.
#[derive(Debug, Default)]
pub(super) struct Batch {
    writer: Writer,
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    start: usize,
    origin: Origin,
}

/// Neighbouring messages that go to the kernel at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The first message.
    pub first: usize,
    /// The one behind the last.
    pub end: usize,
}

impl Batch {
    /// Adds a message that `body` writes; its number is its place here, counted from 0.
    pub(super) fn push<R>(
        &mut self,
        kind: u8,
        flags: u16,
        family: u8,
        origin: Origin,
        body: impl FnOnce(&mut Writer) -> R,
    ) -> R {
        let head = Message {
            kind: u16::from(SUBSYSTEM) << 8 | u16::from(kind),
            flags: NLM_F_REQUEST | flags,
            sequence: self.sent.len() as u32,
            family,
            resource: 0,
        };
        self.sent.push(Sent { start: self.writer.len(), origin });
        self.writer.message(head, body)
    }

    /// What message `number` is about.
    pub(super) fn origin(&self, number: usize) -> Option<&Origin> {
        self.sent.get(number).map(|sent| &sent.origin)
    }

    /// What the last message is about.
    pub(super) fn last_origin(&mut self) -> Option<&mut Origin> {
        self.sent.last_mut().map(|sent| &mut sent.origin)
    }

    /// Cuts the messages into parts of at most `limit` bytes; mostly there is one.
    pub(super) fn parts(&self, limit: usize) -> Vec<Part> {
        let room = limit.saturating_sub(2 * HEADER);
        let mut parts: Vec<Part> = Vec::new();
        for number in 0..self.sent.len() {
            match parts.last_mut() {
                Some(part) if self.end(number) - self.sent[part.first].start <= room => {
                    part.end = number + 1;
                }
                _ => parts.push(Part { first: number, end: number + 1 }),
            }
        }
        parts
    }

    /// A part between its limits. The kernel acknowledges its last message; older ones do so for no limit.
    pub(super) fn request(&mut self, part: Part) -> Vec<u8> {
        let last = self.sent[part.end - 1].start;
        self.writer.add_flags(last, NLM_F_ACK);
        let messages = &self.writer.bytes()[self.sent[part.first].start..self.end(part.end - 1)];

        let mut request = Writer::with_capacity(messages.len() + 2 * HEADER);
        let limit = |kind| Message {
            kind,
            flags: NLM_F_REQUEST,
            sequence: Self::LIMITS,
            family: nfproto::UNSPEC,
            resource: SUBSYSTEM.into(),
        };
        request.message(limit(NFNL_MSG_BATCH_BEGIN), |_| ());
        request.raw(messages);
        request.message(limit(NFNL_MSG_BATCH_END), |_| ());
        request.into_bytes()
    }

    /// The number of messages that begin and end a part.
    pub(super) const LIMITS: u32 = u32::MAX;

    fn end(&self, number: usize) -> usize {
        self.sent.get(number + 1).map_or(self.writer.len(), |next| next.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_messages() {
        let mut batch = Batch::default();
        for change in 0..4 {
            let body = |writer: &mut Writer| writer.attr(1, &[0; 76]);
            batch.push(0, 0, nfproto::INET, Origin::whole(change), body);
        }
        let part = |first, end| Part { first, end };
        assert_eq!(batch.parts(1000), [part(0, 4)]);
        assert_eq!(batch.parts(240), [part(0, 2), part(2, 4)]);
        assert_eq!(batch.parts(239).len(), 4);
        assert_eq!(batch.parts(1).len(), 4);
        assert_eq!(batch.request(part(2, 4)).len(), 240);
    }
}
