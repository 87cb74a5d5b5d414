//! Reading answers.

use std::io;

use netlink_packet_core::{ErrorBuffer, NLA_TYPE_MASK, NLM_F_DUMP_INTR, NetlinkBuffer};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
/// In an acknowledgement without the request's payload: the code and the request's header.
const ACK_HEAD: usize = 4 + 16;

/// A message from the kernel.
#[derive(Debug)]
pub(crate) enum Reply<'a> {
    /// What became of a request.
    Ack(Ack),
    /// The end of a dump.
    Done {
        /// Whether what was dumped changed meanwhile.
        interrupted: bool,
        /// Why the dump isn't whole, if it isn't.
        error: Option<io::Error>,
    },
    /// Anything else.
    Message {
        /// Subsystem and type.
        kind: u16,
        /// Whose change it tells of.
        port: u32,
        /// Whether what is dumped changed meanwhile.
        interrupted: bool,
        /// The `nfgenmsg`, or what else a subsystem's messages begin with.
        head: [u8; 4],
        /// What stands behind it.
        attrs: Attrs<'a>,
    },
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Ack {
    /// The request's number.
    pub sequence: u32,
    /// Why it failed, if it did.
    pub error: Option<io::Error>,
    /// Where in the request the wrong attribute begins, if the kernel says so.
    pub offset: Option<usize>,
    /// What the kernel says in words.
    pub hint: Option<String>,
}

/// Attributes, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    /// Kinds and values, up to the first attribute that is broken.
    pub(crate) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let Self(mut rest) = self;
        std::iter::from_fn(move || {
            let (&[len0, len1, kind0, kind1], _) = rest.split_first_chunk()?;
            let len = usize::from(u16::from_ne_bytes([len0, len1]));
            let value = rest.get(4..len)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((u16::from_ne_bytes([kind0, kind1]) & NLA_TYPE_MASK, value))
        })
    }

    /// The value of the first attribute of a kind.
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attributes within an attribute.
    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.find(kind).map(Self)
    }

    /// A number in network order.
    pub(crate) fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// A longer one.
    pub(crate) fn be64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.find(kind)?.try_into().ok()?))
    }
}

/// The messages of a datagram, up to the first one that is broken.
pub(crate) fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let len = NetlinkBuffer::new_checked(rest).ok()?.length() as usize;
        let message = rest.get(..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(reply(message))
    })
}

fn reply(message: &[u8]) -> Reply<'_> {
    let buffer = NetlinkBuffer::new(message);
    let payload = message.get(16..).unwrap_or_default();
    let interrupted = buffer.flags() & NLM_F_DUMP_INTR != 0;
    match buffer.message_type() {
        NLMSG_ERROR => Reply::Ack(ack(buffer.sequence_number(), payload)),
        // It has the code of an error as an acknowledgement has it.
        NLMSG_DONE => Reply::Done { interrupted, error: code(payload) },
        kind => Reply::Message {
            kind,
            port: buffer.port_number(),
            interrupted,
            head: payload.first_chunk().copied().unwrap_or_default(),
            attrs: Attrs(payload.get(4..).unwrap_or_default()),
        },
    }
}

/// The error that a payload begins with, if it is one.
fn code(payload: &[u8]) -> Option<io::Error> {
    let code = ErrorBuffer::new_checked(payload).ok()?.code()?;
    Some(io::Error::from_raw_os_error(code.get().saturating_neg()))
}

fn ack(sequence: u32, payload: &[u8]) -> Ack {
    let error = code(payload);
    let attrs = Attrs(payload.get(ACK_HEAD..).unwrap_or_default());
    let offset = attrs.find(NLMSGERR_ATTR_OFFS).and_then(|value| value.try_into().ok());
    let hint = attrs
        .find(NLMSGERR_ATTR_MSG)
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Ack { sequence, error, offset: offset.map(|value| u32::from_ne_bytes(value) as usize), hint }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A message that is as long as it says, more or less.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let kinds = prop_oneof![Just(NLMSG_ERROR), Just(NLMSG_DONE), any::<u16>()];
        (kinds, vec(any::<u8>(), 12..60), -2..3_i32).prop_map(|(kind, rest, off)| {
            let len = (i32::try_from(rest.len()).unwrap_or(0) + 6 + off).unsigned_abs();
            [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &rest].concat()
        })
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(messages in vec(message(), 0..4), cut in any::<usize>()) {
            let mut datagram = messages.concat();
            datagram.truncate(cut % (datagram.len() + 1));
            let mut count = 0;
            for reply in replies(&datagram) {
                count += 1;
                if let Reply::Message { attrs, .. } = reply {
                    prop_assert!(attrs.iter().count() * 4 <= datagram.len());
                }
            }
            prop_assert!(count * 16 <= datagram.len());
        }
    }
}
