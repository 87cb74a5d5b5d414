//! Sessions that do not begin.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tracing::error;

use super::ends::Unanswerable;
use crate::watch::Counters;

/// Why datagrams have no session.
#[derive(Debug)]
pub(super) enum Unbegun {
    /// The service was not ready, or no descriptor left.
    TurnedAway,
    /// The service panicked.
    Panicked,
    /// No answer would, or should, get to their client.
    Unanswerable(Unanswerable),
}

/// Does something with a clone of the service. If that panics, it costs one session and not the
/// port: what the panic leaves half done is the clone, which is dropped.
pub(super) fn guarded<R>(counters: &Counters, work: impl FnOnce() -> R) -> Result<R, Unbegun> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panicked| {
        counters.panicked();
        error!(error = message(&*panicked), "the service of a session panicked before it ran");
        Unbegun::Panicked
    })
}

/// What a panic said.
fn message(panicked: &(dyn Any + Send)) -> &str {
    let text = panicked.downcast_ref::<&str>().copied();
    text.or_else(|| panicked.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
