//! Sessions that do not begin.

use super::ends::Unanswerable;
use crate::caught::Panicked;

/// Why datagrams have no session.
#[derive(Debug)]
pub(super) enum Unbegun {
    /// The service was not ready, or no descriptor left.
    TurnedAway,
    /// The service panicked before it ran: it costs one session and not the port. What the panic
    /// leaves half done is a clone of the service, which is dropped.
    Panicked(Panicked),
    /// No answer would, or should, get to their client.
    Unanswerable(Unanswerable),
}
