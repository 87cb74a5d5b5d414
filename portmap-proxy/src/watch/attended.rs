//! The service of one connection or session, attended to from outside.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use portmap_core::BoxError;
use tracing::debug;

use super::Meter;
use crate::share::Claim;

/// Says that a connection or session is active until it is dropped.
#[derive(Debug)]
pub(crate) struct Attended {
    meter: Arc<Meter>,
    /// Whether the service came to its end.
    served: bool,
    /// The descriptors that it has until then.
    claim: Option<Claim>,
}

impl Attended {
    pub(crate) fn new(meter: &Arc<Meter>) -> Self {
        Self { meter: Arc::clone(meter), served: false, claim: None }
    }

    pub(crate) fn with(mut self, claim: Claim) -> Self {
        self.claim = Some(claim);
        self
    }

    /// Does something in the span of the connection or session.
    pub(crate) fn in_span<R>(&self, work: impl FnOnce() -> R) -> R {
        self.meter.span().in_scope(work)
    }
}

/// Runs a service in its span and takes note of how it ends.
pub(crate) async fn attend<T, E: Into<BoxError>>(
    service: impl Future<Output = Result<T, E>>,
    mut attended: Attended,
) -> Result<(), BoxError> {
    let mut service = pin!(service);
    // As `Instrument` does, without a second handle of the span.
    let ended = poll_fn(|cx| attended.in_span(|| service.as_mut().poll(cx))).await;
    attended.served = true;
    let ended = ended.map(drop).map_err(Into::into);
    if let Err(error) = &ended {
        attended.meter.failed(error);
    }
    ended
}

impl Drop for Attended {
    fn drop(&mut self) {
        if !self.served {
            self.meter.ended("cut");
        }
        self.meter.close();
        self.in_span(|| debug!(target: "portmap_proxy", "ended"));
    }
}
