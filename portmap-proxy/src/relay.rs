//! Carrying bytes between two streams.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    select,
};

use crate::watch::Meter;

/// How much is read at once, in bytes. A read is mostly a packet or two; more would only be cold cache.
const BUFFER: usize = 16 * 1024;

thread_local! {
    /// One buffer for all connections of a thread: what is read is written on at once, so that a connection
    /// holds none while it is idle.
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into_boxed_slice());
}

/// One of the two peers of a proxied connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who connected to the host.
    Client,
    /// The container.
    Endpoint,
}

/// How a proxied connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Both sides said all that they had to say.
    Closed,
    /// This side reset the connection or was lost; then the other side was reset.
    Reset(Side),
    /// Nothing was carried for [`connection_idle`](crate::ProxyMapper::connection_idle); then both sides were reset.
    Idle,
    /// One direction had ended and nothing was carried in the other one for
    /// [`half_open_idle`](crate::ProxyMapper::half_open_idle); then both sides were reset.
    HalfOpen,
}

impl Ending {
    /// Its name in spans: `reset_by_client`, say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset(Side::Client) => "reset_by_client",
            Self::Reset(Side::Endpoint) => "reset_by_endpoint",
            Self::Idle => "idle",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Carries bytes both ways until both sides have ended or one is lost. The meter counts what was written.
///
/// The end of one direction is passed on as such and leaves the other direction open. An error of either
/// socket, whatever it is, counts as that side's reset; resetting the other side is the caller's.
pub(crate) async fn relay(
    client: &mut TcpStream,
    endpoint: &mut TcpStream,
    meter: &Meter,
) -> Ending {
    let (from_client, into_client) = client.split();
    let (from_endpoint, into_endpoint) = endpoint.split();
    let mut up =
        Direction::new((from_client, Side::Client), (into_endpoint, Side::Endpoint), meter);
    let mut down =
        Direction::new((from_endpoint, Side::Endpoint), (into_client, Side::Client), meter);
    match pump_both(&mut up, &mut down).await {
        Ok(()) => Ending::Closed,
        Err(lost) => Ending::Reset(lost),
    }
}

/// Waits for both directions, or for the first loss. Where one has ended, its reader is watched on: a client
/// that has said all it had to say and then goes away resets, and nobody would read that.
async fn pump_both(up: &mut Direction<'_>, down: &mut Direction<'_>) -> Result<(), Side> {
    let (mut up, mut down) = (pin!(up.pump()), pin!(down.pump()));
    select! {
        ended = &mut up => {
            let ended = ended?;
            select! { other = down => other.map(drop), lost = ended.lost() => Err(lost) }
        }
        ended = &mut down => {
            let ended = ended?;
            select! { other = up => other.map(drop), lost = ended.lost() => Err(lost) }
        }
    }
}

/// One direction: bytes that one side reads and the other one writes.
struct Direction<'a> {
    from: (ReadHalf<'a>, Side),
    to: (WriteHalf<'a>, Side),
    meter: &'a Meter,
}

/// A direction that has come to its end: its reader.
struct Ended<'d, 'a>(&'d ReadHalf<'a>, Side);

impl Ended<'_, '_> {
    /// Returns when the side that had ended its direction is lost altogether.
    async fn lost(self) -> Side {
        // An error of the reactor itself is as good a reason to give up.
        let _ = self.0.ready(Interest::ERROR).await;
        self.1
    }
}

/// How one read and the write after it went.
enum Moved {
    All,
    /// The writer took less; here is the rest.
    Part(Vec<u8>),
    End,
}

impl<'a> Direction<'a> {
    fn new(from: (ReadHalf<'a>, Side), to: (WriteHalf<'a>, Side), meter: &'a Meter) -> Self {
        Self { from, to, meter }
    }

    /// Moves all there is and passes the end on.
    ///
    /// # Errors
    /// Says which side was lost.
    async fn pump(&mut self) -> Result<Ended<'_, 'a>, Side> {
        loop {
            match poll_fn(|cx| self.poll_move(cx)).await? {
                Moved::All => {}
                // Boxed: it would else take 250 bytes of each direction that never waits.
                Moved::Part(rest) => Box::pin(self.write(&rest)).await?,
                Moved::End => break,
            }
        }
        self.meter.half_closed();
        self.to.0.shutdown().await.map_err(|_| self.to.1)?;
        Ok(Ended(&self.from.0, self.from.1))
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, Side>> {
        SHARED.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(&mut self.from.0).poll_read(cx, &mut buffer);
            ready!(read).map_err(|_| self.from.1)?;
            let bytes = buffer.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(Moved::End));
            }
            let written = match Pin::new(&mut self.to.0).poll_write(cx, bytes) {
                Poll::Ready(written) => written.map_err(|_| self.to.1)?,
                Poll::Pending => 0,
            };
            if written > 0 {
                self.meter.moved(self.to.1, written as u64);
            }
            let rest = &bytes[written..];
            Poll::Ready(Ok(match rest.is_empty() {
                true => Moved::All,
                false => Moved::Part(rest.to_vec()),
            }))
        })
    }

    /// Writes what the writer did not take at once. Nothing is read meanwhile: the kernel's buffers hold the
    /// sender back.
    async fn write(&mut self, mut rest: &[u8]) -> Result<(), Side> {
        while !rest.is_empty() {
            let written = select! {
                written = self.to.0.write(rest) => written.map_err(|_| self.to.1)?,
                _ = self.from.0.ready(Interest::ERROR) => return Err(self.from.1),
            };
            if written == 0 {
                return Err(self.to.1);
            }
            // Piece by piece: a reader that is slow is not silent.
            self.meter.moved(self.to.1, written as u64);
            rest = &rest[written..];
        }
        Ok(())
    }
}
