//! Carrying bytes between two streams.

mod direction;
mod pace;
mod pipe;
mod pool;
mod splice;
#[cfg(test)]
mod tests;

use std::{future::Future, pin::pin};

use tokio::{net::TcpStream, select};

pub(crate) use self::pool::PIPES;
use self::{
    direction::{Direction, Ended},
    pool::Pool,
};
use crate::watch::Meter;

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
    /// [`half_closed_idle`](crate::ProxyMapper::half_closed_idle); then both sides were reset.
    HalfClosed,
}

impl Ending {
    /// Its name in spans: `reset_by_client`, say.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Reset(Side::Client) => "reset_by_client",
            Self::Reset(Side::Endpoint) => "reset_by_endpoint",
            Self::Idle => "idle",
            Self::HalfClosed => "half_closed",
        }
    }
}

/// Carries bytes both ways until both sides have ended or one is lost. The meter counts what was written.
///
/// The end of the direction that ends first is passed on as such and leaves the other one open; the end of the
/// other one is what closing the streams says, which is the caller's. An error of either socket, whatever it is,
/// counts as that side's reset; resetting the other side is the caller's as well.
///
/// # Cancel safety
/// Dropping the future loses what was read and not written: a stream to be cut, not one to go on with.
pub(crate) async fn relay(
    client: &mut TcpStream,
    endpoint: &mut TcpStream,
    meter: &Meter,
) -> Ending {
    relay_through(&PIPES, client, endpoint, meter).await
}

async fn relay_through(
    pipes: &'static Pool,
    client: &mut TcpStream,
    endpoint: &mut TcpStream,
    meter: &Meter,
) -> Ending {
    let (from_client, into_client) = client.split();
    let (from_endpoint, into_endpoint) = endpoint.split();
    let (client, endpoint) = (Side::Client, Side::Endpoint);
    let mut up = Direction::new((from_client, client), (into_endpoint, endpoint), pipes, meter);
    let mut down = Direction::new((from_endpoint, endpoint), (into_client, client), pipes, meter);
    match pump_both(&mut up, &mut down).await {
        Ok(()) => Ending::Closed,
        Err(lost) => Ending::Reset(lost),
    }
}

/// Waits for both directions, or for the first loss. Where one has ended, its reader is watched on: a client
/// that has said all it had to say and then goes away resets, and nobody would read that.
async fn pump_both(up: &mut Direction<'_>, down: &mut Direction<'_>) -> Result<(), Side> {
    let (mut up, mut down) = (pin!(up.pump()), pin!(down.pump()));
    // Which one is asked first makes no difference: a wake-up asks both, until one has ended.
    select! {
        biased;
        ended = &mut up => Box::pin(pump_rest(ended?, down)).await,
        ended = &mut down => Box::pin(pump_rest(ended?, up)).await,
    }
}

/// Boxed, for most connections are idle with both directions open, and would else have room for this.
async fn pump_rest<T>(
    ended: Ended<'_, '_>,
    other: impl Future<Output = Result<T, Side>>,
) -> Result<(), Side> {
    let lost = ended.passed_on().await?.lost();
    select! { biased; other = other => other.map(drop), lost = lost => Err(lost) }
}
