//! One direction of a connection.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
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
    pub(super) pipes: &'static Pool,
    pub(super) pace: Pace,
    meter: &'a Meter,
    /// Bytes since the thread was last given to others.
    turn: u64,
}

/// A direction that has come to its end.
pub(super) struct Ended<'d, 'a>(&'d mut Direction<'a>);

impl Ended<'_, '_> {
    /// Tells the writer's peer.
    pub(super) async fn passed_on(self) -> Result<Self, Side> {
        let (to, side) = &mut self.0.to;
        to.shutdown().await.map_err(|_| *side)?;
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
pub(super) enum Rest {
    Bytes(Vec<u8>),
    Piped(Pipe),
}

impl<'a> Direction<'a> {
    pub(super) fn new(
        from: (ReadHalf<'a>, Side),
        to: (WriteHalf<'a>, Side),
        pipes: &'static Pool,
        meter: &'a Meter,
    ) -> Self {
        Self { from, to, pipes, pace: Pace::new(), meter, turn: 0 }
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
                // Boxed: they would else take room in each direction that never waits.
                Moved::Part(Rest::Bytes(rest)) => Box::pin(self.write(&rest)).await?,
                Moved::Part(Rest::Piped(pipe)) => Box::pin(self.drain(pipe)).await?,
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
            let read = Pin::new(&mut self.from.0).poll_read(cx, &mut buffer);
            if read.is_pending() {
                self.pace.waits();
            }
            ready!(read).map_err(|_| self.from.1)?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Moved::End));
            }
            self.pace.read(bytes.len() == BUFFER);
            let written = match Pin::new(&mut self.to.0).poll_write(cx, bytes) {
                Poll::Ready(written) => written.map_err(|_| self.to.1)?,
                Poll::Pending => 0,
            };
            self.took(written);
            let rest = &bytes[written..];
            Poll::Ready(Ok(match rest.is_empty() {
                true => Moved::All,
                false => Moved::Part(Rest::Bytes(rest.to_vec())),
            }))
        })
    }

    /// Writes on what was read into the buffer, as the writer takes it.
    pub(super) async fn write(&mut self, mut rest: &[u8]) -> Result<(), Side> {
        while !rest.is_empty() {
            let written = select! {
                biased;
                written = self.to.0.write(rest) => written.map_err(|_| self.to.1)?,
                _ = self.from.0.ready(Interest::ERROR) => return Err(self.from.1),
            };
            if written == 0 {
                return Err(self.to.1);
            }
            // Piece by piece: a reader that is slow is not silent.
            self.took(written);
            rest = &rest[written..];
        }
        Ok(())
    }
}
