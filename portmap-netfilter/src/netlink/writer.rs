//! Writing messages.

/// The length of a netlink header and of the `nfgenmsg` behind it: where the attributes begin.
pub(crate) const HEADER: usize = 16 + 4;

/// Marks an attribute that holds attributes, `NLA_F_NESTED`: newer kernels insist on it.
const NESTED: u16 = 1 << 15;

/// What stands at the head of a message of netfilter's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Subsystem and type: `subsystem << 8 | type`.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// The number that an answer repeats.
    pub sequence: u32,
    /// `nfgen_family`
    pub family: u8,
    /// `res_id`, which only the limits of a batch use: the subsystem.
    pub resource: u16,
}

/// Messages, one after the other, as the kernel reads them.
///
/// Typed messages of `netlink-packet-netfilter` would be an allocation an attribute, which 10,000 elements feel, and
/// lack nat, masquerade, fib and ct.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer with room for `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Everything that was written, for good.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Everything that was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much was written, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A whole message; `body` writes its attributes.
    pub(crate) fn message<R>(&mut self, head: Message, body: impl FnOnce(&mut Self) -> R) -> R {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&head.kind.to_ne_bytes());
        self.bytes.extend_from_slice(&head.flags.to_ne_bytes());
        self.bytes.extend_from_slice(&head.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[head.family, 0]);
        self.bytes.extend_from_slice(&head.resource.to_be_bytes());
        let done = body(self);
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        done
    }

    /// An attribute, padded to 4 bytes.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        self.attr_with(kind, |writer| writer.raw(value));
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest<R>(&mut self, kind: u16, body: impl FnOnce(&mut Self) -> R) -> R {
        self.attr_with(kind | NESTED, body)
    }

    /// An attribute whose value `body` writes.
    ///
    /// Its length is 16 bits wide: lists that could be longer are cut before they get here.
    pub(crate) fn attr_with<R>(&mut self, kind: u16, body: impl FnOnce(&mut Self) -> R) -> R {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        let done = body(self);
        let len = self.bytes.len() - start;
        debug_assert!(len <= usize::from(u16::MAX), "attribute {kind} is {len} bytes long");
        self.bytes[start..start + 2].copy_from_slice(&(len as u16).to_ne_bytes());
        self.pad_from(start);
        done
    }

    /// Bytes of a value.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// A part of a value, padded to 4 bytes: a field of a concatenation.
    pub(crate) fn padded(&mut self, value: &[u8]) {
        let start = self.bytes.len();
        self.raw(value);
        self.pad_from(start);
    }

    /// A number in network order, as nearly all of netfilter's are.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A text with its NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.attr_with(kind, |writer| {
            writer.raw(value.as_bytes());
            writer.raw(&[0]);
        });
    }

    /// Sets flags of the message that begins at `start`.
    pub(crate) fn add_flags(&mut self, start: usize, flags: u16) {
        let place = start + 6..start + 8;
        let old = u16::from_ne_bytes([self.bytes[place.start], self.bytes[place.start + 1]]);
        self.bytes[place].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    fn pad_from(&mut self, start: usize) {
        let len = self.bytes.len() - start;
        self.bytes.resize(start + len.next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_headers_but_not_padding() {
        let mut writer = Writer::default();
        let head = Message { kind: 0x0a00, flags: 1, sequence: 7, family: 1, resource: 0 };
        writer.message(head, |writer| {
            writer.text(1, "t");
            writer.nest(2, |writer| writer.be32(3, 1));
        });
        let attributes = [6, 0, 1, 0, b't', 0, 0, 0, 12, 0, 2, 0x80, 8, 0, 3, 0, 0, 0, 0, 1];
        assert_eq!(writer.bytes()[HEADER..], attributes);
        assert_eq!(writer.bytes()[..4], 40u32.to_ne_bytes());
        assert_eq!(writer.bytes()[HEADER - 4..HEADER], [1, 0, 0, 0]);
    }
}
