//! A session as its listener has it.

use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::{Exchanged, SessionEnding, cutting::Cutting, session::Dialled, waiting::Waiting};
use crate::{Side, share::SessionClaim};

/// How long a dial for a session may take before it counts as one that may not come to anything.
const DIALLED_SOON: Duration = Duration::from_secs(1);

/// How far a session is.
#[derive(Debug)]
pub(super) enum Peer {
    /// Its container is being dialled.
    Opening(Dialling),
    /// Datagrams go through it. Boxed: the table has room for twice as many as there are.
    Open(Box<Open>),
}

/// A session whose container is being dialled.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) waiting: Waiting,
    begun: Instant,
    /// Who dials.
    pub(super) service: Option<AbortHandle>,
    /// The interface that its first datagram came in by; 0 where that is not told.
    pub(super) arrived_by: u32,
}

/// A session that datagrams go through.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) dialled: Dialled,
    pub(super) arrived_by: u32,
    pub(super) cutting_to_endpoint: Cutting,
    pub(super) cutting_to_client: Cutting,
    _claim: SessionClaim,
}

impl Peer {
    /// A session whose container begins to be dialled now.
    pub(super) fn opening(arrived_by: u32, now: Instant) -> Self {
        let waiting = Waiting::default();
        Self::Opening(Dialling { waiting, begun: now, service: None, arrived_by })
    }

    pub(super) fn open(dialled: Dialled, arrived_by: u32, claim: SessionClaim) -> Self {
        Self::Open(Box::new(Open {
            dialled,
            arrived_by,
            cutting_to_endpoint: Cutting::default(),
            cutting_to_client: Cutting::default(),
            _claim: claim,
        }))
    }

    /// Whether its container has just begun to be dialled, however much its client has sent since.
    pub(super) fn is_fresh_dial(&self, now: Instant) -> bool {
        match self {
            Self::Opening(dialling) => now.saturating_duration_since(dialling.begun) < DIALLED_SOON,
            Self::Open(_) => false,
        }
    }

    /// Closes its socket, and says how it was to who waits for it. Where it is not open yet, nobody dials for it any
    /// more: a flood of clients would else have more dials going on than there may be sessions.
    pub(super) fn end(self, ending: SessionEnding) {
        match self {
            Self::Opening(dialling) => {
                dialling.service.inspect(AbortHandle::abort);
            }
            Self::Open(open) => {
                let Dialled { socket, observed, ended, meter, .. } = open.dialled;
                drop(socket);
                meter.ended(ending.as_str());
                let to_endpoint = meter.carried(Side::Endpoint);
                let to_client = meter.carried(Side::Client);
                let _ = ended.send(Exchanged { observed, to_endpoint, to_client, ending });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_is_fresh_for_a_second() {
        let begun = Instant::now();
        let peer = Peer::opening(0, begun);
        let fresh = [0, 999, 1000].map(|ms| peer.is_fresh_dial(begun + Duration::from_millis(ms)));
        assert_eq!(fresh, [true, true, false]);
    }
}
