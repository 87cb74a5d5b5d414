//! Datagrams that came before their session was open.

/// How much may wait for one session: what a client sends before it expects an answer, and then some.
const MOST_BYTES: usize = 128 * 1024;
const MOST_DATAGRAMS: usize = 128;

/// The first datagrams of a session, until its container is dialled. What does not fit is lost, the newest first, as
/// in a socket's own queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
}

impl Waiting {
    /// Keeps a datagram; `false` where there is no room.
    pub(crate) fn push(&mut self, datagram: &[u8]) -> bool {
        let fits =
            self.lengths.len() < MOST_DATAGRAMS && self.bytes.len() + datagram.len() <= MOST_BYTES;
        if fits {
            // The first one is the only one, mostly: no room is made for more.
            if self.lengths.is_empty() {
                self.bytes.reserve_exact(datagram.len());
                self.lengths.reserve_exact(1);
            }
            self.bytes.extend_from_slice(datagram);
            self.lengths.push(datagram.len() as u32);
        }
        fits
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The datagrams in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        self.lengths.iter().map(move |length| {
            let (datagram, others) = rest.split_at(*length as usize);
            rest = others;
            datagram
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_wait_in_order_and_empty_ones_count() {
        let mut waiting = Waiting::default();
        let sent: [&[u8]; 4] = [b"one", b"", b"three", b""];
        for datagram in sent {
            assert!(waiting.push(datagram));
        }
        assert!(waiting.iter().eq(sent));
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_in_bytes() {
        let mut many = Waiting::default();
        assert_eq!((0..1000).filter(|_| many.push(b"")).count(), MOST_DATAGRAMS);
        let mut large = Waiting::default();
        let datagram = vec![1; 65_507];
        assert_eq!((0..1000).filter(|_| large.push(&datagram)).count(), 2);
        assert!(large.push(b"a small one still fits"));
    }
}
