//! Datagrams that are received together, and those of them that can leave together.

use std::{
    array,
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use quinn_udp::{BATCH_SIZE, RecvMeta};

use super::socket;

/// Room for the largest datagram, or for as many small ones as the kernel hands over as one.
const SLOT: usize = 64 * 1024;
/// How many datagrams a kernel cuts one send into at least: `UDP_MAX_SEGMENTS` of Linux 4.18.
pub(super) const MOST_SEGMENTS: usize = 64;
/// The largest payload of an IPv4 datagram, and so of a send.
pub(super) const MOST_BYTES: usize = 65_507;

thread_local! {
    /// One for all sessions of a thread: what is received is sent on at once. The kernel gives memory to what is
    /// written to alone, so that small datagrams take a page each, not 64 KiB.
    static SHARED: RefCell<Batch> = RefCell::new(Batch::new());
}

/// What one call received: a datagram in each buffer, or several of one size.
#[derive(Debug)]
pub(super) struct Batch {
    buffers: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    /// Where a run that lies in several buffers is put together.
    gathered: Box<[u8]>,
}

/// Neighbouring datagrams of one sender to one address, of one size but for the last one, which may be shorter:
/// what the kernel can send in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) from: SocketAddr,
    /// The address of this host that they came to, where the socket tells it.
    pub(super) to: Option<IpAddr>,
    /// The interface that they came in by, where the socket tells it.
    pub(super) by: Option<u32>,
    first: usize,
    pub(super) end: usize,
    size: usize,
    bytes: usize,
}

/// The datagrams of a run, one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagrams<'a> {
    pub(super) bytes: &'a [u8],
    /// The size of each but the last.
    pub(super) size: usize,
}

/// Lends the thread's batch.
pub(super) fn with_shared<R>(work: impl FnOnce(&mut Batch) -> R) -> R {
    SHARED.with_borrow_mut(work)
}

impl Batch {
    fn new() -> Self {
        Self {
            buffers: vec![0; SLOT * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
            gathered: vec![0; SLOT].into_boxed_slice(),
        }
    }

    /// Receives what is there, up to a batch. Says how many buffers were filled, and whether more may be there.
    pub(super) fn receive(&mut self, socket: &impl AsFd) -> io::Result<(usize, bool)> {
        let mut slots = self.buffers.chunks_exact_mut(SLOT);
        let mut slots: [_; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        let count = socket::receive(socket, &mut slots, &mut self.metas)?;
        Ok((count, count == BATCH_SIZE))
    }

    /// The run that begins with this buffer, of so many that were filled.
    pub(super) fn run(&self, first: usize, count: usize) -> Option<Run> {
        run(&self.metas[..count], first)
    }

    pub(super) fn datagrams(&mut self, run: &Run) -> Datagrams<'_> {
        let (metas, size) = (&self.metas[run.first..run.end], run.size);
        let slots = self.buffers.chunks_exact(SLOT).skip(run.first);
        let mut parts = slots.zip(metas).map(|(slot, meta)| &slot[..meta.len.min(SLOT)]);
        if run.end - run.first == 1 {
            return Datagrams { bytes: parts.next().unwrap_or_default(), size };
        }
        let mut end = 0;
        for part in parts {
            self.gathered[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        Datagrams { bytes: &self.gathered[..end], size }
    }
}

fn run(metas: &[RecvMeta], first: usize) -> Option<Run> {
    let meta = metas.get(first)?;
    let mut run = Run {
        from: meta.addr,
        to: meta.dst_ip,
        by: meta.interface_index,
        first,
        end: first + 1,
        size: meta.stride,
        bytes: meta.len,
    };
    while let Some(next) = metas.get(run.end).filter(|next| run.takes(next)) {
        run.bytes += next.len;
        run.end += 1;
    }
    Some(run)
}

impl Run {
    fn takes(&self, next: &RecvMeta) -> bool {
        // An empty datagram cannot be cut from anything, and a short one is the last.
        let whole = self.size > 0 && self.bytes.is_multiple_of(self.size);
        let fits = next.stride == self.size || (next.stride == next.len && next.len < self.size);
        let bytes = self.bytes + next.len;
        (next.addr, next.dst_ip, next.interface_index) == (self.from, self.to, self.by)
            && whole
            && fits
            && next.len > 0
            && bytes <= MOST_BYTES.min(MOST_SEGMENTS * self.size)
    }
}

impl<'a> Datagrams<'a> {
    pub(super) fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.size.max(1)).max(1)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        // No bytes are one empty datagram.
        let empty = self.bytes.is_empty().then_some(self.bytes);
        empty.into_iter().chain(self.bytes.chunks(self.size.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(from: u16, len: usize, stride: usize) -> RecvMeta {
        let mut meta = RecvMeta::default();
        meta.addr = ([192, 0, 2, 7], from).into();
        (meta.len, meta.stride) = (len, stride);
        meta
    }

    /// How many buffers each run takes.
    fn runs(metas: &[RecvMeta]) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut first = 0;
        while let Some(run) = run(metas, first) {
            lengths.push(run.end - run.first);
            first = run.end;
        }
        lengths
    }

    #[test]
    fn neighbours_of_one_size_are_a_run_and_a_shorter_one_ends_it() {
        let of = |sizes: &[usize]| {
            runs(&sizes.iter().map(|size| meta(1, *size, *size)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[64, 64, 64]), [3]);
        assert_eq!(of(&[64, 64, 10, 64]), [3, 1]);
        assert_eq!(of(&[10, 64]), [1, 1]);
        assert_eq!(of(&[64, 0, 0, 64]), [1, 1, 1, 1]);
        assert_eq!(of(&[40_000, 25_507, 1]), [2, 1]);
        assert_eq!(of(&[40_000, 25_508]), [1, 1]);
        assert_eq!(of(&[]), [0; 0]);
    }

    #[test]
    fn senders_and_addresses_are_kept_apart() {
        let mut other = meta(1, 64, 64);
        other.dst_ip = Some([192, 0, 2, 1].into());
        assert_eq!(runs(&[meta(1, 64, 64), meta(2, 64, 64), meta(1, 64, 64), other]), [1, 1, 1, 1]);
        let mut by_another_link = meta(1, 64, 64);
        by_another_link.interface_index = Some(2);
        assert_eq!(runs(&[meta(1, 64, 64), by_another_link]), [1, 1]);
    }

    #[test]
    fn what_the_kernel_put_together_counts_by_its_datagrams() {
        // 64 of 100 bytes are as many as go into one send.
        assert_eq!(runs(&[meta(1, 3200, 100), meta(1, 3200, 100), meta(1, 100, 100)]), [2, 1]);
        // 250 bytes in datagrams of 100: the last one is short.
        assert_eq!(runs(&[meta(1, 250, 100), meta(1, 100, 100)]), [1, 1]);
        assert_eq!(runs(&[meta(1, 100, 100), meta(1, 250, 100), meta(1, 50, 50)]), [2, 1]);
    }

    #[test]
    fn datagrams_are_cut_apart_again_and_no_bytes_are_an_empty_one() {
        let sizes = |len: usize, size| {
            let bytes = vec![0; len];
            let datagrams = Datagrams { bytes: &bytes, size };
            let sizes: Vec<_> = datagrams.iter().map(<[u8]>::len).collect();
            assert_eq!(sizes.len(), datagrams.count());
            sizes
        };
        assert_eq!(sizes(250, 100), [100, 100, 50]);
        assert_eq!(sizes(100, 100), [100]);
        assert_eq!(sizes(0, 0), [0]);
    }
}
