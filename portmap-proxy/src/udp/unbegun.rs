//! Sessions that do not begin.

use super::ends::Unanswerable;

/// Why datagrams have no session.
#[derive(Debug)]
pub(super) enum Unbegun {
    /// The service was not ready, or no descriptor left.
    TurnedAway,
    /// No answer would, or should, get to their client.
    Unanswerable(Unanswerable),
}
