//! Carrying bytes between two streams.

mod direction;
mod pace;
mod pipe;
mod pool;
mod splice;
#[cfg(test)]
mod tests;

use std::pin::pin;

use tokio::{net::TcpStream, select};

pub(crate) use self::pool::PIPES;
use self::{direction::Direction, pool::Pool};

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
pub enum Ending {
    /// Both sides said all that they had to say.
    Closed,
    /// This side reset the connection or was lost; then the other side was reset.
    Reset(Side),
}

/// What a relay did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relayed {
    pub(crate) to_endpoint: u64,
    pub(crate) to_client: u64,
    pub(crate) ending: Ending,
}

/// Carries bytes both ways until both sides have ended or one is lost.
///
/// The end of the direction that ends first is passed on as such and leaves the other one open; the end of the
/// other one is what closing the streams says, which is the caller's. An error of either socket, whatever it is,
/// counts as that side's reset; resetting the other side is the caller's as well.
///
/// # Cancel safety
/// Dropping the future loses what was read and not written: a stream to be cut, not one to go on with.
pub(crate) async fn relay(client: &mut TcpStream, endpoint: &mut TcpStream) -> Relayed {
    relay_through(&PIPES, client, endpoint).await
}

async fn relay_through(
    pipes: &'static Pool,
    client: &mut TcpStream,
    endpoint: &mut TcpStream,
) -> Relayed {
    let (from_client, into_client) = client.split();
    let (from_endpoint, into_endpoint) = endpoint.split();
    let (client, endpoint) = (Side::Client, Side::Endpoint);
    let mut up = Direction::new((from_client, client), (into_endpoint, endpoint), pipes);
    let mut down = Direction::new((from_endpoint, endpoint), (into_client, client), pipes);
    let ending = match pump_both(&mut up, &mut down).await {
        Ok(()) => Ending::Closed,
        Err(lost) => Ending::Reset(lost),
    };
    Relayed { to_endpoint: up.moved(), to_client: down.moved(), ending }
}

/// Waits for both directions, or for the first loss. Where one has ended, its reader is watched on: a client
/// that has said all it had to say and then goes away resets, and nobody would read that.
async fn pump_both(up: &mut Direction<'_>, down: &mut Direction<'_>) -> Result<(), Side> {
    let (mut up, mut down) = (pin!(up.pump()), pin!(down.pump()));
    // Which one is asked first makes no difference: a wake-up asks both, until one has ended.
    select! {
        biased;
        ended = &mut up => {
            let lost = ended?.passed_on().await?.lost();
            select! { biased; other = down => other.map(drop), lost = lost => Err(lost) }
        }
        ended = &mut down => {
            let lost = ended?.passed_on().await?.lost();
            select! { biased; other = up => other.map(drop), lost = lost => Err(lost) }
        }
    }
}
