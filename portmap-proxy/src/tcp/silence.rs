//! Connections on which nothing happens.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{self, Instant};

use crate::{Ending, Side, settings::Settings, watch::Meter};

/// A limit is looked after that often: connections end at most a quarter of it late.
const LOOKS_A_LIMIT: u32 = 4;
/// Not more often, however short a limit is.
const SHORTEST: Duration = Duration::from_millis(1);

/// Ends when a connection has been silent for too long. Boxed: most mappers set no limit, and a timer would take room
/// in each of their connections.
pub(crate) type Silence = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// What shows that something happened.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Trace {
    to_endpoint: u64,
    to_client: u64,
    half_closed: bool,
}

/// Watches a connection where the settings limit its silence.
///
/// What was counted is looked at now and then: the data path sets no clock.
pub(crate) fn watch(settings: &Settings, meter: &Arc<Meter>) -> Option<Silence> {
    let (connection, half_closed) = (settings.connection_idle, settings.half_closed_idle);
    let shortest = connection.into_iter().chain(half_closed).min()?;
    let interval = (shortest / LOOKS_A_LIMIT).max(SHORTEST);
    let meter = Arc::clone(meter);
    Some(Box::pin(async move {
        let (mut last, mut since) = (Trace::of(&meter), Instant::now());
        loop {
            time::sleep(interval).await;
            let trace = Trace::of(&meter);
            if trace != last {
                (last, since) = (trace, Instant::now());
                continue;
            }
            let silent = |limit: Duration| since.elapsed() >= limit;
            if last.half_closed && half_closed.is_some_and(silent) {
                return Ending::HalfClosed;
            }
            if connection.is_some_and(silent) {
                return Ending::Idle;
            }
        }
    }))
}

impl Trace {
    fn of(meter: &Meter) -> Self {
        Self {
            to_endpoint: meter.carried(Side::Endpoint).bytes,
            to_client: meter.carried(Side::Client).bytes,
            half_closed: meter.is_half_closed(),
        }
    }
}
