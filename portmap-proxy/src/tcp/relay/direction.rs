//! One direction of a connection.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::ErrorKind::WouldBlock,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::{
    io::{Errno, ioctl_fionread, retry_on_intr},
    net::{RecvFlags, SendFlags, recv, send},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::tcp::{ReadHalf, WriteHalf},
    select, task,
};

use super::{Side, pace::Pace, pipe::Pipe, pool::Pool};
use crate::watch::Meter;

/// How much is read at once, in bytes. A read is mostly a packet or two; more would only be cold cache.
pub(super) const BUFFER: usize = 16 * 1024;

/// After how many bytes the thread is given to others, which takes one bulk stream about 2 ms; tokio counts calls, and one
/// call may move a whole pipe. A stream that goes on finds its data in the cache: with 1 MiB eight streams took 1.5 times the
/// CPU for a byte, with 16 MiB no less than with this.
const TURN: u64 = 8 << 20;

thread_local! {
    /// One buffer for all connections of a thread: what is read is written on at once, so that a connection
    /// holds none while it is idle.
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// Bytes that one side reads and the other one writes.
pub(super) struct Direction<'a> {
    pub(super) from: (ReadHalf<'a>, Side),
    pub(super) to: (WriteHalf<'a>, Side),
    pub(super) course: &'a mut Course,
    pub(super) pipes: &'static Pool,
    pub(super) pace: Pace,
    meter: &'a Meter,
    /// Whether more is there than the runtime knows of: see [`Self::read_behind`].
    pub(super) behind: bool,
    /// Bytes since the thread was last given to others.
    turn: u64,
}

/// How far a direction has come: what has to be known of it where its connection is cut.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// What was read and not yet written. Boxed: most directions never have any.
    pub(super) rest: Option<Box<Rest>>,
    /// Whether everything was passed on, and the end with it.
    pub(super) ended: bool,
}

/// A direction that has come to its end.
pub(super) struct Ended<'d, 'a>(&'d mut Direction<'a>);

impl Ended<'_, '_> {
    /// Tells the writer's peer.
    pub(super) async fn passed_on(self) -> Result<Self, Side> {
        let (to, side) = &mut self.0.to;
        to.shutdown().await.map_err(|_| *side)?;
        self.0.course.ended = true;
        Ok(self)
    }

    /// Returns when the side that had ended its direction is lost altogether.
    pub(super) async fn lost(self) -> Side {
        let (from, side) = &self.0.from;
        // An error of the reactor itself is as good a reason to give up.
        let _ = from.ready(Interest::ERROR).await;
        *side
    }
}

/// How one read and the write after it went.
pub(super) enum Moved {
    All,
    /// The writer took less; here is the rest.
    Part(Rest),
    End,
}

/// What was read and not yet written.
#[derive(Debug)]
pub(super) enum Rest {
    Bytes(Vec<u8>),
    Piped(Pipe),
}

impl<'a> Direction<'a> {
    pub(super) fn new(
        from: (ReadHalf<'a>, Side),
        to: (WriteHalf<'a>, Side),
        course: &'a mut Course,
        pipes: &'static Pool,
        meter: &'a Meter,
    ) -> Self {
        Self { from, to, course, pipes, pace: Pace::new(), meter, behind: false, turn: 0 }
    }

    /// The writer has taken so many bytes more.
    pub(super) fn took(&mut self, bytes: usize) {
        if bytes > 0 {
            self.meter.moved(self.to.1, bytes as u64);
            self.turn += bytes as u64;
        }
    }

    /// Moves all there is until the end.
    ///
    /// # Errors
    /// Says which side was lost.
    pub(super) async fn pump(&mut self) -> Result<Ended<'_, 'a>, Side> {
        loop {
            match poll_fn(|cx| self.poll_move(cx)).await? {
                Moved::All => {}
                // Nothing is read meanwhile: the kernel's buffers hold the sender back.
                Moved::Part(rest) => {
                    self.course.rest = Some(Box::new(rest));
                    // Boxed: it would else take room in each direction that never waits.
                    Box::pin(self.write_rest()).await?;
                }
                Moved::End => {
                    self.meter.half_closed();
                    return Ok(Ended(self));
                }
            }
            if self.turn >= TURN {
                self.turn = 0;
                task::yield_now().await;
            }
        }
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, Side>> {
        if self.pace.is_spliced() {
            // A pipe is taken only for what is there.
            let ready = self.from.0.as_ref().poll_read_ready(cx);
            ready!(ready).map_err(|_| self.from.1)?;
            if let Some(moved) = self.splice()? {
                return Poll::Ready(Ok(moved));
            }
        }
        self.poll_copy(cx)
    }

    /// Reads into the shared buffer and writes on what was read.
    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, Side>> {
        SHARED.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = self.poll_read(cx, &mut buffer);
            if read.is_pending() {
                self.pace.waits();
            }
            ready!(read)?;
            let count = buffer.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(Moved::End));
            }
            self.pace.read(count == BUFFER);
            // Whether that was all, before it is written: mostly this asks nobody but the runtime.
            let next = match count < BUFFER {
                true => Some(self.poll_read(cx, &mut buffer)),
                false => None,
            };
            let bytes = buffer.filled();
            let ended = bytes.len() == count && matches!(next, Some(Poll::Ready(Ok(()))));
            let written = match ended {
                true => self.write_last(bytes)?,
                false => self.poll_write(cx, bytes)?,
            };
            self.took(written);
            if matches!(next, Some(Poll::Pending)) {
                self.behind = self.has_unread();
            }
            if let Some(Poll::Ready(Err(lost))) = next {
                // It would be taken for an orderly end the next time: the kernel tells of it once.
                return Poll::Ready(Err(lost));
            }
            if written < bytes.len() {
                let rest = bytes[written..].to_vec();
                return Poll::Ready(Ok(Moved::Part(Rest::Bytes(rest))));
            }
            match next {
                Some(Poll::Pending) if !self.behind => {
                    self.pace.waits();
                    Poll::Pending
                }
                _ if ended => Poll::Ready(Ok(Moved::End)),
                _ => Poll::Ready(Ok(Moved::All)),
            }
        })
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Side>> {
        if self.behind {
            match self.read_behind(buffer) {
                Err(Errno::AGAIN) => self.behind = false,
                read => return Poll::Ready(read.map_err(|_| self.from.1)),
            }
        }
        Pin::new(&mut self.from.0).poll_read(cx, buffer).map_err(|_| self.from.1)
    }

    /// Whether there is something to be read. A read stops short at an urgent mark; the runtime takes a socket for drained
    /// then, and nobody would tell of what is behind until more comes.
    pub(super) fn has_unread(&self) -> bool {
        ioctl_fionread(self.from.0.as_ref()).is_ok_and(|unread| unread > 0)
    }

    /// Reads without asking the runtime.
    fn read_behind(&mut self, buffer: &mut ReadBuf<'_>) -> rustix::io::Result<()> {
        let (from, unfilled) = (self.from.0.as_ref(), buffer.initialize_unfilled());
        let (read, _) = retry_on_intr(|| recv(from, &mut *unfilled, RecvFlags::DONTWAIT))?;
        buffer.advance(read);
        Ok(())
    }

    /// Writes what the writer takes at once.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<usize, Side> {
        match Pin::new(&mut self.to.0).poll_write(cx, bytes) {
            Poll::Ready(written) => written.map_err(|_| self.to.1),
            Poll::Pending => Ok(0),
        }
    }

    /// The same for the last bytes of a direction: they wait for the end to be passed on, which is done next, and leave
    /// in one segment with it.
    fn write_last(&mut self, bytes: &[u8]) -> Result<usize, Side> {
        let to = self.to.0.as_ref();
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        match to.try_io(Interest::WRITABLE, || Ok(send(to, bytes, flags)?)) {
            Err(error) if error.kind() == WouldBlock => Ok(0),
            written => written.map_err(|_| self.to.1),
        }
    }

    /// Writes on what is left, as the writer takes it.
    async fn write_rest(&mut self) -> Result<(), Side> {
        while self.course.rest.is_some() {
            select! {
                biased;
                ready = self.to.0.writable() => ready.map_err(|_| self.to.1)?,
                _ = self.from.0.ready(Interest::ERROR) => return Err(self.from.1),
            }
            self.course.rest = match self.course.rest.take().map(|rest| *rest) {
                Some(Rest::Bytes(bytes)) => self.write_now(bytes)?,
                Some(Rest::Piped(pipe)) => self.drain_now(pipe)?,
                None => None,
            }
            .map(Box::new);
        }
        Ok(())
    }

    /// Writes what the writer takes at once, and says what is left.
    fn write_now(&mut self, mut bytes: Vec<u8>) -> Result<Option<Rest>, Side> {
        match self.to.0.try_write(&bytes) {
            Ok(0) => return Err(self.to.1),
            Ok(written) => {
                // Piece by piece: a reader that is slow is not silent.
                self.took(written);
                bytes.drain(..written);
            }
            Err(error) if error.kind() == WouldBlock => {}
            Err(_) => return Err(self.to.1),
        }
        Ok((!bytes.is_empty()).then_some(Rest::Bytes(bytes)))
    }
}
