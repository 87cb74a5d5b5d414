//! Carrying bytes between two streams.

mod cut;
mod direction;
mod pace;
mod pipe;
mod pool;
mod splice;
#[cfg(test)]
mod tests;

use std::{future::Future, pin::pin, sync::Arc};

use tokio::select;

pub(crate) use self::pool::PIPES;
use self::{
    direction::{Course, Direction, Ended},
    pool::Pool,
};
use crate::{tcp::connection::Abortive, watch::Meter};

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
    /// This side reset the connection or was lost; the other side was reset, unless it was still taking the last of
    /// all that was for it.
    Reset(Side),
    /// Nothing was carried for [`connection_idle`](crate::ProxyMapper::connection_idle); then the connection was cut.
    Idle,
    /// One direction had ended and nothing was carried in the other one for
    /// [`half_closed_idle`](crate::ProxyMapper::half_closed_idle); then the connection was cut.
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

/// A client and its container, and what is under way between them.
///
/// Dropping it ends the connection, wherever it stands: see [`cut`].
#[derive(Debug)]
pub(crate) struct Relay {
    client: Abortive,
    endpoint: Abortive,
    up: Course,
    down: Course,
    meter: Arc<Meter>,
    pipes: &'static Pool,
    /// How it ended, where it came to an end.
    ending: Option<Ending>,
}

impl Relay {
    pub(crate) fn new(client: Abortive, endpoint: Abortive, meter: Arc<Meter>) -> Self {
        Self::through(&PIPES, client, endpoint, meter)
    }

    fn through(
        pipes: &'static Pool,
        client: Abortive,
        endpoint: Abortive,
        meter: Arc<Meter>,
    ) -> Self {
        let (up, down) = (Course::default(), Course::default());
        Self { client, endpoint, up, down, meter, pipes, ending: None }
    }

    /// Carries bytes both ways until both sides have ended or one is lost. The meter counts what was written.
    ///
    /// The end of the direction that ends first is passed on as such and leaves the other one open. An error of either
    /// socket, whatever it is, counts as that side's reset.
    ///
    /// # Cancel safety
    /// What was read and not written stays with the relay.
    pub(crate) async fn run(&mut self) -> Ending {
        let Self { client, endpoint, up, down, pipes, meter, ending } = self;
        let (from_client, into_client) = client.get_mut().split();
        let (from_endpoint, into_endpoint) = endpoint.get_mut().split();
        let (client, endpoint) = (Side::Client, Side::Endpoint);
        let mut up =
            Direction::new((from_client, client), (into_endpoint, endpoint), up, pipes, meter);
        let mut down =
            Direction::new((from_endpoint, endpoint), (into_client, client), down, pipes, meter);
        let outcome = pump_both(&mut up, &mut down).await;
        let outcome = *ending.insert(outcome.map_or_else(Ending::Reset, |()| Ending::Closed));
        if let Ending::Reset(lost) = outcome {
            Box::pin(self.settle(lost)).await;
        }
        outcome
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
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
